//! Transactions of producers as a state machine that is told the time.
//!
//! Read [`Transaction`]: the state of one transactional id, whose methods answer the state that must
//! be stored before anybody hears of it. [`Snapshot`](Transaction::encode) bytes are its record.
//!
//! Invariants: of the producers given out for one id only the newest can do anything; an outcome that
//! was decided never changes, and it covers every partition and group that was let in; what is
//! stored last is all there is to know, so a start goes on where the last one was killed.
//! Not here: clocks, topics, storing (`broker::transactions`), markers (`record`), Kafka's codes
//! (`kafka-edge`).
//!
//! ```
//! use model::{Outcome, Timestamp};
//! use std::time::Duration;
//! use transactions::{Begin, End, Init, Options, Transaction};
//!
//! let now = Timestamp::from_millis(0);
//! let ask = Init { timeout: Duration::from_secs(60), expected: None };
//! let Begin::Store(new) = Transaction::init(None, now, &ask, Some(7), &Options::default()).unwrap()
//! else { panic!() };
//! let producer = new.producer();
//! let orders = model::TopicPartition::new("orders".parse().unwrap(), model::PartitionId::new(0));
//! let open = new.add_partitions(now, producer, [orders]).unwrap().unwrap();
//! let End::Store(ending) = open.end(now, producer, Outcome::Commit).unwrap() else { panic!() };
//! assert_eq!(ending.partitions().len(), 1, "each gets a marker");
//! let ended = ending.finished(now);
//! assert_eq!(ended.end(now, producer, Outcome::Commit).unwrap(), End::Done);
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::as_conversions,
        reason = "a test that panics has failed"
    )
)]

mod codec;
mod error;
mod id;
mod options;
mod transaction;

pub use error::Error;
pub use id::{InvalidId, TRANSACTIONAL_ID_BYTES_MAX, TransactionalId};
pub use options::{GROUPS_MAX, Options};
pub use transaction::{Begin, End, Init, Phase, Transaction};
