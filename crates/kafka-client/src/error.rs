//! Why a request to a Kafka server failed.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::{Api, EncodeError, ErrorCode};
use model::TopicPartition;

/// Why a request to a Kafka server failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached.
    #[error("cannot connect to the Kafka server at {address}")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A server of the cluster cannot be reached where the cluster says it is.
    #[error("the cluster says that its broker {id} is at {address}, which cannot be reached")]
    Advertised {
        /// Its number.
        id: i32,
        /// Where it should be.
        address: String,
        /// Why not.
        #[source]
        source: Box<Self>,
    },
    /// A partition has no leader.
    #[error("partition {partition} has no leader now")]
    NoLeader {
        /// The partition.
        partition: TopicPartition,
    },
    /// Not sent, as a batch before it in its partition failed and the order would be lost.
    #[error("not sent after a failure before it")]
    NotSent,
    /// The connection failed after it was made.
    #[error("the connection to the Kafka server failed")]
    Io(#[source] Arc<std::io::Error>),
    /// The server closed the connection, or it failed for another request before.
    #[error("the Kafka server closed the connection")]
    Closed,
    /// No answer in time. Should it come later, it is dropped.
    #[error("no answer to {api} within {after:?}")]
    Timeout {
        /// What was asked.
        api: Api,
        /// How long was waited.
        after: Duration,
    },
    /// The server serves no version of the API that is known here.
    #[error("the server serves no version of {api} that this client knows")]
    Unsupported {
        /// What was to be asked.
        api: Api,
    },
    /// The server refused.
    #[error("{api} was refused: {code} ({message})")]
    Refused {
        /// What was asked.
        api: Api,
        /// Kafka's error code.
        code: ErrorCode,
        /// The server's own words, may be empty.
        message: String,
    },
    /// A request or an answer that cannot be encoded or decoded.
    #[error("a request or an answer is malformed")]
    Wire(#[source] Arc<EncodeError>),
    /// An answer that does not fit its request.
    #[error("the answer to {api} does not fit: {reason}")]
    Answer {
        /// What was asked.
        api: Api,
        /// What is wrong.
        reason: &'static str,
    },
    /// Batches in an answer that are no batches.
    #[error("the server sent a damaged batch")]
    Batch(#[source] Arc<record::Error>),
}

impl Error {
    /// Kafka's error code, if the server refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Connect { .. }
            | Self::Advertised { .. }
            | Self::NoLeader { .. }
            | Self::NotSent
            | Self::Io(_)
            | Self::Closed
            | Self::Timeout { .. }
            | Self::Unsupported { .. }
            | Self::Wire(_)
            | Self::Answer { .. }
            | Self::Batch(_) => None,
        }
    }

    /// Whether the same request may succeed later, or at another server of the cluster.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Connect { .. }
            | Self::Advertised { .. }
            | Self::NoLeader { .. }
            | Self::Io(_)
            | Self::Closed
            | Self::Timeout { .. } => true,
            Self::NotSent
            | Self::Unsupported { .. }
            | Self::Wire(_)
            | Self::Answer { .. }
            | Self::Batch(_) => false,
        }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Wire(Arc::new(error))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// An error code of an answer as a result.
pub(crate) fn check(api: Api, code: i16, message: Option<&str>) -> Result<(), Error> {
    match ErrorCode::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(Error::Refused {
            api,
            code,
            message: message.unwrap_or_default().to_owned(),
        }),
    }
}
