//! A stretch of the log whose bytes are not what was written.

use std::fmt;

use model::Offset;

/// Records that were vouched for and cannot be read: reported, kept aside, never skipped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Base offset of the segment, which is its file's name.
    pub segment: Offset,
    /// Where the damaged bytes begin in the file.
    pub position: u64,
    /// Where they end; equal to `position` if the bytes are missing altogether.
    pub position_end: u64,
    /// The first offset that is lost.
    pub from: Offset,
    /// The first offset that can be read again; equal to `from` if only excess bytes were found.
    pub until: Offset,
}

impl Damage {
    /// Whether `offset` is lost.
    pub fn covers(&self, offset: Offset) -> bool {
        (self.from..self.until).contains(&offset)
    }

    pub(crate) fn covers_position(&self, segment: Offset, position: u64) -> bool {
        self.segment == segment && (self.position..self.position_end).contains(&position)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "offsets {}..{} in segment {} at bytes {}..{}",
            self.from, self.until, self.segment, self.position, self.position_end
        )
    }
}
