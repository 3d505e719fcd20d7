//! Boards: sources write cells, cells become frames, frames go to viewers.

mod cells;
mod channel;
mod compile;
mod layout;
pub mod limits;
mod metrics;
mod plan;
mod playlist;
mod problem;
mod schema;
mod template;
mod text;
mod unit;
mod viewer;
pub use playlist::{Entry, Playlist, PlaylistState, TURN_MIN, Turn};
pub use problem::Problem;
pub use text::Text;
pub use unit::Unit;
pub use viewer::{Viewer, ViewerMessage};
