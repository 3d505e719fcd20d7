//! The journal's part in a round: many partitions with little to flush are made durable by one sync
//! instead of one each.
//!
//! ```text
//! dirty ──stage──> frame ──commit──> vouched: published and answered
//!   │                 └──refused──┐
//!   └── alone, too much, frozen ──┴──> flushed one by one (`flusher`)
//! turn full ──> settle thread: sync the segments of its partitions ──> release
//! ```
//! Invariants: a partition is vouched for only after the commit that has all of its writes; a turn is
//! released only when every partition with entries in it was synced since, so one that is frozen keeps
//! its file until the next start; a journal that broke is not used again, and freezes nobody.
//!
//! Not here: the journal's bytes (`commitlog`), redoing at a start (`open`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use commitlog::{Journal, JournalError};

use super::beside::Beside;
use super::log_dirs::LogDir;
use super::partition::Partition;
use super::{Shared, events};

/// Turns that may wait to be settled: more than the journal has files, so it is never reached.
const TURNS_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Journaling {
    shared: Arc<Shared>,
    /// Whose journal it is.
    log_dir: Arc<LogDir>,
    /// Partitions with entries in the turn that is written to. Not held: a deleted topic's files must
    /// not stay open until the turn ends.
    members: Vec<Weak<Partition>>,
    settler: Beside<FullTurn>,
}

/// A turn that ended, and whose entries it has.
#[derive(Debug)]
struct FullTurn {
    log_dir: Arc<LogDir>,
    epoch: u64,
    members: Vec<Weak<Partition>>,
}

impl Journaling {
    pub(crate) fn new(shared: Arc<Shared>, log_dir: Arc<LogDir>) -> Self {
        Self {
            settler: Beside::new(Arc::clone(&shared), "lantern-settle", TURNS_MAX, settle),
            shared,
            log_dir,
            members: Vec::new(),
        }
    }

    /// Makes those of `dirty` durable that have little to flush, and hands each to `vouched`; leaves
    /// the others in it.
    pub(crate) fn commit(
        &mut self,
        dirty: &mut Vec<Arc<Partition>>,
        mut vouched: impl FnMut(&Arc<Partition>),
    ) {
        if dirty.len() < 2 {
            // One sync either way, and a flush writes the bytes only once.
            return;
        }
        let log_dir = Arc::clone(&self.log_dir);
        let mut guard = log_dir.journal.lock();
        let Some(journal) = guard.as_mut() else {
            return;
        };
        let mut left = Vec::new();
        let mut staged = Vec::new();
        let mut broke = false;
        let mut all = dirty.drain(..).peekable();
        while let Some(partition) = all.next() {
            if !broke && self.stage(journal, &partition) {
                staged.push(partition);
            } else {
                left.push(partition);
            }
            let last = all.peek().is_none();
            if staged.is_empty() || !(last || journal.is_frame_full()) {
                continue;
            }
            if staged.len() == 1 {
                // A flush of its own costs the same.
                journal.discard();
                left.append(&mut staged);
                continue;
            }
            match self.commit_frame(journal, &staged) {
                Ok(()) => staged.drain(..).for_each(|partition| vouched(&partition)),
                Err(error) => {
                    broke |= self.refused(&error);
                    left.append(&mut staged);
                }
            }
        }
        drop(all);
        *dirty = left;
        if broke {
            *guard = None;
            self.members.clear();
        }
    }

    /// Whether all that `partition` has to make durable is in the next frame. After a panic in it
    /// nothing of it is taken for durable, whatever the frame has.
    fn stage(&self, journal: &mut Journal, partition: &Partition) -> bool {
        let what = "a panic before a commit";
        catch_unwind(AssertUnwindSafe(|| partition.stage(journal))).unwrap_or_else(|_| {
            events::panicked(&self.shared.metrics, partition.id(), what);
            partition.freeze(what);
            false
        })
    }

    fn commit_frame(
        &mut self,
        journal: &mut Journal,
        staged: &[Arc<Partition>],
    ) -> Result<(), JournalError> {
        let clock = &self.shared.options.clock;
        let start = clock.monotonic();
        let committed = journal.commit();
        let took = clock.monotonic().saturating_sub(start).as_secs_f64();
        if let Some(epoch) = journal.take_full() {
            let members = std::mem::take(&mut self.members);
            let turn = FullTurn {
                log_dir: Arc::clone(&self.log_dir),
                epoch,
                members,
            };
            self.settle(journal, turn);
        }
        let committed = committed?;
        let metrics = &self.shared.metrics;
        metrics.flush_seconds.observe(took);
        metrics.journal_commits.inc();
        metrics.journal_bytes.inc_by(committed.bytes);
        for partition in staged {
            if partition.vouch(committed.epoch) {
                self.members.push(Arc::downgrade(partition));
            }
        }
        Ok(())
    }

    /// Notes that a frame was not taken; answers whether the journal is of no use any more.
    fn refused(&self, error: &JournalError) -> bool {
        match error {
            JournalError::TooLarge { .. } | JournalError::NoRoom | JournalError::Full { .. } => {
                self.shared.metrics.journal_refusals.inc();
                false
            }
            JournalError::Storage { .. } | JournalError::Broken => {
                events::journal_broken(&self.shared.metrics, error);
                true
            }
        }
    }

    /// Has a turn settled; at once where there is no thread for it.
    fn settle(&mut self, journal: &mut Journal, turn: FullTurn) {
        if let Err(turn) = self.settler.give(turn)
            && turn.sync_members(&self.shared)
        {
            journal.release(turn.epoch);
        }
    }
}

/// Settles a turn and gives its file back.
fn settle(shared: &Shared, turn: &FullTurn) {
    if turn.sync_members(shared)
        && let Some(journal) = turn.log_dir.journal.lock().as_mut()
    {
        journal.release(turn.epoch);
    }
}

impl FullTurn {
    /// Syncs every partition; answers whether all of them could be.
    fn sync_members(&self, shared: &Shared) -> bool {
        let mut all = true;
        for partition in &self.members {
            // One that is gone was deleted, and nobody misses its entries.
            let Some(partition) = partition.upgrade() else {
                continue;
            };
            if let Err(error) = partition.settle() {
                shared.say_storage(&partition, &error);
                all = false;
            }
        }
        all
    }
}
