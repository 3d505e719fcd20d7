//! Board frames: little-endian typed columns, keyframe and delta, CRC32C.
//!
//! Read first: [`Encoder`] (writes a frame once, into bytes that all viewers share), [`Frame`] (a
//! checked view of one) and [`State`] (what a viewer knows after applying frames; the reference for
//! every other decoder).
//!
//! Invariants: column arrays start on 8 bytes, so a browser maps them without a copy; a frame that
//! [`Frame::parse`] accepted can be walked to the end without another check; arbitrary bytes never
//! panic. Not here: what a cell means (`board`), sockets (`http-edge`), the TypeScript decoder
//! (`web`, tested on the golden files of this crate). Source: `docs/format/frame.md`.
//!
//! ```
//! use frame::{Block, Encoder, Frame, Head, Level, Scalar};
//!
//! let mut encoder = Encoder::new();
//! let mut writer = encoder.begin(&Head { keyframe: true, seq: 1, ..Head::default() });
//! writer.scalars([Scalar { cell: 100, value: 42.5, level: Level::Healthy }]);
//! let bytes = writer.finish();
//!
//! let frame = Frame::parse(&bytes).unwrap();
//! let Some(Block::Scalars(scalars)) = frame.blocks().next() else { panic!() };
//! assert_eq!(scalars.iter().next().unwrap().value, 42.5);
//! ```

#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::as_conversions,
        reason = "a test may fail loudly"
    )
)]

mod block;
mod columns;
mod decode;
mod encode;
mod error;
mod head;
pub mod limits;
mod state;
mod view;

pub use block::{ChartSeries, LaneHead, Level, Point, Points, Row, Scalar, Text};
pub use columns::{F64s, Texts, U32s};
pub use decode::Frame;
pub use encode::{Encoder, FrameWriter};
pub use error::Error;
pub use head::Head;
pub use state::{ApplyError, RowPolicy, State, StateRow};
pub use view::{
    Block, ClearView, LanesView, PointsView, RowsView, ScalarsView, SeriesPoints, SeriesView,
    TextsView,
};
