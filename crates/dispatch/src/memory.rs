//! How much of the log listeners may hold in memory, in bytes.
//!
//! Each listener has a share: [`MemoryOptions::listener`], or less when so many run that together they would pass
//! [`MemoryOptions::process`]. Shares are apart on purpose: what waits behind a dead endpoint fills the share of that
//! listener, and nobody else waits for it. What is read is charged as a [`Charge`], which gives its bytes back when the
//! last record of it is let go. A read reserves the largest batch its topic takes before it begins, or half of the share
//! if that is less, and gives back what it did not need. Reads leave a quarter of the share to what is decompressed and to
//! delayed records that are due.
//!
//! Invariant: what a listener holds is at most its share, and what passes it: one batch of each of two reads at once, where
//! a topic takes batches larger than half of the share; one batch that grew when it was decompressed; and, once a
//! partition, a batch from before its topic's `max.message.bytes` was lowered. So a record larger than the share is
//! delivered, too, and a stuck one that is small does not stop the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use stdx::ByteSize;
use tokio::sync::Notify;

/// Bytes that listeners may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryOptions {
    /// All of this process, as long as each may hold at least one batch. Default 256 MiB.
    pub process: ByteSize,
    /// One listener. Default 64 MiB.
    pub listener: ByteSize,
    /// Delayed records whose time and place one listener holds, 40 bytes each; more wait in the log. Default 65,536.
    pub delayed: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            process: ByteSize::from_mib(256),
            listener: ByteSize::from_mib(64),
            delayed: 65_536,
        }
    }
}

/// The least that listeners can work with.
const BYTES_MIN: ByteSize = ByteSize::from_mib(1);
const DELAYED_MIN: usize = 1_000;

impl MemoryOptions {
    /// Everything that is wrong with them.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, size) in [("process", self.process), ("listener", self.listener)] {
            if size < BYTES_MIN {
                problems.push(format!(
                    "listener_memory.{name} is {size}: it needs at least {BYTES_MIN}"
                ));
            }
        }
        if self.delayed < DELAYED_MIN {
            problems.push(format!(
                "listener_memory.delayed is {}: it needs at least {DELAYED_MIN}",
                self.delayed
            ));
        }
        problems
    }
}

/// The memory of all listeners of a service.
#[derive(Debug)]
pub(crate) struct Memory {
    options: MemoryOptions,
    listeners: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(options: MemoryOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            listeners: AtomicUsize::new(0),
        })
    }

    pub(crate) fn options(&self) -> &MemoryOptions {
        &self.options
    }

    /// The budget of one listener, as long as it is kept.
    pub(crate) fn budget(self: &Arc<Self>) -> Arc<Budget> {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Arc::new(Budget {
            memory: Arc::clone(self),
            held: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }
}

/// What one listener may hold, and holds.
#[derive(Debug)]
pub(crate) struct Budget {
    memory: Arc<Memory>,
    held: AtomicUsize,
    most: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// Bytes this listener may hold now.
    pub(crate) fn share(&self) -> usize {
        let bytes = |size: ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        let options = &self.memory.options;
        let listeners = self.memory.listeners.load(Ordering::Relaxed).max(1);
        bytes(options.listener).min(bytes(options.process) / listeners)
    }

    /// From so many bytes on, what is held should be looked through for what is not needed: at less there is always room
    /// for a read.
    pub(crate) fn much(&self) -> usize {
        self.share() / 4
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Most bytes that were held at a time.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Whether more may be held, if only a little.
    pub(crate) fn has_room(&self) -> bool {
        self.held() < self.share()
    }

    /// Counts bytes that are held already.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.add(bytes);
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Waits until `bytes` more fit, or half of the share, or nothing is held.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: usize) -> Charge {
        loop {
            // Told of everything that is freed from here on.
            let freed = self.freed.notified();
            if let Some(charge) = self.try_reserve(bytes) {
                return charge;
            }
            freed.await;
        }
    }

    fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let share = self.share();
        let bytes = bytes.min(share / 2);
        // What was read must not take the room in which it is decompressed and delivered.
        let limit = share - share / 4;
        let fits = |held: usize| {
            let after = held.saturating_add(bytes);
            (held == 0 || after <= limit).then_some(after)
        };
        let before = self
            .held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
            .ok()?;
        self.most.fetch_max(before + bytes, Ordering::Relaxed);
        Some(Charge {
            budget: Arc::clone(self),
            bytes,
        })
    }

    fn add(&self, bytes: usize) {
        let before = self.held.fetch_add(bytes, Ordering::AcqRel);
        self.most.fetch_max(before + bytes, Ordering::Relaxed);
    }

    fn free(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
        self.freed.notify_waiters();
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.memory.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that are held; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds `bytes` from now on.
    pub(crate) fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.add(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.budget.free(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn memory(process: u64, listener: u64) -> Arc<Memory> {
        Memory::new(MemoryOptions {
            process: ByteSize::from_bytes(process),
            listener: ByteSize::from_bytes(listener),
            ..MemoryOptions::default()
        })
    }

    #[test]
    fn shares_shrink_when_many_listen_and_grow_again() {
        let memory = memory(1_000, 400);
        let first = memory.budget();
        assert_eq!(first.share(), 400);
        let others: Vec<_> = (0..4).map(|_| memory.budget()).collect();
        assert_eq!(first.share(), 200);
        drop(others);
        assert_eq!(first.share(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_waits_for_room() {
        let budget = memory(1_000, 100).budget();
        let mut large = budget.reserve(5_000).await;
        assert_eq!(budget.held(), 50, "half of the share");
        large.resize(5_000);
        let moment = Duration::from_secs(1);
        let waits = tokio::time::timeout(moment, budget.reserve(1));
        assert!(waits.await.is_err(), "nothing beside what is too large");
        large.resize(60);
        let small = budget.reserve(15).await;
        assert_eq!((budget.held(), budget.has_room()), (75, true));
        let (next, ()) = tokio::join!(budget.reserve(50), async {
            tokio::task::yield_now().await;
            drop(large);
        });
        assert_eq!(budget.held(), 65);
        drop((small, next));
        assert_eq!(budget.held(), 0);
    }
}
