//! Boards: sources write cells, cells become frames, frames go to viewers.

mod cells;
mod channel;
mod metrics;
mod playlist;
mod template;
mod text;
mod unit;
mod viewer;
pub use playlist::{Entry, Playlist, PlaylistState, TURN_MIN, Turn};
pub use text::Text;
pub use unit::Unit;
pub use viewer::{Viewer, ViewerMessage};
