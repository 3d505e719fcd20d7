//! An answer on its way to the socket.

use bytes::Bytes;

use crate::budget::Held;

/// Pieces of one frame, written in order; none for a produce without acks.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) pieces: Vec<Bytes>,
    /// Memory given back when the answer is written or dropped.
    pub(crate) held: Option<Held>,
}

impl Answer {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn frame(frame: Bytes) -> Self {
        Self {
            pieces: vec![frame],
            held: None,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}
