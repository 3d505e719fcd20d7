//! What an offline check says: one finding for each thing that is not as it should be, and what a start
//! would do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use model::{Offset, TopicId, TopicPartition};

/// Findings that are listed; the rest is counted.
pub(super) const FINDINGS_MAX: usize = 10_000;

/// What [`verify`](super::verify) found.
#[derive(Debug, Default)]
pub struct Verified {
    /// The last run ended in order.
    pub clean: bool,
    /// Lantern would start. Otherwise a finding says why not.
    pub opens: bool,
    /// Every partition, by topic and number.
    pub partitions: Vec<PartitionVerified>,
    /// What consumer groups left.
    pub groups: GroupsVerified,
    /// Bytes of entries in the journal, which a start writes into the logs again.
    pub journal_bytes: u64,
    /// What is wrong, and what is worth knowing.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub more: u64,
    /// How long it took.
    pub took: Duration,
}

impl Verified {
    /// Whether nothing would be cut or kept aside, and nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.more == 0 && self.problems() == 0
    }

    /// Findings that are not harmless.
    pub fn problems(&self) -> usize {
        let problems = self.findings.iter().filter(|found| found.is_problem());
        problems.count()
    }

    /// Bytes of all logs.
    pub fn bytes(&self) -> u64 {
        self.partitions.iter().map(|log| log.bytes).sum()
    }

    /// Notes a finding. For whoever checks files that the broker does not know.
    pub fn note(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else if finding.is_problem() {
            self.more += 1;
        }
    }
}

/// A partition's log, as a start would leave it.
#[derive(Debug, Clone)]
pub struct PartitionVerified {
    /// The partition.
    pub id: TopicPartition,
    /// Its topic's identity.
    pub topic: TopicId,
    /// Its directory.
    pub dir: PathBuf,
    /// It would be in service; otherwise a finding says why not.
    pub opens: bool,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The next offset to be written.
    pub log_end: Offset,
    /// Segments.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Good batches.
    pub batches: u64,
    /// Records in good batches.
    pub records: u64,
    /// Bytes that a start would cut.
    pub cut_bytes: u64,
    /// Bytes that the journal brings back.
    pub journal_bytes: u64,
    /// Bytes that a start would write again because nothing shows that the disk has them.
    pub rewritten_bytes: u64,
    /// Bytes that a start would read before it serves the partition.
    pub scanned_bytes: u64,
    /// Offsets that are lost.
    pub lost: u64,
}

/// What consumer groups left in `lantern.groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupsVerified {
    /// Groups with a committed offset.
    pub groups: u64,
    /// Committed offsets.
    pub commits: u64,
    /// Of these, before the first record that is kept: retention was faster than the group.
    pub before_start: u64,
    /// Of these, behind the end of their partition.
    pub beyond_end: u64,
    /// Records that cannot be read.
    pub unreadable: u64,
}

/// One thing that is not as it should be, or is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The partition, if it is about one.
    pub partition: Option<TopicPartition>,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file.
    pub position: Option<u64>,
    /// How many bytes from there.
    pub bytes: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
    /// What a start would do about it.
    pub start: StartAction,
}

impl Finding {
    /// Whether something would be cut, kept aside or refused, or is damaged.
    pub fn is_problem(&self) -> bool {
        self.start.is_problem()
    }
}

/// What a start would do about a [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAction {
    /// Cut the end that nobody was promised.
    Cut {
        /// Where it is copied to first, if there are whole batches in it.
        kept: Option<PathBuf>,
    },
    /// Copy the bytes into `quarantine`, report the offsets as lost, and go on behind them.
    Quarantine,
    /// Nothing new: an earlier start reported it, readers get an error.
    Known,
    /// Nothing: a start trusts its checkpoint here. The first reader gets an error, and the ones after it.
    Overlook,
    /// Serve it as it is: consumers will fail on it.
    Serve,
    /// Report the offsets as lost, and give none of them again.
    Lose,
    /// Leave this partition out of service; the others start.
    Unusable,
    /// Not start.
    Refuse,
    /// Keep the file aside after taking what is legible.
    SetAside,
    /// Pass it over, as if it were not there.
    PassOver,
    /// Leave it where it is: no topic owns it, so nobody can read its records.
    Abandon,
    /// Write it into the logs again: that is what it is for.
    Redo,
    /// Make it anew: it is a cache.
    Rebuild,
    /// Remove it.
    Remove,
    /// Leave it alone.
    Leave,
}

impl StartAction {
    /// Whether it stands for something that would be cut, kept aside or refused, or is damaged.
    pub const fn is_problem(&self) -> bool {
        match self {
            Self::Cut { .. }
            | Self::Quarantine
            | Self::Known
            | Self::Overlook
            | Self::Serve
            | Self::Lose
            | Self::Unusable
            | Self::Refuse
            | Self::SetAside
            | Self::PassOver
            | Self::Abandon => true,
            Self::Redo | Self::Rebuild | Self::Remove | Self::Leave => false,
        }
    }

    /// One word for programs; never changed.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut",
            Self::Quarantine => "quarantine",
            Self::Known => "known",
            Self::Overlook => "overlook",
            Self::Serve => "serve",
            Self::Lose => "lose",
            Self::Unusable => "unusable",
            Self::Refuse => "refuse",
            Self::SetAside => "set-aside",
            Self::PassOver => "pass-over",
            Self::Abandon => "abandon",
            Self::Redo => "redo",
            Self::Rebuild => "rebuild",
            Self::Remove => "remove",
            Self::Leave => "leave",
        }
    }
}

impl fmt::Display for StartAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { kept: None } => f.write_str("cuts it: nobody was promised these bytes"),
            Self::Cut { kept: Some(path) } => {
                write!(f, "copies it to {} and cuts it", path.display())
            }
            Self::Quarantine => {
                f.write_str("copies it to quarantine/, leaves it in place and tells readers")
            }
            Self::Known => {
                f.write_str("does nothing new: it was reported before, and readers are told")
            }
            Self::Overlook => {
                f.write_str("does not read this far back; readers get an error there")
            }
            Self::Serve => f.write_str("serves it as it is; consumers fail on it"),
            Self::Lose => f.write_str("reports the offsets as lost and goes on behind them"),
            Self::Unusable => {
                f.write_str("leaves this partition out of service, starts the others")
            }
            Self::Refuse => f.write_str("does not start"),
            Self::SetAside => f.write_str("takes what is legible and keeps the file aside"),
            Self::PassOver => f.write_str("passes it over"),
            Self::Abandon => f.write_str("leaves it where it is; nobody can read its records"),
            Self::Redo => f.write_str("writes it into the logs again"),
            Self::Rebuild => f.write_str("makes it anew when it is needed"),
            Self::Remove => f.write_str("removes it"),
            Self::Leave => f.write_str("leaves it alone"),
        }
    }
}
