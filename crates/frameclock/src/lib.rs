//! The beat of the boards: ticks, jitter, drift and phase.
//!
//! Read first: [`FrameClock`] (says when the next beat is due and judges how it came) and [`Figures`]
//! (how well the beats came lately).
//!
//! Invariants: beat `n` is due at `start + n × period` exactly, so errors never add up; a beat that
//! came too late for its successors skips them and counts them as missed, it never bursts.
//! Not here: timers and threads; the caller sleeps and tells the time.
//!
//! ```
//! use frameclock::{FrameClock, Rate};
//! use std::time::Duration;
//!
//! let mut clock = FrameClock::new(Rate::from_hertz(20)?, Duration::from_secs(7));
//! assert_eq!(clock.deadline(), Duration::from_millis(7_050));
//! assert!(clock.wake(Duration::from_millis(7_049)).is_none()); // too early: sleep on
//! let beat = clock.wake(Duration::from_millis(7_141)).unwrap(); // late: beat 2 is skipped
//! assert_eq!((beat.number, beat.missed), (1, 1));
//! assert_eq!(clock.deadline(), Duration::from_millis(7_150));
//! # Ok::<(), frameclock::Error>(())
//! ```

#![forbid(unsafe_code)]

mod clock;
mod figures;

pub use clock::{Beat, Error, FrameClock, Rate};
pub use figures::Figures;
