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
    /// holds up only where so much was synced like this that a checkpoint is due: that needs a moment
    /// in which nothing is written.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let unsettled = {
            let inside = self.inside.lock();
            match (&inside.state, &inside.log) {
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
        let mut inside = self.inside.lock();
        let inside = &mut *inside;
        match (&inside.state, &mut inside.log) {
            (State::Open, Some(log)) => {
                let settled = log.settled(&unsettled, synced);
                let checked = settled.and_then(|()| {
                    if log.is_checkpoint_overdue() {
                        log.flush()
                    } else {
                        Ok(())
                    }
                });
                checked.map_err(|error| {
                    let error = errors::of_log(&self.id, error);
                    inside.state = State::Frozen(errors::reason(&error));
                    error
                })
            }
            (State::Removed, _) => Ok(()),
            (state, _) => Err(self.refusal(state)),
        }
    }
}

/// How the journal names a partition's log.
pub(crate) fn log_id(topic: TopicId, partition: PartitionId) -> LogId {
    LogId {
        topic: topic.bytes(),
        partition: partition.get(),
    }
}
