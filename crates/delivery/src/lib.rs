//! What a listener gets next: decisions only, no clock, no tasks, no bytes of records.
//!
//! Read first: [`Queue`], the deliveries of one listener, and [`Progress`], how far it is in one
//! partition. Then `ready` (priority with a bound on starvation) and `retry` (pauses).
//!
//! A record is offered once, in the order of its partition. It becomes ready when no earlier record of
//! its key is unfinished, is leased to the listener, and is finished: taken, dropped, or buried in the
//! dead-letter topic. What fails waits and is leased again; only its key waits with it.
//!
//! Invariants: a record is finished exactly once; records of one key are leased in the order offered,
//! also over retries; a class of priority that has ready records is served at least once in
//! [`Policy::starvation`] as long as leases are asked for; the position to commit never passes a record
//! that is not finished. Checked by [`Queue::check`] in the tests.
//! Not here: reading topics, calling listeners, writing dead letters (`dispatch`); rates and breakers
//! (`flow`).
//!
//! ```
//! use std::time::Duration;
//! use delivery::{Offer, Outcome, Policy, Queue};
//! use model::Position;
//!
//! let mut queue = Queue::new(Policy::default());
//! let source = queue.add_source();
//! let now = Duration::ZERO;
//! queue.offer(now, Offer::new(source, Position::from_bits(7), "pay").with_key(b"order-1"));
//! queue.read_to(source, Position::from_bits(8));
//! let lease = queue.lease(now, 10).unwrap();
//! assert_eq!(lease.records[0].payload, "pay");
//! queue.settle(now, lease.id, 0.5, |_| Outcome::Done);
//! assert_eq!(queue.position(source), Position::from_bits(8));
//! ```
#![forbid(unsafe_code)]

mod dedup;
mod delayed;
mod healing;
mod hlc;
mod offer;
mod passed;
mod policy;
mod progress;
mod queue;
mod ready;

pub use dedup::Dedup;
pub use delayed::{Carry, Delayed, Fate, Found, Scan, Scanner, Turn};
pub use healing::{FRUITLESS_MAX, Healing, HealingOptions, Load, Verdict};
pub use hlc::{Hlc, ParseHlcError};
pub use offer::{
    Failure, Lease, LeaseId, Leased, Offer, Outcome, Reason, SourceId, Spent, SpentId,
};
pub use passed::Passed;
pub use policy::{Policy, Priority, Retry, backoff};
pub use progress::{Finished, Progress};
pub use queue::{Queue, Stats};
