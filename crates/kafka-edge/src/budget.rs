//! A bound on memory that many connections share.
//!
//! Invariants: never more than the whole is held; who waits is served in order; dropping [`Held`]
//! gives back. Counted in KiB, so that 64 GiB fit a semaphore's 32-bit requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const UNIT: usize = 1 << 10;

/// Memory that may be held in parts.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    whole: usize,
    waiting: Arc<AtomicUsize>,
}

/// A part of a budget.
#[derive(Debug)]
pub(crate) struct Held {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let whole = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(whole)),
            whole,
            waiting: Arc::default(),
        }
    }

    /// Waits until `bytes` are free, or the whole if that is less.
    pub(crate) async fn take(&self, bytes: usize) -> Held {
        if let Some(held) = self.try_take(bytes) {
            return held;
        }
        let _waiting = Waiting::begin(&self.waiting);
        let permit = Arc::clone(&self.free)
            .acquire_many_owned(self.units(bytes))
            .await;
        Held {
            permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// `bytes` if they are free now, or the whole if that is less.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Held> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(self.units(bytes));
        permit.ok().map(|permit| Held { permit })
    }

    /// Whether somebody waits for more.
    pub(crate) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Bytes nobody holds now.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits().saturating_mul(UNIT)
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        (self.whole - self.free.available_permits().min(self.whole)) * UNIT
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.whole)).unwrap_or(u32::MAX)
    }
}

/// Counts one who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Adds another part of the same budget.
    pub(crate) fn merge(&mut self, other: Self) {
        self.permit.merge(other.permit);
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        drop(self.split_beyond(bytes));
    }

    /// Keeps `bytes`; answers what was more, which may be nothing.
    pub(crate) fn split_beyond(&mut self, bytes: usize) -> Option<Self> {
        let excess = self
            .permit
            .num_permits()
            .saturating_sub(bytes.div_ceil(UNIT));
        self.permit.split(excess).map(|permit| Self { permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_given_back_whole_or_in_part() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.take(3 * UNIT + 1).await;
        assert_eq!((first.bytes(), budget.held()), (4 * UNIT, 4 * UNIT));
        assert!(budget.try_take(7 * UNIT).is_none());
        first.merge(budget.try_take(6 * UNIT).unwrap());
        assert_eq!(budget.held(), 10 * UNIT);
        first.shrink(UNIT);
        assert_eq!(budget.held(), UNIT);
        drop(first);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn more_than_the_whole_is_the_whole() {
        let budget = Budget::new(10 * UNIT);
        assert_eq!(budget.take(usize::MAX).await.bytes(), 10 * UNIT);
    }

    #[tokio::test]
    async fn waiting_ends_when_enough_is_free() {
        let budget = Budget::new(2 * UNIT);
        let held = budget.take(2 * UNIT).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(UNIT).await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && budget.is_short());
        drop(held);
        assert_eq!(waiting.await.unwrap(), UNIT);
        assert!(!budget.is_short());
    }
}
