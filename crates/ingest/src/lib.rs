//! The way of samples: [`write()`] makes them a durable record of `lantern.metrics`, and [`Service`]
//! replays and follows that topic into the series store, telling who waits for which series.
//!
//! Invariants: a sample is in the store only after its record is durable and readable, except the
//! results of rules, which their writer may put there itself first (the same sample twice is one); a
//! reader of the store that is woken finds the samples it was woken for; whoever waits gets one merged
//! set, never a queue.
//! Not here: where samples come from (`agent`, `meter`, `alerting`, remote write), what they mean
//! (`promql`).

mod metrics;
mod pending;
mod service;
mod snapshot;
mod topic;
mod write;

pub use metrics::Metrics;
pub use pending::Subscription;
pub use service::{Progress, Service};
pub use snapshot::{SnapshotFile, SnapshotUnusable};
pub use topic::ensure_metrics_topic;
pub use write::{Encoded, Origin, append, encode, write};

/// Header of a record of `lantern.metrics` that says who made its samples.
pub const ORIGIN_HEADER: &str = "x-lantern-origin";
