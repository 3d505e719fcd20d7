//! What goes wrong when a data directory is opened, and how a log's errors become the broker's.
//!
//! The mapping is exhaustive: a new kind of error below must be placed here.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Producer, TopicPartition};

use super::CatalogError;
use crate::Error;

/// Why an embedded broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options cannot be.
    #[error("the options cannot be: {}", problems.join("; "))]
    Options {
        /// All that is wrong with them.
        problems: Vec<String>,
    },
    /// Another process runs on the directory.
    #[error(
        "the directory {} is in use by {}",
        dir.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, if its mark is legible.
        holder: Option<u32>,
    },
    /// The directory cannot be created or written.
    #[error("the directory {} cannot be written: {source}", dir.display())]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The catalog cannot be read as one.
    #[error("{} cannot be used: {source}; nothing was changed", path.display())]
    Catalog {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CatalogError,
    },
    /// There are topics and no catalog.
    #[error("{} is missing though there are topics beside it: put it back", path.display())]
    CatalogMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A directory that is to hold logs is somebody else's.
    #[error(
        "the log directory {} belongs to a data directory, or is one: name an empty one",
        dir.display()
    )]
    LogDirForeign {
        /// The directory.
        dir: PathBuf,
    },
    /// The catalog could not be told of the log directories.
    #[error("the log directories cannot be noted: {source}")]
    LogDirs {
        /// Why not.
        source: Error,
    },
    /// Group progress cannot be recovered.
    #[error("group progress cannot be recovered: {source}")]
    Groups {
        /// Why not.
        source: Error,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal could not be read, or begun anew.
    #[error("the journal cannot be used: {}", chain(source))]
    Journal {
        /// Why not.
        source: commitlog::JournalError,
    },
    /// The system gives no more threads.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it says that a disk has no room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if env::is_full(source))
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The reason that goes with a freeze.
pub(crate) fn reason(error: &Error) -> Arc<str> {
    match error {
        Error::Frozen { reason, .. } | Error::Corrupt { reason, .. } => Arc::clone(reason),
        other => chain(other).into(),
    }
}

/// What a log's error means for a partition's caller.
pub(crate) fn of_log(partition: &TopicPartition, error: commitlog::Error) -> Error {
    use commitlog::Error as Log;
    let text = error.to_string();
    let partition = partition.clone();
    match error {
        Log::OutOfRange {
            asked,
            log_start,
            log_end,
        } => Error::OutOfRange {
            partition,
            asked: asked.into(),
            log_start: log_start.into(),
            log_end: log_end.into(),
        },
        Log::BatchTooLarge { size, limit } => Error::BatchTooLarge {
            topic: partition.topic,
            size,
            limit,
        },
        Log::OutOfOrderSequence {
            producer_id,
            expected,
            found,
        } => Error::OutOfOrderSequence {
            partition,
            producer: producer_id,
            expected,
            found,
        },
        Log::ProducerFenced {
            producer_id,
            found,
            current,
        } => Error::ProducerFenced {
            partition,
            producer: producer_id,
            newest: current,
            found,
        },
        Log::NotInTransaction { producer_id, epoch } => Error::NotInTransaction {
            partition,
            producer: Producer::new(producer_id, epoch),
        },
        Log::Full { .. } => Error::DiskFull { partition },
        Log::Storage { source, .. } => Error::Frozen {
            partition,
            reason: format!("{text}: {source}").into(),
        },
        Log::Frozen { reason } => Error::Frozen { partition, reason },
        Log::Io { source, .. } => Error::Io {
            action: text,
            source,
        },
        Log::Batch { source, .. } => Error::Corrupt {
            partition,
            reason: format!("{text}: {source}").into(),
            until: None,
        },
        Log::Corrupt { until, .. } => Error::Corrupt {
            partition,
            reason: text.into(),
            until: Some(until.into()),
        },
        Log::Overlap { .. } | Log::Exhausted { .. } => Error::Corrupt {
            partition,
            reason: text.into(),
            until: None,
        },
    }
}

/// Whether there is no room on the disk.
pub(crate) fn wants_room(error: &Error) -> bool {
    match error {
        Error::DiskFull { .. } => true,
        Error::Io { source, .. } => env::is_full(source),
        _ => false,
    }
}
