//! A token bucket that lends: a request is admitted, and its sender is delayed until it is paid for.
//!
//! Kafka's quotas work like this (KIP-13, KIP-219): what has been sent costs the server already, so refusing it
//! saves nothing; what counts is when the next one comes. Delays are places in a line: each charge is told a later
//! moment than the one before it, so several senders of one bucket that keep to their delays share its rate, and
//! none is passed for ever.
//!
//! Arithmetic: the level is counted in billionths of a token. A nanosecond adds exactly `rate` of them, so filling
//! rounds nothing, however often it is asked, and never drifts.

use std::time::Duration;

const BILLION: i128 = 1_000_000_000;

/// Tokens a second and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    burst: u64,
}

impl Rate {
    /// `per_second` tokens, of which `burst` may be saved up; both are at least 1.
    pub const fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second: if per_second == 0 { 1 } else { per_second },
            burst: if burst == 0 { 1 } else { burst },
        }
    }

    /// `per_second` tokens, of which those of one second may be saved up.
    pub const fn per_second(per_second: u64) -> Self {
        Self::new(per_second, per_second)
    }

    /// Tokens a second.
    pub const fn get(self) -> u64 {
        self.per_second
    }

    /// Tokens that may be saved up.
    pub const fn burst(self) -> u64 {
        self.burst
    }
}

/// A bucket of tokens that may owe some.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    /// Billionths of a token; below zero is owed.
    level: i128,
    /// When `level` was right; `None` before the first use.
    at: Option<Duration>,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            level: rate.burst as i128 * BILLION,
            at: None,
        }
    }

    /// Its rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes the tokens, owing what is not there; answers how long their sender should pause.
    pub fn charge(&mut self, tokens: u64, now: Duration) -> Duration {
        self.fill(now);
        self.level -= i128::from(tokens) * BILLION;
        self.debt()
    }

    /// Takes the tokens if nothing is owed now, for senders who can be refused.
    ///
    /// # Errors
    /// How long until nothing is owed; nothing was taken.
    pub fn try_charge(&mut self, tokens: u64, now: Duration) -> Result<(), Duration> {
        match self.delay(now) {
            Duration::ZERO => {
                self.charge(tokens, now);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// How long until nothing is owed.
    pub fn delay(&mut self, now: Duration) -> Duration {
        self.fill(now);
        self.debt()
    }

    /// Tokens that can be taken now without owing any.
    pub fn available(&mut self, now: Duration) -> u64 {
        self.fill(now);
        u64::try_from(self.level.max(0) / BILLION).unwrap_or(u64::MAX)
    }

    /// Whether it is as a new one would be.
    pub fn is_full(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.level == self.capacity()
    }

    fn capacity(&self) -> i128 {
        i128::from(self.rate.burst) * BILLION
    }

    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at.unwrap_or(now));
        self.at = Some(self.at.unwrap_or(now).max(now));
        let nanos = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
        let more = nanos.saturating_mul(i128::from(self.rate.per_second));
        self.level = self.level.saturating_add(more).min(self.capacity());
    }

    /// The time that pays what is owed, rounded up to whole nanoseconds.
    fn debt(&self) -> Duration {
        let owed = (-self.level).max(0);
        let rate = i128::from(self.rate.per_second);
        let nanos = owed / rate + i128::from(owed % rate != 0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_owed_is_paid_by_waiting_and_by_nothing_else() {
        let mut bucket = TokenBucket::new(Rate::new(1_000, 100));
        assert_eq!(bucket.charge(100, SECOND), Duration::ZERO);
        assert_eq!(bucket.charge(2_000, SECOND), 2 * SECOND);
        assert_eq!(bucket.charge(500, SECOND), Duration::from_millis(2_500));
        assert_eq!(
            bucket.try_charge(1, 2 * SECOND),
            Err(Duration::from_millis(1_500))
        );
        assert_eq!(bucket.delay(Duration::from_millis(3_500)), Duration::ZERO);
        assert_eq!(bucket.try_charge(1, Duration::from_millis(3_500)), Ok(()));
        assert!(!bucket.is_full(Duration::from_millis(3_599)));
        assert!(bucket.is_full(4 * SECOND));
        assert_eq!(bucket.available(100 * SECOND), 100, "no more is saved up");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_takes_nothing() {
        let mut bucket = TokenBucket::new(Rate::per_second(10));
        bucket.charge(20, 10 * SECOND);
        assert_eq!(bucket.delay(SECOND), SECOND);
        assert_eq!(bucket.delay(11 * SECOND), Duration::ZERO);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut bucket = TokenBucket::new(Rate::per_second(1));
        for _ in 0..1_000 {
            bucket.charge(u64::MAX, Duration::ZERO);
        }
        assert_eq!(bucket.delay(Duration::MAX), Duration::from_nanos(u64::MAX));
        let mut fast = TokenBucket::new(Rate::per_second(u64::MAX));
        assert_eq!(fast.charge(u64::MAX, Duration::ZERO), Duration::ZERO);
        assert_eq!(fast.delay(Duration::MAX), Duration::ZERO);
    }

    proptest! {
        /// However it is asked in between, a sender that keeps to its delays sends its rate and the burst.
        #[test]
        fn a_sender_that_waits_gets_exactly_its_rate(
            rate in 1_u64..5_000_000,
            burst in 1_u64..100_000,
            sizes in proptest::collection::vec(1_u64..200_000, 1..60),
            peeks in 0_u32..7,
        ) {
            let mut bucket = TokenBucket::new(Rate::new(rate, burst));
            let (mut now, mut sent) = (Duration::ZERO, 0_u64);
            for size in sizes {
                let delay = bucket.charge(size, now);
                for peek in 1..=peeks {
                    bucket.delay(now + delay * peek / (peeks + 1));
                }
                now += delay;
                sent += size;
                let allowed = u128::from(rate) * now.as_nanos() + u128::from(burst) * 1_000_000_000;
                prop_assert!(u128::from(sent) * 1_000_000_000 <= allowed);
                // Nor is it paused for longer than it owes, but for a nanosecond of rounding each time.
                if delay > Duration::ZERO {
                    let slack = u128::from(rate) * 64;
                    prop_assert!(u128::from(sent) * 1_000_000_000 + slack >= allowed);
                }
            }
        }
    }
}
