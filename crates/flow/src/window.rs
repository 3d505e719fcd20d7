//! The last three seconds as three windows of ten slices each.
//!
//! A window slides by slices of a tenth of a second, so its figures are never older than a second and never from a
//! slice that has just begun.

use std::time::Duration;

use crate::histogram::Histogram;

/// One slice; a window is ten of them, one second.
pub(crate) const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 10;
const WINDOWS: usize = 3;

/// What happened in a span of time.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) latency: Histogram,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    /// The cost of what was done.
    pub(crate) done: u64,
    /// Somebody had to wait for the limit.
    pub(crate) held_back: bool,
    /// The largest limit in force.
    pub(crate) limit: u64,
}

impl Span {
    const EMPTY: Self = Self {
        latency: Histogram::EMPTY,
        succeeded: 0,
        failed: 0,
        done: 0,
        held_back: false,
        limit: 0,
    };

    fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
        self.done = self.done.saturating_add(other.done);
        self.held_back |= other.held_back;
        self.limit = self.limit.max(other.limit);
    }
}

/// A ring of slices.
#[derive(Debug)]
pub(crate) struct Slices {
    ring: Vec<Span>,
    /// The slice that is being filled.
    current: usize,
    /// When it ends; `None` before the first use.
    ends: Option<Duration>,
}

impl Slices {
    pub(crate) fn new() -> Self {
        Self {
            // One more than the windows need: the one being filled is not in them.
            ring: vec![Span::EMPTY; SLICES * WINDOWS + 1],
            current: 0,
            ends: None,
        }
    }

    /// The slice being filled.
    pub(crate) fn now(&mut self) -> &mut Span {
        &mut self.ring[self.current]
    }

    /// Whether the slice being filled is over at `now`; if so the next one has begun.
    pub(crate) fn turn(&mut self, now: Duration) -> bool {
        let ends = *self.ends.get_or_insert(now.saturating_add(SLICE));
        if now < ends {
            return false;
        }
        let late = now.saturating_sub(ends).as_nanos() / SLICE.as_nanos();
        let turns = usize::try_from(late)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        for _ in 0..turns.min(self.ring.len()) {
            self.current = (self.current + 1) % self.ring.len();
            self.ring[self.current] = Span::EMPTY;
        }
        let passed = u32::try_from(turns).unwrap_or(u32::MAX);
        self.ends = Some(ends.saturating_add(SLICE.saturating_mul(passed)));
        true
    }

    /// The cost of what was done in the newest window.
    pub(crate) fn done(&self) -> u64 {
        let back = |back: usize| (self.current + self.ring.len() - back) % self.ring.len();
        (1..=SLICES).map(|slice| self.ring[back(slice)].done).sum()
    }

    /// The last three windows, the newest first.
    pub(crate) fn windows(&self) -> [Span; WINDOWS] {
        std::array::from_fn(|window| {
            let mut whole = Span::EMPTY;
            for slice in 1..=SLICES {
                let back = window * SLICES + slice;
                let index = (self.current + self.ring.len() - back) % self.ring.len();
                whole.merge(&self.ring[index]);
            }
            whole
        })
    }
}

/// All windows as one.
pub(crate) fn together(windows: &[Span; WINDOWS]) -> Span {
    let mut whole = Span::EMPTY;
    for window in windows {
        whole.merge(window);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide_by_slices_and_forget_after_three_seconds() {
        let mut slices = Slices::new();
        slices.turn(Duration::ZERO);
        for tenth in 0..40_u32 {
            slices.now().done += 1;
            assert!(slices.turn(SLICE * (tenth + 1)), "{tenth}");
        }
        assert_eq!(slices.windows().map(|window| window.done), [10, 10, 10]);
        slices.now().done = 100;
        assert!(!slices.turn(SLICE * 40 + SLICE / 2));
        assert_eq!(
            slices.windows()[0].done,
            10,
            "the slice being filled is not in it"
        );
        assert!(slices.turn(SLICE * 41));
        assert_eq!(slices.windows().map(|window| window.done), [109, 10, 10]);
        assert_eq!(slices.done(), 109);
        // Nothing for a second and a half, and then one call.
        assert!(slices.turn(SLICE * 56 + SLICE / 3));
        assert_eq!(slices.windows().map(|window| window.done), [0, 104, 10]);
        assert_eq!(slices.done(), 0);
        assert!(slices.turn(SLICE * 100_000));
        assert_eq!(slices.windows().map(|window| window.done), [0, 0, 0]);
    }
}
