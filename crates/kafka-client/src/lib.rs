//! A small Kafka producer and consumer for demos, benchmarks and the command line.
//!
//! One server, one connection per client object, many requests in flight. Read first:
//! [`Connection::open`], then [`Producer`] (batches out, acknowledgements back), [`Consumer`] (batches
//! in) and [`Admin`] (topics, offsets, producer ids).
//!
//! Invariants: answers belong to requests in order, checked by correlation id; at most
//! [`Options::in_flight_max`] requests wait for an answer; when the connection fails, every waiting
//! request fails with it and says why.
//!
//! Not here: consumer groups, several servers, retries. A lost connection is the caller's to open
//! again.
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

mod admin;
mod connection;
mod consumer;
mod error;
mod producer;

pub use admin::{Admin, Place, TopicMetadata};
pub use connection::{Connection, Options};
pub use consumer::{Consumer, ConsumerOptions, Fetched};
pub use error::Error;
pub use producer::{Ack, Acks, Delivery, Producer};
