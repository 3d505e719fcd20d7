//! Consumer groups of Kafka's second protocol (KIP-848): the coordinator assigns, members follow at
//! their own pace, and nobody stops reading because somebody else came or went.
//!
//! # Problem
//! In the classic protocol all members stop, join, and wait for a leader's assignment. Here each
//! member only sends heartbeats. What should be whose (the *target*) is computed by the coordinator,
//! and each member is led there one step at a time, while no partition may ever be read by two.
//!
//! # Answer
//! Three numbers and three sets. The *group epoch* grows whenever the target may have to change: a
//! member came, left or subscribed otherwise, a topic appeared, grew or vanished. The *target epoch* is
//! the group epoch the target was computed for. A *member epoch* is the target the member follows; it
//! is what commits are checked against. A member has a `target`, the partitions `assigned` to it, and
//! those it was asked to give back and has not yet (`revoking`). A partition belongs to its owner while
//! it is in `assigned` or `revoking`, and is given to nobody else until then:
//!
//! ```text
//!                        target changed, and nothing to give back
//!                       ┌────────────────────────────────────────┐
//!   epoch 0, joins      │                                        ▼
//!  ────────────────> reconciled ──────────────────────────> Unreleased: at the target epoch, waits
//!                   (assigned = target, <─────────────────── for partitions others still own
//!                    at the target epoch)   all were free        │
//!                       │        ▲                               │ target changed,
//!         target        │        │ no longer among the           │ some of it to
//!         changed, some │        │ partitions it reports         │ give back
//!         to give back  ▼        │                               │
//!                      Unrevoked: `revoking` is not empty <──────┘
//!                       │
//!                       └─ not given back within its rebalance timeout: removed
//!
//!   any state ── epoch -1, or no heartbeat within the session timeout ──> removed
//!   any state ── epoch -2 (static members) ──> keeps its partitions until it returns or its session ends
//! ```
//!
//! A heartbeat that names no partitions (null) says "as before" and never proves that something was
//! given back; an empty list says "I own none" and does.
//!
//! # What is stored
//! Each change is stored (`records`) before any answer that shows it, so after a crash no member knows
//! more than the group does. Changes of one group are stored one batch at a time, whole or not at all:
//! a partition's new owner can never be on disk while its old one still is (`ledger`).
//!
//! Invariants: see `invariants`. Not here: the wire (`kafka-edge`), timers and
//! storage (`broker::coordinator`), members of the classic protocol inside such a group (KIP-848's
//! online migration is refused; an empty group changes its protocol freely). Racks are kept and shown,
//! and no assignor looks at them.
//!
//! Source: KIP-848; Kafka 4.1's documentation of its group protocols.

mod api;
mod assignment;
mod assignor;
mod engine;
mod group;
pub(crate) mod invariants;
mod ledger;
mod member;
mod reconcile;
mod records;
mod removal;
mod request;
mod subscription;
mod topics;

pub use api::{
    ConsumerAnswer, ConsumerDescription, ConsumerHeartbeat, ConsumerMemberDescription,
    ConsumerState, LEAVES, LEAVES_FOR_NOW,
};
pub use assignment::Assignment;
pub use assignor::{Assignor, Subscriber, assign};
pub use ledger::Changes;
pub use records::{ConsumerSnapshot, HeaderRecord, MemberRecord};
pub use topics::{Topic, Topics};

pub(crate) use engine::{Consumers, Tools};
