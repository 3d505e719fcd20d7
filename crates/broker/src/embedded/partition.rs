//! One partition as the broker sees it: its log, its marks, and who waits for them.
//!
//! Three numbers say who may see what: `log_start <= readable <= end`; a fourth, `unstable`, where
//! readers of committed records stop before that. `end` moves when the writer
//! writes. `readable`, the high watermark, moves when those bytes are as safe as the topic asks:
//! after the flush, or after the write where the topic says `lantern.durability=written`. Readers
//! look at `readable` alone, so no reader ever sees a record that a crash may take back (unless the
//! topic asked for exactly that).
//!
//! Invariants: the three numbers never go back while the partition is open, but that `log_start` may where a cut could not be
//! made durable; `readable` is stored
//! before anybody is woken, so a woken reader finds what it was woken for; only the writer
//! appends and flushes, and everybody else who touches the log holds its lock for a moment.
//!
//! Not here: showing what was written and telling who waits (`publishing`, with `ring` and `wanted`), transactions
//! (`stable`), reads (`reading`), the journal (`journaled`); files, offsets, producer state (`commitlog`); rounds (`writer`).

mod cleaning;
mod journaled;
mod publishing;
mod reading;
mod ring;
mod stable;
mod tally;
mod times;
mod wanted;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use commitlog::{Enlisted, Log, LogId, LogReader, Publish, StampKind};
use model::limits::GROUPS_TOPIC;
use model::{Offset, Timestamp, TopicId, TopicPartition};
use parking_lot::Mutex;
use record::CheckedBatch;
use stdx::ByteSize;

pub(crate) use journaled::log_id;
use publishing::{Publishing, Staged};
pub(crate) use ring::Handed;
use stable::{STABLE, unstable_of};
pub(crate) use tally::{Counts, Tally};
pub(crate) use times::Times;

use super::log_dirs::LogDir;
use super::memory::Memory;
use super::writer::Waiter;
use super::{Options, errors, events, store};
use crate::{Appended, Durability, Error, Marks, TimestampKind, TopicConfig};

#[derive(Debug)]
pub(crate) struct Partition {
    id: TopicPartition,
    /// `None` when the log could not be opened.
    reader: Option<LogReader>,
    inside: Mutex<Inside>,
    publishing: Mutex<Publishing>,
    /// Written and not shown yet, oldest first.
    staged: Mutex<VecDeque<Staged>>,
    /// Somebody in this process follows.
    followed: AtomicBool,
    memory: Arc<Memory>,
    log_dir: Arc<LogDir>,
    readable: AtomicU64,
    /// The first offset of an open transaction, [`STABLE`] without one. Stored before `readable`, and
    /// read after it, so that no reader takes an open transaction for a committed one.
    unstable: AtomicU64,
    end: AtomicU64,
    /// Who may write in a transaction.
    enlisted: Enlisted,
    /// The topic lets readers see what is only written.
    publishes_written: AtomicBool,
    /// The last append failed for want of room.
    full: AtomicBool,
    /// The freeze was said already.
    frozen_said: AtomicBool,
    /// The writer's note of where this partition's jobs are in its round.
    slot: AtomicUsize,
    /// How the journal names this partition.
    log_id: LogId,
    /// The journal's turn that has its newest entries.
    turn: AtomicU64,
    /// `None` when the log could not be opened.
    times: Option<Times>,
    tally: Tally,
}

#[derive(Debug)]
struct Inside {
    log: Option<Log>,
    state: State,
    /// Appends that are written and not flushed.
    waiters: Vec<Waiter>,
    /// In the writer's list of this round.
    dirty: bool,
    /// In the writer's list of lazy flushes.
    lazy: bool,
    /// Given to who flushes beside the writer, and not begun.
    given: bool,
}

/// When what nobody waits for is to be flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LazyFlush {
    /// It is in the writer's list already.
    Listed,
    /// In a while: it comes into the list.
    Later,
    /// Now, because so much is written.
    Now,
}

/// Bytes written to one partition after which they are flushed without waiting for more: the kernel then has little to write at
/// a time, and who needs a flush right now waits for no more than this.
const LAZY_BYTES: u64 = 8 << 20;

/// ```text
/// Open ──storage failure──> Frozen (reads go on)
///   │  └──topic deleted──> Removed
///   └──shutdown──> Closed
/// Unusable: the log could not be opened
/// Offline: its log directory is not there
/// ```
#[derive(Debug, Clone)]
enum State {
    Open,
    Frozen(Arc<str>),
    Unusable(Arc<str>),
    Offline(Arc<str>),
    Removed,
    Closed,
}

/// A partition just opened and what recovery did to it.
#[derive(Debug)]
pub(crate) struct OpenedPartition {
    pub(crate) partition: Partition,
    pub(crate) report: commitlog::RecoveryReport,
    /// In words, if recovery changed anything.
    pub(crate) changed: Option<String>,
}

/// An append that was written.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) appended: Appended,
    /// It was flushed before: a retry of an old batch.
    pub(crate) flushed: bool,
}

impl Partition {
    /// Opens the log in its place in `log_dir`, creating it when it is missing.
    pub(crate) fn open(
        options: &Options,
        memory: &Arc<Memory>,
        log_dir: &Arc<LogDir>,
        id: TopicPartition,
        topic: TopicId,
        config: &TopicConfig,
    ) -> Result<OpenedPartition, Error> {
        let dir = store::partition_dir(&log_dir.root, &id, topic);
        let opened = Log::open(
            Arc::clone(&options.disk),
            &dir,
            log_options(
                config,
                commitlog::Options {
                    journal_bytes: options.journal_limit(),
                    preallocate_bytes: options.preallocate_bytes,
                    page_cache_bytes: options.page_cache_bytes,
                    pool: memory.pool.clone(),
                    reserve: Some(log_dir.reserve.clone()),
                    ..commitlog::Options::default()
                },
            ),
            options.clock.now(),
        );
        let (log, report) = opened.map_err(|error| errors::of_log(&id, error))?;
        let marks = log.marks();
        let (unstable, enlisted) = (unstable_of(&log), log.enlisted());
        let partition = Self {
            reader: Some(log.reader()),
            inside: Mutex::new(Inside {
                log: Some(log),
                state: State::Open,
                waiters: Vec::new(),
                dirty: false,
                lazy: false,
                given: false,
            }),
            publishing: Mutex::default(),
            staged: Mutex::default(),
            followed: AtomicBool::new(false),
            memory: Arc::clone(memory),
            log_dir: Arc::clone(log_dir),
            // Recovery flushed what it kept, so all of it may be seen.
            readable: AtomicU64::new(marks.log_end.get()),
            unstable: AtomicU64::new(unstable),
            end: AtomicU64::new(marks.log_end.get()),
            enlisted,
            publishes_written: AtomicBool::new(config.durability == Durability::Written),
            full: AtomicBool::new(false),
            frozen_said: AtomicBool::new(false),
            slot: AtomicUsize::new(0),
            log_id: log_id(topic, id.partition),
            turn: AtomicU64::new(0),
            times: Some(Times::new(&options.clock, marks.log_end)),
            tally: Tally::default(),
            id,
        };
        Ok(OpenedPartition {
            partition,
            changed: report.changed(),
            report,
        })
    }

    /// A partition whose log could not be opened: every call says why.
    pub(crate) fn unusable(
        memory: &Arc<Memory>,
        log_dir: &Arc<LogDir>,
        id: TopicPartition,
        topic: TopicId,
        reason: Arc<str>,
    ) -> Self {
        Self {
            log_id: log_id(topic, id.partition),
            turn: AtomicU64::new(0),
            times: None,
            tally: Tally::default(),
            id,
            reader: None,
            inside: Mutex::new(Inside {
                log: None,
                state: if log_dir.missing().is_some() {
                    State::Offline(reason)
                } else {
                    State::Unusable(reason)
                },
                waiters: Vec::new(),
                dirty: false,
                lazy: false,
                given: false,
            }),
            publishing: Mutex::default(),
            staged: Mutex::default(),
            followed: AtomicBool::new(false),
            memory: Arc::clone(memory),
            log_dir: Arc::clone(log_dir),
            readable: AtomicU64::new(0),
            unstable: AtomicU64::new(STABLE),
            end: AtomicU64::new(0),
            enlisted: Enlisted::default(),
            publishes_written: AtomicBool::new(false),
            full: AtomicBool::new(false),
            frozen_said: AtomicBool::new(true),
            slot: AtomicUsize::new(0),
        }
    }

    pub(crate) fn id(&self) -> &TopicPartition {
        &self.id
    }

    /// Where its log is.
    pub(crate) fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// Whether its records are applied to the state of the groups.
    pub(crate) fn is_groups(&self) -> bool {
        self.id.topic.as_str() == GROUPS_TOPIC
    }

    /// The first offset that reads find: the log's own word, which is ahead of what removing the older ones takes.
    pub(crate) fn log_start(&self) -> Offset {
        let marks = self.reader.as_ref().map(LogReader::marks);
        marks.map_or(Offset::ZERO, |marks| marks.log_start)
    }

    /// The high watermark.
    pub(crate) fn readable(&self) -> Offset {
        Offset::new(self.readable.load(Ordering::Acquire))
    }

    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end.load(Ordering::Acquire))
    }

    /// The marks, in order even while they move: each is read before the one above it.
    pub(crate) fn marks(&self) -> Marks {
        let log_start = self.log_start();
        let readable = self.readable();
        Marks {
            log_start: log_start.into(),
            last_stable: self.stable(readable).into(),
            high_watermark: readable.into(),
            log_end: self.end().into(),
        }
    }

    /// When its records became readable.
    pub(crate) fn times(&self) -> Option<&Times> {
        self.times.as_ref()
    }

    /// What went in and came out.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.reader.as_ref().map_or(0, LogReader::size_bytes)
    }

    /// Appends at the end of the log. Writer only.
    pub(crate) fn write(&self, batches: &[CheckedBatch], now: Timestamp) -> Result<Landed, Error> {
        let mut inside = self.inside.lock();
        let inside = &mut *inside;
        let log = match (&inside.state, &mut inside.log) {
            (State::Open, Some(log)) => log,
            (state, _) => return Err(self.refusal(state)),
        };
        let outcome = match log.append(batches, now) {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = errors::of_log(&self.id, error);
                if let Error::Frozen { reason, .. } = &error {
                    inside.state = State::Frozen(Arc::clone(reason));
                }
                return Err(error);
            }
        };
        self.stage_newest(log.take_newest(), batches);
        let marks = log.marks();
        self.note_unstable(log);
        self.end.store(marks.log_end.get(), Ordering::Release);
        if self.full.swap(false, Ordering::Relaxed) {
            events::disk_has_room(&self.id);
        }
        let next = outcome.last_offset.next();
        Ok(Landed {
            appended: Appended {
                base_offset: outcome.base_offset,
                next: next.into(),
                log_append_time: outcome.log_append_time,
                log_start: marks.log_start,
                duplicate: outcome.duplicate,
            },
            flushed: next <= marks.durable,
        })
    }

    /// Makes everything written durable. Writer only. An error is for ever.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut inside = self.inside.lock();
        let inside = &mut *inside;
        inside.dirty = false;
        inside.given = false;
        let log = match (&inside.state, &mut inside.log) {
            (State::Open, Some(log)) => log,
            (state, _) => return Err(self.refusal(state)),
        };
        log.flush().map_err(|error| {
            let error = errors::of_log(&self.id, error);
            inside.state = State::Frozen(errors::reason(&error));
            error
        })
    }

    /// No more appends in this run.
    pub(crate) fn freeze(&self, reason: &str) -> Error {
        let mut inside = self.inside.lock();
        if matches!(inside.state, State::Open) {
            inside.state = State::Frozen(reason.into());
        }
        self.refusal(&inside.state)
    }

    /// # Errors
    /// [`Error::Frozen`] when it takes no appends until the next start; what failed last may be there then.
    pub(crate) fn check_not_frozen(&self) -> Result<(), Error> {
        let inside = self.inside.lock();
        match inside.state {
            State::Frozen(_) => Err(self.refusal(&inside.state)),
            _ => Ok(()),
        }
    }

    /// Where the writer last put this partition's jobs; says nothing about this round by itself.
    pub(crate) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slot(&self, slot: usize) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// Answers `waiters` with the flush of this round; whether the partition was not in the writer's list of it yet.
    pub(crate) fn wait_for_flush(&self, waiters: &mut Vec<Waiter>) -> bool {
        let mut inside = self.inside.lock();
        inside.waiters.append(waiters);
        !std::mem::replace(&mut inside.dirty, true)
    }

    pub(crate) fn take_waiters(&self) -> Vec<Waiter> {
        std::mem::take(&mut self.inside.lock().waiters)
    }

    /// Notes that something was written which nobody waits for.
    pub(crate) fn mark_lazy(&self) -> LazyFlush {
        let mut inside = self.inside.lock();
        let unsynced = inside.log.as_ref().map_or(0, Log::unsynced_bytes);
        if unsynced >= LAZY_BYTES && !inside.given {
            inside.given = true;
            return LazyFlush::Now;
        }
        if std::mem::replace(&mut inside.lazy, true) {
            LazyFlush::Listed
        } else {
            LazyFlush::Later
        }
    }

    /// It left the list of lazy flushes.
    pub(crate) fn unmark_lazy(&self) {
        self.inside.lock().lazy = false;
    }

    /// Whether the last append did not already fail for want of room.
    pub(crate) fn note_full(&self) -> bool {
        !self.full.swap(true, Ordering::Relaxed)
    }

    /// Whether the freeze was not said yet.
    pub(crate) fn note_frozen(&self) -> bool {
        !self.frozen_said.swap(true, Ordering::Relaxed)
    }

    /// The answer to an append of no batches.
    pub(crate) fn nothing_appended(&self) -> Appended {
        let end = self.end();
        Appended {
            base_offset: end,
            next: end.into(),
            log_append_time: None,
            log_start: self.log_start(),
            duplicate: false,
        }
    }

    pub(crate) fn configure(&self, config: &TopicConfig) {
        let mut inside = self.inside.lock();
        if let Some(log) = &mut inside.log {
            let options = log.options().clone();
            log.set_options(log_options(config, options));
        }
        let written = config.durability == Durability::Written;
        self.publishes_written.store(written, Ordering::Relaxed);
    }

    /// Removes old segments; answers the log start.
    pub(crate) fn retain(&self, config: &TopicConfig, now: Timestamp) -> Result<Offset, Error> {
        let policy = if config.cleanup.policy.deletes() {
            commitlog::Retention {
                age: config.retention,
                bytes: config.retention_bytes,
            }
        } else {
            // A segment is closed in time all the same.
            commitlog::Retention::default()
        };
        self.shorten(|log| log.retain(&policy, now))
    }

    /// Removes records before `until`; answers the log start.
    pub(crate) fn delete_before(&self, until: Offset) -> Result<Offset, Error> {
        self.shorten(|log| log.delete_before(until))
    }

    fn shorten<T>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<T, commitlog::Error>,
    ) -> Result<Offset, Error> {
        let mut guard = self.inside.lock();
        let inside = &mut *guard;
        let log = match (&inside.state, &mut inside.log) {
            (State::Open, Some(log)) => log,
            (state, _) => return Err(self.refusal(state)),
        };
        work(log).map_err(|error| {
            let error = errors::of_log(&self.id, error);
            if let Error::Frozen { reason, .. } = &error {
                inside.state = State::Frozen(Arc::clone(reason));
            }
            error
        })?;
        let start = log.marks().log_start;
        drop(guard);
        // What went may have made room.
        let _filled = self.log_dir.reserve.fill();
        Ok(start)
    }

    /// The topic is gone: no more appends, and whoever waits hears of it.
    pub(crate) fn remove(&self) {
        let mut inside = self.inside.lock();
        inside.state = State::Removed;
        inside.log = None;
        drop(inside);
        self.stop_publishing();
    }

    /// Closes the log, orderly or as a crash would leave it.
    pub(crate) fn close(&self, orderly: bool) -> Result<(), Error> {
        let mut inside = self.inside.lock();
        let log = inside.log.take();
        if matches!(inside.state, State::Open) {
            inside.state = State::Closed;
        }
        drop(inside);
        self.stop_publishing();
        match log {
            Some(log) if orderly => log.close().map_err(|error| errors::of_log(&self.id, error)),
            _ => Ok(()),
        }
    }

    /// Why it takes no appends now.
    pub(crate) fn refused(&self) -> Error {
        self.refusal(&self.inside.lock().state)
    }

    fn refusal(&self, state: &State) -> Error {
        let partition = self.id.clone();
        match state {
            State::Frozen(reason) => Error::Frozen {
                partition,
                reason: Arc::clone(reason),
            },
            State::Unusable(reason) => Error::Corrupt {
                partition,
                reason: Arc::clone(reason),
                until: None,
            },
            State::Offline(reason) => Error::Offline {
                partition,
                reason: Arc::clone(reason),
            },
            State::Removed => Error::UnknownTopic {
                topic: self.id.topic.clone(),
            },
            State::Open | State::Closed => Error::Stopping,
        }
    }
}

/// Largest segment a log takes; a topic may ask for more, as Kafka lets it.
const LOG_SEGMENT_BYTES_MAX: ByteSize = ByteSize::from_gib(1);

/// What a topic's configuration means for its logs; the rest of `options` stays.
fn log_options(config: &TopicConfig, options: commitlog::Options) -> commitlog::Options {
    commitlog::Options {
        segment_bytes: config.segment_bytes.min(LOG_SEGMENT_BYTES_MAX),
        segment_age: cleaning::segment_age(config),
        batch_bytes: config.batch_bytes,
        publish: match config.durability {
            Durability::Flushed => Publish::Flushed,
            Durability::Written => Publish::Written,
        },
        stamp: match config.timestamps {
            TimestampKind::Create => StampKind::Create,
            TimestampKind::LogAppend => StampKind::LogAppend,
        },
        ..options
    }
}
