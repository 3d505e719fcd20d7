//! Prometheus series: labels, samples, compressed chunks, the in-memory store, remote write.
//!
//! Read first: [`Labels`] (who a series is), [`Store`] (append, find, watch), [`mod@write`] (the bytes that
//! carry samples over HTTP and in records). Not here: queries (`promql`), the topic that samples come
//! from (`ingest`).
//!
//! ```
//! use model::Timestamp;
//! use series::{Labels, MatchOp, Matcher, Store, StoreOptions, Touched};
//!
//! let store = Store::new(StoreOptions::default());
//! let watch = store.watch(vec![Matcher::new(MatchOp::Regex, "__name__", "node_.+")?]);
//! let load = store.resolve(&Labels::of(&[("__name__", "node_load1")]))?;
//! let mut touched = Touched::new();
//! store.append_id(load, Timestamp::from_millis(1_000), 0.5, &mut touched);
//! assert!(touched.contains(watch));
//! # Ok::<(), series::Error>(())
//! ```
#![forbid(unsafe_code)]

mod bits;
mod body;
mod chunk;
mod error;
mod given;
mod index;
mod labels;
mod matcher;
mod pattern;
mod snapshot;
mod store;
mod value;
mod watch;
pub mod write;

pub use chunk::Samples;
pub use error::Error;
pub use index::SeriesId;
pub use labels::{
    DuplicateLabel, Iter as LabelsIter, Labels, LabelsBuilder, METRIC_NAME, is_plain_label_name,
    is_plain_metric_name,
};
pub use matcher::{MatchOp, Matcher};
pub use pattern::anchored as anchored_pattern;
pub use snapshot::SnapshotError;
pub use store::{Appended, Counters, Series, SeriesRef, Stats, Store, StoreOptions};
pub use value::{STALE_NAN, STALE_NAN_BITS, format_value, is_stale, same_value};
pub use watch::{Touched, WatchId};
