//! Why a call about a transaction is refused. All of it is the caller's doing.

use std::time::Duration;

use model::Producer;

use crate::Phase;

/// Why a call about a transaction is refused; in brackets Kafka's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id is unknown or has another producer (INVALID_PRODUCER_ID_MAPPING).
    #[error("producer id {asked} is not the one of this transactional id")]
    WrongProducer {
        /// The producer id that was named.
        asked: i64,
    },
    /// A newer producer has taken over (PRODUCER_FENCED, before INVALID_PRODUCER_EPOCH).
    #[error("producer {asked} was fenced, the newest is {newest}")]
    Fenced {
        /// Who asks.
        asked: Producer,
        /// Who took over.
        newest: Producer,
    },
    /// The last transaction is not ended everywhere yet (CONCURRENT_TRANSACTIONS): ask again.
    #[error("the last transaction is still being ended")]
    Busy,
    /// What is asked makes no sense now (INVALID_TXN_STATE).
    #[error("the transaction is {phase}, which does not allow this")]
    WrongPhase {
        /// How it stands.
        phase: Phase,
    },
    /// A timeout of nothing, or beyond the maximum (INVALID_TRANSACTION_TIMEOUT).
    #[error("a transaction timeout of {asked:?} is outside 1ms to {max:?}")]
    Timeout {
        /// What was asked for.
        asked: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// More groups in one transaction than may be (POLICY_VIOLATION).
    #[error("a transaction commits offsets of at most {limit} groups")]
    TooManyGroups {
        /// How many may be.
        limit: usize,
    },
    /// More transactional ids than may be (POLICY_VIOLATION).
    #[error("there are {limit} transactional ids, which is the limit")]
    TooManyIds {
        /// How many may be.
        limit: usize,
    },
}
