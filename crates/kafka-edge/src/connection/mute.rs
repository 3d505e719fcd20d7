//! Until when nothing is taken from a client: set by the reader when it has taken what is to be paid for, and by the writer
//! when an answer is out that asks for a pause; kept by the reader.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// A moment, the latest of those that were set.
#[derive(Debug)]
pub(super) struct Mute {
    began: Instant,
    /// Microseconds since `began`; 0 is never.
    until: AtomicU64,
}

impl Default for Mute {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            until: AtomicU64::new(0),
        }
    }
}

impl Mute {
    /// From now on for so long.
    pub(super) fn set(&self, pause: Duration) {
        if !pause.is_zero() {
            let until = self.began.elapsed().saturating_add(pause).as_micros();
            let until = u64::try_from(until).unwrap_or(u64::MAX);
            self.until.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// When it ends, if it has not.
    pub(super) fn until(&self) -> Option<Instant> {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let until = self.began + Duration::from_micros(until);
        (until > Instant::now()).then_some(until)
    }
}
