//! What ingest counts.

use model::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use series::write::Applied;

/// Counters of the service; clones share.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    records: Counter,
    broken: Counter,
    stored: Counter,
    known: Counter,
    outside: Counter,
    refused: Counter,
    snapshots: Counter,
    snapshot_failures: Counter,
    snapshot_at: Gauge,
    lag: Gauge,
}

impl Metrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("lantern_ingest_{name}"), help, counter.clone());
        };
        counter("records", "Records of samples read", &self.records);
        counter(
            "records_broken",
            "Records that hold no samples one can read",
            &self.broken,
        );
        counter("samples_stored", "Samples taken into memory", &self.stored);
        counter(
            "samples_known",
            "Samples that were there already",
            &self.known,
        );
        counter(
            "samples_outside",
            "Samples too old or too far in the future",
            &self.outside,
        );
        counter(
            "samples_refused",
            "Samples of series over a limit",
            &self.refused,
        );
        counter(
            "snapshots",
            "Snapshots of the samples written",
            &self.snapshots,
        );
        counter(
            "snapshot_failures",
            "Snapshots of the samples that could not be written, or not be used at the start",
            &self.snapshot_failures,
        );
        registry.register(
            "lantern_ingest_last_snapshot_timestamp_seconds",
            "When this process last wrote a snapshot of the samples, Unix seconds; 0 if it has not yet",
            self.snapshot_at.clone(),
        );
        let help = "Records of lantern.metrics not read yet";
        registry.register("lantern_ingest_lag_records", help, self.lag.clone());
    }

    pub(crate) fn applied(&self, applied: &Applied) {
        let add = |counter: &Counter, count: usize| counter.inc_by(count as u64);
        self.records.inc();
        add(&self.stored, applied.stored);
        add(&self.known, applied.known);
        add(&self.outside, applied.outside);
        add(&self.refused, applied.refused);
    }

    pub(crate) fn broken(&self) {
        self.broken.inc();
    }

    pub(crate) fn snapshot(&self, at: Timestamp) {
        self.snapshots.inc();
        self.snapshot_at.set(at.millis() / 1_000);
    }

    pub(crate) fn snapshot_failed(&self) {
        self.snapshot_failures.inc();
    }

    pub(crate) fn lag(&self, records: u128) {
        self.lag.set(i64::try_from(records).unwrap_or(i64::MAX));
    }
}
