//! What listeners say of themselves, by listener.

use std::time::Duration;

use opentelemetry::trace::TraceId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Seconds: from a call inside the process to the slowest endpoint.
const BUCKETS: [f64; 14] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ListenerLabel {
    pub(crate) listener: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TransactionLabels {
    pub(crate) listener: String,
    /// `committed`, or `failed`: its inputs come again.
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) listener: String,
    /// `done`, `failed` (will be tried again), `exhausted`, `refused`, `expired`, `dropped` or `duplicate`.
    pub(crate) outcome: &'static str,
}

/// A trace to look at, beside the number it explains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Exemplar {
    trace_id: String,
}

/// Seconds, with a trace beside the newest of each bucket.
type Seconds = HistogramWithExemplars<Exemplar>;

/// All listeners' figures.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    records: Family<OutcomeLabels, Counter>,
    attempt_seconds: Family<ListenerLabel, Seconds, fn() -> Seconds>,
    delay_seconds: Family<ListenerLabel, Seconds, fn() -> Seconds>,
    in_flight: Family<ListenerLabel, Gauge>,
    waiting: Family<ListenerLabel, Gauge>,
    delayed: Family<ListenerLabel, Gauge>,
    lag: Family<ListenerLabel, Gauge>,
    held_bytes: Family<ListenerLabel, Gauge>,
    held_bytes_max: Family<ListenerLabel, Gauge>,
    unreadable: Family<ListenerLabel, Gauge>,
    illegible: Family<ListenerLabel, Counter>,
    missed: Family<ListenerLabel, Counter>,
    outputs: Family<ListenerLabel, Counter>,
    transactions: Family<TransactionLabels, Counter>,
    transaction_seconds: Family<ListenerLabel, Seconds, fn() -> Seconds>,
    paused: Family<ListenerLabel, Gauge>,
    blocked: Family<ListenerLabel, Gauge<f64, std::sync::atomic::AtomicU64>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histogram: fn() -> Seconds = || Seconds::new(BUCKETS.into_iter());
        Self {
            attempt_seconds: Family::new_with_constructor(histogram),
            delay_seconds: Family::new_with_constructor(histogram),
            transaction_seconds: Family::new_with_constructor(histogram),
            outputs: Family::default(),
            transactions: Family::default(),
            records: Family::default(),
            in_flight: Family::default(),
            waiting: Family::default(),
            delayed: Family::default(),
            lag: Family::default(),
            held_bytes: Family::default(),
            held_bytes_max: Family::default(),
            unreadable: Family::default(),
            illegible: Family::default(),
            missed: Family::default(),
            paused: Family::default(),
            blocked: Family::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "lantern_dispatch_records",
            "Deliveries by what became of them",
            self.records.clone(),
        );
        registry.register(
            "lantern_dispatch_attempt_seconds",
            "How long a listener took to answer",
            self.attempt_seconds.clone(),
        );
        registry.register(
            "lantern_dispatch_delay_seconds",
            "From a record's timestamp to its first attempt",
            self.delay_seconds.clone(),
        );
        registry.register(
            "lantern_dispatch_in_flight",
            "Calls and requests under way",
            self.in_flight.clone(),
        );
        registry.register(
            "lantern_dispatch_waiting",
            "Records read and not finished",
            self.waiting.clone(),
        );
        registry.register(
            "lantern_dispatch_delayed",
            "Records in memory that wait for their time; more may wait in the log",
            self.delayed.clone(),
        );
        registry.register(
            "lantern_dispatch_lag",
            "Records between what is finished and the end of the topics",
            self.lag.clone(),
        );
        registry.register(
            "lantern_dispatch_held_bytes",
            "Bytes of records held in memory",
            self.held_bytes.clone(),
        );
        registry.register(
            "lantern_dispatch_held_bytes_max",
            "Most bytes of records held in memory at a time",
            self.held_bytes_max.clone(),
        );
        registry.register(
            "lantern_dispatch_unreadable",
            "Partitions that cannot be read now",
            self.unreadable.clone(),
        );
        registry.register(
            "lantern_dispatch_illegible_batches",
            "Batches that could not be read and were not delivered",
            self.illegible.clone(),
        );
        registry.register(
            "lantern_dispatch_missed",
            "Times retention removed records before they were delivered",
            self.missed.clone(),
        );
        registry.register(
            "lantern_dispatch_output_records",
            "Records in output topics, by committed transactions",
            self.outputs.clone(),
        );
        registry.register(
            "lantern_dispatch_transactions",
            "Transactions of output and progress; what a failed one held is delivered again",
            self.transactions.clone(),
        );
        registry.register(
            "lantern_dispatch_transaction_seconds",
            "How long a transaction of output and progress took",
            self.transaction_seconds.clone(),
        );
        registry.register(
            "lantern_dispatch_paused",
            "1 while a listener is paused so that core ones keep their latency",
            self.paused.clone(),
        );
        registry.register(
            "lantern_dispatch_blocked_seconds_total",
            "How long keys stood still behind a record that was to be tried again",
            self.blocked.clone(),
        );
    }

    /// Those of one listener.
    pub(crate) fn of(&self, listener: &str) -> ListenerMetrics {
        let label = ListenerLabel {
            listener: listener.to_owned(),
        };
        let records = |outcome| {
            let labels = OutcomeLabels {
                listener: listener.to_owned(),
                outcome,
            };
            self.records.get_or_create(&labels).clone()
        };
        let transactions = |outcome| {
            let labels = TransactionLabels {
                listener: listener.to_owned(),
                outcome,
            };
            self.transactions.get_or_create(&labels).clone()
        };
        ListenerMetrics {
            outputs: self.outputs.get_or_create(&label).clone(),
            committed: transactions("committed"),
            aborted: transactions("failed"),
            transaction_seconds: self.transaction_seconds.get_or_create(&label).clone(),
            done: records("done"),
            failed: records("failed"),
            exhausted: records("exhausted"),
            refused: records("refused"),
            expired: records("expired"),
            dropped: records("dropped"),
            duplicate: records("duplicate"),
            attempt_seconds: self.attempt_seconds.get_or_create(&label).clone(),
            delay_seconds: self.delay_seconds.get_or_create(&label).clone(),
            in_flight: self.in_flight.get_or_create(&label).clone(),
            waiting: self.waiting.get_or_create(&label).clone(),
            delayed: self.delayed.get_or_create(&label).clone(),
            lag: self.lag.get_or_create(&label).clone(),
            held_bytes: self.held_bytes.get_or_create(&label).clone(),
            held_bytes_max: self.held_bytes_max.get_or_create(&label).clone(),
            unreadable: self.unreadable.get_or_create(&label).clone(),
            illegible: self.illegible.get_or_create(&label).clone(),
            missed: self.missed.get_or_create(&label).clone(),
            paused: self.paused.get_or_create(&label).clone(),
            blocked: self.blocked.get_or_create(&label).clone(),
        }
    }

    /// Gauges of a listener that is gone say nothing any more; its counters stay.
    pub(crate) fn forget(&self, listener: &str) {
        let label = ListenerLabel {
            listener: listener.to_owned(),
        };
        for gauges in [
            &self.in_flight,
            &self.waiting,
            &self.delayed,
            &self.lag,
            &self.held_bytes,
            &self.held_bytes_max,
            &self.unreadable,
            &self.paused,
        ] {
            gauges.remove(&label);
        }
    }
}

/// One listener's figures.
#[derive(Debug, Clone)]
pub(crate) struct ListenerMetrics {
    pub(crate) done: Counter,
    pub(crate) failed: Counter,
    pub(crate) exhausted: Counter,
    pub(crate) refused: Counter,
    pub(crate) expired: Counter,
    pub(crate) dropped: Counter,
    pub(crate) duplicate: Counter,
    /// Records of committed transactions.
    pub(crate) outputs: Counter,
    /// Transactions that were committed, and that were not.
    pub(crate) committed: Counter,
    pub(crate) aborted: Counter,
    transaction_seconds: Seconds,
    attempt_seconds: Seconds,
    delay_seconds: Seconds,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) delayed: Gauge,
    pub(crate) lag: Gauge,
    pub(crate) held_bytes: Gauge,
    pub(crate) held_bytes_max: Gauge,
    pub(crate) unreadable: Gauge,
    pub(crate) illegible: Counter,
    pub(crate) missed: Counter,
    pub(crate) paused: Gauge,
    pub(crate) blocked: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl ListenerMetrics {
    /// A call took so long.
    pub(crate) fn attempted(&self, took: Duration, trace: Option<TraceId>) {
        let seconds = took.as_secs_f64();
        self.attempt_seconds.observe(seconds, exemplar(trace), None);
    }

    /// A transaction of so many outputs is committed, and took so long.
    pub(crate) fn transacted(&self, outputs: usize, took: Duration) {
        self.committed.inc();
        self.outputs.inc_by(outputs as u64);
        let seconds = took.as_secs_f64();
        self.transaction_seconds.observe(seconds, None, None);
    }

    /// A record's first attempt came so long after its timestamp.
    pub(crate) fn begun(&self, delay: Duration, trace: Option<TraceId>) {
        let seconds = delay.as_secs_f64();
        self.delay_seconds.observe(seconds, exemplar(trace), None);
    }
}

fn exemplar(trace: Option<TraceId>) -> Option<Exemplar> {
    trace.map(|id| Exemplar {
        trace_id: id.to_string(),
    })
}
