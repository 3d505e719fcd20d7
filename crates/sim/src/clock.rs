//! The clock of one life: the runtime's paused time, seen as wall-clock and monotonic time.
//!
//! Invariant: time stands still when the life has ended, so that what is dropped then sees no other
//! clock.

use std::time::Duration;

use env::Clock;
use model::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Time of one life of the broker.
#[derive(Debug)]
pub(crate) struct LifeClock {
    start: Instant,
    wall: Timestamp,
    ended: Mutex<Option<Duration>>,
}

impl LifeClock {
    /// A clock that shows `wall` now.
    pub(crate) fn new(wall: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            wall,
            ended: Mutex::new(None),
        }
    }

    /// Stops it.
    pub(crate) fn end(&self) {
        let now = self.monotonic();
        *self.ended.lock() = Some(now);
    }
}

impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.wall.plus(self.monotonic())
    }

    fn unix_nanos(&self) -> i64 {
        let past = i64::try_from(self.monotonic().as_nanos()).unwrap_or(i64::MAX);
        self.wall.millis().saturating_mul(1_000_000) + past
    }

    fn monotonic(&self) -> Duration {
        let ended = *self.ended.lock();
        ended.unwrap_or_else(|| self.start.elapsed())
    }
}
