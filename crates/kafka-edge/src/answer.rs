//! An answer on its way to the socket.

use std::time::Duration;

use bytes::Bytes;

use crate::budget::Held;

/// Pieces of one frame, written in order; none for a produce without acks.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) pieces: Vec<Bytes>,
    /// Memory given back when the answer is written or dropped.
    pub(crate) held: Option<Held>,
    /// How long nothing more is taken from the client when the answer is out.
    pub(crate) pause: Duration,
}

impl Answer {
    pub(crate) fn frame(frame: Bytes) -> Self {
        Self {
            pieces: vec![frame],
            ..Self::default()
        }
    }

    /// Pieces of one frame, and the memory they hold.
    pub(crate) fn pieces(pieces: Vec<Bytes>, held: Option<Held>) -> Self {
        Self {
            pieces,
            held,
            ..Self::default()
        }
    }

    /// Takes nothing more from the client for so long.
    pub(crate) fn pausing(mut self, pause: Duration) -> Self {
        self.pause = self.pause.max(pause);
        self
    }

    pub(crate) fn size(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}
