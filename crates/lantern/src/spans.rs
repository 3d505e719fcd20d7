//! Spans out, by OTLP over HTTP (protobuf).
//!
//! Spans wait in the SDK's queue of 2,048 and leave each few seconds, or 512 at a time; what finds the queue full is dropped, so that a
//! receiver that is slow or gone costs memory for those and nothing else. What is dropped is counted (`queue`); that it begins
//! is said once, and once that it is over, and so is a receiver that fails.
//!
//! Names and defaults follow OpenTelemetry: `OTEL_EXPORTER_OTLP_ENDPOINT` (and its other variables) where `tracing.endpoint` is not
//! given, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` for what the spans say of their process.

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use queue::{Entrance, Exit, Queue};

/// Answers say little; more of one is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What has not left by then when Lantern stops is lost.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// The key `tracing` of `lantern.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tracing {
    /// An OTLP receiver, `http://127.0.0.1:4318` say; spans go to `/v1/traces` there. Without one no spans are made.
    pub(crate) endpoint: Option<String>,
    /// Share of the records without a `traceparent` that begin a trace, 0 to 1. Others are traced if their sender
    /// says so.
    pub(crate) sample: f64,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 0.01,
        }
    }
}

impl Tracing {
    /// All problems, in words.
    pub(crate) fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(endpoint) = &self.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            problems.push(format!(
                "tracing.endpoint '{endpoint}' is not an http:// or https:// URL; OTLP over HTTP listens on port 4318 as a rule"
            ));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            let sample = self.sample;
            problems.push(format!("tracing.sample is {sample}: it is a share, 0 to 1"));
        }
        problems
    }
}

/// Makes spans and sends them.
#[derive(Debug)]
pub(crate) struct Spans {
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
}

impl Spans {
    /// `None` if nobody wants spans. Must be called within the runtime.
    pub(crate) fn start(config: &Tracing) -> Result<Option<Self>> {
        let asked = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let by_environment =
            asked("OTEL_EXPORTER_OTLP_ENDPOINT") || asked("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        if config.endpoint.is_none() && !by_environment {
            return Ok(None);
        }
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?);
        if let Some(endpoint) = &config.endpoint {
            exporter = exporter.with_endpoint(traces_of(endpoint));
        }
        let exporter = exporter.build().context("spans cannot be exported")?;
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !asked("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("lantern");
        }
        let sampler = Sampler::TraceIdRatioBased(config.sample);
        let limit = queue::limit_asked();
        let queue = Queue::new(limit);
        let exit = Exit {
            queue: Arc::clone(&queue),
            next: exporter,
        };
        let batches = BatchConfigBuilder::default().with_max_queue_size(limit);
        let entrance = Entrance {
            queue: Arc::clone(&queue),
            next: BatchSpanProcessor::builder(exit)
                .with_batch_config(batches.build())
                .build(),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(entrance)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider, queue }))
    }

    /// Shows what happens to spans as `lantern_spans_*`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.queue.register(registry);
    }

    /// For the service that runs listeners.
    pub(crate) fn of_dispatch(&self) -> dispatch::Tracing {
        let tracer = BoxedTracer::new(Box::new(self.provider.tracer("lantern.dispatch")));
        dispatch::Tracing::new(tracer, TraceContextPropagator::new())
    }

    /// Sends what waits.
    pub(crate) async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || {
            // What could not be sent was said by then.
            let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
        });
        let _ = tokio::time::timeout(LAST_SPANS, stopping).await;
    }
}

/// The place for spans at a receiver.
fn traces_of(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    if base.ends_with("/v1/traces") {
        return base.to_owned();
    }
    format!("{base}/v1/traces")
}

/// The HTTP client of the house, in the runtime of the house: spans leave from a thread of the SDK's own.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    failing: Arc<AtomicBool>,
}

impl Sender {
    fn new() -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("Lantern/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            runtime: tokio::runtime::Handle::current(),
            failing: Arc::default(),
        })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let endpoint = request.uri().to_string();
        let request = reqwest::Request::try_from(request)?;
        let sending = self.runtime.spawn(send(self.client.clone(), request));
        let result = sending.await?;
        let error = match &result {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed = error.is_some();
        if self.failing.swap(failed, Ordering::Relaxed) != failed {
            if let Some(error) = error {
                warn!(endpoint, error, "Spans cannot be sent; they are dropped.");
            } else {
                info!(endpoint, "Spans are sent again.");
            }
        }
        result
    }
}

async fn send(
    client: reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    Ok(response.body(body.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_to_their_place_at_the_receiver() {
        for endpoint in ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces"] {
            assert_eq!(traces_of(endpoint), "http://a:4318/v1/traces");
        }
        assert_eq!(traces_of("https://a/otlp/"), "https://a/otlp/v1/traces");
    }

    #[test]
    fn what_is_no_receiver_and_no_share_is_said() {
        let wrong = Tracing {
            endpoint: Some("localhost:4317".to_owned()),
            sample: 10.0,
        };
        let said = wrong.validate().join("; ");
        assert!(
            said.contains("'localhost:4317'") && said.contains("port 4318"),
            "{said}"
        );
        assert!(said.contains("tracing.sample is 10"), "{said}");
        assert!(Tracing::default().validate().is_empty());
    }
}
