//! The one place where Lantern's errors become Kafka's codes, by exhaustive match.
//!
//! Choices worth knowing:
//! - A topic that Lantern keeps its own state in answers INVALID_TOPIC_EXCEPTION to writers and
//!   TOPIC_AUTHORIZATION_FAILED to who would reshape or delete it: both end a client's retries.
//! - A full disk and a storage failure are KAFKA_STORAGE_ERROR, which clients retry; a frozen
//!   partition too, since after a restart the retry succeeds and idempotence keeps it single.
//! - What was not admitted is REQUEST_TIMED_OUT: clients send it again, idempotent or not, without looking for another
//!   leader first. Nothing of it was written, so that doubles nothing. (THROTTLING_QUOTA_EXCEEDED is for requests that
//!   change topics, and producers do not expect it.)

use broker::coordinator::GroupError;
use broker::{Error as BrokerError, TransactionError};
use kafka_wire::ErrorCode;

/// An error with a Kafka code.
pub(crate) trait Coded {
    fn kafka_code(&self) -> ErrorCode;
}

impl Coded for ErrorCode {
    fn kafka_code(&self) -> ErrorCode {
        *self
    }
}

impl Coded for BrokerError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            Self::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
            Self::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
            Self::InvalidConfig { .. } => ErrorCode::InvalidConfig,
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::ProducerFenced { .. } => ErrorCode::InvalidProducerEpoch,
            Self::NotInTransaction { .. } => ErrorCode::InvalidTxnState,
            Self::ControlBatch { .. } | Self::Keyless { .. } => ErrorCode::InvalidRecord,
            Self::Reserved { .. } => ErrorCode::TopicAuthorizationFailed,
            Self::UnknownGroup { .. } => ErrorCode::GroupIdNotFound,
            Self::DiskFull { .. }
            | Self::Frozen { .. }
            | Self::Offline { .. }
            | Self::Io { .. } => ErrorCode::KafkaStorageError,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
            Self::Stopping => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl Coded for record::Error {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::Incomplete { .. } | Self::Length { .. } | Self::Crc { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::Magic { .. }
            | Self::Offset { .. }
            | Self::Count { .. }
            | Self::Horizon
            | Self::Record { .. }
            | Self::LeftOver { .. }
            | Self::Decompress { .. } => ErrorCode::InvalidRecord,
            Self::Timestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::Codec { .. } => ErrorCode::UnsupportedCompressionType,
            Self::Inflated { .. } | Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
        }
    }
}

impl Coded for groups::Error {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::MemberIdRequired { .. } => ErrorCode::MemberIdRequired,
            Self::UnknownMember { .. } => ErrorCode::UnknownMemberId,
            Self::FencedInstance { .. } => ErrorCode::FencedInstanceId,
            Self::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
            Self::RebalanceInProgress { .. } => ErrorCode::RebalanceInProgress,
            Self::InconsistentProtocol { .. } => ErrorCode::InconsistentGroupProtocol,
            Self::InvalidSessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
            Self::GroupFull { .. } | Self::TooManyGroups { .. } => ErrorCode::GroupMaxSizeReached,
            Self::UnknownGroup { .. } | Self::OtherProtocol { .. } => ErrorCode::GroupIdNotFound,
            Self::FencedMemberEpoch { .. } => ErrorCode::FencedMemberEpoch,
            Self::StaleMemberEpoch { .. } => ErrorCode::StaleMemberEpoch,
            Self::UnreleasedInstance { .. } => ErrorCode::UnreleasedInstanceId,
            Self::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
            Self::InvalidRegex { .. } => ErrorCode::InvalidRegularExpression,
            Self::InvalidRequest { .. } => ErrorCode::InvalidRequest,
            Self::NotEmpty { .. } => ErrorCode::NonEmptyGroup,
            Self::SubscribedToTopic { .. } => ErrorCode::GroupSubscribedToTopic,
            Self::NotAvailable { .. } => ErrorCode::CoordinatorNotAvailable,
        }
    }
}

impl Coded for admission::Refused {
    fn kafka_code(&self) -> ErrorCode {
        ErrorCode::RequestTimedOut
    }
}

/// What the broker cannot do for a group is the coordinator's trouble: clients of groups know these
/// codes and not those of partitions.
impl Coded for GroupError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.kafka_code(),
            Self::Storage(_) | Self::Stopping => ErrorCode::CoordinatorNotAvailable,
            Self::Loading => ErrorCode::CoordinatorLoadInProgress,
        }
    }
}

impl Coded for transactions::Error {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::WrongProducer { .. } => ErrorCode::InvalidProducerIdMapping,
            Self::Fenced { .. } => ErrorCode::ProducerFenced,
            Self::Busy => ErrorCode::ConcurrentTransactions,
            Self::WrongPhase { .. } => ErrorCode::InvalidTxnState,
            Self::Timeout { .. } => ErrorCode::InvalidTransactionTimeout,
            Self::TooManyGroups { .. } | Self::TooManyIds { .. } => ErrorCode::PolicyViolation,
        }
    }
}

impl Coded for TransactionError {
    fn kafka_code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.kafka_code(),
            Self::Storage(_) | Self::Stopping => ErrorCode::CoordinatorNotAvailable,
            Self::Loading => ErrorCode::CoordinatorLoadInProgress,
            Self::Unsupported => ErrorCode::TransactionalIdAuthorizationFailed,
        }
    }
}
