//! The name under which a producer comes back after a restart.

use std::fmt;
use std::sync::Arc;

/// Longest transactional id in bytes. It is part of a record key on disk.
pub const TRANSACTIONAL_ID_BYTES_MAX: usize = 255;

/// Why a text is no transactional id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transactional id has 1 to {TRANSACTIONAL_ID_BYTES_MAX} bytes, this one has {length}")]
pub struct InvalidId {
    /// Bytes given.
    pub length: usize,
}

/// A transactional id: 1 to 255 bytes of any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    /// Checks `id` and keeps it.
    ///
    /// # Errors
    /// [`InvalidId`] when it is empty or longer than 255 bytes.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        let length = id.len();
        if length == 0 || length > TRANSACTIONAL_ID_BYTES_MAX {
            return Err(InvalidId { length });
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
