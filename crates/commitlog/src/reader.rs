//! Reading a log, beside its writer and other readers.

use std::sync::Arc;

use bytes::Bytes;
use env::DiskFile;
use model::Offset;
use record::{HEADER_BYTES, Header};
use stdx::BufferPool;

use crate::names::SegmentName;
use crate::scan::{self, Step, Window};
use crate::segment::Segment;
use crate::shared::Shared;
use crate::wire::{to_u64, to_usize};
use crate::{Damage, Error, Marks};

/// Bytes read beyond what was asked for, because a read begins at an index entry.
const SLACK_BYTES: u64 = 16 << 10;

/// Reads a log. Clones are cheap, and may be used from any thread.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(crate) shared: Arc<Shared>,
}

impl LogReader {
    /// The marks now.
    pub fn marks(&self) -> Marks {
        self.shared.marks()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        let segments = self.shared.segments.read();
        segments.iter().map(|segment| segment.summary().size).sum()
    }

    /// Damage known so far.
    pub fn damage(&self) -> Vec<Damage> {
        self.shared.damage()
    }

    /// Whole batches from the one that holds `from`, before `up_to` and the high watermark, at most
    /// `max_bytes` (the first one whatever its size if `at_least_one`). Empty at the high watermark.
    /// The checksum of what comes from the disk is verified.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] before the log start or after the log end; [`Error::Corrupt`] where
    /// records are damaged, with the offset to read on from; [`Error::Io`].
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        up_to: Offset,
    ) -> Result<Bytes, Error> {
        let marks = self.marks();
        if from < marks.log_start || from > marks.log_end {
            return Err(out_of_range(from, marks));
        }
        let until = up_to.min(marks.high_watermark);
        if from >= until {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.read_tail(from, max_bytes, at_least_one, until) {
            return Ok(bytes);
        }
        let ask = Ask {
            from,
            max_bytes,
            at_least_one,
            until,
        };
        let read = self.read_disk(ask);
        if read.is_err() {
            // Retention may have removed the segment meanwhile.
            let marks = self.marks();
            if from < marks.log_start {
                return Err(out_of_range(from, marks));
            }
        }
        read
    }

    /// As [`LogReader::read`], from memory alone; `None` when the disk (or an error) is needed.
    pub fn read_memory(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        up_to: Offset,
    ) -> Option<Bytes> {
        let marks = self.marks();
        if from < marks.log_start || from > marks.log_end {
            return None;
        }
        let until = up_to.min(marks.high_watermark);
        if from >= until {
            return Some(Bytes::new());
        }
        self.read_tail(from, max_bytes, at_least_one, until)
    }

    fn read_tail(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        until: Offset,
    ) -> Option<Bytes> {
        let tail = self.shared.tail.lock();
        tail.read(from, max_bytes, at_least_one, until)
    }

    fn read_disk(&self, ask: Ask) -> Result<Bytes, Error> {
        let mut damage = self.shared.damage();
        // First of all: where the oldest segment is missing, none holds the offset.
        if let Some(found) = damage.iter().find(|damage| damage.covers(ask.from)) {
            return Err(corrupt(&self.shared, found));
        }
        let Some(segment) = self.shared.segment_of(ask.from) else {
            return Err(out_of_range(ask.from, self.marks()));
        };
        damage.retain(|damage| damage.segment == segment.base());
        let (base, position) = segment.by_offset(ask.from, &damage)?;
        self.shared.note_index(&segment);
        let file = segment.file()?;
        let summary = segment.summary();
        let start = Walk {
            file: &*file,
            pool: &self.shared.pool,
            segment: &segment,
            damage: &[],
            size: summary.size,
            next: self.shared.base_after(&segment).unwrap_or(summary.next),
            position,
            expected: base,
        };
        // Damage that is found between the index entry and the batch asked for is stepped over.
        loop {
            let mut walk = Walk {
                damage: &damage,
                ..start
            };
            if let Outcome::Bytes(bytes) = walk.read(ask)? {
                return Ok(bytes);
            }
            let found = Walk {
                damage: &damage,
                ..start
            }
            .measure_damage()?;
            self.shared.note_damage(&segment, found);
            if found.until > ask.from || found.position_end >= start.size {
                return Err(corrupt(&self.shared, &found));
            }
            damage.push(found);
        }
    }
}

fn out_of_range(asked: Offset, marks: Marks) -> Error {
    Error::OutOfRange {
        asked,
        log_start: marks.log_start,
        log_end: marks.log_end,
    }
}

fn corrupt(shared: &Shared, damage: &Damage) -> Error {
    let segment = shared.segment_of(damage.segment);
    let segment = segment.filter(|segment| segment.base() == damage.segment);
    let missing = || SegmentName::appended(damage.segment).log_path(&shared.dir);
    Error::Corrupt {
        from: damage.from,
        until: damage.until,
        path: segment.map_or_else(missing, |segment| segment.path().to_owned()),
        position: damage.position,
    }
}

/// What a reader wants.
#[derive(Debug, Clone, Copy)]
struct Ask {
    from: Offset,
    max_bytes: usize,
    at_least_one: bool,
    until: Offset,
}

enum Outcome {
    Bytes(Bytes),
    /// The batch at the walk's position is not good or not there, and nothing good was found before it.
    Bad,
}

/// One read's way through a segment.
#[derive(Clone, Copy)]
struct Walk<'a> {
    file: &'a dyn DiskFile,
    pool: &'a BufferPool,
    segment: &'a Segment,
    /// This segment's.
    damage: &'a [Damage],
    /// Where the batches end, and the offset that comes after them.
    size: u64,
    next: Offset,
    position: u64,
    expected: Offset,
}

impl Walk<'_> {
    fn read(&mut self, ask: Ask) -> Result<Outcome, Error> {
        loop {
            self.step_over_damage();
            let stop = self.next_damage().unwrap_or(self.size).min(self.size);
            if self.position >= stop {
                // What was asked for should have been here: an empty answer would be asked for again for ever.
                return Ok(Outcome::Bad);
            }
            let wanted = to_u64(ask.max_bytes).saturating_add(SLACK_BYTES);
            let length = to_usize(wanted.min(stop - self.position));
            let mut chunk = self.pool.take_filled(length);
            self.file
                .read_exact_at(chunk.as_mut_slice(), self.position)
                .map_err(|source| self.segment.io("read", source))?;
            match self.collect(chunk.as_ref(), stop, ask) {
                Collected::Bytes(from, to) => {
                    return Ok(Outcome::Bytes(chunk.freeze().slice(from..to)));
                }
                Collected::Alone(size) => {
                    let mut alone = self.pool.take_filled(size);
                    self.file
                        .read_exact_at(alone.as_mut_slice(), self.position)
                        .map_err(|source| self.segment.io("read", source))?;
                    let good = record::check(alone.as_ref())
                        .is_ok_and(|(header, _)| is_at(&header, self.expected));
                    return Ok(if good {
                        Outcome::Bytes(alone.freeze())
                    } else {
                        Outcome::Bad
                    });
                }
                Collected::More => {}
                Collected::Bad => return Ok(Outcome::Bad),
            }
        }
    }

    /// Walks the batches of `chunk`, which begins at the walk's position and may end inside one.
    fn collect(&mut self, chunk: &[u8], stop: u64, ask: Ask) -> Collected {
        let (mut at, mut from) = (0, None);
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            let end = |from: Option<usize>| from.map(|from| Collected::Bytes(from, at));
            if self.position >= stop {
                return end(from).unwrap_or(Collected::More);
            }
            let header = match Header::read(rest) {
                Ok(header) => header,
                Err(record::Error::Incomplete { .. })
                    if self.position + to_u64(HEADER_BYTES) <= stop =>
                {
                    return end(from).unwrap_or(Collected::More);
                }
                Err(_) => return end(from).unwrap_or(Collected::Bad),
            };
            let size = header.size().ok().filter(|size| {
                self.position + to_u64(*size) <= stop
                    && header.check(*size).is_ok()
                    && is_at(&header, self.expected)
            });
            let Some(size) = size else {
                return end(from).unwrap_or(Collected::Bad);
            };
            let next = self.expected.plus(header.offsets());
            if next > ask.from {
                let gathered = from.map_or(0, |from| at - from);
                let fits = gathered + size <= ask.max_bytes || (ask.at_least_one && gathered == 0);
                if self.expected >= ask.until || !fits {
                    return end(from).unwrap_or(Collected::Bytes(0, 0));
                }
                let Some(batch) = rest.get(..size) else {
                    return end(from).unwrap_or(Collected::Alone(size));
                };
                if record::check(batch).is_err() {
                    return end(from).unwrap_or(Collected::Bad);
                }
                from = from.or(Some(at));
            }
            at += size;
            self.position += to_u64(size);
            self.expected = next;
        }
    }

    fn step_over_damage(&mut self) {
        while let Some(damage) = self
            .damage
            .iter()
            .find(|damage| damage.covers_position(self.segment.base(), self.position))
        {
            self.position = damage.position_end;
            self.expected = damage.until;
        }
    }

    fn next_damage(&self) -> Option<u64> {
        let ahead = self.damage.iter().filter(|damage| {
            damage.position > self.position && damage.position < damage.position_end
        });
        ahead.map(|damage| damage.position).min()
    }

    /// The first bad bytes from the walk's position on, and how far they reach. Batches that were
    /// only stepped over before are checked here: a length that rotted leads astray.
    fn measure_damage(mut self) -> Result<Damage, Error> {
        let failed = |source| self.segment.io("read", source);
        let mut window = Window::new(self.file, self.size);
        loop {
            self.step_over_damage();
            match scan::step(&mut window, self.position, self.expected).map_err(failed)? {
                Step::Batch(batch) => {
                    (self.position, self.expected) = (batch.position_end(), batch.next());
                }
                Step::End | Step::Bad => break,
            }
        }
        let next = scan::resync(&mut window, self.position + 1, self.expected).map_err(failed)?;
        let (position_end, until) = match next {
            Some(batch) => (batch.position, batch.base()),
            None => (self.size, self.next),
        };
        Ok(Damage {
            segment: self.segment.base(),
            position: self.position,
            position_end,
            from: self.expected,
            until,
        })
    }
}

fn is_at(header: &Header, expected: Offset) -> bool {
    Offset::from_i64(header.base_offset) == Some(expected)
}

enum Collected {
    /// A part of the chunk.
    Bytes(usize, usize),
    /// One batch of this size at the walk's position, larger than the chunk.
    Alone(usize),
    /// Only skipped batches so far: read on at the walk's position.
    More,
    Bad,
}

/// Calls `visit` with every good batch of a segment from `(base, position)` on, stepping over damage,
/// until it answers `Some`.
pub(crate) fn walk_batches<T>(
    segment: &Segment,
    damage: &[Damage],
    (base, position): (Offset, u64),
    until: Offset,
    mut visit: impl FnMut(&Header, &[u8]) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let file = segment.file()?;
    let mut window = Window::new(&*file, segment.summary().size);
    let (mut position, mut expected) = (position, base);
    while expected < until {
        if let Some(known) = damage
            .iter()
            .find(|damage| damage.covers_position(segment.base(), position))
        {
            (position, expected) = (known.position_end, known.until);
            continue;
        }
        let step = scan::step(&mut window, position, expected);
        match step.map_err(|source| segment.io("read", source))? {
            Step::End => break,
            Step::Batch(batch) => {
                let bytes = window.get(position, to_usize(batch.size));
                let bytes = bytes.map_err(|source| segment.io("read", source))?;
                if let Some(answer) = visit(&batch.header, bytes.unwrap_or_default())? {
                    return Ok(Some(answer));
                }
                (position, expected) = (batch.position_end(), batch.next());
            }
            Step::Bad => {
                let next = scan::resync(&mut window, position + 1, expected);
                match next.map_err(|source| segment.io("read", source))? {
                    Some(batch) => (position, expected) = (batch.position, batch.base()),
                    None => break,
                }
            }
        }
    }
    Ok(None)
}
