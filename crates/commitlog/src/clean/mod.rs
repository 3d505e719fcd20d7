//! Compaction: of the records with the same key only the last stays.
//!
//! **Problem.** Records in the midst of a closed file are to go, beside a writer and readers, and a crash
//! at any moment must leave the log as it was or as it is to be. Offsets must not move, and what is
//! missing because it was cleaned must not be taken for what is missing because it was lost.
//!
//! ```text
//!  0 ............ clean until ............. cleanable end ............ log end
//!  │    clean     │          dirty          │ young, unstable, newest segment │
//!  └──── rewritten: what the map knows ─────┘
//!                 └── read for the map ─────┘
//! ```
//! **Answer.** A pass reads the dirty part and notes where each key is last ([`OffsetMap`]), then walks
//! all of the log up to there and writes what stays aside, segment by segment, small ones together. A run
//! of offsets of which nothing stays becomes one empty batch that stands for them, so the offsets
//! of a cleaned log follow each other without a gap as those of any other, and recovery, readers and
//! `verify` need no second rule. The new file's name says what it stands for (`names`): one rename
//! puts it in force. The old ones are taken out of sight, then removed; who reads them goes on.
//!
//! Order is what keeps tombstones safe: segments are put in force from the oldest on, each durable before
//! the next, and the delete horizon of a tombstone is set in the same write that follows the removal of
//! what it deletes. Only when that time is over does a later pass take the tombstone.
//!
//! Invariants: the last record of each key stays, offsets and order never change; nothing at or above the last stable
//! offset, younger than `min_lag` or in the newest segment is touched; the last batch of a producer that is
//! remembered stays, maybe without its records; an aborted record goes, a marker stays until
//! no record of its transaction is there and its horizon is reached. Records without a key stay: they were
//! written before the topic was compacted, and nothing says that they are outdated.
//!
//! Not here: when to clean, threads, pace (`broker`). Source: Kafka's log compaction, KIP-58, KIP-354,
//! KIP-534.

pub(crate) mod mark;

mod fate;
mod install;
mod map;
mod output;
mod pass;
mod plan;

use std::time::Duration;

use model::{Offset, Timestamp};
use stdx::ByteSize;

use crate::{Error, Log};

pub use plan::Dirtiness;

use map::OffsetMap;
use pass::Pass;

/// What is to be cleaned, and with how much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanOptions {
    /// Records younger than this stay as they are. Default 0.
    pub min_lag: Duration,
    /// The log is [overdue](Dirtiness::overdue) when a record was not cleaned for so long; `None` is never.
    pub max_lag: Option<Duration>,
    /// How long a tombstone stays after it was first cleaned. Default 1 day.
    pub delete_retention: Duration,
    /// Memory for the map of keys, in bytes; what it has no room for is left to a further pass. Default 64 MiB.
    pub map_bytes: ByteSize,
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self {
            min_lag: Duration::ZERO,
            max_lag: None,
            delete_retention: Duration::from_hours(24),
            map_bytes: ByteSize::from_mib(64),
        }
    }
}

/// What cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanReport {
    /// Passes over the log: more than one when the map had no room for all keys.
    pub passes: u32,
    /// Bytes read, for the map and for writing.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Records taken out.
    pub removed_records: u64,
    /// Segments that were replaced.
    pub segments_before: usize,
    /// Segments in their place.
    pub segments_after: usize,
    /// Bytes of those replaced.
    pub bytes_before: u64,
    /// Bytes of those in their place.
    pub bytes_after: u64,
    /// Before this offset the log is clean now.
    pub until: Offset,
    /// It ended early: the pace said so, the log is gone, or retention was there first.
    pub stopped: bool,
}

/// Who holds a log that others write to meanwhile.
pub trait LogHolder {
    /// Does something short with the log; `None` if it is not there any more.
    ///
    /// # Errors
    /// Those of `work`.
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, Error>) -> Result<Option<T>, Error>;
}

impl LogHolder for parking_lot::Mutex<Log> {
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, Error>) -> Result<Option<T>, Error> {
        work(&mut self.lock()).map(Some)
    }
}

/// Cleans a log as far as that may be now. The log is held for moments only; reading and writing happen
/// beside its writer.
///
/// `pace` is told of the bytes read and written since the last call, may wait, and answers whether to go on.
///
/// # Errors
/// [`Error::Corrupt`] and [`Error::Batch`] where the log is damaged: it cannot be cleaned. [`Error::Full`],
/// [`Error::Io`]: what was replaced so far is, the rest is as it was, and a later try may succeed.
/// [`Error::Frozen`], [`Error::Storage`]: the log is frozen.
pub fn clean(
    holder: &impl LogHolder,
    options: &CleanOptions,
    now: Timestamp,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<CleanReport, Error> {
    let mut report = CleanReport::default();
    let mut goal = None;
    loop {
        let Some(plan) = holder.with(|log| log.plan_cleaning(options, now))? else {
            report.stopped = true;
            return Ok(report);
        };
        // What comes meanwhile is left to another time.
        let goal = *goal.get_or_insert(plan.end);
        let from = plan.from;
        let mut pass = Pass::new(plan, options, now, &mut report, pace);
        let until = pass.run(holder)?;
        report.passes += 1;
        match until {
            Some(until) if until < goal && until > from => {}
            Some(_) => return Ok(report),
            None => {
                report.stopped = true;
                return Ok(report);
            }
        }
    }
}
