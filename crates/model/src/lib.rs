//! The words of the house: names, numbers and limits that every floor above uses alike.
//!
//! Read first: [`TopicName`], [`Offset`] (a record's number in its partition) and [`Position`] (the
//! same place as an opaque token that also fits Redis Streams and JetStream).
//!
//! Not here: bytes of records (`record`), files (`env`), anything that does something.
//!
//! ```
//! use model::{Offset, TopicName};
//! let topic: TopicName = "orders".parse().unwrap();
//! assert_eq!(topic.as_str(), "orders");
//! assert_eq!(Offset::new(41).next(), Offset::new(42));
//! assert!("no/slashes".parse::<TopicName>().is_err());
//! ```

pub mod limits;
mod names;
mod numbers;
mod partitioner;
mod time;
mod transaction;

pub use names::{GroupId, InvalidName, TopicId, TopicName, TopicPartition};
pub use numbers::{Offset, PartitionId, Position};
pub use partitioner::partition_of;
pub use time::Timestamp;
pub use transaction::{Outcome, Producer};
