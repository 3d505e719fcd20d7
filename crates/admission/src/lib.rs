//! Who may send how much, for every edge alike: quotas by client and topic, and one line before the log.
//!
//! Read first: [`Admission`]. An edge asks [`Admission::admit`] before it appends and holds the [`Permit`] until the
//! append is answered; it tells [`Admission::charge`] what was sent and passes the pause on to the sender. Work that cannot be
//! admitted is [`Refused`], with the time after which to come again: Kafka's `throttle_time_ms`, HTTP's `Retry-After`,
//! gRPC's `RetryInfo` all say just that.
//!
//! Invariants:
//! - What waits here is bounded: each of the [`LINE_MAX`] places is one request that its edge has counted
//!   already, and an edge that waits does not read on.
//! - The line is first come, first served; who leaves it takes no room along.
//! - A quota is kept over time whatever a client does: what it sends too much it owes, and who owes more than
//!   [`DEBT_MAX`] is refused until it is paid.
//! - Clients and topics are kept by name, [`NAMES_MAX`] of each at most.
//! - Work that takes a processor for long is done on fewer threads than there are processors ([`Admission::aside`]).
//!
//! Not here: the arithmetic (`flow`), protocols and error codes (the edges).
//! Why it is like this: `docs/decisions/0015-pressure.md`.

#![forbid(unsafe_code)]

mod aside;
mod events;
mod gate;
mod metrics;
mod options;
mod quotas;
mod refused;

pub use gate::{Admission, LINE_MAX, Permit};
pub use options::{ClientQuota, Limit, Options, Quotas, TopicQuota};
pub use quotas::{DEBT_MAX, Flow, NAMES_MAX};
pub use refused::{Reason, Refused};

/// How a piece of admitted work ended.
pub use flow::Outcome;
/// One sender's pauses.
pub use flow::Pacer;
