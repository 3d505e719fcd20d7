//! Boards: sources write cells, cells become frames, frames go to viewers.
