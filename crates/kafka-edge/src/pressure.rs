//! How pressure reaches Kafka clients: a turn before the log, a pause after the answer.
//!
//! - A produce request waits for its turn in the connection's reader, so nothing behind it is read: the line stands in
//!   the sockets and in the clients. It waits no longer than its client does; what would is refused
//!   with a code that is tried again, before anything of it is written.
//! - What a client owes of its quotas comes back as `throttle_time_ms` of the answer; for as long nothing is read from it,
//!   whether it keeps to it or not (KIP-219). A produce request is charged when its turn has come, and the pause begins
//!   there: five requests that came together are taken one by one, as each is paid for, and not all before the first answer.
//! - What it waited in the line comes back as `throttle_time_ms` too, but is not enforced: what it had sent before it could
//!   hear of the pause would lie in the socket for the whole of it, five times over with five requests in flight. Who does not
//!   listen gains nothing, since the line is what makes it wait.
//!
//! Not here: how much that is (`admission`), how a connection is muted (`connection`).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use admission::{Flow, Outcome, Permit, Refused};
use broker::{Appended, Error as BrokerError};
use bytes::BytesMut;
use kafka_wire::messages::produce_request::TopicProduceData;
use kafka_wire::messages::{FetchRequest, ProduceRequest};
use kafka_wire::{Api, RequestHeader};

use crate::answer::Answer;
use crate::context::{Call, Fatal, Shared};

/// The longest wait for a turn, whatever the client says it would bear.
const PATIENCE_MAX: Duration = Duration::from_mins(2);

/// Leave to append what a run of produce requests has.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Permit,
    /// The pause that preceded them.
    paused: Duration,
    /// How long until the client has paid for them.
    owed: Duration,
}

impl Turn {
    /// Charges the requests whose turn it is to the client's quota and their topics'.
    pub(crate) fn charge<'a>(
        &mut self,
        call: &Call,
        requests: impl Iterator<Item = &'a ProduceRequest>,
    ) {
        let topics = requests.flat_map(|request| &request.topic_data);
        let sizes = topics.map(|topic| (topic.name.as_str(), size(topic)));
        let admission = &call.shared.admission;
        self.owed = admission.charge(Flow::In, call.client(), sizes);
    }

    /// For how long nothing is taken from the client.
    pub(crate) fn owed(&self) -> Duration {
        self.owed
    }
}

/// Whether a produce request may be looked at.
///
/// # Errors
/// The client owes too much.
pub(crate) fn check_debt(call: &Call, request: &ProduceRequest) -> Result<(), Refused> {
    let topics = request.topic_data.iter().map(|topic| topic.name.as_str());
    call.shared.admission.check_debt(call.client(), topics)
}

/// Waits for the turn of `asked` produce requests of one client.
///
/// # Errors
/// The client would hear of one of them too late.
pub(crate) async fn turn(call: &Call, asked: Asked) -> Result<Turn, Refused> {
    let admission = &call.shared.admission;
    let paused = call.peer.pacer.lock().pause();
    let permit = admission
        .admit(call.client(), asked.bytes, asked.patience)
        .await?;
    Ok(Turn {
        permit,
        paused,
        owed: Duration::ZERO,
    })
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    bytes: u64,
    patience: Duration,
}

impl Asked {
    /// Of several requests; waits as long as the least patient of them.
    pub(crate) fn of<'a>(requests: impl Iterator<Item = &'a ProduceRequest>) -> Option<Self> {
        requests
            .map(|request| Self {
                bytes: request.topic_data.iter().map(size).sum(),
                patience: patience(request.timeout_ms),
            })
            .reduce(|all, one| Self {
                bytes: all.bytes + one.bytes,
                patience: all.patience.min(one.patience),
            })
    }
}

/// A client waits as long as it gives us, and its request has been on its way for some of that: three quarters, so
/// that it hears of a refusal.
pub(crate) fn patience(timeout_ms: i32) -> Duration {
    let timeout = u64::try_from(timeout_ms).unwrap_or(0);
    Duration::from_millis(timeout / 4 * 3).min(PATIENCE_MAX)
}

fn size(topic: &TopicProduceData) -> u64 {
    let parts = topic.partition_data.iter();
    let sizes = parts.filter_map(|part| part.records.as_ref().map(bytes::Bytes::len));
    u64::try_from(sizes.sum::<usize>()).unwrap_or(u64::MAX)
}

/// How long a client is to pause after produce requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pause {
    /// What it is told.
    pub(crate) told: Duration,
    /// For how long nothing is read from it, at most as long as it is told.
    pub(crate) kept: Duration,
}

/// The appends of a run were answered: gives the turn back, and answers how long the client is to pause.
pub(crate) fn produced(
    call: &Call,
    turn: Turn,
    appended: &[Result<Appended, BrokerError>],
) -> Pause {
    let Turn {
        permit,
        paused,
        owed,
    } = turn;
    let waited = permit.waited();
    permit.finish(outcome(appended));
    let (admission, client) = (&call.shared.admission, call.client());
    let line = admission.paced(client, call.peer.pacer.lock().after(paused, waited));
    let kept = owed.max(admission.owes_time(client));
    Pause {
        told: kept.max(line),
        kept,
    }
}

/// What the appends say about how busy the log is.
fn outcome(appended: &[Result<Appended, BrokerError>]) -> Outcome {
    let mut outcome = Outcome::Ignored;
    for one in appended {
        match one {
            Ok(_) => outcome = Outcome::Succeeded,
            Err(error) if error.recovery() == broker::Recovery::Retry => return Outcome::Failed,
            // Wrong in itself, or a partition that takes nothing more.
            Err(_) => (),
        }
    }
    outcome
}

/// How long until the client may fetch from these topics.
pub(crate) fn owed_for_fetching(call: &Call, request: &FetchRequest) -> Duration {
    let topics = request.topics.iter().map(|topic| topic.topic.as_str());
    let (admission, client) = (&call.shared.admission, call.client());
    let bytes = admission.owes(Flow::Out, client, topics);
    bytes.max(admission.owes_time(client))
}

/// Bytes that a fetch may have without owing any, at least one; its first batch may exceed them.
pub(crate) fn room_for_fetching(call: &Call, request: &FetchRequest) -> usize {
    let topics = request.topics.iter().map(|topic| topic.topic.as_str());
    let room = call
        .shared
        .admission
        .available(Flow::Out, call.client(), topics);
    room.map_or(usize::MAX, |room| {
        usize::try_from(room).unwrap_or(usize::MAX).max(1)
    })
}

/// So many bytes of each topic go out; answers how long the client is to pause.
pub(crate) fn fetched(call: &Call, topics: &[(&str, usize)]) -> Duration {
    let sizes = topics.iter();
    let sizes = sizes.map(|(topic, bytes)| (*topic, u64::try_from(*bytes).unwrap_or(u64::MAX)));
    call.shared
        .admission
        .charge(Flow::Out, call.client(), sizes)
}

/// A pause as answers say it.
pub(crate) fn millis(pause: Duration) -> i32 {
    i32::try_from(pause.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX)
}

/// Writes a pause into an answer that is encoded already, if it has room for one at a known place; the client pauses in
/// any case.
pub(crate) fn tell(mut answer: Answer, header: &RequestHeader, pause: Duration) -> Answer {
    if pause.is_zero() {
        return answer;
    }
    if let Some(at) = throttle_at(header.api, header.version)
        && let Some(first) = answer.pieces.first_mut()
    {
        // Just encoded and not shared: this does not copy.
        let mut piece = BytesMut::from(std::mem::take(first));
        if let Some(field) = piece.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) {
            let told = i32::from_be_bytes(*field).max(millis(pause));
            *field = told.to_be_bytes();
        }
        *first = piece.freeze();
    }
    answer.pausing(pause)
}

/// Where `throttle_time_ms` stands in a frame, in answers that begin with it: after the length, the correlation id and,
/// in flexible versions, the tags. Source: Kafka 4.1's message definitions.
fn throttle_at(api: Api, version: i16) -> Option<usize> {
    let since = match api {
        Api::DeleteRecords
        | Api::InitProducerId
        | Api::DescribeConfigs
        | Api::AlterConfigs
        | Api::CreatePartitions
        | Api::DeleteGroups
        | Api::IncrementalAlterConfigs
        | Api::ListPartitionReassignments
        | Api::DescribeCluster
        | Api::DescribeTopicPartitions => 0,
        Api::Fetch
        | Api::FindCoordinator
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup
        | Api::DescribeGroups
        | Api::ListGroups
        | Api::DeleteTopics => 1,
        Api::ListOffsets | Api::JoinGroup | Api::CreateTopics | Api::OffsetForLeaderEpoch => 2,
        Api::Metadata | Api::OffsetCommit | Api::OffsetFetch => 3,
        // Elsewhere in the answer; the next one that begins with it will say it.
        _ => return None,
    };
    let tags = usize::from(api.response_header_version(version) >= 1);
    (version >= since).then_some(8 + tags)
}

/// Counts the processor time of what is done at once, if the client has a quota of it.
pub(crate) struct Timed(Option<Duration>);

impl Timed {
    pub(crate) fn begin(call: &Call) -> Self {
        let counts = call.shared.admission.counts_time(call.client());
        Self(counts.then(|| call.shared.clock.monotonic()))
    }

    /// Charges it; the answer will say what is owed.
    pub(crate) fn end(self, call: &Call) {
        if let Self(Some(begun)) = self {
            let took = call.shared.clock.monotonic().saturating_sub(begun);
            call.shared.admission.charge_time(call.client(), took);
        }
    }
}

/// Counts the processor time that serving one request takes, if the client has a quota of it.
pub(crate) struct Meter(Option<Metered>);

struct Metered {
    shared: Arc<Shared>,
    header: RequestHeader,
}

impl Meter {
    pub(crate) fn of(call: &Call) -> Self {
        Self(
            call.shared
                .admission
                .counts_time(call.client())
                .then(|| Metered {
                    shared: Arc::clone(&call.shared),
                    header: call.header.clone(),
                }),
        )
    }

    /// Serves, and makes the client pause for what it takes.
    pub(crate) async fn run(
        self,
        serving: impl Future<Output = Result<Answer, Fatal>>,
    ) -> Result<Answer, Fatal> {
        let Some(Metered { shared, header }) = self.0 else {
            return serving.await;
        };
        let mut serving = pin!(serving);
        let mut took = Duration::ZERO;
        let answer = poll_fn(|context| {
            let begun = shared.clock.monotonic();
            let polled = serving.as_mut().poll(context);
            took += shared.clock.monotonic().saturating_sub(begun);
            polled
        })
        .await?;
        let client = header.client_id.as_deref().unwrap_or_default();
        let pause = shared.admission.charge_time(client, took);
        Ok(tell(answer, &header, pause))
    }
}

#[cfg(test)]
mod tests;
