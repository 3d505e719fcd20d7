//! What goes from a topic: old segments, old values of keys, or both.

use std::time::Duration;

/// `cleanup.policy` and what belongs to it. Names in comments are Kafka's configuration keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// `cleanup.policy`. Default [`CleanupPolicy::Delete`].
    pub policy: CleanupPolicy,
    /// `min.cleanable.dirty.ratio`: compaction begins when more than this share waits for it. Default 0.5.
    pub dirty_ratio: DirtyRatio,
    /// `min.compaction.lag.ms`: younger records are not compacted. Default 0.
    pub min_lag: Duration,
    /// `max.compaction.lag.ms`: older records are, whatever the ratio; `None` is no limit. Default `None`.
    pub max_lag: Option<Duration>,
    /// `delete.retention.ms`: tombstones stay so long after they were first compacted. Default 1 day.
    pub delete_retention: Duration,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            policy: CleanupPolicy::Delete,
            dirty_ratio: DirtyRatio(0.5),
            min_lag: Duration::ZERO,
            max_lag: None,
            delete_retention: Duration::from_hours(24),
        }
    }
}

/// What goes from a topic. Tools that set both see them in the order they gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CleanupPolicy {
    /// Old segments.
    #[default]
    Delete,
    /// Records whose key comes again.
    Compact,
    /// Both, written so.
    CompactDelete,
    /// Both, written so.
    DeleteCompact,
    /// Nothing: an empty list.
    Nothing,
}

impl CleanupPolicy {
    /// The policy that a checked list of words means.
    pub(super) fn of(words: &str) -> Self {
        let mut words = words.split(',').map(str::trim);
        let first = words.next().unwrap_or_default();
        let other = words.any(|word| word != first);
        match (first, other) {
            ("compact", false) => Self::Compact,
            ("compact", true) => Self::CompactDelete,
            ("", false) => Self::Nothing,
            (_, false) => Self::Delete,
            (_, true) => Self::DeleteCompact,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactDelete => "compact,delete",
            Self::DeleteCompact => "delete,compact",
            Self::Nothing => "",
        }
    }

    /// Whether of records with the same key only the last stays.
    pub const fn compacts(self) -> bool {
        !matches!(self, Self::Delete | Self::Nothing)
    }

    /// Whether retention removes old segments.
    pub const fn deletes(self) -> bool {
        !matches!(self, Self::Compact | Self::Nothing)
    }
}

/// A share of a log, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtyRatio(f64);

/// It is never NaN.
impl Eq for DirtyRatio {}

impl DirtyRatio {
    /// The share that a checked number means.
    pub(super) fn of(text: &str) -> Self {
        Self(text.parse().unwrap_or(0.5))
    }

    /// The share, 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}
