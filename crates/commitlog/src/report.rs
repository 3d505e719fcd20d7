//! What opening a log found and did.

use std::path::PathBuf;

use model::Offset;

use crate::Damage;

/// Whether the last run left a usable checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointState {
    /// The log is new.
    #[default]
    New,
    /// The last run closed the log in order.
    Clean,
    /// The last run ended somewhere after this checkpoint.
    Used,
    /// There was none, or it was not legible: everything was scanned.
    Doubtful,
}

/// An unacknowledged end that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Base offset of the segment.
    pub segment: Offset,
    /// Where the file ends now.
    pub position: u64,
    /// Bytes removed.
    pub bytes: u64,
    /// The log's end, the first offset that was not kept.
    pub at: Offset,
    /// Where the bytes were kept aside, if there were whole batches among them.
    pub kept: Option<PathBuf>,
}

/// What opening a log found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Whether the last run left a usable checkpoint.
    pub checkpoint: CheckpointState,
    /// Segments there are.
    pub segments: usize,
    /// Bytes read to make sure of them.
    pub scanned_bytes: u64,
    /// Bytes written again because nothing showed that the disk has them.
    pub rewritten_bytes: u64,
    /// The torn end that was cut, if there was one.
    pub cut: Option<Cut>,
    /// Damage found now; what earlier runs found is in [`RecoveryReport::known_damage`].
    pub damage: Vec<Damage>,
    /// Where damaged bytes were kept aside.
    pub kept: Vec<PathBuf>,
    /// Damage that an earlier run reported.
    pub known_damage: Vec<Damage>,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The next offset to be written.
    pub log_end: Offset,
}

impl RecoveryReport {
    /// In words, what was changed or is wrong; `None` if nothing is. A torn end that held no whole
    /// batch counts as a change, rewritten bytes do not.
    pub fn changed(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(cut) = &self.cut {
            let kept = cut
                .kept
                .as_ref()
                .map(|path| format!(", kept in {}", path.display()))
                .unwrap_or_default();
            parts.push(format!(
                "cut {} unacknowledged bytes at offset {}{kept}",
                cut.bytes, cut.at
            ));
        }
        parts.extend(
            self.damage
                .iter()
                .map(|damage| format!("damaged: {damage}")),
        );
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
