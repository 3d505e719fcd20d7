//! Consumer group membership as a state machine that is told the time.
//!
//! Kafka's classic group protocol without sockets, clocks, threads or storage: members join, agree on
//! a generation, get their assignment from the leader, send heartbeats, leave or are lost. Each call
//! answers with [`Action`]s: answers to requests (some held back until later), states to be stored,
//! and notes for logs and counters.
//!
//! Kafka's second protocol (KIP-848), in which the coordinator assigns, is in [`consumer`].
//!
//! Read first: [`Coordinator`], [`Action`], and the essay in `rebalance.rs`.
//!
//! Invariants: the generation of a group only grows; a group with members has exactly one leader, who
//! is one of them; every request is answered exactly once; an assignment is stored before any member
//! gets it. [`invariants`] has those that hold between any two calls.
//! Not here: the wire (`kafka-edge`), timers and storage (`broker::coordinator`), committed offsets
//! and how long they are kept (`broker`).
//!
//! ```
//! use std::time::Duration;
//! use groups::{Action, Coordinator, JoinRequest, Options, Protocol, Ticket};
//!
//! let mut groups = Coordinator::new(Options::default());
//! let join = JoinRequest {
//!     group: "billing".parse().unwrap(),
//!     member: "".into(),
//!     instance: None,
//!     client_id: "app".into(),
//!     client_host: "127.0.0.1".into(),
//!     session_timeout: Duration::from_secs(10),
//!     rebalance_timeout: Duration::from_secs(30),
//!     protocol_type: "consumer".into(),
//!     protocols: vec![Protocol { name: "range".into(), metadata: "topics".into() }],
//!     member_id_required: false,
//!     may_skip_assignment: false,
//! };
//! let start = Duration::ZERO;
//! let held_back = groups.join(start, Ticket(1), &join, [7; 16]);
//! assert!(held_back.iter().all(|action| !matches!(action, Action::AnswerJoin { .. })));
//!
//! let later = groups.next_deadline().unwrap();
//! let answered = groups.tick(later);
//! let generation = answered.iter().find_map(|action| match action {
//!     Action::AnswerJoin { ticket: Ticket(1), result: Ok(answer) } => Some(answer.generation),
//!     _ => None,
//! });
//! assert_eq!(generation, Some(1));
//! ```

#![forbid(unsafe_code)]

mod api;
pub mod consumer;
mod coordinator;
mod error;
mod group;
mod ids;
pub mod invariants;
mod join;
mod member;
mod options;
mod rebalance;
mod requests;
mod snapshot;
mod subscription;

pub use api::{
    Action, GroupDescription, GroupListing, GroupState, JoinAnswer, JoinRequest, JoinedMember,
    Leaving, ListedState, MemberDescription, MemberRef, Note, Protocol, Reason, SyncAnswer,
    SyncRequest,
};
pub use coordinator::{Coordinator, LeaveResults};
pub use error::Error;
pub use ids::{InstanceId, MemberId, StoreId, Ticket};
pub use options::Options;
pub use snapshot::{MemberSnapshot, Snapshot, SnapshotError};
