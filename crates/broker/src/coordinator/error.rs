//! Why a call about a group failed, in the two kinds a caller must tell apart.

/// Why a call about a group failed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The group's state does not allow it; the error has its Kafka code in its comment.
    #[error(transparent)]
    Refused(#[from] groups::Error),
    /// The broker could not store or read. Lantern or the machine is to blame.
    #[error("the group's data could not be stored or read")]
    Storage(#[from] crate::Error),
    /// Groups are still being read back after a start (`COORDINATOR_LOAD_IN_PROGRESS`).
    #[error("groups are being loaded")]
    Loading,
    /// Lantern is stopping (`COORDINATOR_NOT_AVAILABLE`).
    #[error("the group coordinator is stopping")]
    Stopping,
}

impl GroupError {
    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Loading | Self::Stopping => true,
            Self::Refused(error) => matches!(error, groups::Error::NotAvailable { .. }),
            Self::Storage(error) => error.recovery() == crate::Recovery::Retry,
        }
    }
}
