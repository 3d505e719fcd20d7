//! Why work was not admitted, in the words every protocol has.

use std::time::Duration;

/// Work was not admitted, and nothing of it was done.
///
/// It is no error of the sender: the same work may come again after `retry_after`. Kafka has this in `throttle_time_ms`, HTTP as
/// 429 with `Retry-After`, gRPC as RESOURCE_EXHAUSTED with `RetryInfo.retry_delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; nothing was written; come again in {} ms", retry_after.as_millis())]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When to come again, at the earliest; never zero.
    pub retry_after: Duration,
}

/// Why work was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// The client or a topic is over its quota.
    #[error("the quota of this client or topic is used up")]
    Quota,
    /// It would have had to wait longer for its turn than it can.
    #[error("the log is busy, and the turn would not come in time")]
    Busy,
    /// Too many wait already.
    #[error("the log is busy, and too many requests wait already")]
    Crowded,
    /// Too much of requests is in memory already.
    #[error("too many large requests come in at once")]
    Bodies,
}

impl Reason {
    /// One word for a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Busy => "busy",
            Self::Crowded => "crowded",
            Self::Bodies => "bodies",
        }
    }
}
