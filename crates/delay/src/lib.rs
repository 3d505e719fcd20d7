//! How late consumers are: for every group and partition, how long records waited between the moment
//! they became readable and the moment the group committed past them.
//!
//! ```text
//!  high watermark moves ──> Timeline (one per partition): which offsets became readable when
//!                               │
//!  group commits, a to b ──> Place (group and partition): each record of [a, b) waited now - then
//!                               │
//!                            Window: 30 slices of 10 s, a Sketch each ──> p50, p90, p99
//! ```
//!
//! Two figures, because one alone can lie: the *delay* is of records that were passed, the *age* is of the
//! oldest one that still waits. A group that stands still has no delays at all, and an age that grows.
//!
//! Read first: [`Timeline`], [`Place`], [`Places`] (all of them, bounded).
//!
//! Invariants: no clock: `now` is an argument, and one that goes back is taken as standing still; memory is
//! bounded by [`PLACES_MAX`], [`SPANS_MAX`] and [`BINS_MAX`]; a figure is never too small, and too large by
//! at most what [`Sketch`] and [`Timeline`] say.
//! Not here: who tells it (`broker`), JSON (`http-edge`), pictures (`board`).
//!
//! ```
//! use delay::{Place, Timeline};
//! use model::{Offset, Timestamp};
//!
//! let at = |millis| Timestamp::from_millis(millis);
//! let mut timeline = Timeline::new(Offset::ZERO);
//! let mut place = Place::new(Offset::ZERO, at(0));
//! timeline.published(Offset::new(100), at(1_000));
//! // A quarter is passed after half a second; the rest waits.
//! place.commit(Offset::new(25), at(1_500), &timeline);
//! let seen = place.look(Offset::ZERO, at(3_000), &timeline);
//! assert_eq!(seen.delay.unwrap().records, 25);
//! assert_eq!(seen.age_ms, Some(2_000));
//! ```

#![forbid(unsafe_code)]

mod place;
mod places;
mod sketch;
mod timeline;
mod window;

pub use place::{Place, Seen, SliceSeen};
pub use places::{PLACES_MAX, Places};
pub use sketch::{BINS_MAX, Quantiles, Sketch, Tally};
pub use timeline::{SPANS_MAX, SPANS_UNWATCHED, Timeline};
pub use window::{SLICE, SLICES};
