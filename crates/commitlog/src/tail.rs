//! The newest appends in memory, so that readers who keep up never touch the file.
//!
//! Each append is one chunk of whole batches. Bounded in bytes; the oldest chunks go first, and an
//! append larger than the bound is not kept at all.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use model::Offset;
use record::Header;

/// Whole batches one after another: `[base, next)` of a log, as they were written.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset after the last record.
    pub next: Offset,
    /// The batches.
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    size: usize,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
    }

    /// Keeps what was appended as `[base, next)`.
    pub(crate) fn push(&mut self, base: Offset, next: Offset, bytes: Bytes) {
        if self.chunks.back().is_some_and(|last| last.next != base) {
            self.clear();
        }
        self.size += bytes.len();
        self.chunks.push_back(Chunk { base, next, bytes });
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.size > self.limit {
            match self.chunks.pop_front() {
                Some(chunk) => self.size -= chunk.bytes.len(),
                None => break,
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.size = 0;
    }

    /// Forgets what is before `offset`: the disk has it otherwise now.
    pub(crate) fn forget_before(&mut self, offset: Offset) {
        while self.chunks.front().is_some_and(|chunk| chunk.base < offset) {
            if let Some(chunk) = self.chunks.pop_front() {
                self.size -= chunk.bytes.len();
            }
        }
    }

    /// Batches from the one that holds `from`, up to `until`; `None` if `from` is not in memory.
    /// What lies in one chunk is shared, not copied.
    pub(crate) fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        until: Offset,
    ) -> Option<Bytes> {
        let first = self.chunks.partition_point(|chunk| chunk.next <= from);
        let chunk = self.chunks.get(first)?;
        if chunk.base > from {
            return None;
        }
        let mut taken = take(chunk.bytes.clone(), from, max_bytes, at_least_one, until);
        let mut whole = taken.len() == chunk.bytes.len() || ends(&chunk.bytes, &taken);
        let mut joined = BytesMut::new();
        for chunk in self.chunks.iter().skip(first + 1) {
            let room = max_bytes.saturating_sub(taken.len() + joined.len());
            if !whole || room == 0 {
                break;
            }
            let more = take(chunk.bytes.clone(), from, room, false, until);
            whole = more.len() == chunk.bytes.len();
            if joined.is_empty() && !more.is_empty() {
                joined.extend_from_slice(&taken);
                taken = Bytes::new();
            }
            joined.extend_from_slice(&more);
        }
        if joined.is_empty() {
            Some(taken)
        } else {
            Some(joined.freeze())
        }
    }
}

/// Whether `part`, a slice of `whole`, reaches its end.
fn ends(whole: &Bytes, part: &Bytes) -> bool {
    !part.is_empty() && whole.as_ptr_range().end == part.as_ptr_range().end
}

/// Of good batches one after another, those from the one that holds `from` that fit into `max_bytes` (the first
/// whatever its size if `at_least_one`) and begin before `until`.
pub fn take(
    mut bytes: Bytes,
    from: Offset,
    max_bytes: usize,
    at_least_one: bool,
    until: Offset,
) -> Bytes {
    let mut length = 0;
    while let Some((base, next, size)) = peek(bytes.get(length..).unwrap_or_default()) {
        if next <= from {
            drop(bytes.split_to(length + size));
            length = 0;
            continue;
        }
        let fits = length + size <= max_bytes || (at_least_one && length == 0);
        if base >= until || !fits {
            break;
        }
        length += size;
    }
    bytes.truncate(length);
    bytes
}

/// Base offset, next offset and size of the whole batch that `bytes` begin with.
fn peek(bytes: &[u8]) -> Option<(Offset, Offset, usize)> {
    let header = Header::read(bytes).ok()?;
    let size = header.size().ok().filter(|size| *size <= bytes.len())?;
    let base = Offset::from_i64(header.base_offset)?;
    Some((base, base.plus(header.offsets()), size))
}
