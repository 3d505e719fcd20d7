//! A small Kafka producer and consumer for demos, benchmarks and the command line.
//!
//! Two storeys. Over one connection, many requests in flight: [`Connection::open`], then [`Producer`]
//! (batches out, acknowledgements back), [`Consumer`] (batches in) and [`Admin`] (topics, offsets,
//! groups). Over a [`Cluster`] of any number of servers, whose leaders may move and which may restart:
//! [`Sender`] (records out, in order, sent again), [`Reader`] (batches in) and [`Member`] (of a group).
//!
//! Invariants: answers belong to requests in order, checked by correlation id; at most
//! [`Options::in_flight_max`] requests wait for an answer; when the connection fails, every waiting
//! request fails with it and says why.
//!
//! Not here: TLS, authentication, transactions of its own. In the lower storey a lost connection is the
//! caller's to open again.
//!
//! ```no_run
//! # async fn example(batch: record::CheckedBatch) -> Result<(), kafka_client::Error> {
//! use kafka_client::{Admin, Producer};
//! use model::{PartitionId, TopicName, TopicPartition};
//! let orders: TopicName = "orders".parse().unwrap();
//! Admin::connect("127.0.0.1:9092").await?.create_topic(&orders, 4).await?;
//! let producer = Producer::connect("127.0.0.1:9092").await?;
//! let to = TopicPartition::new(orders, PartitionId::new(0));
//! // One at a time …
//! let offset = producer.send(&to, batch.clone()).await?;
//! // … or many in flight.
//! let delivery = producer.enqueue(&to, batch).await?;
//! assert!(delivery.acknowledged().await?.base_offset > offset);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod aborted;
mod admin;
mod cluster;
mod connection;
mod consumer;
mod error;
mod membership;
mod metadata;
mod producer;
mod reader;
mod sender;

pub use admin::{
    Admin, ConfigValue, GroupDetail, GroupListing, MemberDetail, Place, TopicMetadata, TopicShape,
};
pub use cluster::{Cluster, PATIENCE};
pub use connection::{Connection, Options};
pub use consumer::{Consumer, ConsumerOptions, Fetched};
pub use error::Error;
pub use kafka_wire::{Api, ErrorCode};
pub use membership::{Beat, Member, MemberOptions};
pub use metadata::{BrokerMetadata, Metadata, PartitionDetail, TopicDetail};
pub use model::partition_of;
pub use producer::{Ack, Acks, Delivery, Producer};
pub use reader::{Isolation, Reader, Step};
pub use sender::{Load, Outcome, Outcomes, Sender, SenderOptions};
