//! Produce: batches from the wire to the log, unchanged.
//!
//! Invariants: each batch is checked once, here, down to its last record (a bad record inside would
//! make the partition unreadable for everyone); batches of one partition are appended all or none;
//! appends begin in the order of the request, all at once, before the first of them is waited for;
//! no more than [`INFLATED_HERE`] bytes of a request are inflated on a thread that serves others, the rest is before anything
//! of it is begun (`inflating`).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use admission::Refused;
use broker::{Append, AppendAnswers, Appended, AppendsFuture, Durability};
use bytes::{Bytes, BytesMut};
use kafka_wire::ErrorCode;
use kafka_wire::messages::produce_request::PartitionProduceData;
use kafka_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_wire::messages::{ProduceRequest, ProduceResponse};
use model::limits::METRICS_TOPIC;
use record::{CheckedBatch, Compression};
use smallvec::SmallVec;
use tokio::task::unconstrained;
use tracing::debug;

use crate::answer::Answer;
use crate::codes::Coded;
use crate::context::{Call, Fatal, Shared, in_topic, partition, text};
use crate::inflating::{self, Heavy, INFLATED_HERE};
use crate::pressure::{self, Pause, Turn};

/// The first Produce version whose clients know Zstandard.
const ZSTD_SINCE: i16 = 7;

/// Why a partition's batches are refused: the code, and words for clients that show them.
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
type Parts<T> = SmallVec<[(i32, Result<T, Refusal>); 1]>;

/// A request that is checked, with leave to append what is good of it.
pub(crate) struct Ready {
    /// In the order of the request.
    parts: Parts<Append>,
    /// Held until the last append is answered.
    turn: Turn,
}

impl Ready {
    /// For how long nothing is taken from the client, from now on.
    pub(crate) fn owed(&self) -> Duration {
        self.turn.owed()
    }
}

/// Checks a request, every record of it, and then waits for its turn. Nothing that comes behind it may begin before
/// that is done, or it would overtake it.
///
/// The turn comes second, so that nobody holds a place before the log while batches are inflated.
///
/// # Errors
/// The client owes too much, or would hear of its request too late.
pub(crate) async fn ready(call: &Call, request: &ProduceRequest) -> Result<Ready, Refused> {
    pressure::check_debt(call, request)?;
    let timed = pressure::Timed::begin(call);
    let mut here = INFLATED_HERE;
    let mut parts = Parts::new();
    let mut heavy = Vec::new();
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            let name = topic.name.as_str();
            let mut apart = |batch| {
                let part = parts.len();
                heavy.push(Heavy { part, batch });
            };
            let part = prepare(call, request, name, data, (&mut here, &mut apart));
            parts.push((data.index, part));
        }
    }
    timed.end(call);
    if !heavy.is_empty() {
        inflating::check(call, request.timeout_ms, heavy, &mut parts).await?;
    }
    let turn = pressure::turn(call, request).await?;
    Ok(Ready { parts, turn })
}

/// A produce request whose appends are in the log's queue, or in the line before it.
///
/// It is no boxed future, and its answer goes straight to those that leave with it: of all requests these are the most, and
/// the smallest.
pub(crate) struct Begun<'a> {
    call: Call,
    request: ProduceRequest,
    stage: Stage<'a>,
    /// What serving it took so far, if that is counted.
    took: Option<Duration>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "all but a few are the large one, and lie in a box with the rest of the request"
)]
enum Stage<'a> {
    /// Nothing of it is appended.
    Refused(Refused),
    Appending {
        appends: AppendsFuture<'a>,
        /// In the order of the request; those without a refusal are being appended.
        parts: Parts<()>,
        turn: Turn,
    },
    /// Answered.
    Done,
}

impl<'a> Begun<'a> {
    /// Begins what `ready` let pass.
    ///
    /// When this returns its batches are in the broker's queue, or next in the line before it, so that they are before
    /// those of every request that begins later.
    pub(crate) async fn begin(
        shared: &'a Shared,
        call: Call,
        request: ProduceRequest,
        ready: Result<Ready, Refused>,
    ) -> Self {
        let counted = shared.admission.counts_time(call.client());
        let begun = counted.then(|| shared.clock.monotonic());
        let stage = match ready {
            Ok(ready) => Stage::begin(shared, ready).await,
            Err(refused) => Stage::Refused(refused),
        };
        Self {
            took: begun.map(|begun| shared.clock.monotonic().saturating_sub(begun)),
            call,
            request,
            stage,
        }
    }

    /// When all is appended, writes the answer behind those in `frames`, and answers how long nothing more is taken from
    /// the client. Without acks there is no answer, and a failure closes the connection.
    pub(crate) fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut BytesMut,
    ) -> Poll<Result<Duration, Fatal>> {
        let Some(took) = self.took else {
            return self.poll_unmetered(context, frames);
        };
        let begun = self.call.shared.clock.monotonic();
        let polled = self.poll_unmetered(context, frames);
        let call = &self.call;
        let took = took + call.shared.clock.monotonic().saturating_sub(begun);
        self.took = Some(took);
        let pause = ready!(polled)?;
        // The next answer will tell it.
        let owed = call.shared.admission.charge_time(call.client(), took);
        Poll::Ready(Ok(pause.max(owed)))
    }

    fn poll_unmetered(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut BytesMut,
    ) -> Poll<Result<Duration, Fatal>> {
        let appended = match &mut self.stage {
            Stage::Appending { appends, .. } => ready!(Pin::new(appends).poll(context)),
            Stage::Refused(_) | Stage::Done => AppendAnswers::new(),
        };
        Poll::Ready(match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Appending { parts, turn, .. } => self.answer(parts, turn, appended, frames),
            Stage::Refused(refused) => self.turn_away(refused, frames),
            Stage::Done => Err(Fatal::Gone),
        })
    }

    fn answer(
        &mut self,
        parts: Parts<()>,
        turn: Turn,
        appended: AppendAnswers,
        frames: &mut BytesMut,
    ) -> Result<Duration, Fatal> {
        let (call, request) = (&self.call, &self.request);
        let Pause { told, kept } = pressure::produced(call, turn, &appended);
        let mut appended = appended.into_iter();
        let mut answers = parts.into_iter().map(|(index, part)| {
            let appended = part.and_then(|()| {
                let answer = appended.next().unwrap_or(Err(broker::Error::Stopping));
                answer.map_err(Refusal::of_broker)
            });
            answer_partition(call, index, appended)
        });
        if request.acks == 0 {
            return if answers.all(|answer| answer.error_code == 0) {
                Ok(kept)
            } else {
                Err(Fatal::FailedWithoutAcks)
            };
        }
        let topics = request.topic_data.iter().map(|topic| {
            let count = topic.partition_data.len();
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(answers.by_ref().take(count).collect())
        });
        let answer = ProduceResponse::default()
            .with_responses(topics.collect())
            .with_throttle_time_ms(pressure::millis(told));
        call.reply_into(frames, &answer)?;
        Ok(kept)
    }

    /// Nothing of the request was appended; it may come again after the pause.
    fn turn_away(&mut self, refused: Refused, frames: &mut BytesMut) -> Result<Duration, Fatal> {
        let (call, request) = (&self.call, &self.request);
        if request.acks == 0 {
            return Err(Fatal::FailedWithoutAcks);
        }
        let refuse =
            |data: &PartitionProduceData| answer_partition(call, data.index, Err(refused.into()));
        let topics = request.topic_data.iter().map(|topic| {
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(topic.partition_data.iter().map(refuse).collect())
        });
        let pause = refused.retry_after;
        let answer = ProduceResponse::default()
            .with_responses(topics.collect())
            .with_throttle_time_ms(pressure::millis(pause));
        call.reply_into(frames, &answer)?;
        Ok(pause)
    }
}

impl<'a> Stage<'a> {
    async fn begin(shared: &'a Shared, ready: Ready) -> Self {
        let Ready { parts, turn } = ready;
        let mut appends = Vec::with_capacity(parts.len());
        let parts = parts.into_iter().map(|(index, part)| {
            let part = part.map(|append| appends.push(append));
            (index, part)
        });
        let parts = parts.collect();
        let mut appends = shared.broker.append_each(appends);
        if !appends.has_begun() {
            // Without tokio's budget for fairness, which could send it away from its place in the line and let the
            // request behind it pass.
            unconstrained(poll_fn(|context| {
                appends.begin(context);
                Poll::Ready(())
            }))
            .await;
        }
        Self::Appending {
            appends,
            parts,
            turn,
        }
    }
}

/// Serves Produce in its turn.
pub(crate) async fn produce(
    call: Call,
    request: ProduceRequest,
    ready: Result<Ready, Refused>,
) -> Result<Answer, Fatal> {
    let shared = std::sync::Arc::clone(&call.shared);
    let mut begun = Begun::begin(&shared, call, request, ready).await;
    // Counted by whoever serves requests in their turn.
    begun.took = None;
    let mut frame = BytesMut::new();
    let pause = poll_fn(|context| begun.poll_answer(context, &mut frame)).await?;
    let answer = if frame.is_empty() {
        Answer::default()
    } else {
        Answer::frame(frame.freeze())
    };
    Ok(answer.pausing(pause))
}

/// How much may still be inflated on the spot, and who hears of the batches (by place) that are left unchecked.
type Inflating<'a> = (&'a mut usize, &'a mut dyn FnMut(usize));

fn prepare(
    call: &Call,
    request: &ProduceRequest,
    topic: &str,
    data: &PartitionProduceData,
    inflating: Inflating<'_>,
) -> Result<Append, Refusal> {
    let acks = request.acks;
    let transactional = request.transactional_id.is_some();
    if !matches!(acks, -1..=1) {
        let reason = format!("acks can be 0, 1 or -1 (all), not {acks}");
        return Err(Refusal::new(ErrorCode::InvalidRequiredAcks, reason));
    }
    if transactional {
        check_coordinator(call)?;
    }
    let info = call.broker().topic_named(topic);
    let to = match &info {
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
    Ok(Append {
        to,
        batches,
        durability,
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
) -> Result<Vec<CheckedBatch>, Refusal> {
    let mut rest = records.unwrap_or_default();
    if rest.is_empty() {
        let reason = "a produce request needs at least one batch for each partition";
        return Err(Refusal::new(ErrorCode::InvalidRecord, reason));
    }
    let mut batches = Vec::with_capacity(1);
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
