//! The last five minutes in slices of ten seconds.
//!
//! Slices begin at multiples of ten seconds, so that those of all partitions stand under each other. The window is
//! the slice that is being filled and the 29 before it. A slice in which nothing happened is not kept.

use std::collections::VecDeque;
use std::time::Duration;

use model::Timestamp;

use crate::sketch::Sketch;

/// Length of a slice.
pub const SLICE: Duration = Duration::from_secs(10);

/// Slices of a window, five minutes.
pub const SLICES: usize = 30;

const SLICE_MS: i64 = 10_000;

/// Slices before the one that is being filled.
const SLICES_BEFORE: i64 = 29;

const _: () = assert!(SLICE.as_millis() == SLICE_MS as u128);
const _: () = assert!(SLICES == 30 && SLICES_BEFORE == 29);

/// One slice: what was passed in it, and the age of the oldest waiting record when it ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slice {
    pub(crate) sketch: Sketch,
    pub(crate) age_ms: Option<u64>,
}

/// The slices that have something, oldest first, by their number since the epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    slices: VecDeque<(i64, Slice)>,
}

/// The number of the slice of a moment.
pub(crate) fn number(now: Timestamp) -> i64 {
    now.millis().div_euclid(SLICE_MS)
}

/// When a slice begins.
pub(crate) fn begin(number: i64) -> Timestamp {
    Timestamp::from_millis(number.saturating_mul(SLICE_MS))
}

/// The number of the oldest slice of the window that ends with `newest`.
pub(crate) fn oldest(newest: i64) -> i64 {
    newest.saturating_sub(SLICES_BEFORE)
}

impl Window {
    /// The slice of this number, which is the newest or one that was there.
    pub(crate) fn slice(&mut self, number: i64) -> &mut Slice {
        self.forget(number);
        let at = match self
            .slices
            .binary_search_by_key(&number, |(known, _)| *known)
        {
            Ok(at) => at,
            Err(at) => {
                self.slices.insert(at, (number, Slice::default()));
                at
            }
        };
        &mut self.slices[at].1
    }

    /// Forgets what is no more in the window that ends with `newest`.
    pub(crate) fn forget(&mut self, newest: i64) {
        let oldest = oldest(newest);
        while self
            .slices
            .front()
            .is_some_and(|(number, _)| *number < oldest)
        {
            self.slices.pop_front();
        }
    }

    /// Those that have something, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Slice)> {
        self.slices.iter().map(|(number, slice)| (*number, slice))
    }
}
