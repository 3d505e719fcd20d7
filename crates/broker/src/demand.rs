//! Waiting for so many bytes over several partitions at once, woken when they are there and not before.
//!
//! Invariants: a demand wakes its waiter once, when what was published adds up, or when there is no more to come; what
//! was published before it was made known to a partition is not counted, but told
//! ([`Wanted::Ready`]), so that nothing is missed in between; a demand that nobody holds any more costs nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::Position;
use tokio::sync::Notify;

/// So many bytes that somebody waits for, from any of the partitions it was made known to by
/// [`Broker::want`](crate::Broker::want).
#[derive(Debug)]
pub struct Demand {
    /// Bytes that are still missing.
    left: AtomicUsize,
    ended: AtomicBool,
    woken: Notify,
}

/// What of a partition counts towards a [`Demand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// What is published from here on: the high watermark the reader saw.
    pub seen: Position,
    /// At most so many bytes, if the reader takes no more; `None` counts all.
    pub room: Option<usize>,
    /// Only what is committed.
    pub committed: bool,
}

/// What a broker says to a [`Wish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It counts.
    Counting,
    /// More is readable than was seen: read again before waiting.
    Ready,
    /// No more will be published there.
    Closed,
}

impl Demand {
    /// A demand for so many bytes, at least one.
    pub fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes.max(1)),
            ended: AtomicBool::new(false),
            woken: Notify::new(),
        }
    }

    /// Waits until the demand is met: `true`; or until a partition says that no more will come there:
    /// `false`. For one waiter; cancel safe.
    pub async fn met(&self) -> bool {
        while !self.is_over() {
            self.woken.notified().await;
        }
        !self.ended.load(Ordering::Acquire)
    }

    /// Brokers say here what was published. Answers whether more is needed.
    pub fn credit(&self, bytes: usize) -> bool {
        let missing = |left: usize| Some(left.saturating_sub(bytes));
        let before = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, missing);
        let before = before.unwrap_or(0);
        if before > 0 && before <= bytes {
            self.woken.notify_one();
        }
        before > bytes
    }

    /// Brokers say here that a partition is closed.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.woken.notify_one();
    }

    /// Nothing more is waited for.
    pub fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0 || self.ended.load(Ordering::Acquire)
    }
}
