//! When requests are to be sent in an open loop. Latency counts from these times, whenever the request really left.

/// Requests at a steady rate, the first at `start`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Nanoseconds on the generator's clock.
    start: u64,
    /// Requests in a thousand seconds, so that slow rates keep their fractions.
    milli_rate: u64,
}

const NANOS: u128 = 1_000_000_000;

impl Schedule {
    /// `rate` requests a second, at least one in a thousand seconds.
    pub(super) fn new(start: u64, rate: f64) -> Self {
        Self {
            start,
            milli_rate: ((rate * 1_000.0).round() as u64).max(1),
        }
    }

    /// When request `index` is due. Computed from the index and not from the last request, so that nothing drifts.
    pub(super) fn due(&self, index: u64) -> u64 {
        let after = u128::from(index) * NANOS * 1_000 / u128::from(self.milli_rate);
        self.start + after as u64
    }

    /// How many requests are due at `now` or before.
    pub(super) fn count(&self, now: u64) -> u64 {
        let Some(after) = now.checked_sub(self.start) else {
            return 0;
        };
        let whole = (u128::from(after) * u128::from(self.milli_rate) / (NANOS * 1_000)) as u64 + 1;
        // Rounding down in `due` may have the next one due in this very nanosecond.
        whole + u64::from(self.due(whole) <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_by_the_clock_and_do_not_drift() {
        let schedule = Schedule::new(5_000, 4.0);
        let due: Vec<u64> = (0..4).map(|index| schedule.due(index)).collect();
        assert_eq!(due, [5_000, 250_005_000, 500_005_000, 750_005_000]);
        // Three a second never adds up thirds: the millionth is where it belongs.
        assert_eq!(
            Schedule::new(0, 3.0).due(3_000_000),
            1_000_000 * 1_000_000_000
        );
    }

    #[test]
    fn what_is_due_agrees_with_when_it_is_due() {
        for rate in [0.5, 1.0, 3.0, 7.7, 999.0, 33_333.0, 1_234_567.0] {
            let schedule = Schedule::new(77, rate);
            for index in (0..50).chain(100_000..100_050) {
                let due = schedule.due(index);
                assert_eq!(
                    schedule.count(due),
                    index + 1,
                    "rate {rate}, request {index}"
                );
                assert_eq!(
                    schedule.count(due - 1),
                    index,
                    "rate {rate}, before request {index}"
                );
            }
        }
    }
}
