//! The host agent: reads this machine's probes on a beat and writes the values as samples into
//! `lantern.metrics`, labelled `job` and `instance` like a scrape of node_exporter would be.
//!
//! Read first: [`Service`], [`Options`].
//!
//! Invariants: one reading is one record with one timestamp; a reading that takes longer than the
//! interval delays the next one, two never overlap; a series that goes away ends with a staleness
//! marker; when the broker refuses, the reading is dropped, counted and said once, and the next one
//! is tried (samples age, so nothing is queued).
//!
//! Not here: what is read (`probe`), how samples become series (`ingest`).

mod service;
mod table;

pub use probe::Sink;
pub use service::{Extra, Metrics, Options, Service};
