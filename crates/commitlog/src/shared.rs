//! What the writer and the readers of one log share.
//!
//! Lock order: `segments`, then `damage`, then `indexed`, then `tail`, then `aborted`, then `cleaned`; a segment's own state comes last. No lock is
//! held while a file is read.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::DynDisk;
use model::Offset;
use parking_lot::{Mutex, RwLock};
use stdx::BufferPool;

use crate::aborted::AbortedIndex;
use crate::clean::mark::CleanMark;
use crate::segment::Segment;
use crate::tail::Tail;
use crate::{Damage, Marks};

/// Indexes of closed segments kept in memory per log: each takes up to 256 KiB at the default segment size, 160 of
/// them used, and a reader that catches up needs one at a time.
const CLOSED_INDEXES_MAX: usize = 2;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: DynDisk,
    pub(crate) dir: PathBuf,
    /// In order of offsets; the last one is appended to. Never empty.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) damage: RwLock<Vec<Damage>>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) pool: BufferPool,
    /// Ranges that readers of what is committed leave out.
    pub(crate) aborted: RwLock<AbortedIndex>,
    /// Closed segments whose index is in memory, the longest unused first.
    pub(crate) indexed: Mutex<VecDeque<Offset>>,
    pub(crate) log_start: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) log_end: AtomicU64,
    /// How far the log is clean.
    pub(crate) cleaned: Mutex<CleanMark>,
    /// The largest generation of a cleaned segment that there was.
    pub(crate) generation: AtomicU64,
    /// Readers may see what is only written.
    pub(crate) publish_written: AtomicBool,
}

impl Shared {
    /// The marks; in order even while they move, because each is read before the one above it.
    pub(crate) fn marks(&self) -> Marks {
        let log_start = Offset::new(self.log_start.load(Ordering::Acquire));
        let durable = Offset::new(self.durable.load(Ordering::Acquire));
        let log_end = Offset::new(self.log_end.load(Ordering::Acquire));
        let high_watermark = if self.publish_written.load(Ordering::Relaxed) {
            log_end
        } else {
            durable
        };
        Marks {
            log_start,
            durable,
            high_watermark,
            log_end,
        }
    }

    /// The segment that holds `offset`, or would.
    pub(crate) fn segment_of(&self, offset: Offset) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.base() <= offset);
        segments.get(after.checked_sub(1)?).map(Arc::clone)
    }

    /// Where the segment after this one begins, if there is one.
    pub(crate) fn base_after(&self, segment: &Segment) -> Option<Offset> {
        let segments = self.segments.read();
        let after = segments.partition_point(|other| other.base() <= segment.base());
        segments.get(after).map(|next| next.base())
    }

    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.read().clone()
    }

    /// Notes that the index of a segment is in memory, and drops the one that was unused longest if
    /// there are too many. The newest segment's always stays.
    pub(crate) fn note_index(&self, segment: &Segment) {
        let base = segment.base();
        let segments = self.segments.read();
        if segments.last().is_none_or(|newest| newest.base() == base) {
            return;
        }
        let mut indexed = self.indexed.lock();
        if indexed.back() == Some(&base) {
            return;
        }
        indexed.retain(|other| *other != base);
        indexed.push_back(base);
        if indexed.len() > CLOSED_INDEXES_MAX
            && let Some(oldest) = indexed.pop_front()
            && let Ok(at) = segments.binary_search_by_key(&oldest, |segment| segment.base())
            && let Some(oldest) = segments.get(at)
        {
            oldest.drop_index();
        }
    }

    /// Remembers damage that a reader came upon.
    pub(crate) fn note_damage(&self, segment: &Arc<Segment>, found: Damage) {
        let segments = self.segments.read();
        if !segments.iter().any(|known| Arc::ptr_eq(known, segment)) {
            // Cleaned or removed meanwhile: its places mean nothing any more.
            return;
        }
        let mut damage = self.damage.write();
        if !damage.contains(&found) {
            damage.push(found);
        }
    }
}
