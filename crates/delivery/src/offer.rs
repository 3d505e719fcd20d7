//! The words of a delivery: what is offered, what is leased, how it ended.

use std::time::Duration;

use model::Position;

use crate::Priority;

/// One partition as a queue numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) u64);

/// A record that may be delivered.
#[derive(Debug, Clone)]
pub struct Offer<T> {
    /// Where it comes from.
    pub source: SourceId,
    /// Its place there; offers of one source come in growing order.
    pub position: Position,
    /// Hash of what orders it; `None`: it waits for nobody. Two keys of one hash share their order,
    /// which costs a wait and breaks nothing.
    pub key: Option<u64>,
    /// Its class.
    pub priority: Priority,
    /// Orders records of one class, earliest first; milliseconds, or any number that grows with time.
    pub time: i64,
    /// It is not delivered before this moment, on the clock of `now`. It leaves the order of its key: its
    /// place is its time, and nobody waits for it.
    pub due: Option<Duration>,
    /// It is not delivered at or after this moment, on the clock of `now`.
    pub deadline: Option<Duration>,
    /// What the caller needs to deliver it.
    pub payload: T,
}

impl<T> Offer<T> {
    /// A record without key, deadline or urgency.
    pub fn new(source: SourceId, position: Position, payload: T) -> Self {
        Self {
            source,
            position,
            key: None,
            priority: Priority::DEFAULT,
            time: 0,
            due: None,
            deadline: None,
            payload,
        }
    }

    /// Orders it among records of the same key.
    #[must_use]
    pub fn with_key(mut self, key: &[u8]) -> Self {
        self.key = Some(crate::queue::key_hash(key));
        self
    }
}

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(crate) u64);

/// The right to deliver some records, until it is settled or ends.
#[derive(Debug)]
pub struct Lease<T> {
    /// Names it to [`crate::Queue::settle`].
    pub id: LeaseId,
    /// At least one; those of one key in their order.
    pub records: Vec<Leased<T>>,
}

/// One record of a lease.
#[derive(Debug)]
pub struct Leased<T> {
    /// What was offered.
    pub payload: T,
    /// What orders it: after one of a chain failed, the others of this lease must not be called.
    pub chain: Option<(SourceId, u64)>,
    /// This attempt, from 1.
    pub attempt: u32,
    /// How long it may still take; `None`: no deadline.
    pub remaining: Option<Duration>,
    /// How long it waited since it was offered.
    pub waited: Duration,
}

/// What became of one record of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken.
    Done,
    /// Failed in a way that another attempt may mend.
    Failed {
        /// What went wrong, for people.
        error: String,
        /// Not before this long, if the listener said so.
        after: Option<Duration>,
    },
    /// Refused for good: another attempt could not change it.
    Refused {
        /// What the listener said.
        error: String,
    },
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it ended, on the clock of `now`.
    pub at: Duration,
    /// What went wrong.
    pub error: String,
}

/// Why a record will not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All attempts failed.
    Exhausted,
    /// The listener refused it for good.
    Refused,
    /// Its deadline passed.
    Expired,
}

impl Reason {
    /// One word, for headers and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

/// One record in a queue: its slot, and a number that tells it from others that had the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryId {
    pub(crate) slot: usize,
    pub(crate) number: u64,
}

/// A record that waits for its burial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpentId(pub(crate) EntryId);

/// A record that will not be delivered (any more).
#[derive(Debug, Clone)]
pub struct Spent<T> {
    /// Set when it must be buried: it keeps its key waiting until [`crate::Queue::buried`]. `None`: it
    /// was dropped.
    pub id: Option<SpentId>,
    /// What was offered.
    pub payload: T,
    /// Why.
    pub reason: Reason,
    /// Its attempts, oldest first.
    pub failures: Vec<Failure>,
}
