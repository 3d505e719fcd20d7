//! What every listener of a service shares.

use broker::DynBroker;
use env::{DynClock, DynEntropy};

use crate::meaning::Now;

/// The world as listeners see it.
pub(crate) struct Context {
    pub(crate) broker: DynBroker,
    pub(crate) clock: DynClock,
    pub(crate) entropy: DynEntropy,
}

impl Context {
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
        }
    }

    /// Random in `[0, 1)`, from the upper 53 bits.
    pub(crate) fn jitter(&self) -> f64 {
        let bits = self.entropy.next_u64() >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let jitter = bits as f64 / (1_u64 << 53) as f64;
        jitter
    }
}
