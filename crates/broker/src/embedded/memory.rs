//! What the partitions of a broker share: to hand batches on in memory the pool of buffers, the bounds of the rings, and
//! what all of them hold.

use std::sync::atomic::{AtomicUsize, Ordering};

use env::DynClock;
use stdx::BufferPool;

use super::Options;
use super::metrics::Metrics;

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) pool: BufferPool,
    pub(crate) clock: DynClock,
    pub(crate) metrics: Metrics,
    /// Slots of a ring: at first and at least, and at most.
    pub(crate) slots: (usize, usize),
    /// Bytes of the batches in one ring, at most.
    pub(crate) ring_bytes: usize,
    /// Bytes of the batches in all rings, at most.
    rings_bytes: usize,
    held: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(options: &Options, metrics: &Metrics) -> Self {
        Self {
            pool: BufferPool::new(options.pool_bytes.as_usize()),
            clock: options.clock.clone(),
            metrics: metrics.clone(),
            slots: (options.ring_slots, options.ring_slots_max),
            ring_bytes: options.ring_bytes.as_usize(),
            rings_bytes: options.rings_bytes.as_usize(),
            held: AtomicUsize::new(0),
        }
    }

    /// A ring holds so many bytes more.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A ring holds so many bytes less.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes all rings hold.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The rings hold too much together.
    pub(crate) fn is_short(&self) -> bool {
        self.held() > self.rings_bytes
    }
}
