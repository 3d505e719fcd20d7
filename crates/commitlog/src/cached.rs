//! What the log leaves in the kernel's page cache: its newest bytes, and no more.
//!
//! **Problem.** Everything that is written goes through the page cache and stays there until memory is short. Where memory is
//! lent to a virtual machine page by page, a page that was not in use is some two microseconds of the host's: most of what a
//! write costs (`docs/benchmarks/bus.md`). Elsewhere the kernel has to look for pages once memory is full, and takes
//! those of other programs for it.
//!
//! **Answer.** Pages that fall behind the newest bytes are given back as soon as they are flushed, and the next write takes the
//! very same ones. Readers that keep up have the memory tail and what is left here; others read the disk, as they would
//! of any log that is larger than memory.
//!
//! Invariants: this is advice, about bytes that are flushed; nothing depends on whether it is followed. Bytes are given
//! back at most once for each time they are written: what a reader brought in again is the kernel's affair.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::segment::Segment;

/// Bytes that are given back with one call, at most.
const STEP_MAX: u64 = 8 << 20;

/// Into how many steps the bytes that are kept are divided, so that what is kept is nearly what was asked for.
const STEPS: u64 = 8;

/// Flushed bytes that were not given back.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    /// The oldest first; a segment that was removed has none.
    steps: VecDeque<(Weak<Segment>, Range<u64>)>,
    /// Bytes of all steps.
    bytes: u64,
    /// Where the next step begins in the newest segment.
    from: u64,
}

impl Cached {
    /// As a log is that was just opened, with so much in its newest segment: none of that was written here.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            from: size,
            ..Self::default()
        }
    }

    /// Takes note that `segment`, the newest, is flushed up to `size`, and gives back what is more than `keep` bytes.
    pub(crate) fn flushed(&mut self, segment: &Arc<Segment>, size: u64, keep: u64) {
        let step = (keep / STEPS).clamp(1, STEP_MAX);
        // Flushes may be told in another order than they were begun in, and what is flushed is never cut.
        if size.saturating_sub(self.from) >= step {
            self.step(segment, size);
            self.give_back(keep);
        }
    }

    /// Takes note that nothing more will be written to `segment`, which is flushed and has `size` bytes.
    pub(crate) fn closed(&mut self, segment: &Arc<Segment>, size: u64) {
        if size > self.from {
            self.step(segment, size);
        }
        self.from = 0;
    }

    fn step(&mut self, segment: &Arc<Segment>, size: u64) {
        let step = self.from..size;
        self.bytes += size - self.from;
        self.from = size;
        self.steps.push_back((Arc::downgrade(segment), step));
    }

    fn give_back(&mut self, keep: u64) {
        while (self.bytes > keep || self.is_oldest_removed())
            && let Some((segment, step)) = self.steps.pop_front()
        {
            self.bytes -= step.end - step.start;
            if let Some(segment) = segment.upgrade() {
                segment.uncache(step);
            }
        }
    }

    /// Whether the oldest step is of a segment that was removed: its pages went with it.
    fn is_oldest_removed(&self) -> bool {
        let oldest = self.steps.front();
        oldest.is_some_and(|(segment, _)| segment.strong_count() == 0)
    }
}
