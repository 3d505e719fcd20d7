//! The queue in which spans wait to be sent, with everything counted that happens to them.
//!
//! The queue is the SDK's, which drops what finds it full and tells nobody how much. So spans are counted on their way in and
//! out: [`Entrance`] stands before the SDK's processor and [`Exit`] before its exporter.
//!
//! Invariants: at most `limit` spans wait between the two, and the SDK's queue has room for as many, so it drops none by
//! itself; a span that ended is waiting, with the exporter, sent, or counted as dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::{info, warn};

/// The size of the queue that the environment asks for, or OpenTelemetry's default.
pub(super) fn limit_asked() -> usize {
    let asked = std::env::var(OTEL_BSP_MAX_QUEUE_SIZE).ok();
    let asked = asked.and_then(|text| text.trim().parse().ok());
    let asked = asked.filter(|limit| *limit > 0);
    asked.unwrap_or(OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT)
}

/// Why a span was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

const FULL: Why = Why { reason: "full" };
const NOT_SENT: Why = Why { reason: "not_sent" };

/// What is known of the queue: each event writes its log line and bumps its counter.
#[derive(Debug)]
pub(super) struct Queue {
    limit: i64,
    waiting: Gauge,
    sent: Counter,
    dropped: Family<Why, Counter>,
    /// It was said that spans are dropped, and not yet that it is over.
    is_full: AtomicBool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            waiting: Gauge::default(),
            sent: Counter::default(),
            dropped: Family::default(),
            is_full: AtomicBool::new(false),
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("lantern_spans");
        registry.register(
            "waiting",
            "Spans that wait to be sent",
            self.waiting.clone(),
        );
        registry.register("sent", "Spans that a receiver took", self.sent.clone());
        registry.register(
            "dropped",
            "Spans that nobody gets, because their queue was full or the receiver failed",
            self.dropped.clone(),
        );
    }

    /// Whether there is room for one more, which is taken then.
    fn enter(&self) -> bool {
        let waiting = self.waiting.inc();
        if waiting >= self.limit {
            self.waiting.dec();
            self.dropped.get_or_create(&FULL).inc();
            if !self.is_full.swap(true, Ordering::Relaxed) {
                warn!(
                    limit = self.limit,
                    "Spans are dropped: their queue is full."
                );
            }
            return false;
        }
        // Half of it must be free, or the two lines would take turns.
        if waiting < self.limit / 2
            && self.is_full.load(Ordering::Relaxed)
            && self.is_full.swap(false, Ordering::Relaxed)
        {
            let dropped = self.dropped.get_or_create(&FULL).get();
            info!(dropped, "Spans have room again.");
        }
        true
    }

    fn leave(&self, spans: usize) {
        self.waiting
            .dec_by(i64::try_from(spans).unwrap_or(i64::MAX));
    }

    /// An attempt to send so many has ended. That a receiver fails is said by the client, which knows why.
    fn ended(&self, spans: usize, is_sent: bool) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        if is_sent {
            self.sent.inc_by(spans);
        } else {
            self.dropped.get_or_create(&NOT_SENT).inc_by(spans);
        }
    }
}

/// The way into the queue.
#[derive(Debug)]
pub(super) struct Entrance<P> {
    pub(super) queue: Arc<Queue>,
    pub(super) next: P,
}

impl<P: SpanProcessor> SpanProcessor for Entrance<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.next.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// The way out of it.
#[derive(Debug)]
pub(super) struct Exit<E> {
    pub(super) queue: Arc<Queue>,
    pub(super) next: E,
}

impl<E: SpanExporter> SpanExporter for Exit<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.leave(spans);
        let result = self.next.export(batch).await;
        self.queue.ended(spans, result.is_ok());
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};

    use super::*;

    /// Tells when it is called and answers when it is told to.
    #[derive(Debug)]
    struct Still {
        called: SyncSender<usize>,
        answers: Mutex<Receiver<OTelSdkResult>>,
    }

    impl SpanExporter for Still {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.called.send(batch.len()).unwrap();
            self.answers.lock().unwrap().recv().unwrap()
        }
    }

    /// A queue for eight, sent four at a time.
    struct Rig {
        provider: SdkTracerProvider,
        registry: Registry,
        called: Receiver<usize>,
        answers: SyncSender<OTelSdkResult>,
    }

    impl Rig {
        fn new() -> Self {
            let ((called, calls), (answers, answered)) = (sync_channel(8), sync_channel(8));
            let queue = Queue::new(8);
            let mut registry = Registry::default();
            queue.register(&mut registry);
            let exporter = Exit {
                queue: Arc::clone(&queue),
                next: Still {
                    called,
                    answers: Mutex::new(answered),
                },
            };
            let config = BatchConfigBuilder::default()
                .with_max_queue_size(8)
                .with_max_export_batch_size(4)
                .with_scheduled_delay(Duration::from_hours(1));
            let batches = BatchSpanProcessor::builder(exporter)
                .with_batch_config(config.build())
                .build();
            let processor = Entrance {
                queue,
                next: batches,
            };
            Self {
                provider: SdkTracerProvider::builder()
                    .with_span_processor(processor)
                    .build(),
                registry,
                called: calls,
                answers,
            }
        }

        fn end_spans(&self, count: usize) {
            let tracer = self.provider.tracer("test");
            (0..count).for_each(|_| drop(tracer.start("span")));
        }

        fn metric(&self, name: &str) -> u64 {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |value| value.trim().parse().unwrap())
        }
    }

    const DROPPED: &str = "lantern_spans_dropped_total{reason=\"full\"}";

    /// What is logged by `work` on this thread.
    fn logged(work: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_finds_the_queue_full_is_counted_and_said_once() {
        let rig = Rig::new();
        let said = logged(|| {
            rig.end_spans(4);
            assert_eq!(rig.called.recv().unwrap(), 4, "the exporter stands still");
            rig.end_spans(8);
            assert_eq!(rig.metric(DROPPED), 0);
            rig.end_spans(5);
            assert_eq!(rig.metric(DROPPED), 5);
            assert_eq!(rig.metric("lantern_spans_waiting"), 8);
            for _ in 0..3 {
                rig.answers.send(Ok(())).unwrap();
            }
            rig.provider.force_flush().unwrap();
            assert_eq!(rig.metric("lantern_spans_waiting"), 0);
            assert_eq!(rig.metric("lantern_spans_sent_total"), 12);
            rig.end_spans(2);
        });
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("Spans")).collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[0].contains("WARN") && lines[0].contains("Spans are dropped"));
        assert!(lines[0].contains("limit=8"), "{said}");
        assert!(lines[1].contains("Spans have room again. dropped=5"));
        rig.answers.send(Ok(())).unwrap();
        rig.provider.shutdown().unwrap();
        assert_eq!(rig.metric("lantern_spans_sent_total"), 14);
        assert_eq!(rig.metric(DROPPED), 5, "those that were there, and no more");
    }

    #[test]
    fn what_a_receiver_does_not_take_is_counted() {
        let rig = Rig::new();
        let failed = OTelSdkError::InternalFailure("503".to_owned());
        rig.answers.send(Err(failed)).unwrap();
        rig.end_spans(3);
        assert!(rig.provider.force_flush().is_err());
        let not_sent = "lantern_spans_dropped_total{reason=\"not_sent\"}";
        assert_eq!(rig.metric(not_sent), 3);
        assert_eq!(rig.metric("lantern_spans_sent_total"), 0);
    }
}
