//! The embedded broker: all topics in one data directory of this machine, and log directories on further disks.
//!
//! ```text
//!   append ─> queue ─> writer thread ─> commitlog per partition ─> disk       (once for each log directory)
//!                           │ publish
//!   follow <── ring ────────┤
//!   watch  <────────────────┘
//!   read   <─ commitlog reader: tail from memory, older from the disk
//!   create, delete, configure ─> catalog file, replaced whole
//!   commit ─> append to lantern.groups ─> state in memory
//! ```
//!
//! Read [`EmbeddedBroker`], then `writer` (how appends become durable), `partition` (the marks and
//! who may see what), `feed` (following in memory), `topics` and `catalog` (what exists), `groups` and `progress` (what consumers
//! committed), `delays` (how late they were), `transactional` and `staged` (what counts together or not at all), `retention` and `cleaner` (what goes), `log_dirs` (what there is once for each disk), `open` (the order in which a data directory comes to life).

mod bell;
mod beside;
mod broker;
mod catalog;
mod cleaner;
mod delays;
mod errors;
mod events;
mod feed;
mod flusher;
mod group_records;
mod groups;
mod journaling;
mod log_dirs;
mod memory;
mod metrics;
mod open;
mod options;
mod partition;
mod progress;
mod queue;
mod reads;
mod replies;
mod report;
mod retention;
mod staged;
mod store;
mod topics;
mod transactional;
mod verify;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use delay::Places;
use model::{Offset, TopicName, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use record::CheckedBatch;
use smallvec::SmallVec;
use tokio::sync::Semaphore;

pub use broker::EmbeddedBroker;
pub use catalog::CatalogError;
pub use errors::OpenError;
pub use group_records::{KIND_COMMIT, KIND_GROUP};
pub use options::{Drive, Options};
pub(crate) use replies::Answers;
pub use report::{PartitionReport, RecoveryReport};
pub use verify::{
    Finding, GroupsVerified, PartitionVerified, StartAction, Verified, VerifyError, VerifyOptions,
    VerifyProgress, VerifyStage, verify,
};

use crate::{Appended, AppendsFuture, Durability, Error};
use bell::Bell;
use catalog::Catalog;
use log_dirs::{LogDir, LogDirs};
use memory::Memory;
use metrics::Metrics;
use partition::Partition;
use progress::Progress;
use queue::NotPushed;
use topics::{Topic, Topics};
use writer::Job;

/// What the broker's threads and callers share.
///
/// Lock order: `catalog`, then a log directory's journal, then a partition's own lock, then `progress` or the reserve's; `places`, then a
/// partition's timeline, never together with `progress`.
#[derive(Debug)]
pub(crate) struct Shared {
    options: Options,
    metrics: Metrics,
    memory: Arc<Memory>,
    topics: ArcSwap<Topics>,
    log_dirs: LogDirs,
    /// Wakes whom the writers answer.
    bell: Arc<Bell>,
    catalog: Mutex<Catalog>,
    producer_ids: Mutex<ProducerIds>,
    groups: Arc<Partition>,
    progress: Mutex<Progress>,
    /// A lock of its own: nothing else is locked under it.
    uncleanable: Mutex<cleaner::Uncleanable>,
    /// How late groups are.
    places: Mutex<Places>,
    /// Leave to search by time.
    searches: Arc<Semaphore>,
    stopping: AtomicBool,
}

/// An append that may be queued: where to, what, and when it is done.
type Admitted = (Arc<Partition>, Vec<CheckedBatch>, Durability);

/// Appends on their way to one log directory.
struct Load<'a> {
    log_dir: &'a LogDir,
    jobs: SmallVec<[Job; 1]>,
    bytes: usize,
}

impl<'a> Load<'a> {
    /// Queues them; where there is no room, the answer waits for some and does it.
    fn push(self) -> Option<impl Future<Output = ()> + Send + 'a> {
        let Self {
            log_dir,
            mut jobs,
            bytes,
        } = self;
        let count = jobs.len();
        // The first job carries what all of them cost.
        let charged = move |cost| {
            if let Some(first) = jobs.first_mut() {
                first.cost = cost;
            }
            jobs
        };
        // Refused jobs drop their replies, which answer for them.
        match log_dir.queue.try_push(bytes, count, charged) {
            Ok(()) | Err(NotPushed::Closed) => None,
            Err(NotPushed::Full(charged)) => Some(async move {
                let _queued = log_dir.queue.push(bytes, count, charged).await;
            }),
        }
    }
}

/// Producer ids that may be given out without asking the catalog: `[next, until)`.
#[derive(Debug, Default)]
struct ProducerIds {
    next: i64,
    until: i64,
}

/// Searches by time at the same time, at most: each may inflate a batch, which takes up to 128 MiB and a processor for a
/// tenth of a second. Further ones wait, first come, first served.
const SEARCHES_MAX: usize = 4;

/// Producer ids taken from the catalog at once. A crash wastes at most so many of 2^63.
const PRODUCER_ID_BLOCK: i64 = 1_000;

impl Shared {
    /// The end of the log of the groups.
    fn groups_end(&self) -> Offset {
        self.groups.end()
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The right to change topics.
    fn admin(&self) -> Result<MutexGuard<'_, Catalog>, Error> {
        let catalog = self.catalog.lock();
        if self.stopping() {
            return Err(Error::Stopping);
        }
        Ok(catalog)
    }

    /// What groups have committed, unless their topic cannot be read.
    fn progress(&self) -> Result<MutexGuard<'_, Progress>, Error> {
        self.groups.check_readable()?;
        Ok(self.progress.lock())
    }

    fn live(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        let topics = self.topics.load();
        let topic = topics.live.get(name).cloned();
        topic.ok_or_else(|| Error::UnknownTopic {
            topic: name.clone(),
        })
    }

    fn partition(&self, of: &TopicPartition) -> Result<Arc<Partition>, Error> {
        let topics = self.topics.load();
        topics.find(of).map(|(_, partition)| Arc::clone(partition))
    }

    /// Queues an append and waits for its answer.
    async fn enqueue(
        &self,
        partition: &Arc<Partition>,
        batches: Vec<CheckedBatch>,
        durability: Durability,
    ) -> Result<Appended, Error> {
        let to = (Arc::clone(partition), batches, durability);
        let mut answers = self.enqueue_all([Ok(to)].into_iter()).await;
        answers.pop().unwrap_or(Err(Error::Stopping))
    }

    /// Queues appends together, at once if there is room; their answers come in their order, with those of appends
    /// that are answered already.
    fn enqueue_all(
        &self,
        appends: impl ExactSizeIterator<Item = Result<Admitted, Result<Appended, Error>>>,
    ) -> AppendsFuture<'_> {
        let (replies, answers) = replies::replies(appends.len());
        let mut loads = SmallVec::<[Load<'_>; 1]>::new();
        for (append, reply) in appends.zip(replies) {
            match append {
                Ok((partition, batches, durability)) => {
                    let bytes = batches.iter().map(CheckedBatch::size).sum::<usize>();
                    let number = partition.log_dir().number;
                    let at = loads.iter().position(|load| load.log_dir.number == number);
                    let at = at.unwrap_or_else(|| {
                        loads.push(Load {
                            log_dir: self.log_dirs.get(number),
                            jobs: SmallVec::new(),
                            bytes: 0,
                        });
                        loads.len() - 1
                    });
                    let load = &mut loads[at];
                    load.bytes += bytes;
                    load.jobs.push(Job {
                        partition,
                        batches: batches.into(),
                        durability,
                        reply,
                        cost: 0,
                    });
                }
                Err(answer) => {
                    let caller = reply.send(answer);
                    debug_assert!(caller.is_none(), "nobody waits yet");
                }
            }
        }
        let waiting: SmallVec<[_; 1]> = loads.into_iter().filter_map(Load::push).collect();
        if waiting.is_empty() {
            return AppendsFuture::queued(answers);
        }
        AppendsFuture::boxed(async move {
            // At the same time: all of them stand in their lines from the first poll on.
            futures_util::future::join_all(waiting).await;
            answers.await
        })
    }

    /// Counts appends of one partition that were written together.
    fn landed(
        &self,
        partition: &Partition,
        appends: u64,
        duplicate: bool,
        (records, bytes): (u64, usize),
    ) {
        self.metrics.appends.inc_by(appends);
        if duplicate {
            self.metrics.duplicates.inc_by(appends);
            return;
        }
        self.metrics.append_records.inc_by(records);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.metrics.append_bytes.inc_by(bytes);
        partition.tally().appended(records, bytes);
    }

    /// Counts an append or a flush that failed, and says so when a person must know.
    fn refused(&self, partition: &Partition, error: &Error) {
        self.metrics.append_failures.inc();
        self.say_storage(partition, error);
    }

    /// Says what a person must know of a storage failure, once.
    fn say_storage(&self, partition: &Partition, error: &Error) {
        match error {
            Error::DiskFull { .. } => {
                let first = partition.note_full();
                events::disk_full(&self.metrics, partition.id(), first);
            }
            Error::Frozen { reason, .. } if partition.note_frozen() => {
                events::frozen(&self.metrics, partition.id(), reason);
            }
            _ => (),
        }
    }

    /// A producer id never given out before on this data. Blocks on the disk once in
    /// [`PRODUCER_ID_BLOCK`] calls.
    fn new_producer_id(&self) -> Result<i64, Error> {
        let mut ids = self.producer_ids.lock();
        if ids.next == ids.until {
            let mut catalog = self.admin()?;
            let next = Catalog {
                producer_ids_until: catalog.producer_ids_until + PRODUCER_ID_BLOCK,
                ..catalog.clone()
            };
            let first = catalog.producer_ids_until;
            topics::replace(self, &mut catalog, next)?;
            (ids.next, ids.until) = (first, first + PRODUCER_ID_BLOCK);
        }
        let id = ids.next;
        ids.next += 1;
        Ok(id)
    }

    /// A producer id if one is at hand without touching the disk.
    fn producer_id_at_hand(&self) -> Option<i64> {
        let mut ids = self.producer_ids.try_lock()?;
        if ids.next == ids.until {
            return None;
        }
        ids.next += 1;
        Some(ids.next - 1)
    }
}
