//! What a listener says of itself to whoever asks.

use std::time::Duration;

use flow::BreakerState;
use serde::Serialize;

/// How a listener is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Records between what is finished and the end of its topics.
    pub lag: u64,
    /// Records read and not finished.
    pub waiting: usize,
    /// Calls under way.
    pub in_flight: usize,
    /// Records taken since the start.
    pub done: u64,
    /// Failed attempts since the start.
    pub failures: u64,
    /// Whether its endpoint is called.
    pub breaker: BreakerState,
    /// It waits for core listeners.
    pub paused: bool,
    /// Its rate was used up since the last look.
    pub limited: bool,
    /// Partitions that cannot be read now.
    pub unreadable: usize,
    /// Bytes of records held in memory.
    pub held_bytes: usize,
    /// The longest that a record waited here for its first call, since the last look.
    pub waited: Duration,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            lag: 0,
            waiting: 0,
            in_flight: 0,
            done: 0,
            failures: 0,
            breaker: BreakerState::Closed,
            paused: false,
            limited: false,
            unreadable: 0,
            held_bytes: 0,
            waited: Duration::ZERO,
        }
    }
}

/// A listener as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its topics.
    pub topics: Vec<String>,
    /// Where records go: the origin of a URL, as its path may be secret, or `native NAME`.
    pub target: String,
    /// The topic that its answers go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Its group, for lag by Kafka tools.
    pub group: String,
    /// The version of its resource that is in force, from 1.
    pub generation: u64,
    /// Why a newer version is not in force.
    pub refused: Option<String>,
    /// Whether it goes on when others are paused.
    pub core: bool,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// It waits for core listeners.
    pub paused: bool,
    /// Records behind the end of its topics.
    pub lag: u64,
    /// Records read and not finished.
    pub waiting: usize,
    /// Calls under way.
    pub in_flight: usize,
    /// Records taken since the start.
    pub done: u64,
    /// Failed attempts since the start.
    pub failures: u64,
    /// Partitions that cannot be read now.
    pub unreadable: usize,
    /// Bytes of records held in memory.
    pub held_bytes: usize,
}
