//! One partition and the journal: giving it what is not durable, and syncing the files it vouches for.

use std::sync::atomic::Ordering;

use commitlog::{Journal, LogId};
use model::{PartitionId, TopicId};

use super::{Partition, State};
use crate::Error;
use crate::embedded::errors;

impl Partition {
    /// Gives `journal` what is not durable; answers whether that is all of it. Writer only.
    pub(crate) fn stage(&self, journal: &mut Journal) -> bool {
        let inside = self.inside.lock();
        let (State::Open, Some(log)) = (&inside.state, &inside.log) else {
            return false;
        };
        let Some(writes) = log.pending() else {
            return false;
        };
        if writes.is_empty() {
            // Synced beside the writer meanwhile: a flush costs nothing.
            return false;
        }
        for write in writes {
            journal.push(self.log_id, write);
        }
        true
    }

    /// What was staged is durable in `turn`; answers whether it is the first of this partition there.
    /// Writer only.
    pub(crate) fn vouch(&self, turn: u64) -> bool {
        let mut inside = self.inside.lock();
        inside.dirty = false;
        if let Some(log) = &mut inside.log {
            log.vouch();
        }
        self.turn.swap(turn, Ordering::Relaxed) != turn
    }

    /// Syncs what is written and not flushed (the journal vouches for it, or nobody does) beside the writer, whom it
    /// does not hold up: the log is locked only before the sync and after it.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let unsettled = {
            let mut inside = self.inside.lock();
            let inside = &mut *inside;
            inside.given = false;
            match (&inside.state, &mut inside.log) {
                (State::Open, Some(log)) => log.unsettled(),
                (State::Removed, _) => Ok(None),
                (state, _) => return Err(self.refusal(state)),
            }
        };
        let unsettled = unsettled.map_err(|error| errors::of_log(&self.id, error))?;
        let Some(unsettled) = unsettled else {
            return Ok(());
        };
        let synced = unsettled.sync();
        {
            let mut inside = self.inside.lock();
            let inside = &mut *inside;
            match (&inside.state, &mut inside.log) {
                (State::Open, Some(log)) => {
                    log.settled(&unsettled, synced).map_err(|error| {
                        let error = errors::of_log(&self.id, error);
                        inside.state = State::Frozen(errors::reason(&error));
                        error
                    })?;
                }
                (State::Removed, _) => return Ok(()),
                (state, _) => return Err(self.refusal(state)),
            }
        }
        unsettled.keep_checkpoint();
        Ok(())
    }
}

/// How the journal names a partition's log.
pub(crate) fn log_id(topic: TopicId, partition: PartitionId) -> LogId {
    LogId {
        topic: topic.bytes(),
        partition: partition.get(),
    }
}
