//! Removing the old end of a log, whole segments at a time.
//!
//! The order is what keeps it safe: the new start is made durable first, then files go. A crash in
//! between leaves files below the start, which the next start removes; never a hole above it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Offset, Timestamp};

use crate::segment::Segment;
use crate::{Error, Log, Retention};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The oldest offset kept now.
    pub log_start: Offset,
}

impl Log {
    /// Removes whole segments that `policy` lets go, oldest first; never the newest segment, but
    /// that is closed if all of it is old. Forgets silent producers too.
    ///
    /// # Errors
    /// As [`Log::flush`]; [`Error::Io`] if the new start could not be made durable (nothing was
    /// removed) or a file could not be removed (the next start removes it).
    pub fn retain(&mut self, policy: &Retention, now: Timestamp) -> Result<Retained, Error> {
        self.check_frozen()?;
        self.expire_producers(now);
        self.drop_unused_spare(now);
        match self.roll_if_old(policy, now) {
            // No room for the next segment: the older ones go all the same, which makes some.
            Ok(()) | Err(Error::Full { .. }) => (),
            Err(error) => return Err(error),
        }
        let segments = self.shared.segments();
        let mut left: u64 = segments.iter().map(|segment| segment.summary().size).sum();
        let mut start = self.marks().log_start;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            let summary = segment.summary();
            let aged = policy
                .age
                .is_some_and(|age| now.since(summary.newest()) > age);
            let bulky = policy
                .bytes
                .is_some_and(|bytes| left - summary.size >= bytes.bytes());
            if !aged && !bulky {
                break;
            }
            left -= summary.size;
            // Not the end of the removed one: there may be damage in between.
            start = start.max(next.base());
        }
        drop(segments);
        self.start_at(start, Some(now))
    }

    /// Drops all records before `offset`: they cannot be read any more, and whole segments of them
    /// are removed. An offset before the log start changes nothing.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above the high watermark; otherwise as [`Log::retain`].
    pub fn delete_before(&mut self, offset: Offset) -> Result<Retained, Error> {
        self.check_frozen()?;
        let marks = self.marks();
        if offset > marks.high_watermark {
            return Err(Error::OutOfRange {
                asked: offset,
                log_start: marks.log_start,
                log_end: marks.log_end,
            });
        }
        self.start_at(offset, None)
    }

    fn roll_if_old(&mut self, policy: &Retention, now: Timestamp) -> Result<(), Error> {
        let summary = self.active().summary();
        if summary.size == 0 {
            return Ok(());
        }
        let by_age = policy
            .age
            .is_some_and(|age| now.since(summary.newest()) > age);
        let by_segment_age = self
            .first_append()
            .is_some_and(|first| now.since(first) >= self.options.segment_age);
        if by_age || by_segment_age {
            self.roll(now)?;
        }
        Ok(())
    }

    /// Begins the log at `start`. With a time, one of the files that go may be kept for the next segment.
    fn start_at(&mut self, start: Offset, keep: Option<Timestamp>) -> Result<Retained, Error> {
        let before = self.marks().log_start;
        if start <= before {
            return Ok(Retained {
                log_start: before,
                ..Retained::default()
            });
        }
        // The checkpoint that carries the new start can only name flushed offsets.
        self.flush()?;
        let removed = self.cut_off(start);
        if let Err(error) = self.write_start() {
            self.undo_cut(before, removed);
            return Err(error);
        }
        let mut retained = Retained {
            log_start: start,
            segments: removed.len(),
            bytes: 0,
        };
        self.shared.aborted.write().start_at(start);
        let mut failed = None;
        for segment in removed {
            retained.bytes += segment.summary().size;
            if let Err(source) = self.unlink(&segment, keep) {
                failed.get_or_insert(segment.io("remove", source));
            }
        }
        if retained.segments > 0
            && let Err(source) = self.shared.disk.sync_dir(&self.shared.dir)
        {
            failed.get_or_insert(Error::Io {
                action: "sync",
                path: self.shared.dir.clone(),
                source,
            });
        }
        failed.map_or(Ok(retained), Err)
    }

    /// Takes everything before `start` out of sight; answers the segments that are wholly before it.
    fn cut_off(&mut self, start: Offset) -> Vec<Arc<Segment>> {
        self.shared.log_start.store(start.get(), Ordering::Release);
        let mut segments = self.shared.segments.write();
        let before = segments
            .iter()
            .skip(1)
            .take_while(|next| next.base() <= start)
            .count();
        segments.drain(..before).collect()
    }

    fn undo_cut(&mut self, start: Offset, mut removed: Vec<Arc<Segment>>) {
        let mut segments = self.shared.segments.write();
        removed.append(&mut segments);
        *segments = removed;
        self.shared.log_start.store(start.get(), Ordering::Release);
    }

    fn unlink(&mut self, segment: &Arc<Segment>, keep: Option<Timestamp>) -> std::io::Result<()> {
        let base = segment.base();
        self.shared
            .damage
            .write()
            .retain(|damage| damage.segment != base);
        let kept = keep.is_some_and(|now| self.keep_spare(segment, now));
        let disk = &self.shared.disk;
        if !kept {
            disk.remove_file(segment.path())?;
        }
        match disk.remove_file(&segment.name().index_path(&self.shared.dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use env::{Disk, SimDisk};
    use record::{BatchBuilder, Compression};
    use stdx::ByteSize;

    use super::*;
    use crate::Options;

    #[test]
    fn a_segment_that_somebody_reads_is_removed_and_its_file_not_used_again() {
        for reads in [false, true] {
            let disk = SimDisk::new(1);
            let options = Options {
                segment_bytes: ByteSize::from_bytes(200),
                preallocate_bytes: ByteSize::from_kib(4),
                ..Options::default()
            };
            let now = Timestamp::from_millis(1);
            let dir = Path::new("/p");
            let (mut log, _) = Log::open(disk.shared(), dir, options, now).unwrap();
            for _ in 0..9 {
                let mut builder = BatchBuilder::new(Compression::None);
                builder.push(now, None, Some(b"value"), &[]);
                log.append(&[builder.build()], now).unwrap();
            }
            let segments = log.shared.segments();
            let read: Vec<_> = segments.iter().filter(|_| reads).cloned().collect();
            let mut files = segments.iter().map(|segment| segment.file().unwrap());
            let file = files.next_back().filter(|_| reads);
            drop(segments);
            let policy = Retention {
                bytes: Some(ByteSize::from_bytes(100)),
                ..Retention::default()
            };
            assert!(log.retain(&policy, now).unwrap().segments > 1);
            assert_eq!(disk.exists(&crate::spare::path(dir)).unwrap(), !reads);
            drop((read, file));
        }
    }
}
