//! What may be asked for, and how long ids are kept.

use std::time::Duration;

/// Most groups that one transaction commits offsets of: each is part of its record.
pub const GROUPS_MAX: usize = 1_000;

/// Limits of transactions. Names in comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The longest a transaction may stay open (`transaction.max.timeout.ms`): readers of what is
    /// committed wait for it. Default 15 min.
    pub timeout_max: Duration,
    /// An id without an open transaction is forgotten after so long without a call
    /// (`transactional.id.expiration.ms`). Default 7 days.
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
