//! Groups from outside: timelines of typical rebalances, and a model test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod play;
mod timelines;
