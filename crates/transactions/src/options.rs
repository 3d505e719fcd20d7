//! What may be asked for, and how long ids are kept.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Most groups that one transaction commits offsets of: each is part of its record.
pub const GROUPS_MAX: usize = 1_000;

/// Limits of transactions. Names in comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The longest a transaction may stay open (`transaction.max.timeout.ms`): readers of what is
    /// committed wait for it. Default 15 min, 1 s to 24 days.
    pub timeout_max: Duration,
    /// An id without an open transaction is forgotten after so long without a call
    /// (`transactional.id.expiration.ms`). Default 7 days, 1 min to 10 years.
    pub id_expiry: Duration,
    /// Most transactional ids known at a time. Default 100,000.
    pub ids_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout_max: Duration::from_mins(15),
            id_expiry: Duration::from_hours(7 * 24),
            ids_max: 100_000,
        }
    }
}

/// What [`Options::timeout_max`] may be: clients say their timeout in a signed 32-bit number of milliseconds.
const TIMEOUT_MAX: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(24 * 24);

/// What [`Options::id_expiry`] may be.
const ID_EXPIRY: RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(10 * 365 * 24);

impl Options {
    /// All problems of these options at once; empty when they can be used.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !TIMEOUT_MAX.contains(&self.timeout_max) {
            problems.push(format!(
                "timeout_max is {:?}, it must be 1 second to 24 days",
                self.timeout_max
            ));
        }
        if !ID_EXPIRY.contains(&self.id_expiry) {
            problems.push(format!(
                "id_expiry is {:?}, it must be 1 minute to 10 years",
                self.id_expiry
            ));
        }
        if self.ids_max == 0 {
            problems.push("ids_max cannot be 0".to_owned());
        }
        problems
    }
}
