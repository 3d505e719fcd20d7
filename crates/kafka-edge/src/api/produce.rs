//! Produce: batches from the wire to the log, unchanged.
//!
//! Invariants: each batch is checked once, here, down to its last record (a bad record inside would
//! make the partition unreadable for everyone); batches of one partition are appended all or none;
//! appends begin in the order of the request, all at once, before the first of them is waited for;
//! no more than [`INFLATED_HERE`] bytes of a request are inflated on a thread that serves others, the rest is before anything
//! of it is begun (`inflating`).
//!
//! Not here: requests that came together and are appended together (`run`).

mod run;

use std::sync::Arc;

use broker::{Appended, Durability, TopicInfo};
use bytes::Bytes;
use kafka_wire::ErrorCode;
use kafka_wire::messages::ProduceRequest;
use kafka_wire::messages::produce_request::PartitionProduceData;
use kafka_wire::messages::produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse};
use model::TopicPartition;
use model::limits::METRICS_TOPIC;
use record::{CheckedBatch, Compression};
use smallvec::SmallVec;
use tracing::debug;

use crate::codes::Coded;
use crate::context::{Call, in_topic, partition, text};
use crate::inflating;
pub(crate) use run::{Begun, Run, produce};

/// The first Produce version whose clients know Zstandard.
const ZSTD_SINCE: i16 = 7;

/// Why a partition's batches are refused: the code, and words for clients that show them.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    code: ErrorCode,
    reason: String,
    /// Which records are to blame, from 0, if single ones are.
    records: Vec<u32>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            records: Vec::new(),
        }
    }

    fn of_broker(error: broker::Error) -> Self {
        let refusal = Self::new(error.kafka_code(), error.to_string());
        match error {
            broker::Error::Keyless { records, .. } => Self { records, ..refusal },
            _ => refusal,
        }
    }
}

impl<E: Coded + std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(error.kafka_code(), error.to_string())
    }
}

/// What becomes of each partition of a request, by its index. Most requests have one.
pub(crate) type Parts<T> = SmallVec<[(i32, Result<T, Refusal>); 1]>;

/// The batches of one partition of a request. Most have one.
pub(crate) type Batches = SmallVec<[CheckedBatch; 1]>;

/// What one partition of a request appends.
pub(crate) struct Prepared {
    pub(crate) to: TopicPartition,
    pub(crate) batches: Batches,
    pub(crate) durability: Durability,
    /// It may be written as one with others: nothing in the batches could make it fail alone.
    joins: bool,
}

/// How much may still be inflated on the spot, and who hears of the batches (by place) that are left unchecked.
type Inflating<'a> = (&'a mut usize, &'a mut dyn FnMut(usize));

/// `known` is the topic that was looked up last: most requests of a client are for the same.
fn prepare(
    call: &Call,
    request: &ProduceRequest,
    (topic, data): (&str, &PartitionProduceData),
    known: &mut Option<Arc<TopicInfo>>,
    inflating: Inflating<'_>,
) -> Result<Prepared, Refusal> {
    let acks = request.acks;
    let transactional = request.transactional_id.is_some();
    if !matches!(acks, -1..=1) {
        let reason = format!("acks can be 0, 1 or -1 (all), not {acks}");
        return Err(Refusal::new(ErrorCode::InvalidRequiredAcks, reason));
    }
    if transactional {
        check_coordinator(call)?;
    }
    if known
        .as_ref()
        .is_none_or(|known| known.name.as_str() != topic)
    {
        *known = call.broker().topic_named(topic);
    }
    let info = known.as_deref();
    let to = match info {
        // Its name need not be checked and kept once more.
        Some(info) => in_topic(&info.name, data.index)?,
        None => partition(topic, data.index)?,
    };
    if to.topic.is_internal() && to.topic.as_str() != METRICS_TOPIC {
        let reason = "this topic holds Lantern's own state";
        return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
    }
    let Some(info) = info.filter(|info| to.partition.get() < info.partitions) else {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    };
    let limit = info.config.batch_bytes.as_usize();
    let records = data.records.clone();
    let batches = check_batches(call.version(), transactional, limit, records, inflating)?;
    let durability = if acks == -1 {
        info.config.durability
    } else {
        Durability::Written
    };
    // Batches of idempotent producers may be retries, those of transactions may be late, and a compacted topic asks for
    // keys.
    let joins = !info.config.cleanup.policy.compacts()
        && batches
            .iter()
            .all(|batch| batch.producer_id() < 0 && !batch.is_transactional());
    Ok(Prepared {
        to,
        batches,
        durability,
        joins,
    })
}

/// Whether a batch of a transaction can be judged: right after a start who is in one is not known yet.
fn check_coordinator(call: &Call) -> Result<(), Refusal> {
    match call.transactions() {
        Ok(transactions) if transactions.is_ready() => Ok(()),
        Ok(_) => {
            let reason = "transactions are being loaded";
            Err(Refusal::new(ErrorCode::NotLeaderOrFollower, reason))
        }
        Err(_) => {
            let reason = "transactions are not served";
            Err(Refusal::new(ErrorCode::InvalidTxnState, reason))
        }
    }
}

fn check_batches(
    version: i16,
    transactional: bool,
    limit: usize,
    records: Option<Bytes>,
    (here, apart): Inflating<'_>,
) -> Result<Batches, Refusal> {
    let mut rest = records.unwrap_or_default();
    if rest.is_empty() {
        let reason = "a produce request needs at least one batch for each partition";
        return Err(Refusal::new(ErrorCode::InvalidRecord, reason));
    }
    let mut batches = Batches::new();
    while !rest.is_empty() {
        let (batch, after) = CheckedBatch::parse(rest)?;
        rest = after;
        if batch.size() > limit {
            let reason = format!(
                "a batch of {} bytes is larger than {limit}, the topic's max.message.bytes",
                batch.size()
            );
            return Err(Refusal::new(ErrorCode::MessageTooLarge, reason));
        }
        if batch.is_control() {
            let reason = "clients cannot write control batches";
            return Err(Refusal::new(ErrorCode::InvalidRecord, reason));
        }
        if batch.is_transactional() && !transactional {
            let reason = "a batch of a transaction needs a request with its transactional id";
            return Err(Refusal::new(ErrorCode::InvalidTxnState, reason));
        }
        if version < ZSTD_SINCE && batch.compression() == Compression::Zstd {
            let reason = "Zstandard needs Produce version 7";
            return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, reason));
        }
        let (batch, checked) = inflating::check_here(batch, here)?;
        if !checked {
            apart(batches.len());
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// What Produce says since version 8 of each record that is to blame.
fn record_error(record: u32) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(i32::try_from(record).unwrap_or(i32::MAX))
        .with_batch_index_error_message(Some(text("it has no key".to_owned())))
}

fn answer_partition(
    call: &Call,
    index: i32,
    appended: Result<Appended, Refusal>,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    match appended {
        Ok(appended) => {
            let stamped = appended
                .log_append_time
                .map_or(-1, model::Timestamp::millis);
            answer
                .with_base_offset(appended.base_offset.as_i64())
                .with_log_append_time_ms(stamped)
                .with_log_start_offset(appended.log_start.as_i64())
        }
        Err(refusal) => {
            // Older versions have no room for the words, so they are here too.
            let Refusal {
                code,
                reason,
                records,
            } = refusal;
            debug!(peer = %call.peer.address, partition = index, %code, reason, "Kafka batch refused.");
            answer
                .with_error_code(call.refuse(code))
                .with_error_message(Some(text(reason)))
                .with_record_errors(records.into_iter().map(record_error).collect())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
        }
    }
}
