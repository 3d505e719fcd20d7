//! Meters turn the events of a topic into series: a counter of orders by status, a histogram of the
//! time between two events of one order, a gauge of orders that wait. Rules and boards then ask for
//! them like for any other series.
//!
//! Read first: [`Service`] and [`Handle`], then `spec` (what a user writes) and `tally` (what one
//! meter knows).
//!
//! Invariants: an event is counted once, also across kill -9: counters and the positions up to
//! which they count are one record of `lantern.meters`, and a start goes on from there, catching up
//! with the topic before it writes its first sample, so that no counter is ever seen to go back.
//! Keys and label sets are bounded; what is over the bound is counted, not kept.
//! Not here: storage of samples (`ingest`), their meaning (`promql`).

mod field;
mod running;
mod service;
mod snapshot;
mod spec;
mod tally;

pub use field::{Event, Field};
pub use service::{Handle, Options, Service};
pub use spec::{Condition, Meter, MeterFile, Metric, Problem};
pub use tally::Tally;
