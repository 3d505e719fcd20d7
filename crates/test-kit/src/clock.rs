//! Tokio's time as the clock of a house: stands still in paused tests but for what they wait for.

use std::sync::Arc;
use std::time::Duration;

use env::{Clock, DynClock};
use model::Timestamp;
use tokio::time::Instant;

/// The moment at which [`TokioClock::start`] begins: 2025-11-21 01:53:20 UTC.
pub const START: Timestamp = Timestamp::from_millis(1_763_690_000_000);

/// A clock that goes with tokio's time.
#[derive(Debug)]
pub struct TokioClock {
    from: Timestamp,
    start: Instant,
}

impl TokioClock {
    /// Shows [`START`] now.
    pub fn start() -> DynClock {
        Self::at(START)
    }

    /// Shows `from` now.
    pub fn at(from: Timestamp) -> DynClock {
        let start = Instant::now();
        Arc::new(Self { from, start })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.unix_nanos().div_euclid(1_000_000))
    }

    fn unix_nanos(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.from.millis() * 1_000_000 + passed
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
