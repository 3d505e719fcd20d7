//! Why a call about a transaction failed, in the kinds a caller must tell apart.

/// Why a call about a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The state of the transactional id does not allow it.
    #[error(transparent)]
    Refused(#[from] transactions::Error),
    /// The broker could not store. Lantern or the machine is to blame.
    #[error("the transaction's data could not be stored")]
    Storage(#[from] crate::Error),
    /// Transactions are still being read back after a start.
    #[error("transactions are being loaded")]
    Loading,
    /// Lantern is stopping.
    #[error("the transaction coordinator is stopping")]
    Stopping,
    /// The broker behind has no transactions.
    #[error("this broker has no transactions")]
    Unsupported,
}

impl TransactionError {
    /// Whether the same call will be taken shortly, without anything being wrong: states are still read back, or the last
    /// transaction is still being ended.
    pub const fn is_soon_over(&self) -> bool {
        match self {
            Self::Loading | Self::Refused(transactions::Error::Busy) => true,
            Self::Refused(_) | Self::Storage(_) | Self::Stopping | Self::Unsupported => false,
        }
    }
}
