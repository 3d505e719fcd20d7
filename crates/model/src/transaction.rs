//! Who writes in a transaction, and how one ends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A producer that numbers what it sends: its id and the epoch of its life. A newer epoch of an id
/// ends the older one for good. Source: KIP-98.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Producer {
    /// The id, 0 or more.
    pub id: i64,
    /// The epoch, 0 or more.
    pub epoch: i16,
}

impl Producer {
    /// Producer `id` in `epoch`.
    pub const fn new(id: i64, epoch: i16) -> Self {
        Self { id, epoch }
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in epoch {}", self.id, self.epoch)
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Everything in it counts.
    Commit,
    /// Nothing in it does.
    Abort,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Abort => "abort",
        })
    }
}
