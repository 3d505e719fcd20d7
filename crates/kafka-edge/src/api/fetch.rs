//! Fetch: whole batches, shared and not copied, now or as soon as there are enough.
//!
//! Invariants:
//! - `max_bytes` bounds the whole answer; only its first batch may exceed it, so that a consumer
//!   never gets stuck.
//! - A bad offset, topic or partition is answered at once; otherwise the answer waits for
//!   `min_bytes`, at most `max_wait`, woken by the broker once that much is there over all partitions, and by nothing less.
//! - What was read once is not read again: after waking, or when the time is over, only what is new is added.
//! - Every byte read is charged to the answer budget before it is read (a first batch beyond its
//!   share: before it is kept), and given back when it is written.
//!
//! No sessions are kept: the session id is always 0, and one that a client wants to go on with was never given. One that it
//! names to end it, or to begin another (epochs -1 and 0, KIP-227), is nothing to be refused for.

mod part;

use std::sync::Arc;

use broker::{Demand, Wanted};
use kafka_wire::messages::FetchRequest;
use kafka_wire::{ErrorCode, FetchAnswer, TopicRef};
use tokio::time::{Duration, Instant, sleep_until};

use crate::answer::Answer;
use crate::budget::Held;
use crate::context::{Call, Fatal};
use crate::pressure;
use part::Part;

/// The isolation level of readers that stop where a transaction is open.
const READ_COMMITTED: i8 = 1;

/// The epochs of requests that name all they want (KIP-227).
const NO_SESSION: i32 = -1;
const NEW_SESSION: i32 = 0;

/// Serves Fetch.
pub(crate) async fn fetch(call: &Call, request: FetchRequest) -> Result<Answer, Fatal> {
    let (version, id) = (call.version(), call.header.correlation_id);
    if !matches!(request.session_epoch, NO_SESSION | NEW_SESSION) {
        let code = call.refuse(ErrorCode::FetchSessionIdNotFound);
        let pieces = FetchAnswer::new(version, id, code, 0).finish()?;
        return Ok(Answer::pieces(pieces, None));
    }
    let owed = pressure::owed_for_fetching(call, &request);
    if !owed.is_zero() {
        // An empty answer with a pause, which clients know since KIP-219.
        let pieces = FetchAnswer::new(version, id, 0, 0).finish()?;
        return Ok(pressure::tell(
            Answer::pieces(pieces, None),
            &call.header,
            owed,
        ));
    }
    let committed = request.isolation_level == READ_COMMITTED;
    let mut parts = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            parts.push(Part::new(call, topic.topic.as_str(), partition, committed));
        }
    }
    let mut reading = Reading::new(call, &request);
    let held = reading.run(&mut parts).await;

    let mut answer = FetchAnswer::new(version, id, 0, request.topics.len());
    let mut parts = parts.into_iter();
    let mut sent = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let count = topic.partitions.len();
        let mut bytes = 0;
        let name = TopicRef {
            name: topic.topic.as_str(),
        };
        answer.topic(name, count);
        for part in parts.by_ref().take(count) {
            bytes += part.bytes();
            answer.partition(part.into_answer(call));
        }
        sent.push((topic.topic.as_str(), bytes));
        answer.end_topic();
    }
    let answer = Answer::pieces(answer.finish()?, held);
    let pause = pressure::fetched(call, &sent);
    Ok(pressure::tell(answer, &call.header, pause))
}

/// One read takes at most this part of the memory that is free, so that many slow readers get less
/// each and never all of it at once …
const SHARE_OF_FREE: usize = 8;

/// … but always this much, as large as a batch is by default.
const SHARE_BYTES_MIN: usize = 1 << 20;

/// The bounds of one fetch, and what it has so far.
struct Reading<'a> {
    call: &'a Call,
    bytes_max: usize,
    bytes_min: usize,
    deadline: Instant,
    bytes: usize,
    held: Option<Held>,
    /// There is more to read and no memory for it: the answer goes out as it is.
    short: bool,
    /// The time is over: nothing is waited for.
    over: bool,
}

impl<'a> Reading<'a> {
    fn new(call: &'a Call, request: &FetchRequest) -> Self {
        let options = &call.shared.options;
        let unsigned = |number: i32| usize::try_from(number).unwrap_or(0);
        let bytes_max = unsigned(request.max_bytes)
            .min(options.fetch_bytes_max.as_usize())
            .min(pressure::room_for_fetching(call, request));
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        Self {
            call,
            bytes_max,
            bytes_min: unsigned(request.min_bytes).min(bytes_max),
            deadline: Instant::now() + wait.min(options.fetch_wait_max),
            bytes: 0,
            held: None,
            short: false,
            over: false,
        }
    }

    /// Reads until there is enough, or something to tell, or no more time; then what is there is read, too.
    async fn run(&mut self, parts: &mut [Part]) -> Option<Held> {
        loop {
            for part in parts.iter_mut() {
                self.read(part).await;
            }
            let settled = self.over || self.short || parts.iter().any(Part::is_refused);
            if settled || self.bytes >= self.bytes_min {
                break;
            }
            match self.wait(parts).await {
                Waited::Enough => {}
                Waited::Over => self.over = true,
                Waited::Ended => break,
            }
        }
        let mut held = self.held.take()?;
        held.shrink(self.bytes);
        Some(held)
    }

    /// Adds what the partition has to the answer, as far as there is room.
    async fn read(&mut self, part: &mut Part) {
        let first = self.bytes == 0;
        let room = self.bytes_max.saturating_sub(self.bytes);
        let wanted = part.wants(room);
        if !part.look() || (wanted == 0 && !first) {
            return;
        }
        let Some(mut share) = self.share(wanted, first).await else {
            self.short = true;
            return;
        };
        let limit = wanted.min(share.bytes());
        let mut read = part.read(self.call, limit, first).await;
        if read > share.bytes() {
            // One batch beyond everything: it is kept only once there is memory for it.
            let budget = &self.call.shared.answers;
            if let Some(more) = budget.try_take(read - share.bytes()) {
                share.merge(more);
            } else {
                part.drop_last();
                drop(share);
                if self.over {
                    self.short = true;
                    return;
                }
                share = budget.take(read).await;
                read = part.read(self.call, limit, first).await;
            }
        }
        self.bytes += read;
        share.shrink(read);
        match &mut self.held {
            Some(held) => held.merge(share),
            held @ None => *held = Some(share),
        }
    }

    /// Memory to read `wanted` bytes into, less when there is little; waits only while the answer
    /// holds nothing and there is time.
    async fn share(&self, wanted: usize, first: bool) -> Option<Held> {
        let budget = &self.call.shared.answers;
        let fair = (budget.free() / SHARE_OF_FREE).max(SHARE_BYTES_MIN);
        let wanted = wanted.clamp(1, fair);
        match budget.try_take(wanted) {
            Some(share) => Some(share),
            None if first && !self.over => tokio::select! {
                share = budget.take(wanted) => Some(share),
                () = self.call.peer.gone.cancelled() => None,
            },
            None => None,
        }
    }

    /// Waits until there is enough, or no more time.
    async fn wait(&self, parts: &mut [Part]) -> Waited {
        let demand = Arc::new(Demand::new(self.bytes_min - self.bytes));
        let room = self.bytes_max - self.bytes.min(self.bytes_max);
        let mut counting = false;
        for part in parts {
            match part.want(self.call, room, self.bytes == 0, &demand) {
                Some(Wanted::Counting) => counting = true,
                Some(Wanted::Ready) => return Waited::Enough,
                Some(Wanted::Closed) => return Waited::Ended,
                None => {}
            }
        }
        let met = async {
            if !counting {
                // Nothing to wait for: an empty fetch is a client's way to sleep.
                std::future::pending::<()>().await;
            }
            demand.met().await
        };
        tokio::select! {
            biased;
            () = self.call.peer.gone.cancelled() => Waited::Ended,
            () = sleep_until(self.deadline) => Waited::Over,
            open = met => {
                self.call.shared.metrics.fetch_wakeups.inc();
                if open { Waited::Enough } else { Waited::Ended }
            }
        }
    }
}

/// What ended a wait.
enum Waited {
    Enough,
    /// The time: what is there now goes out, however little.
    Over,
    /// Nobody is there, or a topic is not: the answer goes out as it is.
    Ended,
}
