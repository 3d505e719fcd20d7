//! Events per second over a sliding window, in tenths of a second.

use std::time::Duration;

use model::Timestamp;

/// Milliseconds of one bucket.
const BUCKET_MS: i64 = 100;

/// Counts of the last `span`, one bucket per tenth of a second.
#[derive(Debug)]
pub(crate) struct RateWindow {
    buckets: Vec<u64>,
    /// Number of the newest bucket since 1970.
    newest: i64,
    sum: u64,
}

impl RateWindow {
    /// A window of `span`, at least one bucket.
    pub(crate) fn new(span: Duration) -> Self {
        let count = usize::try_from(span.as_millis() / 100).unwrap_or(1).max(1);
        Self {
            buckets: vec![0; count],
            newest: i64::MIN,
            sum: 0,
        }
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(100) * u32::try_from(self.buckets.len()).unwrap_or(u32::MAX)
    }

    /// Counts one event at `at`; one from before the window is not counted.
    pub(crate) fn add(&mut self, at: Timestamp) {
        let bucket = at.millis().div_euclid(BUCKET_MS);
        self.move_to(bucket);
        if let Some(place) = self.place(bucket) {
            self.buckets[place] += 1;
            self.sum += 1;
        }
    }

    /// Events per second in the window that ends at `now`.
    pub(crate) fn per_second(&mut self, now: Timestamp) -> f64 {
        self.move_to(now.millis().div_euclid(BUCKET_MS));
        self.sum as f64 / self.span().as_secs_f64()
    }

    /// Makes `bucket` the newest, and empties those that fell out of the window for it.
    fn move_to(&mut self, bucket: i64) {
        if bucket <= self.newest {
            return;
        }
        let length = i64::try_from(self.buckets.len()).unwrap_or(i64::MAX);
        let steps = bucket.saturating_sub(self.newest).min(length);
        for step in 0..steps {
            let place = usize::try_from((bucket - step).rem_euclid(length)).unwrap_or(0);
            self.sum -= std::mem::take(&mut self.buckets[place]);
        }
        self.newest = bucket;
    }

    fn place(&self, bucket: i64) -> Option<usize> {
        let length = i64::try_from(self.buckets.len()).ok()?;
        if self.newest - bucket >= length {
            return None;
        }
        usize::try_from(bucket.rem_euclid(length)).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_rate_falls_when_events_leave_the_window() {
        let mut window = RateWindow::new(Duration::from_secs(2));
        for millisecond in 0..1_000 {
            window.add(at(10_000 + millisecond));
        }
        assert_eq!(window.per_second(at(10_999)), 500.0);
        assert_eq!(window.per_second(at(12_450)), 250.0);
        assert_eq!(window.per_second(at(99_000)), 0.0);
        window.add(at(50_000));
        assert_eq!(window.per_second(at(99_000)), 0.0, "too old to count");
    }

    proptest! {
        /// Against a list of all events.
        #[test]
        fn the_ring_counts_as_a_list_would(steps in prop::collection::vec((0_i64..400, any::<bool>()), 1..200)) {
            let mut window = RateWindow::new(Duration::from_secs(1));
            let (mut now, mut all) = (1_000_000, Vec::new());
            for (ahead, event) in steps {
                now += ahead;
                if event {
                    window.add(at(now));
                    all.push(now);
                }
                let oldest = now.div_euclid(100) - 9;
                let expected = all.iter().filter(|at| at.div_euclid(100) >= oldest).count();
                prop_assert_eq!(window.per_second(at(now)), expected as f64);
            }
        }
    }
}
