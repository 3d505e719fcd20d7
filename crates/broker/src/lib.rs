//! The spine: the [`Broker`] trait, which every service above speaks, and the embedded broker behind
//! it, with topics, partitions, retention and consumer groups.
//!
//! Read first: [`Broker`], [`TopicSpec`], [`EmbeddedBroker`], [`Tail`].
//!
//! Invariants: no Kafka request or response type appears here; a batch handed in is already checked
//! ([`record::CheckedBatch`]) and leaves as the same bytes; readers see only what is as durable as
//! its topic asks.
//!
//! ```
//! use broker::{Broker, Durability, EmbeddedBroker, Options, Tail, TopicSpec};
//! use model::{Position, Timestamp};
//! use record::{BatchBuilder, Compression};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In memory, for the example; `Options::on_disk` keeps the data on the machine's disk.
//! let broker = EmbeddedBroker::open(Options::in_memory())?;
//! let topic = TopicSpec::new("orders".parse()?, 1);
//! let orders = broker.create_topic(topic).await?.partition(0);
//!
//! let mut tail = Tail::new(broker.clone(), orders.clone(), Position::default())?;
//! let mut batch = BatchBuilder::new(Compression::Lz4);
//! batch.push(Timestamp::from_millis(1_000), Some(b"order 7"), Some(b"paid"), &[]);
//! let appended = broker.append(&orders, vec![batch.build()], Durability::Flushed).await?;
//! assert_eq!(appended.base_offset.get(), 0);
//!
//! let fetched = tail.next().await?;
//! assert_eq!(fetched.next, appended.next);
//! for batch in record::Batches::new(fetched.batches) {
//!     for record in &batch?.records()? {
//!         assert_eq!(record?.value, Some(&b"paid"[..]));
//!     }
//! }
//! broker.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: `api` (the trait and its words), `appends` (what many appends return), `config` (topic configuration as text),
//! `embedded` (the broker of this machine), `delays` (how late consumers are), [`coordinator`] (members of consumer groups),
//! `transactional` and [`transaction_coordinator`] (what counts together or not at all), `feed` and `demand` (being
//! told of what is new), `tail`, `committed` and `ensure` (helpers over any broker).

mod api;
mod appends;
mod committed;
mod config;
pub mod coordinator;
mod delays;
mod demand;
mod embedded;
mod ensure;
mod feed;
mod table;
mod tail;
pub mod transaction_coordinator;
mod transactional;

pub use api::*;
pub use appends::{AppendAnswers, AppendsFuture};
pub use committed::{read_committed, without};
pub use config::{
    Cleanup, CleanupPolicy, ConfigEntry, ConfigKey, ConfigKind, DirtyRatio, KEYS,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, config_key,
};
pub use coordinator::{CoordinatorOptions, GroupCoordinator, GroupError};
pub use delays::{DelayFilter, Delays, GroupDelay, PlaceDelay};
pub use demand::{Demand, Wanted, Wish};
pub use embedded::{
    CatalogError, Drive, EmbeddedBroker, Finding, GroupsVerified, KIND_COMMIT, KIND_GROUP,
    OpenError, Options, PartitionReport, PartitionVerified, RecoveryReport, StartAction, Verified,
    VerifyError, VerifyOptions, VerifyProgress, VerifyStage, verify,
};
pub use ensure::ensure_topic;
pub use feed::{Fed, Feed};
pub use tail::{TAIL_BYTES, Tail};
pub use transaction_coordinator::{TransactionCoordinator, TransactionError, TransactionOptions};
pub use transactional::{Aborted, Committed, ProducerStatus, TransactionalLog, Unfinished};
