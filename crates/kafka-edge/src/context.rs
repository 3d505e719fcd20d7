//! What every handler needs: the broker, the groups, the options, and who is asking.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use admission::{Admission, Pacer};
use broker::coordinator::GroupCoordinator;
use broker::{DynBroker, TopicInfo, TransactionCoordinator};
use bytes::BytesMut;
use env::DynClock;
use kafka_wire::messages::BrokerId;
use kafka_wire::{EncodeError, ErrorCode, RequestHeader, StrBytes};
use model::{Offset, PartitionId, Position, TopicName, TopicPartition};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::answer::Answer;
use crate::budget::Budget;
use crate::codes::Coded;
use crate::metrics::Metrics;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) broker: DynBroker,
    pub(crate) groups: Arc<GroupCoordinator>,
    /// Given once at the start, or never: then transactions are refused.
    pub(crate) transactions: OnceLock<Arc<TransactionCoordinator>>,
    pub(crate) clock: DynClock,
    pub(crate) metrics: Metrics,
    pub(crate) requests: Budget,
    pub(crate) answers: Budget,
    /// Who may send how much.
    pub(crate) admission: Arc<Admission>,
    /// Held while one topic's configuration is read, changed and written back.
    pub(crate) configuring: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        broker: DynBroker,
        groups: Arc<GroupCoordinator>,
        clock: DynClock,
    ) -> Self {
        Self {
            requests: Budget::new(options.request_memory.as_usize()),
            answers: Budget::new(options.answer_memory.as_usize()),
            admission: Admission::new(admission::Options::default(), Arc::clone(&clock)),
            options,
            broker,
            groups,
            transactions: OnceLock::new(),
            clock,
            metrics: Metrics::new(),
            configuring: Mutex::new(()),
        }
    }
}

/// The two ends of a connection and how it may end early.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where the client connects from.
    pub(crate) address: SocketAddr,
    /// The address it reached.
    pub(crate) local: SocketAddr,
    /// Nobody will read an answer: the client is gone, or the endpoint stops.
    pub(crate) gone: CancellationToken,
    /// Its pauses for standing in the line before the log.
    pub(crate) pacer: parking_lot::Mutex<Pacer>,
}

/// One request being served.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) header: RequestHeader,
}

/// Why a call leaves no answer and ends the connection.
#[derive(Debug)]
pub(crate) enum Fatal {
    /// The answer cannot be written in the version asked for.
    Encode(EncodeError),
    /// A produce without acks failed.
    FailedWithoutAcks,
    /// The client is gone.
    Gone,
}

impl From<EncodeError> for Fatal {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl Call {
    pub(crate) fn version(&self) -> i16 {
        self.header.version
    }

    pub(crate) fn broker(&self) -> &DynBroker {
        &self.shared.broker
    }

    /// What the client calls itself; empty if it has no name.
    pub(crate) fn client(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }

    /// Who coordinates transactions.
    ///
    /// # Errors
    /// Without them TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients do not retry.
    pub(crate) fn transactions(&self) -> Result<&Arc<TransactionCoordinator>, ErrorCode> {
        let transactions = self.shared.transactions.get();
        transactions.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)
    }

    pub(crate) fn node(&self) -> BrokerId {
        BrokerId(self.shared.options.node_id)
    }

    /// Host and port to tell the client.
    pub(crate) fn endpoint(&self) -> (StrBytes, i32) {
        let local = self.peer.local;
        let (host, port) = match &self.shared.options.advertised {
            Some(advertised) if advertised.port == 0 => (advertised.host.clone(), local.port()),
            Some(advertised) => (advertised.host.clone(), advertised.port),
            None => (canonical(local.ip()).to_string(), local.port()),
        };
        (StrBytes::from_string(host), i32::from(port))
    }

    /// Whether clients may bring about so many more partitions.
    ///
    /// # Errors
    /// POLICY_VIOLATION.
    pub(crate) fn room_for(&self, partitions: u32) -> Result<(), ErrorCode> {
        let more = usize::try_from(partitions).unwrap_or(usize::MAX);
        let count = |info: &Arc<TopicInfo>| usize::try_from(info.partitions).unwrap_or(usize::MAX);
        let now: usize = self.broker().topics().values().map(count).sum();
        if now.saturating_add(more) > self.shared.options.partitions_total_max {
            return Err(ErrorCode::PolicyViolation);
        }
        Ok(())
    }

    /// The code of an error, counted.
    pub(crate) fn code(&self, error: &impl Coded) -> i16 {
        self.refuse(error.kafka_code())
    }

    /// An error code, counted.
    pub(crate) fn refuse(&self, code: ErrorCode) -> i16 {
        self.shared.metrics.error(code);
        code.code()
    }

    /// Encodes the answer.
    pub(crate) fn reply<B: kafka_wire::Encodable>(&self, body: &B) -> Result<Answer, Fatal> {
        let header = &self.header;
        let frame =
            kafka_wire::encode_response(header.api, header.version, header.correlation_id, body)?;
        Ok(Answer::frame(frame))
    }

    /// Encodes the answer behind those that are in `frames`.
    pub(crate) fn reply_into<B: kafka_wire::Encodable>(
        &self,
        frames: &mut BytesMut,
        body: &B,
    ) -> Result<(), Fatal> {
        let header = &self.header;
        let (api, version) = (header.api, header.version);
        kafka_wire::encode_response_into(frames, api, version, header.correlation_id, body)?;
        Ok(())
    }
}

/// An IPv4 address inside an IPv6 one as what it is.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Text of ours as the wire wants it.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The partition a request names.
///
/// # Errors
/// Kafka says the same for a topic that is not there and a name that cannot be one.
pub(crate) fn partition(topic: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
    let name = TopicName::new(topic).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    in_topic(&name, index)
}

/// The partition that a request names of a topic that was found.
///
/// # Errors
/// As [`partition`].
pub(crate) fn in_topic(topic: &TopicName, index: i32) -> Result<TopicPartition, ErrorCode> {
    let index = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicPartition::new(topic.clone(), PartitionId::new(index)))
}

/// The position of a Kafka offset; `None` for the negative special values.
pub(crate) fn position(offset: i64) -> Option<Position> {
    Offset::from_i64(offset).map(Position::from)
}

/// The Kafka offset of a position. The broker was asked at the start whether that is what they are.
pub(crate) fn offset(position: Position) -> i64 {
    i64::try_from(position.bits()).unwrap_or(i64::MAX)
}

/// The error, if a client knows a later leader epoch than there is: there is only epoch 0.
pub(crate) fn check_leader_epoch(epoch: i32) -> Result<(), ErrorCode> {
    if epoch > 0 {
        return Err(ErrorCode::UnknownLeaderEpoch);
    }
    Ok(())
}
