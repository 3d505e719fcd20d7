//! What time it is.
//!
//! Invariant: `monotonic` never goes back; wall-clock time may.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::Timestamp;
use parking_lot::Mutex;

/// A clock as services hold it.
pub type DynClock = Arc<dyn Clock>;

/// Wall-clock and monotonic time.
pub trait Clock: Send + Sync + Debug {
    /// Wall-clock time in milliseconds, as records carry it.
    fn now(&self) -> Timestamp;

    /// Wall-clock time in nanoseconds since 1970-01-01 UTC; saturates in the year 2262.
    fn unix_nanos(&self) -> i64;

    /// Time since some fixed moment in the past, never going back: for measuring spans.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// The machine's clock; its monotonic time counts from here.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.unix_nanos().div_euclid(1_000_000))
    }

    fn unix_nanos(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told.
#[derive(Debug)]
pub struct SimClock {
    state: Mutex<SimTime>,
}

#[derive(Debug)]
struct SimTime {
    unix_nanos: i64,
    monotonic: Duration,
}

impl SimClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new(SimTime {
                unix_nanos: now.millis().saturating_mul(1_000_000),
                monotonic: Duration::ZERO,
            }),
        }
    }

    /// Moves both times forward by `span`.
    pub fn advance(&self, span: Duration) {
        let mut state = self.state.lock();
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        state.unix_nanos = state.unix_nanos.saturating_add(nanos);
        state.monotonic = state.monotonic.saturating_add(span);
    }

    /// Sets the wall clock alone, back or forth, as an administrator or NTP might.
    pub fn step_to(&self, now: Timestamp) {
        self.state.lock().unix_nanos = now.millis().saturating_mul(1_000_000);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.unix_nanos().div_euclid(1_000_000))
    }

    fn unix_nanos(&self) -> i64 {
        self.state.lock().unix_nanos
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_moves_only_when_told() {
        let clock = SimClock::new(Timestamp::from_millis(1_000));
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_micros(1_500));
        assert_eq!(clock.unix_nanos(), 1_001_500_000);
        assert_eq!(clock.now().millis(), 1_001);
        clock.step_to(Timestamp::from_millis(5));
        assert_eq!(clock.now().millis(), 5);
        assert_eq!(clock.monotonic(), Duration::from_micros(1_500));
    }

    #[test]
    fn the_machines_clock_is_past_2020_and_does_not_go_back() {
        let clock = RealClock::new();
        assert!(clock.now().millis() > 1_577_836_800_000);
        let earlier = clock.monotonic();
        assert!(clock.monotonic() >= earlier);
    }
}
