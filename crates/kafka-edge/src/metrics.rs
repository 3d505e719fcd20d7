//! The endpoint's own numbers, named `lantern_kafka_edge_*`.
//!
//! Invariant: counting allocates nothing once a label has been seen. Not here: the log lines that go
//! with a count (`events`).

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use kafka_wire::{Api, ErrorCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::budget::Budget;

type Label = [(&'static str, &'static str); 1];
type ErrorLabel = Vec<(&'static str, String)>;

/// Counters of the endpoint; clones count into the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge<i64, AtomicI64>,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) panics: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) malformed: Counter,
    pub(crate) stalled: Counter,
    /// Fetches that waited and were woken by what was published.
    pub(crate) fetch_wakeups: Counter,
    errors: Family<ErrorLabel, Counter>,
    requests: Family<Label, Counter>,
    latency: Family<Label, Histogram, fn() -> Histogram>,
    /// The last two by place in [`Api::ALL`].
    by_api: Arc<[(Counter, Histogram)]>,
}

fn latency_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::<Label, Counter>::default();
        let latency =
            Family::<Label, Histogram, fn() -> Histogram>::new_with_constructor(latency_buckets);
        let by_api = Api::ALL.iter().map(|api| {
            let label = [("api", api.name())];
            (
                requests.get_or_create(&label).clone(),
                latency.get_or_create(&label).clone(),
            )
        });
        Self {
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            panics: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            malformed: Counter::default(),
            stalled: Counter::default(),
            fetch_wakeups: Counter::default(),
            errors: Family::default(),
            by_api: by_api.collect(),
            requests,
            latency,
        }
    }

    /// So many requests were answered together, each after this long.
    pub(crate) fn answered(&self, api: Api, requests: usize, after: Duration) {
        if let Ok(place) = Api::ALL.binary_search(&api)
            && let Some((count, latency)) = self.by_api.get(place)
        {
            count.inc_by(u64::try_from(requests).unwrap_or_default());
            for _ in 0..requests {
                latency.observe(after.as_secs_f64());
            }
        }
    }

    /// An answer carries this error.
    pub(crate) fn error(&self, code: ErrorCode) {
        self.errors
            .get_or_create(&vec![("code", format!("{code:?}"))])
            .inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry, memory: Memory) {
        let registry = registry.sub_registry_with_prefix("lantern_kafka_edge");
        registry.register("connections", "Connections open", self.connections.clone());
        let mut count = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        count(
            "connections_accepted",
            "Connections accepted",
            &self.accepted,
        );
        count(
            "connections_refused",
            "Connections closed because there were too many",
            &self.refused,
        );
        count(
            "connections_malformed",
            "Connections closed for what they sent",
            &self.malformed,
        );
        count(
            "connections_stalled",
            "Connections closed for being idle or too slow",
            &self.stalled,
        );
        count(
            "fetch_wakeups",
            "Fetches that waited and were woken by what was published",
            &self.fetch_wakeups,
        );
        count("panics", "Panics fenced in one connection", &self.panics);
        let mut bytes = |name: &str, help: &str, counter: &Counter| {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        };
        bytes("received", "Bytes read from clients", &self.bytes_in);
        bytes("sent", "Bytes written to clients", &self.bytes_out);
        registry.register_collector(Box::new(memory));
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register("errors", "Errors answered", self.errors.clone());
        registry.register_with_unit(
            "request_duration",
            "Time from a request read to its answer made",
            Unit::Seconds,
            self.latency.clone(),
        );
    }
}

/// The budgets, read when somebody asks.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) requests: Budget,
    pub(crate) answers: Budget,
}

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, budget) in [
            (
                "request_memory",
                "Bytes of requests held in memory",
                &self.requests,
            ),
            (
                "answer_memory",
                "Bytes of fetched batches held in memory",
                &self.answers,
            ),
        ] {
            let gauge = ConstGauge::new(u64::try_from(budget.held()).unwrap_or(u64::MAX));
            let metric =
                encoder.encode_descriptor(name, help, Some(&Unit::Bytes), gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
