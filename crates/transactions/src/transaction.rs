//! The state of one transactional id.
//!
//! ```text
//!            init               add_*                 end                 finished
//!  (nothing) ────> Empty ──────────────> Open ────────────────> Ending ────────────> Ended
//!                    ^                     │ timed out, or        ^ (decided and      │
//!                    │                     └── taken over: abort ─┘   stored)         │
//!                    └───────────── init, or add_* straight to Open <─────────────────┘
//! ```
//! Every method takes the state as stored and answers the one to store next, if anything changes.
//! Source: KIP-98, KIP-360 (epochs of a producer that asks again), KIP-588.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{GroupId, Outcome, Producer, Timestamp, TopicPartition};

use crate::{Error, GROUPS_MAX, Options};

/// The last epoch that is given out; the one after it only ever fences.
const EPOCH_LAST: i16 = i16::MAX - 1;

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// None was begun by this producer.
    Empty,
    /// Records and offsets come in.
    Open,
    /// The outcome is decided; markers are being written.
    Ending(Outcome),
    /// The outcome is in every partition.
    Ended(Outcome),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Open => f.write_str("open"),
            Self::Ending(outcome) => write!(f, "being ended by {outcome}"),
            Self::Ended(outcome) => write!(f, "ended by {outcome}"),
        }
    }
}

/// A producer's wish to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// How long a transaction of it may stay open.
    pub timeout: Duration,
    /// Who it believes to be, when it asks for its next epoch.
    pub expected: Option<Producer>,
}

/// What becomes of an [`Init`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Store this, then its producer is the answer.
    Store(Transaction),
    /// This was asked before: the same answer, and nothing changes.
    Again(Producer),
    /// A transaction is open: store this, end it by its markers, store that, and ask again.
    AbortFirst(Transaction),
}

/// What becomes of a wish to end a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Store this: from then on the outcome is decided. Then write markers.
    Store(Transaction),
    /// It has ended so before.
    Done,
}

/// What is known of one transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) producer: Producer,
    /// Who the producer was before it asked for its next epoch, to know it when it asks again.
    pub(crate) last: Option<Producer>,
    pub(crate) timeout: Duration,
    pub(crate) phase: Phase,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<GroupId>,
    /// When the transaction was opened; in other phases of no meaning.
    pub(crate) started: Timestamp,
    pub(crate) updated: Timestamp,
}

impl Transaction {
    /// Whether [`Transaction::init`] needs a producer id that was never used.
    pub fn needs_id(current: Option<&Self>) -> bool {
        current.is_none_or(|current| current.producer.epoch >= EPOCH_LAST)
    }

    /// A producer begins: it gets an id and an epoch, and every earlier one is fenced.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Fenced`], [`Error::Busy`]; [`Error::WrongProducer`] when
    /// `fresh` is missing though [needed](Transaction::needs_id).
    pub fn init(
        current: Option<&Self>,
        now: Timestamp,
        ask: &Init,
        fresh: Option<i64>,
        options: &Options,
    ) -> Result<Begin, Error> {
        if ask.timeout.is_zero() || ask.timeout > options.timeout_max {
            return Err(Error::Timeout {
                asked: ask.timeout,
                max: options.timeout_max,
            });
        }
        let missing = Error::WrongProducer { asked: -1 };
        let Some(current) = current else {
            let producer = Producer::new(fresh.ok_or(missing)?, 0);
            return Ok(Begin::Store(Self::empty(producer, None, ask.timeout, now)));
        };
        if let Some(asked) = ask.expected
            && asked != current.producer
        {
            let again = current.last == Some(asked) && current.phase != Phase::Open;
            if !again {
                return Err(current.fenced_by(asked));
            }
            if matches!(current.phase, Phase::Ending(_)) {
                return Err(Error::Busy);
            }
            return Ok(Begin::Again(current.producer));
        }
        match current.phase {
            Phase::Ending(_) => Err(Error::Busy),
            Phase::Open => Ok(Begin::AbortFirst(current.taken_over(now, ask.expected))),
            Phase::Empty | Phase::Ended(_) => {
                let producer = if Self::needs_id(Some(current)) {
                    Producer::new(fresh.ok_or(missing)?, 0)
                } else {
                    Producer::new(current.producer.id, current.producer.epoch + 1)
                };
                let next = Self::empty(producer, ask.expected, ask.timeout, now);
                Ok(Begin::Store(next))
            }
        }
    }

    fn empty(
        producer: Producer,
        last: Option<Producer>,
        timeout: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            producer,
            last,
            timeout,
            phase: Phase::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started: now,
            updated: now,
        }
    }

    /// The open transaction as aborted in the next epoch, which the old producer does not have.
    fn taken_over(&self, now: Timestamp, last: Option<Producer>) -> Self {
        let epoch = self.producer.epoch.saturating_add(1);
        Self {
            producer: Producer::new(self.producer.id, epoch),
            last,
            phase: Phase::Ending(Outcome::Abort),
            updated: now,
            ..self.clone()
        }
    }

    /// Lets partitions in, opening a transaction if none is. `None`: they were in before.
    ///
    /// # Errors
    /// [`Error::WrongProducer`], [`Error::Fenced`], [`Error::Busy`].
    pub fn add_partitions(
        &self,
        now: Timestamp,
        by: Producer,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Option<Self>, Error> {
        self.check(by)?;
        let mut next = self.opened(now)?;
        next.partitions.extend(partitions);
        Ok(self.changed(next))
    }

    /// Lets a group's offsets in, opening a transaction if none is. `None`: it was in before.
    ///
    /// # Errors
    /// [`Error::WrongProducer`], [`Error::Fenced`], [`Error::Busy`], [`Error::TooManyGroups`].
    pub fn add_group(
        &self,
        now: Timestamp,
        by: Producer,
        group: GroupId,
    ) -> Result<Option<Self>, Error> {
        self.check(by)?;
        let mut next = self.opened(now)?;
        next.groups.insert(group);
        if next.groups.len() > GROUPS_MAX {
            return Err(Error::TooManyGroups { limit: GROUPS_MAX });
        }
        Ok(self.changed(next))
    }

    /// Whether offsets of `group` may be staged in this transaction.
    ///
    /// # Errors
    /// [`Error::WrongProducer`], [`Error::Fenced`], [`Error::WrongPhase`].
    pub fn may_stage(&self, by: Producer, group: &GroupId) -> Result<(), Error> {
        self.check(by)?;
        if self.phase == Phase::Open && self.groups.contains(group) {
            return Ok(());
        }
        Err(Error::WrongPhase { phase: self.phase })
    }

    /// Decides how the transaction ends.
    ///
    /// # Errors
    /// [`Error::WrongProducer`], [`Error::Fenced`]; [`Error::Busy`] while it is being ended so;
    /// [`Error::WrongPhase`] when there is none or it ended otherwise.
    pub fn end(&self, now: Timestamp, by: Producer, outcome: Outcome) -> Result<End, Error> {
        self.check(by)?;
        match self.phase {
            Phase::Open => Ok(End::Store(Self {
                phase: Phase::Ending(outcome),
                updated: now,
                ..self.clone()
            })),
            Phase::Ending(decided) if decided == outcome => Err(Error::Busy),
            Phase::Ended(decided) if decided == outcome => Ok(End::Done),
            phase => Err(Error::WrongPhase { phase }),
        }
    }

    /// The open transaction as aborted, if its time is over at `now`.
    pub fn timed_out(&self, now: Timestamp) -> Option<Self> {
        let over = self.phase == Phase::Open && now.since(self.started) >= self.timeout;
        over.then(|| self.taken_over(now, None))
    }

    /// What remains when every partition has its marker and offsets are settled.
    #[must_use]
    pub fn finished(&self, now: Timestamp) -> Self {
        let phase = match self.phase {
            Phase::Ending(outcome) => Phase::Ended(outcome),
            other => other,
        };
        Self {
            phase,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            updated: now,
            ..self.clone()
        }
    }

    /// Whether the id may be forgotten at `now`.
    pub fn is_forgettable(&self, now: Timestamp, options: &Options) -> bool {
        let idle = matches!(self.phase, Phase::Empty | Phase::Ended(_));
        idle && now.since(self.updated) >= options.id_expiry
    }

    /// The newest producer.
    pub fn producer(&self) -> Producer {
        self.producer
    }

    /// How it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How long a transaction may stay open.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the open transaction was opened.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Partitions that were let in and have no marker yet.
    pub fn partitions(&self) -> &BTreeSet<TopicPartition> {
        &self.partitions
    }

    /// Groups that were let in and whose offsets are not settled yet.
    pub fn groups(&self) -> &BTreeSet<GroupId> {
        &self.groups
    }

    fn check(&self, by: Producer) -> Result<(), Error> {
        if by.id != self.producer.id {
            return Err(Error::WrongProducer { asked: by.id });
        }
        if by != self.producer {
            return Err(self.fenced_by(by));
        }
        Ok(())
    }

    fn fenced_by(&self, asked: Producer) -> Error {
        Error::Fenced {
            asked,
            newest: self.producer,
        }
    }

    fn opened(&self, now: Timestamp) -> Result<Self, Error> {
        match self.phase {
            Phase::Open => Ok(self.clone()),
            Phase::Ending(_) => Err(Error::Busy),
            Phase::Empty | Phase::Ended(_) => Ok(Self {
                phase: Phase::Open,
                started: now,
                updated: now,
                ..self.clone()
            }),
        }
    }

    fn changed(&self, next: Self) -> Option<Self> {
        (*self != next).then_some(next)
    }
}
