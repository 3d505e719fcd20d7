//! The file of a removed segment, used again for the next one.
//!
//! **Problem.** A log that is kept to a size throws a file away for each one it begins, and makes every flush of the new one
//! pay for blocks and a length that the old one had (`preallocate`).
//!
//! **Answer.** Retention renames the last segment it removes to `spare`, and the next segment takes the file, full of old batches, by
//! another rename. Old bytes can never be taken for the log's: a batch counts only with the base offset that is expected at its
//! place (`scan`), and what was removed has smaller offsets than any that will be given out. So the offset is the epoch, and
//! the format needs no other.
//!
//! A start that finds old batches behind the last good one takes them away without a word, as it does with zeros; a spare it removes.
//!
//! Only by retention, in a log that is written: who deletes records or whole topics wants the room. Not on a disk that is
//! nearly full. Not if anybody still reads the segment: the bytes would change under him. A spare that is not needed
//! for long is removed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use env::{DynFile, Open};
use model::{Offset, Timestamp};

use crate::Log;
use crate::scan::{self, Window};
use crate::segment::Segment;

/// The name of a spare file in a log's directory.
pub(crate) const NAME: &str = "spare";

/// A spare is removed after this long without use.
const UNUSED_MAX: Duration = Duration::from_hours(1);

/// Spares are kept on a disk that has this many times their size left.
const ROOM_TIMES: u64 = 20;

/// How far a start looks for whole batches behind a bad place in a file that was used before. More than one round writes
/// without a flush.
const LOOK_BYTES: u64 = 8 << 20;

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

impl Log {
    /// Keeps the file of a segment that was just taken out of the log; answers whether it did. Durable with the
    /// directory's next sync.
    pub(crate) fn keep_spare(&mut self, segment: &Arc<Segment>, now: Timestamp) -> bool {
        let bytes = segment.summary().size;
        let wanted = self.options.preallocate_bytes.bytes() > 0
            && self.spare.is_none()
            && segment.name().cleaned.is_none()
            && self.active().summary().size > 0;
        if !wanted || !segment.is_alone() {
            return false;
        }
        let disk = &self.shared.disk;
        let roomy = disk.space(&self.shared.dir);
        if roomy.is_ok_and(|space| space.available / ROOM_TIMES < bytes) {
            return false;
        }
        let kept = disk.rename(segment.path(), &path(&self.shared.dir));
        if kept.is_ok() {
            self.spare = Some(now);
        }
        kept.is_ok()
    }

    /// Gives the spare file, if there is one, the name of a new segment; answers it and its length.
    pub(crate) fn take_spare(&mut self, new: &Path) -> Option<(DynFile, u64)> {
        self.spare.take()?;
        let disk = &self.shared.disk;
        disk.rename(&path(&self.shared.dir), new).ok()?;
        let file = disk.open(new, Open::Write).ok()?;
        let length = file.length().ok()?;
        Some((file, length))
    }

    /// Removes a spare file that was not used for long.
    pub(crate) fn drop_unused_spare(&mut self, now: Timestamp) {
        if self
            .spare
            .is_some_and(|since| now.since(since) >= UNUSED_MAX)
        {
            self.spare = None;
            // One that stays is removed by the next start.
            drop(self.shared.disk.remove_file(&path(&self.shared.dir)));
        }
    }
}

/// Whether there are old batches, and none of this segment, from `position` on, as far as one looks.
pub(crate) fn is_old(window: &mut Window<'_>, position: u64, segment: Offset) -> io::Result<bool> {
    let mut at = position;
    let mut found = false;
    while at < position.saturating_add(LOOK_BYTES)
        && let Some(batch) = scan::resync(window, at, Offset::ZERO)?
    {
        if batch.base() >= segment {
            return Ok(false);
        }
        found = true;
        at = batch.position_end();
    }
    Ok(found)
}
