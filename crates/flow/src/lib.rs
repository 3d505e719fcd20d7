//! How much may come: engines that decide, are told the time, and do nothing themselves.
//!
//! Read first: [`TokenBucket`] (a rate that is kept by delaying the sender), [`Limiter`] (how much may be in
//! work at once, found by measuring) and [`Pacer`] (how the wait before that limit becomes a pause of the
//! sender). [`Buckets`] keeps a bounded number of buckets by name; [`Breaker`] is for calls that go out.
//!
//! Invariants: no clock, no task, no randomness: `now` is an argument, a monotonic time since any fixed moment,
//! and one that goes back is taken as standing still. Every engine has a fixed or bounded size. Nothing here refuses
//! for good: a limit has a minimum, a delay an end, a breaker its probes.
//! Not here: who waits in which order, what is told to whom (`admission`), the wire (`kafka-edge`, `http-edge`).
//!
//! ```
//! use flow::{Rate, TokenBucket};
//! use std::time::Duration;
//!
//! // 1,000 bytes a second, 500 of them at once.
//! let mut bucket = TokenBucket::new(Rate::new(1_000, 500));
//! let now = Duration::from_secs(7);
//! assert_eq!(bucket.charge(500, now), Duration::ZERO);
//! // Admitted all the same; the sender is to be quiet until it is paid for.
//! assert_eq!(bucket.charge(250, now), Duration::from_millis(250));
//! assert_eq!(bucket.delay(now + Duration::from_millis(100)), Duration::from_millis(150));
//! ```

#![forbid(unsafe_code)]

mod breaker;
mod bucket;
mod buckets;
mod histogram;
mod limiter;
mod pacer;
mod window;

pub use breaker::{Breaker, BreakerOptions, BreakerState, Call};
pub use bucket::{Rate, TokenBucket};
pub use buckets::Buckets;
pub use limiter::{Limiter, LimiterOptions, Outcome};
pub use pacer::Pacer;
