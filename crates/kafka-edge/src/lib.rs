//! The Kafka endpoint: TCP connections to broker calls.
//!
//! Read first: [`Options`] and [`Service`]; then `connection` (how requests flow), `dispatch` (which
//! handler serves what), and `api` (one file per family of requests). `codes` alone knows which of
//! our errors is which Kafka code.
//!
//! Invariants: no request, however bent, makes it panic or take more memory than its budgets; a
//! batch goes from the socket to the log and back as the same bytes; answers come in the order of
//! requests; a panic in one connection is fenced there and counted.
//!
//! Clients may read every topic, `lantern.*` too, and may write to `lantern.metrics`, so that a
//! metrics bridge needs nothing but a Kafka producer. The other `lantern.*` topics hold Lantern's
//! own state and refuse writers.
//!
//! Not served yet: SASL, transactions by KIP-890, share groups.
//!
//! ```no_run
//! # async fn example(
//! #     broker: broker::DynBroker,
//! #     groups: std::sync::Arc<broker::coordinator::GroupCoordinator>,
//! #     clock: env::DynClock,
//! # ) -> Result<(), kafka_edge::Error> {
//! let mut service = kafka_edge::Service::new(kafka_edge::Options::default(), broker, groups, clock)?;
//! let address = service.bind().await?;
//! let stop = tokio_util::sync::CancellationToken::new();
//! service.run(stop).await
//! # }
//! ```

#![forbid(unsafe_code)]

mod answer;
mod api;
mod budget;
mod codes;
mod connection;
mod context;
mod dispatch;
mod error;
mod events;
mod inflating;
mod metrics;
mod options;
mod pressure;
mod service;

pub use error::Error;
pub use options::{Advertised, Options, RATE_MIN};
pub use service::Service;
