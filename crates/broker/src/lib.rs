//! The spine: the [`Broker`] trait, which every service above speaks, and the embedded broker behind
//! it, with topics, partitions, retention and consumer groups.
//!
//! Read first: [`Broker`], [`TopicSpec`], [`Tail`].
//!
//! Invariants: no Kafka request or response type appears here; a batch handed in is already checked
//! ([`record::CheckedBatch`]) and leaves as the same bytes; readers see only what is as durable as
//! its topic asks.

mod api;
mod config;
pub mod coordinator;
mod ensure;
mod tail;

pub use api::*;
pub use config::{
    ConfigEntry, ConfigKey, ConfigKind, KEYS, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, config_key,
};
pub use coordinator::{CoordinatorOptions, GroupCoordinator, GroupError};
pub use ensure::ensure_topic;
pub use tail::{TAIL_BYTES, Tail};
