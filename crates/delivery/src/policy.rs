//! What a user may choose about deliveries, and the pauses between attempts.

use std::fmt;
use std::time::Duration;

/// How urgent a record is: 0 (most) to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// What a record has that says nothing, of a topic that says nothing.
    pub const DEFAULT: Self = Self(5);

    /// `None` above 9.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= 9 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number, 0 to 9.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When a failed record is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1. Default 3.
    pub attempts: u32,
    /// Bound of the pause after the first attempt; it doubles with each. Default 200 ms.
    pub initial: Duration,
    /// Largest bound of a pause. Default 30 s.
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
        }
    }
}

/// How a listener's records are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When a failed record is tried again.
    pub retry: Retry,
    /// A class of priority with ready records waits at most this long for a lease. Default 1 s.
    pub starvation: Duration,
    /// A listener that has not settled a lease by then has failed; zero is never. Default 60 s.
    pub lease: Duration,
    /// Records whose deadline passed are buried; otherwise they are dropped. Default: buried.
    pub bury_expired: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            starvation: Duration::from_secs(1),
            lease: Duration::from_mins(1),
            bury_expired: true,
        }
    }
}

/// The pause after `attempt` (from 1) failed: exponential with full jitter.
///
/// `jitter` is random in `[0, 1)`. Full jitter spreads the attempts of many records over the whole
/// pause, so that they do not come back together at an endpoint that just recovered.
/// Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
pub fn backoff(retry: &Retry, attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let bound = retry.initial.saturating_mul(1 << doublings).min(retry.max);
    bound.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let retry = Retry::default();
        let bounds: Vec<_> = (1..12)
            .map(|attempt| backoff(&retry, attempt, 1.0).as_millis())
            .collect();
        assert_eq!(
            bounds,
            [
                200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000
            ]
        );
        assert_eq!(backoff(&retry, u32::MAX, 1.0), retry.max);
        assert_eq!(backoff(&retry, 3, 0.25).as_millis(), 200);
        assert_eq!(backoff(&retry, 3, 0.0), Duration::ZERO);
    }

    #[test]
    fn a_priority_is_one_digit() {
        assert_eq!(Priority::new(9).map(Priority::get), Some(9));
        assert_eq!(Priority::new(10), None);
    }
}
