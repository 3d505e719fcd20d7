//! What opening a data directory found and did.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{TopicName, TopicPartition};

/// What recovery found in a data directory.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// The last run ended in order, or there was none.
    pub clean: bool,
    /// Time from locking the directory to being ready.
    pub took: Duration,
    /// Topics there are.
    pub topics: usize,
    /// Partitions that were opened.
    pub partitions: usize,
    /// Partitions that recovery changed, or that cannot be used; in order.
    pub touched: Vec<PartitionReport>,
    /// Files of the journal that lost entries; kept aside.
    pub journal_damaged: Vec<PathBuf>,
    /// Damage in `lantern.groups` that was passed over: groups and transactions that were stored there
    /// are as they were before.
    pub groups_damaged: Vec<Arc<str>>,
    /// Deletions that had been interrupted and are finished now.
    pub deletions_finished: Vec<TopicName>,
    /// Directories that belong to no topic and hold records; left alone.
    pub unknown_directories: Vec<PathBuf>,
}

impl RecoveryReport {
    /// Whether nothing was cut, quarantined or lost.
    pub fn is_untouched(&self) -> bool {
        self.touched.is_empty()
            && self.journal_damaged.is_empty()
            && self.groups_damaged.is_empty()
            && self.unknown_directories.is_empty()
    }
}

/// What recovery did to one partition.
#[derive(Debug, Clone)]
pub struct PartitionReport {
    /// The partition.
    pub partition: TopicPartition,
    /// What the log reports, if it could be opened.
    pub log: Option<commitlog::RecoveryReport>,
    /// Why it cannot be used, if it cannot.
    pub unusable: Option<Arc<str>>,
}
