//! What can go wrong with a log, and what to do then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::Offset;

/// Why a call on a log failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The offset asked for is not in the log.
    #[error("offset {asked} is outside {log_start}..={log_end}")]
    OutOfRange {
        /// The offset.
        asked: Offset,
        /// The oldest kept.
        log_start: Offset,
        /// The next to be written.
        log_end: Offset,
    },
    /// The bytes of these records are damaged. The log is readable on from `until`.
    #[error("offsets {from}..{until} are damaged: {} at byte {position}", path.display())]
    Corrupt {
        /// The first offset that cannot be read.
        from: Offset,
        /// The first one that can be read again.
        until: Offset,
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
    },
    /// A batch is larger than the log's options allow.
    #[error("batch of {size} bytes is larger than {limit}")]
    BatchTooLarge {
        /// The batch's size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// An idempotent producer skipped a number, or repeats one that is too old to be remembered.
    #[error("producer {producer_id} sent sequence {found}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The sequence it should have sent.
        expected: i32,
        /// The sequence it sent.
        found: i32,
    },
    /// An idempotent producer uses an epoch that a newer one has ended.
    #[error("producer {producer_id} sent epoch {found}, it is at {current}")]
    ProducerFenced {
        /// The producer.
        producer_id: i64,
        /// The epoch it sent.
        found: i16,
        /// The newest epoch.
        current: i16,
    },
    /// A batch of a transaction whose producer was not let in, a batch outside of the producer's
    /// open transaction, or a marker that says nothing.
    #[error(
        "producer {producer_id} in epoch {epoch} is in no transaction here that takes this batch"
    )]
    NotInTransaction {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
    },
    /// The disk is full. The log is as it was before, and later appends may succeed.
    #[error("no room on the disk for {}", path.display())]
    Full {
        /// The file being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A write or sync failed just now; the log is frozen from here on.
    #[error("cannot {action} {}", path.display())]
    Storage {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write or sync failed: nothing is written any more until the log is opened anew.
    #[error("the log is frozen: {reason}")]
    Frozen {
        /// The earlier failure.
        reason: Arc<str>,
    },
    /// A file could not be read or changed; the log goes on.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment begins before its predecessor ends: files of two logs in one directory.
    #[error("{} begins at offset {base}, but its predecessor ends at {end}", path.display())]
    Overlap {
        /// The later segment.
        path: PathBuf,
        /// Its first offset.
        base: Offset,
        /// Where the earlier one ends.
        end: Offset,
    },
    /// A batch in the log does not decompress or its records are malformed although its checksum is
    /// right: it was never validated.
    #[error("the batch at offset {offset} cannot be taken apart")]
    Batch {
        /// Its base offset.
        offset: Offset,
        /// What is wrong with it.
        #[source]
        source: record::Error,
    },
    /// The offsets are used up.
    #[error("no offset is left after {log_end}")]
    Exhausted {
        /// The next offset.
        log_end: Offset,
    },
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The same call may succeed later.
    Retry,
    /// The request cannot be fulfilled; the log is fine.
    Reject,
    /// Read on after the damage.
    Skip,
    /// Stop writing to this partition until it is opened anew.
    StopPartition,
}

impl Error {
    /// What a caller can do.
    pub const fn recovery(&self) -> Recovery {
        match self {
            Self::OutOfRange { .. }
            | Self::BatchTooLarge { .. }
            | Self::OutOfOrderSequence { .. }
            | Self::ProducerFenced { .. }
            | Self::NotInTransaction { .. }
            | Self::Batch { .. } => Recovery::Reject,
            Self::Corrupt { .. } => Recovery::Skip,
            Self::Full { .. } | Self::Io { .. } => Recovery::Retry,
            Self::Storage { .. }
            | Self::Frozen { .. }
            | Self::Overlap { .. }
            | Self::Exhausted { .. } => Recovery::StopPartition,
        }
    }
}
