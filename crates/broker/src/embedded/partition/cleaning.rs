//! Compaction of one partition: what of its log waits for it, and the log lent to it for moments.
//!
//! Not here: when, and in what order (`cleaner`); how (`commitlog::clean`).

use std::time::Duration;

use commitlog::{CleanOptions, Dirtiness, Log, LogHolder};
use model::Timestamp;

use super::{Partition, State};
use crate::TopicConfig;

impl Partition {
    /// How much of the log waits to be compacted; `None` while it takes no appends.
    pub(crate) fn dirtiness(&self, options: &CleanOptions, now: Timestamp) -> Option<Dirtiness> {
        let inside = self.inside.lock();
        match (&inside.state, &inside.log) {
            (State::Open, Some(log)) => Some(log.dirtiness(options, now)),
            _ => None,
        }
    }
}

impl LogHolder for Partition {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<T, commitlog::Error>,
    ) -> Result<Option<T>, commitlog::Error> {
        let mut inside = self.inside.lock();
        let inside = &mut *inside;
        let (State::Open, Some(log)) = (&inside.state, &mut inside.log) else {
            return Ok(None);
        };
        let done = work(log);
        if let Some(reason) = log.frozen() {
            inside.state = State::Frozen(reason.into());
        }
        done.map(Some)
    }
}

/// When a segment is closed: what is in the newest one cannot be compacted.
pub(super) fn segment_age(config: &TopicConfig) -> Duration {
    let compacts = config.cleanup.policy.compacts();
    let longest = config.cleanup.max_lag.filter(|_| compacts);
    longest.map_or(config.segment_age, |lag| lag.min(config.segment_age))
}
