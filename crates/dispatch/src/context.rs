//! What every listener of a service shares.

use std::sync::Arc;

use broker::{DynBroker, TransactionCoordinator};
use env::{DynClock, DynEntropy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::meaning::Now;
use crate::memory::Memory;
use crate::spans::Tracing;

/// Bytes of records that are written as dead letters at once, by all listeners: each is copied for that.
pub(crate) const BURIAL_BYTES: u32 = 64 << 20;

/// The world as listeners see it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) broker: DynBroker,
    pub(crate) clock: DynClock,
    pub(crate) entropy: DynEntropy,
    /// Without it there are no outputs.
    pub(crate) transactions: Option<Arc<TransactionCoordinator>>,
    /// Makes spans of deliveries, if anybody wants them.
    pub(crate) tracing: Option<Arc<Tracing>>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) burials: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
        }
    }

    /// Waits for the turn of a dead letter of so many bytes.
    pub(crate) async fn burial(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(BURIAL_BYTES);
        let burials = Arc::clone(&self.burials);
        // It is never closed.
        burials.acquire_many_owned(bytes).await.ok()
    }

    /// Random in `[0, 1)`, from the upper 53 bits.
    pub(crate) fn jitter(&self) -> f64 {
        let bits = self.entropy.next_u64() >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let jitter = bits as f64 / (1_u64 << 53) as f64;
        jitter
    }
}
