//! What a broker is: the trait, and the words its calls use.
//!
//! Positions are opaque ([`Position`]), so that the same trait fits the embedded log, Kafka, Redis
//! Streams and JetStream. Futures are boxed: one allocation per call, and a call carries a batch. Where calls are many and
//! small, [`AppendsFuture`] needs none.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{
    GroupId, Offset, PartitionId, Position, Producer, Timestamp, TopicId, TopicName, TopicPartition,
};
use record::CheckedBatch;
use stdx::ByteSize;

use crate::{
    AppendsFuture, Cleanup, DelayFilter, Delays, Demand, Feed, TransactionalLog, Wanted, Wish,
};

/// What a broker call returns: a boxed future, so that `dyn Broker` works.
pub type BrokerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A broker as services hold it.
pub type DynBroker = Arc<dyn Broker>;

/// Durable, ordered topics behind one interface.
///
/// Every implementation passes the conformance suite in `test-kit`.
pub trait Broker: Send + Sync + std::fmt::Debug + 'static {
    /// What this broker can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// All topics by name, as of now.
    fn topics(&self) -> Arc<BTreeMap<TopicName, Arc<TopicInfo>>>;

    /// One topic.
    fn topic(&self, name: &TopicName) -> Option<Arc<TopicInfo>> {
        self.topics().get(name).cloned()
    }

    /// The topic of this name, which may be any text.
    fn topic_named(&self, name: &str) -> Option<Arc<TopicInfo>> {
        self.topics().get(name).cloned()
    }

    /// Creates a topic, durable when the future is ready.
    ///
    /// # Errors
    /// [`Error::TopicExists`], [`Error::InvalidConfig`].
    fn create_topic(&self, spec: TopicSpec) -> BrokerFuture<'_, Arc<TopicInfo>>;

    /// Removes a topic and its records.
    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BrokerFuture<'a, ()>;

    /// Grows a topic to `count` partitions; it cannot shrink.
    fn add_partitions<'a>(
        &'a self,
        name: &'a TopicName,
        count: u32,
    ) -> BrokerFuture<'a, Arc<TopicInfo>>;

    /// Replaces a topic's configuration.
    fn configure_topic<'a>(
        &'a self,
        name: &'a TopicName,
        config: TopicConfig,
    ) -> BrokerFuture<'a, Arc<TopicInfo>>;

    /// Appends batches to one partition, in order, all or none.
    ///
    /// Ready when they are as durable as `durability` asks. A batch of an idempotent producer that
    /// was appended before answers with its original position.
    fn append<'a>(
        &'a self,
        to: &'a TopicPartition,
        batches: Vec<CheckedBatch>,
        durability: Durability,
    ) -> BrokerFuture<'a, Appended>;

    /// Appends to several partitions at once; each of `appends` is all or none by itself and has its
    /// own answer, in their order. They begin in this order, too; the answers come when the last is there.
    fn append_each(&self, appends: Vec<Append>) -> AppendsFuture<'_> {
        let each = appends.into_iter().map(|append| async move {
            let Append {
                to,
                batches,
                durability,
            } = append;
            self.append(&to, batches, durability).await
        });
        let each = futures_util::future::join_all(each);
        AppendsFuture::boxed(async move { each.await.into() })
    }

    /// Reads whole batches in order, starting with the one that holds `from`.
    ///
    /// Does not wait: at the high watermark the answer is empty.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `from` is before the log start or after the log end.
    fn read<'a>(
        &'a self,
        at: &'a TopicPartition,
        from: Position,
        limit: ReadLimit,
    ) -> BrokerFuture<'a, Fetched>;

    /// The marks of one partition now.
    fn marks<'a>(&'a self, of: &'a TopicPartition) -> BrokerFuture<'a, Marks>;

    /// Where a partition's records are kept, and how many bytes they take; none where that is not known.
    fn kept(&self, of: &TopicPartition) -> Option<Kept>;

    /// Whether the disk of a partition is missing: [`Kept::offline`], without the rest.
    fn is_offline(&self, of: &TopicPartition) -> bool {
        self.kept(of).is_some_and(|kept| kept.offline)
    }

    /// The disks that records are kept on; none where that is not known. May take as long as asking a disk takes.
    fn log_dirs(&self) -> Vec<LogDirInfo> {
        Vec::new()
    }

    /// A watch on one partition's high watermark: changes whenever more becomes readable.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    fn watch(&self, of: &TopicPartition) -> Result<tokio::sync::watch::Receiver<Position>, Error>;

    /// Counts what is published in one partition towards `demand`, as `wish` says, until it is met or dropped.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn want(&self, of: &TopicPartition, wish: Wish, demand: &Arc<Demand>) -> Result<Wanted, Error>;

    /// What is published in one partition from now on, handed over in memory; `None` where there is no such
    /// thing.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn feed(&self, _of: &TopicPartition) -> Result<Option<Box<dyn Feed>>, Error> {
        Ok(None)
    }

    /// Finds a position by its meaning.
    ///
    /// For a time: the first record with that timestamp or later, `None` when there is none.
    fn find<'a>(&'a self, at: &'a TopicPartition, place: Place) -> BrokerFuture<'a, Option<Found>>;

    /// Drops all records before `until` (at most the high watermark) and answers the new log start.
    fn delete_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        until: Position,
    ) -> BrokerFuture<'a, Position>;

    /// Stores a group's progress, durable when ready.
    fn commit<'a>(
        &'a self,
        group: &'a GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> BrokerFuture<'a, ()>;

    /// A group's stored progress. `None` asks for every partition it ever committed.
    fn committed<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, Vec<(TopicPartition, Option<Commit>)>>;

    /// Groups with stored progress.
    fn committed_groups(&self) -> BrokerFuture<'_, Vec<GroupId>>;

    /// Forgets a group's progress: for these partitions, or all of it.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`].
    fn forget_group<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, ()>;

    /// A new producer id for an idempotent producer, never given out before on this data.
    fn new_producer_id(&self) -> BrokerFuture<'_, i64>;

    /// What coordinators of transactions need; `None` where
    /// [`transactions`](Capabilities::transactions) says that there are none.
    fn transactional(&self) -> Option<&dyn TransactionalLog> {
        None
    }

    /// How late the groups are that `filter` picks; `None` where nobody measures it. Takes milliseconds when there
    /// are thousands of places, and touches no disk.
    fn delays(&self, _filter: &DelayFilter) -> Option<Delays> {
        None
    }
}

/// What a broker can do, for callers that must refuse or adapt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a promise of its own, and any of them may hold without the others"
)]
pub struct Capabilities {
    /// Positions are Kafka offsets: `Position::from(Offset)` is valid both ways.
    pub positions_are_offsets: bool,
    /// An append can wait for fsync.
    pub durable_append: bool,
    /// Retried idempotent batches are recognised.
    pub idempotent_append: bool,
    /// Appends to several partitions, and progress, can count together or not at all.
    pub transactions: bool,
}

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// Its number of partitions, 1 to [`model::limits::PARTITIONS_MAX`].
    pub partitions: u32,
    /// How it keeps records.
    pub config: TopicConfig,
}

/// A topic as it is.
#[derive(Debug, Clone)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Its identity, stable across restarts, different after a deletion and new creation.
    pub id: TopicId,
    /// Its number of partitions.
    pub partitions: u32,
    /// How it keeps records.
    pub config: TopicConfig,
}

/// How a topic keeps its records. Names in comments are Kafka's configuration keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `retention.ms`: records older than this may go; `None` keeps them for ever. Default 7 days.
    pub retention: Option<Duration>,
    /// `retention.bytes`: per partition; `None` is no limit. Default `None`.
    pub retention_bytes: Option<ByteSize>,
    /// `segment.bytes`. Default 256 MiB, at least 1 KiB.
    pub segment_bytes: ByteSize,
    /// `segment.ms`: a segment is closed after this long. Default 7 days.
    pub segment_age: Duration,
    /// `max.message.bytes`: the largest batch taken. Default 1 MiB and 12 bytes.
    pub batch_bytes: ByteSize,
    /// `message.timestamp.type`: whose clock stamps records. Default the producer's.
    pub timestamps: TimestampKind,
    /// What `acks=all` waits for. Default [`Durability::Flushed`].
    pub durability: Durability,
    /// Whether old segments go, or old values of keys, and when.
    pub cleanup: Cleanup,
    /// Keys that are kept and shown but that Lantern does not act on.
    pub inert: BTreeMap<String, String>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            retention: Some(Duration::from_hours(168)),
            retention_bytes: None,
            segment_bytes: ByteSize::from_mib(256),
            segment_age: Duration::from_hours(168),
            batch_bytes: ByteSize::from_bytes(model::limits::BATCH_BYTES_DEFAULT as u64),
            timestamps: TimestampKind::Create,
            durability: Durability::Flushed,
            cleanup: Cleanup::default(),
            inert: BTreeMap::new(),
        }
    }
}

/// Whose clock stamps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's (`CreateTime`).
    Create,
    /// The broker's, on arrival (`LogAppendTime`).
    LogAppend,
}

/// How safe an append must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// In the page cache: survives the process, not the machine (`acks=1`).
    Written,
    /// Flushed to the disk by fsync (`acks=all`).
    Flushed,
}

/// One append of several: see [`Broker::append`].
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub to: TopicPartition,
    /// What, in order.
    pub batches: Vec<CheckedBatch>,
    /// When it is done.
    pub durability: Durability,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Place after the last record.
    pub next: Position,
    /// The broker's time stamped on the records, if the topic uses it.
    pub log_append_time: Option<Timestamp>,
    /// First offset kept now.
    pub log_start: Offset,
    /// The batch was a retry of one already in the log; nothing was written.
    pub duplicate: bool,
}

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Bytes of batches in total; the first batch is returned even when it is larger if
    /// `at_least_one` is set.
    pub bytes: usize,
    /// Return one batch whatever its size.
    pub at_least_one: bool,
}

/// Batches read.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whole batches one after another, as appended; shared with other readers, not copied per
    /// reader where the broker can help it.
    pub batches: Bytes,
    /// Where to read on.
    pub next: Position,
    /// The marks at the time of reading.
    pub marks: Marks,
    /// Some of the batches have no records: they stand for what compaction took.
    pub hollow: bool,
}

/// Where a partition's records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the log directory is called: `data`, then `data-1` and so on.
    pub log_dir: Arc<str>,
    /// That log directory is not there: see [`Error::Offline`].
    pub offline: bool,
    /// What they take there.
    pub size: ByteSize,
}

/// A disk that records are kept on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirInfo {
    /// As [`Kept::log_dir`].
    pub name: Arc<str>,
    /// As [`Kept::offline`].
    pub offline: bool,
    /// How full it is; `None` where it does not say.
    pub space: Option<env::Space>,
}

/// The marks of one partition: `log_start <= last_stable <= high_watermark <= log_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Oldest record kept.
    pub log_start: Position,
    /// First place whose transaction is still open, or else the high watermark: where reading of
    /// what is committed stops.
    pub last_stable: Position,
    /// First place not yet readable.
    pub high_watermark: Position,
    /// Where the next record will be written.
    pub log_end: Position,
}

/// A place in a partition by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The oldest record kept.
    Earliest,
    /// After the newest readable record.
    Latest,
    /// The first record stamped at this time or later.
    Time(Timestamp),
    /// The record with the largest timestamp.
    MaxTimestamp,
}

/// A place found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The position.
    pub position: Position,
    /// The timestamp of the record there, for searches by time.
    pub timestamp: Option<Timestamp>,
}

/// A group's progress in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The next record to read.
    pub position: Position,
    /// The leader epoch the consumer knew, if it said so.
    pub leader_epoch: Option<i32>,
    /// The consumer's own note.
    pub metadata: String,
    /// When it was committed.
    pub at: Timestamp,
}

/// Why a broker call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such topic.
    #[error("topic '{topic}' does not exist")]
    UnknownTopic {
        /// Its name.
        topic: TopicName,
    },
    /// The topic has no such partition.
    #[error("topic '{topic}' has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The partition asked for.
        partition: PartitionId,
    },
    /// The topic is already there.
    #[error("topic '{topic}' already exists")]
    TopicExists {
        /// Its name.
        topic: TopicName,
    },
    /// A number of partitions that cannot be.
    #[error("topic '{topic}' cannot have {asked} partitions: {reason}")]
    InvalidPartitions {
        /// The topic.
        topic: TopicName,
        /// Partitions asked for.
        asked: u32,
        /// Why not.
        reason: &'static str,
    },
    /// A configuration value that cannot be.
    #[error("topic configuration '{key}' cannot be '{value}': {reason}")]
    InvalidConfig {
        /// The key.
        key: String,
        /// The value given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A read outside the log.
    #[error("position {asked:?} of {partition} is outside the log ({log_start:?} to {log_end:?})")]
    OutOfRange {
        /// Where.
        partition: TopicPartition,
        /// The position asked for.
        asked: Position,
        /// The oldest kept.
        log_start: Position,
        /// The end.
        log_end: Position,
    },
    /// A batch larger than the topic takes.
    #[error("a batch of {size} bytes is larger than {limit}, the limit of topic '{topic}'")]
    BatchTooLarge {
        /// The topic.
        topic: TopicName,
        /// Bytes of the batch.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An idempotent producer's batch does not follow its last one.
    #[error("producer {producer} sent sequence {found} to {partition}, expected {expected}")]
    OutOfOrderSequence {
        /// Where.
        partition: TopicPartition,
        /// The producer id.
        producer: i64,
        /// The sequence expected.
        expected: i32,
        /// The sequence sent.
        found: i32,
    },
    /// A producer of an older epoch than the newest seen.
    #[error("producer {producer} uses epoch {found} on {partition}, the newest is {newest}")]
    ProducerFenced {
        /// Where.
        partition: TopicPartition,
        /// The producer id.
        producer: i64,
        /// The newest epoch.
        newest: i16,
        /// The epoch sent.
        found: i16,
    },
    /// A batch of a transaction that its producer did not let this partition into, or that has
    /// ended; or one outside of the producer's open transaction.
    #[error("producer {producer} is in no transaction in {partition} that takes this batch")]
    NotInTransaction {
        /// Where.
        partition: TopicPartition,
        /// Who sent it.
        producer: Producer,
    },
    /// A control batch, which only the broker itself writes.
    #[error("control batches cannot be appended to {partition}")]
    ControlBatch {
        /// Where.
        partition: TopicPartition,
    },
    /// Records without a key, which a compacted topic cannot take: nothing of the append was written.
    #[error("topic '{topic}' is compacted and takes only records with a key")]
    Keyless {
        /// The topic.
        topic: TopicName,
        /// Which records of the append, from 0; the first of them if there are many.
        records: Vec<u32>,
    },
    /// A topic that Lantern itself keeps its state in: it cannot be deleted or reshaped.
    #[error("topic '{topic}' belongs to Lantern itself: {reason}")]
    Reserved {
        /// The topic.
        topic: TopicName,
        /// What cannot be done to it.
        reason: &'static str,
    },
    /// A group without stored progress.
    #[error("group '{group}' is not known")]
    UnknownGroup {
        /// Its id.
        group: GroupId,
    },
    /// The disk is full; appends work again when there is room.
    #[error("no room on the disk for {partition}: free some space or shorten its retention")]
    DiskFull {
        /// Where.
        partition: TopicPartition,
    },
    /// The partition no longer takes appends: an fsync failed or damage was found.
    #[error(
        "{partition} is frozen after a storage failure ({reason}): restart Lantern to rescan it"
    )]
    Frozen {
        /// Where.
        partition: TopicPartition,
        /// What happened first.
        reason: Arc<str>,
    },
    /// Its log directory is not there: a disk that died, or was not mounted at the start.
    #[error("{partition} is out of service: {reason}")]
    Offline {
        /// Where.
        partition: TopicPartition,
        /// What is missing, and the way out.
        reason: Arc<str>,
    },
    /// Stored bytes are not what was written.
    #[error("{partition} is damaged: {reason}")]
    Corrupt {
        /// Where.
        partition: TopicPartition,
        /// What is wrong.
        reason: Arc<str>,
        /// Where reading may go on behind the damage, if that is known.
        until: Option<Position>,
    },
    /// An input or output error of the machine.
    #[error("storage failed: {action}")]
    Io {
        /// What was being done, naming the path.
        action: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The same call may succeed later.
    Retry,
    /// The call is wrong and stays wrong.
    Reject,
    /// The partition takes no more appends in this run.
    StopPartition,
}

impl Error {
    /// What to do about it.
    pub const fn recovery(&self) -> Recovery {
        match self {
            Self::DiskFull { .. } | Self::Io { .. } | Self::Stopping => Recovery::Retry,
            Self::Frozen { .. } | Self::Offline { .. } | Self::Corrupt { .. } => {
                Recovery::StopPartition
            }
            Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::TopicExists { .. }
            | Self::InvalidPartitions { .. }
            | Self::InvalidConfig { .. }
            | Self::OutOfRange { .. }
            | Self::BatchTooLarge { .. }
            | Self::OutOfOrderSequence { .. }
            | Self::ProducerFenced { .. }
            | Self::NotInTransaction { .. }
            | Self::ControlBatch { .. }
            | Self::Keyless { .. }
            | Self::Reserved { .. }
            | Self::UnknownGroup { .. } => Recovery::Reject,
        }
    }
}
