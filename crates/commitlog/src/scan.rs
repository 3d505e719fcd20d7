//! Walking the bytes of a segment batch by batch, and finding the next good batch after a bad one.
//!
//! A batch counts as good only if its fields agree with each other, its CRC32C is right and its base
//! offset is the one expected there: bytes of an older life of the file, or of a batch inside a
//! record's value, do not pass for the log.

use std::io;

use env::DiskFile;
use model::Offset;
use record::{HEADER_BYTES, Header};

use crate::wire::{to_u64, to_usize};

/// Bytes read at once.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A stretch of a file in memory.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    /// Where the part of the file that matters ends.
    end: u64,
    at_once: usize,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes read from the file so far.
    pub(crate) read_bytes: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64) -> Self {
        Self::reading(file, end, WINDOW_BYTES)
    }

    /// A window that reads at least `at_once` bytes at once.
    pub(crate) fn reading(file: &'a dyn DiskFile, end: u64, at_once: usize) -> Self {
        Self {
            file,
            end,
            at_once,
            start: 0,
            bytes: Vec::new(),
            read_bytes: 0,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `length` bytes at `position`; `None` if they would pass the end.
    pub(crate) fn get(&mut self, position: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let left = self.end.saturating_sub(position);
        if to_u64(length) > left {
            return Ok(None);
        }
        let inside = position >= self.start
            && position - self.start + to_u64(length) <= to_u64(self.bytes.len());
        if !inside {
            self.refill(position, length.max(self.at_once).min(to_usize(left)))?;
        }
        let from = to_usize(position - self.start);
        Ok(self.bytes.get(from..from + length))
    }

    /// Makes the window begin at `position`, keeping what it has from there on.
    fn refill(&mut self, position: u64, wanted: usize) -> io::Result<()> {
        let kept = position
            .checked_sub(self.start)
            .map(to_usize)
            .filter(|passed| *passed < self.bytes.len());
        match kept {
            Some(passed) => drop(self.bytes.drain(..passed)),
            None => self.bytes.clear(),
        }
        self.start = position;
        let have = self.bytes.len();
        self.bytes.resize(wanted.max(have), 0);
        let fresh = self.bytes.get_mut(have..).unwrap_or_default();
        let count = to_u64(fresh.len());
        if let Err(error) = self.file.read_exact_at(fresh, position + to_u64(have)) {
            self.bytes.clear();
            return Err(error);
        }
        self.read_bytes += count;
        Ok(())
    }
}

/// A good batch in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) header: Header,
    pub(crate) position: u64,
    pub(crate) size: u64,
}

impl Located {
    pub(crate) fn base(&self) -> Offset {
        Offset::from_i64(self.header.base_offset).unwrap_or_default()
    }

    pub(crate) fn next(&self) -> Offset {
        self.base().plus(self.header.offsets())
    }

    pub(crate) fn position_end(&self) -> u64 {
        self.position + self.size
    }
}

/// What is at a position.
#[derive(Debug)]
pub(crate) enum Step {
    Batch(Located),
    /// Nothing more: the position is the end.
    End,
    /// Something that is not the batch expected.
    Bad,
}

/// Looks for the batch with base offset `expected` at `position`.
pub(crate) fn step(window: &mut Window<'_>, position: u64, expected: Offset) -> io::Result<Step> {
    if position >= window.end() {
        return Ok(Step::End);
    }
    let located = batch_at(window, position)?;
    Ok(match located {
        Some(batch) if batch.base() == expected => Step::Batch(batch),
        _ => Step::Bad,
    })
}

/// Why there is no batch with base offset `expected` at `position`, in the words of whoever checked it;
/// `None` if there is one, or nothing at all.
pub(crate) fn why_bad(
    window: &mut Window<'_>,
    position: u64,
    expected: Offset,
) -> io::Result<Option<Bad>> {
    let left = window.end().saturating_sub(position);
    let Some(head) = window.get(position, to_usize(left).min(HEADER_BYTES))? else {
        return Ok(None);
    };
    if head.is_empty() {
        return Ok(None);
    }
    if head.iter().all(|byte| *byte == 0) {
        return Ok(Some(Bad::Zeros));
    }
    let size = Header::read(head).and_then(|header| {
        let size = header.size()?;
        header.check(size)?;
        Ok(size)
    });
    let checked = match size {
        Ok(size) => {
            let length = size.min(to_usize(left));
            let bytes = window.get(position, length)?.unwrap_or_default();
            record::check(bytes)
        }
        Err(error) => Err(error),
    };
    Ok(match checked {
        Err(error) => Some(Bad::Batch(error)),
        Ok((header, _)) => {
            let found = Offset::from_i64(header.base_offset).unwrap_or_default();
            (found != expected).then_some(Bad::Offset { expected, found })
        }
    })
}

/// Why bytes are not the batch that should be there.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    /// They are zeros, at least where a header should be.
    #[error("there are zeros where a batch should be")]
    Zeros,
    /// They are no good batch.
    #[error(transparent)]
    Batch(record::Error),
    /// They are a good batch of another place.
    #[error("the batch there begins at offset {found}, and {expected} comes next")]
    Offset {
        /// The offset that comes next.
        expected: Offset,
        /// The batch's own.
        found: Offset,
    },
}

/// The good batch at `position`, whatever its offset.
fn batch_at(window: &mut Window<'_>, position: u64) -> io::Result<Option<Located>> {
    let Some(size) = plausible_size(window, position)? else {
        return Ok(None);
    };
    let Some(bytes) = window.get(position, size)? else {
        return Ok(None);
    };
    Ok(record::check(bytes).ok().map(|(header, size)| Located {
        header,
        position,
        size: to_u64(size),
    }))
}

/// The size of what looks like a batch by its header alone.
fn plausible_size(window: &mut Window<'_>, position: u64) -> io::Result<Option<usize>> {
    let Some(bytes) = window.get(position, HEADER_BYTES)? else {
        return Ok(None);
    };
    Ok(Header::read(bytes).ok().and_then(|header| {
        let size = header.size().ok()?;
        header.check(size).ok()?;
        Some(size)
    }))
}

/// The first good batch at or after `position` whose base offset is at least `least`.
///
/// Tries every byte. A forged value could make every position look like the header of a large batch,
/// so the bytes put through the CRC are bounded; when the bound is reached, nothing more is found.
pub(crate) fn resync(
    window: &mut Window<'_>,
    position: u64,
    least: Offset,
) -> io::Result<Option<Located>> {
    const MAGIC_AT: usize = 16;
    let mut budget = (window.end().saturating_sub(position))
        .saturating_mul(4)
        .saturating_add(64 << 20);
    let mut at = position;
    while at + to_u64(HEADER_BYTES) <= window.end() {
        let length = to_usize(window.end() - at).min(WINDOW_BYTES);
        let Some(bytes) = window.get(at, length)? else {
            break;
        };
        // The next place whose magic byte is right.
        let candidate = bytes
            .get(MAGIC_AT..)
            .and_then(|bytes| bytes.iter().position(|byte| *byte == 2));
        let Some(ahead) = candidate else {
            at += to_u64(length - MAGIC_AT);
            continue;
        };
        at += to_u64(ahead);
        let base = window.get(at, HEADER_BYTES)?.and_then(|bytes| {
            let header = Header::read(bytes).ok()?;
            Offset::from_i64(header.base_offset)
        });
        if base.is_some_and(|base| base >= least)
            && let Some(size) = plausible_size(window, at)?
        {
            budget = budget.saturating_sub(to_u64(size));
            if budget == 0 {
                return Ok(None);
            }
            if let Some(batch) = batch_at(window, at)? {
                return Ok(Some(batch));
            }
        }
        at += 1;
    }
    Ok(None)
}
