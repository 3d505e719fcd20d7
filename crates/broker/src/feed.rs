//! The newest published batches of a partition, handed over in memory.
//!
//! [`Tail`](crate::Tail) uses it where a broker has it, and reads the log where the feed does not reach.

use std::fmt::Debug;
use std::task::{Context, Poll};

use model::Position;

use crate::{Fetched, ReadLimit};

/// One follower's end of a partition's feed.
///
/// Invariants: what it hands out is committed, whole, and what the log has at that place; it never waits for other followers,
/// and they not for it.
pub trait Feed: Send + Sync + Debug {
    /// What is at `from`, without waiting or touching the disk.
    fn take(&mut self, from: Position, limit: ReadLimit) -> Fed;

    /// Ready when something was published after the last [`Feed::take`] began: `true`; or when nothing ever
    /// will be: `false`.
    fn poll_published(&mut self, context: &mut Context<'_>) -> Poll<bool>;

    /// Looks so many times for something new before it gives up the processor, from now on. Default 0.
    fn set_spin(&mut self, turns: u32);
}

/// What a feed has.
#[derive(Debug)]
pub enum Fed {
    /// At least one batch.
    Batches(Fetched),
    /// The place asked for is the high watermark.
    End,
    /// The feed does not have that place, the log does; or it has to be looked at there.
    Log,
}
