//! Boards: sources write cells, cells become frames, frames go to viewers.
//!
//! Read first: [`Service`] (runs the boards) and [`Handle`] (applies files, attaches displays);
//! [`Viewer`] (one display: what it gets next, what it says back); [`Playlist`] (how a marquee lane
//! turns). A board is YAML, `docs/operate/boards.md` is its reference; what goes to displays is in
//! `docs/format/frame.md`.
//!
//! The server computes, a display scales, draws and sorts. Invariants: whatever changed between two beats
//! is one frame, encoded once and shared by all viewers; a viewer owns no queue, so a slow one costs
//! nothing and is right again with the next keyframe; a board nobody looks at sleeps; a board file with a
//! problem changes nothing. Not here: sockets (`http-edge`), files (`lantern` reads them), PromQL, topics.
//!
//! Modules in reading order: `schema` → `compile` → `plan` (a file becomes a plan), `queries`, `charts`,
//! `topic`, `alerts`, `playlist` → `screen` (sources become cells), `cells` → `runner` (cells become
//! frames), `channel` → `viewer` (frames go out), `service`.

#![forbid(unsafe_code)]

mod alerts;
mod cells;
mod channel;
mod charts;
mod compile;
mod events;
mod lanes;
mod layout;
pub mod limits;
mod metrics;
mod plan;
mod playlist;
mod problem;
mod queries;
mod runner;
mod schema;
mod screen;
mod service;
mod table;
mod template;
mod text;
mod topic;
mod unit;
mod viewer;

pub use alerts::{Alert, AlertState};
pub use playlist::{Entry, Playlist, PlaylistState, TURN_MIN, Turn};
pub use problem::Problem;
pub use service::{Applied, BoardFile, BoardInfo, Error, Handle, Inputs, Service};
pub use text::Text;
pub use unit::Unit;
pub use viewer::{ANSWERS_MAX, Viewer, ViewerMessage};
