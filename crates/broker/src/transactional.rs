//! What a log must do so that appends to several partitions, and a group's progress, count together
//! or not at all.
//!
//! The words are Kafka's, without its requests: a producer is *enlisted* in a partition and writes
//! there; progress is *staged*; a marker *ends* the transaction in each partition, and progress is
//! *settled* by the same outcome. Who may do what, and that an outcome once decided reaches every
//! partition also after a crash, is the coordinator's
//! ([`TransactionCoordinator`](crate::TransactionCoordinator)).

use std::collections::{BTreeMap, BTreeSet};

use model::{GroupId, Outcome, Position, Producer, Timestamp, TopicPartition};

use crate::{AppendsFuture, BrokerFuture, Commit, Error, Fetched, ReadLimit};

/// The transactional side of a broker.
pub trait TransactionalLog: Send + Sync + std::fmt::Debug {
    /// Lets `producer` append batches of a transaction to `to` until a marker of it ends that. Does
    /// not survive a restart, after which the coordinator says it again.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn enlist(&self, producer: Producer, to: &TopicPartition) -> Result<(), Error>;

    /// Appends a marker to each of `of`, which ends the transaction there: durable, and seen by
    /// readers, when ready. One answer for each; doing it again does no harm.
    ///
    /// [`Error::ProducerFenced`] says that a newer epoch has ended it before.
    fn end(
        &self,
        producer: Producer,
        outcome: Outcome,
        of: Vec<TopicPartition>,
    ) -> AppendsFuture<'_>;

    /// As [`Broker::read`](crate::Broker::read), but not beyond [`Marks::last_stable`](crate::Marks):
    /// the fate of everything read is decided, and what was aborted is told.
    fn read_committed<'a>(
        &'a self,
        at: &'a TopicPartition,
        from: Position,
        limit: ReadLimit,
    ) -> BrokerFuture<'a, Committed>;

    /// Stores progress of `group` that counts only when the transaction of `producer` is committed;
    /// durable when ready.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`]: nothing was stored.
    fn stage<'a>(
        &'a self,
        producer: Producer,
        group: &'a GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> BrokerFuture<'a, ()>;

    /// Makes the progress staged by producer id `of` count, or forgets it; durable when ready. Doing
    /// it again changes nothing.
    fn settle(&self, of: i64, outcome: Outcome) -> BrokerFuture<'_, ()>;

    /// Partitions in which progress of `group` is staged: what is committed there may change any
    /// moment.
    ///
    /// # Errors
    /// When progress cannot be read.
    fn staged(&self, group: &GroupId) -> Result<BTreeSet<TopicPartition>, Error>;

    /// Producers that a partition remembers, by id.
    fn producers<'a>(&'a self, of: &'a TopicPartition) -> BrokerFuture<'a, Vec<ProducerStatus>>;

    /// Transactions with records or progress that are not ended, by producer id: what a coordinator
    /// compares with what it knows after a start.
    fn unfinished(&self) -> BrokerFuture<'_, BTreeMap<i64, Unfinished>>;
}

/// Batches read, all of decided fate.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The batches, markers and aborted ones too.
    pub fetched: Fetched,
    /// What was aborted among them.
    pub aborted: Vec<Aborted>,
}

/// Batches of this producer that are part of a transaction, from `first` on and before `last`, were
/// aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Whose.
    pub producer_id: i64,
    /// The first record.
    pub first: Position,
    /// The marker.
    pub last: Position,
}

/// A producer as one partition knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStatus {
    /// Its id and newest epoch there.
    pub producer: Producer,
    /// The sequence of its last record, if it wrote any in this epoch.
    pub last_sequence: Option<i32>,
    /// When it wrote last.
    pub last_used: Timestamp,
    /// Where its open transaction begins.
    pub open_since: Option<Position>,
}

/// A transaction that is not ended everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The newest epoch seen; 0 when only progress is staged.
    pub epoch: i16,
    /// Partitions with records and without a marker.
    pub partitions: BTreeSet<TopicPartition>,
    /// Progress is staged.
    pub staged: bool,
}
