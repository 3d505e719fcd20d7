//! One file of an overlay: the file below as far as it still shows, and the pages that differ from it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::disk::DynFile;

const PAGE: u64 = 4_096;
const PAGE_BYTES: usize = 4_096;

#[derive(Debug)]
pub(super) struct Content {
    inside: RwLock<Inside>,
    /// What is written is forgotten.
    forgets: bool,
    read_bytes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inside {
    below: Option<DynFile>,
    /// Up to here the file below shows, where no page is.
    shows: u64,
    length: u64,
    /// By number, whole: what stands in them counts up to the length.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Content {
    pub(super) fn empty(forgets: bool) -> Self {
        Self {
            inside: RwLock::default(),
            forgets,
            read_bytes: Arc::default(),
        }
    }

    /// A file as it is below. Its length is looked at once: nobody changes it meanwhile.
    pub(super) fn over(
        below: DynFile,
        forgets: bool,
        read_bytes: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let length = below.length()?;
        Ok(Self {
            inside: RwLock::new(Inside {
                below: Some(below),
                shows: length,
                length,
                pages: BTreeMap::new(),
            }),
            forgets,
            read_bytes,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.inside.read().length
    }

    pub(super) fn changed_bytes(&self) -> u64 {
        self.inside.read().pages.len() as u64 * PAGE
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let inside = self.inside.read();
        let left = inside.length.saturating_sub(position);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        let below = inside.read(buffer, position)?;
        self.read_bytes.fetch_add(below, Ordering::Relaxed);
        Ok(count)
    }

    /// Writes; whether anything is different now.
    pub(super) fn write(&self, bytes: &[u8], position: u64) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut inside = self.inside.write();
        let end = position + bytes.len() as u64;
        if self.forgets {
            *inside = Inside {
                length: inside.length.max(end),
                ..Inside::default()
            };
            return Ok(true);
        }
        // Whole pages as they are, to be compared with what is written.
        let first = position / PAGE;
        let pages = usize::try_from(end.div_ceil(PAGE) - first).unwrap_or(usize::MAX);
        let mut old = vec![0; pages * PAGE_BYTES];
        let before = inside.length;
        let known = usize::try_from(before.saturating_sub(first * PAGE)).unwrap_or(usize::MAX);
        let known = known.min(old.len());
        let below = inside.read(&mut old[..known], first * PAGE)?;
        self.read_bytes.fetch_add(below, Ordering::Relaxed);
        let mut new = old.clone();
        let at = usize::try_from(position - first * PAGE).unwrap_or(usize::MAX);
        new[at..at + bytes.len()].copy_from_slice(bytes);
        let pairs = old.chunks(PAGE_BYTES).zip(new.chunks(PAGE_BYTES));
        let mut changed = end > before;
        for (number, (old, new)) in (first..).zip(pairs) {
            if old != new {
                inside.pages.insert(number, new.into());
                changed = true;
            }
        }
        inside.length = before.max(end);
        Ok(changed)
    }

    /// Cuts or extends; whether anything is different now.
    pub(super) fn set_len(&self, length: u64) -> bool {
        let mut inside = self.inside.write();
        if length == inside.length {
            return false;
        }
        if length < inside.length {
            inside.shows = inside.shows.min(length);
            let gone = inside.pages.split_off(&length.div_ceil(PAGE));
            drop(gone);
            // What is cut off reads as zeros when the file grows again.
            let from = usize::try_from(length % PAGE).unwrap_or_default();
            if let Some(page) = inside.pages.get_mut(&(length / PAGE))
                && from > 0
            {
                page[from..].fill(0);
            }
        }
        inside.length = length;
        true
    }
}

impl Inside {
    /// Fills `buffer`, which ends at the length or before; answers how many bytes came from below.
    fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<u64> {
        let end = position + buffer.len() as u64;
        let shown = usize::try_from(self.shows.clamp(position, end) - position).unwrap_or_default();
        let (show, zeros) = buffer.split_at_mut(shown);
        zeros.fill(0);
        let mut below = 0;
        if let Some(file) = &self.below
            && !show.is_empty()
        {
            file.read_exact_at(show, position)?;
            below = show.len() as u64;
        }
        for (number, page) in self.pages.range(position / PAGE..end.div_ceil(PAGE)) {
            let begin = number * PAGE;
            let from = begin.max(position);
            let to = (begin + PAGE).min(end);
            let range = |origin: u64| {
                let index = |at: u64| usize::try_from(at - origin).unwrap_or(usize::MAX);
                index(from)..index(to)
            };
            buffer[range(position)].copy_from_slice(&page[range(begin)]);
        }
        Ok(below)
    }
}
