//! Groups from outside: timelines of typical rebalances, and model tests, for both protocols.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod assignors;
mod consumer_model;
mod consumer_play;
mod consumer_timelines;
mod model;
mod play;
mod timelines;
