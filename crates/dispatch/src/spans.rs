//! Deliveries as spans of OpenTelemetry.
//!
//! A call of a listener is a span `process TOPIC`, whose parent is the context in the record's `traceparent`. A call with several
//! records continues the first of them that is sampled and links to the others. The request of a webhook is a span of
//! its own below that, and what the endpoint gets as `traceparent`.
//!
//! Invariants: without tracing, and for records whose sender decided against a trace, nothing is made and their headers go on as
//! they are; a span never holds a listener up (whoever exports them has a bounded queue and drops what does not fit).
//!
//! Not here: which traces are sampled and where spans go; both come with [`Tracing`].
//! Sources: W3C Trace Context; OpenTelemetry's semantic conventions for messaging and for HTTP client spans.

use std::fmt;
use std::sync::Arc;

use delivery::Outcome;
use opentelemetry::global::BoxedTracer;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt, TraceId, Tracer};
use opentelemetry::{Context, KeyValue};
use record::Record;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::delivery::Delivery;

/// Links of one span at most, beside its parent.
const LINKS_MAX: usize = 128;

/// Makes spans, and reads and writes contexts.
pub struct Tracing {
    tracer: BoxedTracer,
    propagator: Box<dyn TextMapPropagator + Send + Sync>,
}

impl Tracing {
    /// Spans are made by `tracer`, which also samples; `propagator` knows the headers, W3C's as a rule.
    pub fn new(
        tracer: BoxedTracer,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        Self {
            tracer,
            propagator: Box::new(propagator),
        }
    }

    /// Begins the span of a call for these records; `None` if all of them say that they are not traced.
    pub(crate) fn begin(
        self: &Arc<Self>,
        listener: &str,
        deliveries: &[Delivery],
    ) -> Option<Trace> {
        let first = deliveries.first()?;
        let none = Context::new();
        let contexts: Vec<Context> = deliveries
            .iter()
            .map(|one| {
                self.propagator
                    .extract_with_context(&none, &Headers(&one.record()))
            })
            .collect();
        let sampled = |context: &&Context| context.span().span_context().is_sampled();
        let parent = contexts.iter().find(sampled);
        let undecided = contexts.iter().any(|context| !context.has_active_span());
        if parent.is_none() && !undecided {
            return None;
        }
        let parent = parent.unwrap_or(&none);
        let parent_id = parent.span().span_context().span_id();
        let links = contexts
            .iter()
            .map(|context| context.span().span_context().clone())
            .filter(|one| one.is_valid() && one.span_id() != parent_id)
            .take(LINKS_MAX)
            .map(Link::with_context)
            .collect();
        let topic = first.partition.topic.as_str();
        let mut attributes = vec![
            KeyValue::new("messaging.system", "lantern"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", topic.to_owned()),
            KeyValue::new(
                "messaging.destination.partition.id",
                first.partition.partition.get().to_string(),
            ),
            KeyValue::new("messaging.consumer.group.name", listener.to_owned()),
            KeyValue::new("lantern.attempt", i64::from(first.attempt)),
        ];
        if let [one] = deliveries {
            attributes.push(KeyValue::new(
                "messaging.kafka.offset",
                number(one.offset.get()),
            ));
        } else {
            let count = KeyValue::new("messaging.batch.message_count", number(deliveries.len()));
            attributes.push(count);
        }
        let builder = SpanBuilder::from_name(format!("process {topic}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes)
            .with_links(links);
        let span = self.tracer.build_with_context(builder, parent);
        Some(Trace {
            tracing: Arc::clone(self),
            context: Context::new().with_span(span),
        })
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").finish_non_exhaustive()
    }
}

/// The trace that a delivery belongs to, with the span that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    tracing: Arc<Tracing>,
    context: Context,
}

impl Trace {
    /// For spans below the one under way.
    pub(crate) const fn context(&self) -> &Context {
        &self.context
    }

    /// The trace, if it is sampled: an exemplar that leads nowhere helps nobody.
    pub(crate) fn sampled(&self) -> Option<TraceId> {
        let span = self.context.span();
        let context = span.span_context();
        context.is_sampled().then(|| context.trace_id())
    }

    /// Ends the span of a call.
    pub(crate) fn end(&self, outcomes: &[Outcome]) {
        let span = self.context.span();
        let failed = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Done => None,
            Outcome::Failed { error, .. } => Some(("failed", error)),
            Outcome::Refused { error } => Some(("refused", error)),
        });
        if let Some((kind, error)) = failed {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(error.clone()));
        }
        span.end();
    }

    /// The headers that continue it in a record.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let mut kept = Kept(Vec::new());
        self.tracing
            .propagator
            .inject_context(&self.context, &mut kept);
        kept.0
    }

    /// Begins the span of a request, and writes its context into the headers.
    pub(crate) fn request(&self, url: &Url, attempt: u32, headers: &mut HeaderMap) -> Self {
        let mut shown = url.clone();
        // Secrets stand there.
        shown.set_query(None);
        shown.set_fragment(None);
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let mut attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("url.full", shown.to_string()),
        ];
        if let Some(host) = url.host_str() {
            attributes.push(KeyValue::new("server.address", host.to_owned()));
        }
        if let Some(port) = url.port_or_known_default() {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        if attempt > 1 {
            let again = i64::from(attempt - 1);
            attributes.push(KeyValue::new("http.request.resend_count", again));
        }
        let builder = SpanBuilder::from_name("POST")
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let tracer = &self.tracing.tracer;
        let span = tracer.build_with_context(builder, &self.context);
        let context = Context::new().with_span(span);
        self.tracing
            .propagator
            .inject_context(&context, &mut Sent(headers));
        Self {
            tracing: Arc::clone(&self.tracing),
            context,
        }
    }

    /// Ends the span of a request: with the status of its answer, or what went wrong.
    pub(crate) fn answered(&self, answer: Result<u16, String>) {
        let span = self.context.span();
        match answer {
            Ok(status) => {
                let code = i64::from(status);
                span.set_attribute(KeyValue::new("http.response.status_code", code));
                if status >= 400 {
                    span.set_attribute(KeyValue::new("error.type", status.to_string()));
                    span.set_status(Status::error(""));
                }
            }
            Err(error) => {
                span.set_attribute(KeyValue::new("error.type", "connection"));
                span.set_status(Status::error(error));
            }
        }
        span.end();
    }
}

fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A record's headers; of several with one name the last counts.
struct Headers<'a>(&'a Record<'a>);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.0.headers.get(key)??).ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.headers.iter().map(|(name, _)| name).collect()
    }
}

/// Headers of a record to be.
struct Kept(Vec<(String, String)>);

impl Injector for Kept {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.push((key.to_owned(), value));
        }
    }
}

/// A request's headers.
struct Sent<'a>(&'a mut HeaderMap);

impl Injector for Sent<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}
