//! Zeros behind the end of the newest segment, so that a flush finds the file as long as it is going to be.
//!
//! **Problem.** A flush of a file that grew writes the file system's own journal too: its length changed, and blocks were
//! given out. With little to flush this is most of the cost (`docs/benchmarks/layouts.md`, `docs/decisions/0025-preallocation.md`).
//!
//! **Answer.** The flush that finds the file grown writes zeros behind the end, some way ahead, before it syncs; those
//! that follow overwrite them. How far ahead grows with the segment, so that a log of a few records has a few KiB. Zeros cost
//! their own bytes: where a round is large that is more than what they spare, and the file grows as it is written.
//!
//! Invariants: zeros are written only behind the last byte that was ever written to this file, never over one; nobody
//! reads there, since what is read ends with the segment's size and not with the file. Zeros are no batch, in whatever part a crash
//! leaves them: a start that finds nothing else behind the last batch takes them away, and calls that neither a
//! cut nor damage (`recovery`). A segment loses them when it is closed.

use std::io::{self, IoSlice};

use env::DiskFile;

use crate::wire::{to_u64, to_usize};

/// A round with more to flush than this gains less from zeros than they cost.
const ROUND_BYTES_MAX: u64 = 64 << 10;

/// What the smallest segment gets.
const AHEAD_BYTES_MIN: u64 = 16 << 10;

/// Ends of zeros: whole pages, since a part of one would have to be read before it is written over.
const PAGE_BYTES: u64 = 4 << 10;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How far the newest segment's file goes, and how far it was flushed.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// The file is so long, if that is more than the segment's size.
    until: u64,
    flushed: u64,
}

impl Room {
    /// As a file is that ends with its last batch, all of it flushed.
    pub(crate) fn none(size: u64) -> Self {
        Self {
            until: size,
            flushed: size,
        }
    }

    /// As a file is that has nothing of the segment yet, and is so long.
    pub(crate) fn used(until: u64) -> Self {
        Self { until, flushed: 0 }
    }

    /// Whether the file may be longer than the segment.
    pub(crate) fn is_left(&self, size: u64) -> bool {
        self.until > size
    }

    /// Takes note that the segment is flushed up to `size`.
    pub(crate) fn flushed(&mut self, size: u64) {
        self.flushed = size;
    }

    /// Writes zeros behind `size` if this round made the file grow and is small; at most `ahead_max` bytes, and none
    /// from `limit` on, where the segment ends anyway. On failure the file ends where the segment does, if even that can be done.
    pub(crate) fn make(&mut self, file: &dyn DiskFile, size: u64, ahead_max: u64, limit: u64) {
        let Some(until) = self.wanted(size, ahead_max, limit) else {
            return;
        };
        // It is a convenience: a full disk, or one that cannot write, will tell those who need it.
        if write_zeros(file, size, until).is_ok() {
            self.until = until;
        } else if file.set_len(size).is_err() {
            // So that the next to close the segment tries again.
            self.until = until;
        }
    }

    fn wanted(&self, size: u64, ahead_max: u64, limit: u64) -> Option<u64> {
        let grew = size > self.until;
        if !grew || size - self.flushed > ROUND_BYTES_MAX || ahead_max == 0 {
            return None;
        }
        let ahead = size.max(AHEAD_BYTES_MIN).min(ahead_max);
        let until = (size + ahead).next_multiple_of(PAGE_BYTES).min(limit);
        (until > size).then_some(until)
    }
}

fn write_zeros(file: &dyn DiskFile, from: u64, until: u64) -> io::Result<()> {
    let mut slices = Vec::new();
    let mut left = until - from;
    while left > 0 {
        let part = left.min(to_u64(ZEROS.len()));
        let zeros = ZEROS.get(..to_usize(part)).unwrap_or_default();
        slices.push(IoSlice::new(zeros));
        left -= part;
    }
    file.write_all_vectored_at(&mut slices, from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD: u64 = 512 << 10;
    const LIMIT: u64 = 1 << 30;

    #[track_caller]
    fn check(until: u64, flushed: u64, size: u64, wanted: Option<u64>) {
        let room = Room { until, flushed };
        assert_eq!(room.wanted(size, AHEAD, LIMIT), wanted);
    }

    #[test]
    fn zeros_go_further_ahead_the_larger_the_segment_is() {
        check(0, 0, 100, Some(20 << 10));
        check(20 << 10, 19 << 10, 21 << 10, Some(44 << 10));
        check(
            8 << 20,
            8 << 20,
            (8 << 20) + 1,
            Some((8 << 20) + AHEAD + PAGE_BYTES),
        );
    }

    #[test]
    fn zeros_are_written_where_a_small_round_made_the_file_grow() {
        check(20 << 10, 100, 20 << 10, None);
        check(20 << 10, 100, 15 << 10, None);
        check(0, 0, ROUND_BYTES_MAX, Some(128 << 10));
        check(0, 0, ROUND_BYTES_MAX + 1, None);
    }

    #[test]
    fn zeros_end_where_the_segment_does() {
        let room = Room::default();
        assert_eq!(room.wanted(900, AHEAD, 1_000), Some(1_000));
        assert_eq!(room.wanted(1_200, AHEAD, 1_000), None);
        assert_eq!(room.wanted(900, 0, 1_000), None);
    }
}
