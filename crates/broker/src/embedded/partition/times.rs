//! When the records of one partition became readable, by a clock that does not jump.
//!
//! The clock is the wall clock of the moment the partition was opened, carried on by the monotonic one: delays are
//! differences of it, and setting the machine's clock must not make a group look late.
//!
//! Not here: what delays are (`delay`), who asks (`delays`).

use std::time::Duration;

use delay::Timeline;
use env::DynClock;
use model::{Offset, Timestamp};
use parking_lot::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Times {
    clock: DynClock,
    /// Wall-clock time when the monotonic one was zero.
    zero: Timestamp,
    timeline: Mutex<Timeline>,
}

impl Times {
    /// Of a partition that is readable until `readable`.
    pub(super) fn new(clock: &DynClock, readable: Offset) -> Self {
        Self {
            zero: clock.now().minus(whole_millis(clock.monotonic())),
            clock: DynClock::clone(clock),
            timeline: Mutex::new(Timeline::new(readable)),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.zero.plus(self.clock.monotonic())
    }

    pub(crate) fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock()
    }

    /// Records before `until` are readable.
    pub(super) fn published(&self, until: Offset) {
        let now = self.now();
        self.timeline.lock().published(until, now);
    }
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
