//! What the targets share: data directories to begin with, ways to spoil them, and what must hold of any of them.
//!
//! Everything happens on a simulated disk, in one thread, and the same input always does the same.

pub mod recovery;
pub mod spoil;
pub mod template;

/// Takes a fuzzer's bytes apart; zeros come when there are no more.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Up to 255 bytes, as many as the next byte says.
    pub fn run(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.bytes(usize::from(count))
    }
}
