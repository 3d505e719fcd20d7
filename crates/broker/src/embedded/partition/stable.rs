//! Transactions in one partition: who may write in one, and where readers of what is committed stop.
//!
//! Invariant: `unstable` is stored before `readable` and read after it, so that no reader takes an open
//! transaction for a committed one. Not here: what is open and what was aborted (`commitlog`).

use std::sync::atomic::Ordering;

use commitlog::{AbortedRange, KnownProducer, Log, OpenTransaction};
use model::{Offset, Producer};

use super::Partition;
use crate::Error;
use crate::embedded::errors;

/// No transaction is open.
pub(super) const STABLE: u64 = u64::MAX;

impl Partition {
    /// Where readers of what is committed stop, if `readable` is what was just read.
    pub(super) fn stable(&self, readable: Offset) -> Offset {
        let unstable = Offset::new(self.unstable.load(Ordering::Acquire));
        // Retention and deletion do not wait for transactions.
        readable.min(unstable).max(self.log_start()).min(readable)
    }

    /// Where readers stop: of what is committed, or of everything.
    pub(crate) fn until(&self, committed: bool) -> Offset {
        let readable = self.readable();
        if committed {
            self.stable(readable)
        } else {
            readable
        }
    }

    /// Keeps where transactions begin that are open; nothing is written while that stays.
    pub(super) fn note_unstable(&self, log: &Log) {
        let unstable = unstable_of(log);
        if self.unstable.load(Ordering::Relaxed) != unstable {
            self.unstable.store(unstable, Ordering::Release);
        }
    }

    /// Lets `producer` write in a transaction until its marker is appended.
    pub(crate) fn enlist(&self, producer: Producer) {
        self.enlisted.add(producer);
    }

    /// Producers the log remembers, and the transactions open in it. May wait for a flush.
    pub(crate) fn producers(&self) -> (Vec<KnownProducer>, Vec<OpenTransaction>) {
        let inside = self.inside.lock();
        let log = inside.log.as_ref();
        log.map_or_else(Default::default, |log| {
            (log.producers(), log.open_transactions())
        })
    }

    /// Ranges that readers of what is committed leave out of `from..until`; `None` when only the
    /// disk can tell.
    pub(crate) fn aborted_in_memory(
        &self,
        from: Offset,
        until: Offset,
    ) -> Result<Option<Vec<AbortedRange>>, Error> {
        Ok(self.reader()?.aborted_in_memory(from, until))
    }

    /// As [`Partition::aborted_in_memory`]; may block on the disk.
    pub(crate) fn aborted(&self, from: Offset, until: Offset) -> Result<Vec<AbortedRange>, Error> {
        let aborted = self.reader()?.aborted(from, until);
        aborted.map_err(|error| errors::of_log(&self.id, error))
    }
}

/// Where the first open transaction of a log begins.
pub(super) fn unstable_of(log: &Log) -> u64 {
    log.unstable().map_or(STABLE, Offset::get)
}
