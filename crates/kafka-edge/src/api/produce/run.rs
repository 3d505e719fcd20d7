//! Produce requests of one client that came together: checked one by one, appended together, answered one by one.
//!
//! Problem: a client with many small requests in flight sends them in one piece, and they wait for the same flush. Each on its
//! own takes a turn at the log, a share of the memory, a place in the log's queue, and has to hear of the flush, all of which
//! other connections take as well: beside that, checking the record is little.
//!
//! Answer: what has arrived whole is taken in runs (`reader`). A run has one turn, one place in the queue for all
//! its appends, and hears of them once; batches of several requests for one partition are one append. A single request is a
//! run of one.
//!
//! Invariants: appends begin in the order of the requests; a request that is refused takes no other with it (what befalls
//! the partition befalls all that are written to it at once); an answer for each, in their order. It is no boxed future, and
//! answers go straight to those that leave with them: of all requests these are the most, and the smallest.
//!
//! Given up: the answers of a run wait for the last of its appends. Where those go to several log directories, the first
//! request waits for a disk that only a later one writes to; that later one's answer, and all behind it, would have waited anyway.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use admission::Refused;
use broker::{Append, AppendAnswers, Appended, AppendsFuture, TopicInfo};
use bytes::BytesMut;
use kafka_wire::ErrorCode;
use kafka_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_wire::messages::{ProduceRequest, ProduceResponse};
use model::TopicName;
use record::CheckedBatch;
use smallvec::SmallVec;
use tokio::task::unconstrained;

use super::{Parts, Prepared, Refusal, answer_partition, prepare};
use crate::answer::Answer;
use crate::context::{Call, Fatal, Shared};
use crate::inflating::{self, Heavy, INFLATED_HERE};
use crate::pressure::{self, Pause, Turn};

/// Requests in a run, at most: as many as answers leave together.
const REQUESTS_MAX: usize = 64;

/// One request of a run.
struct Asked {
    correlation_id: i32,
    request: ProduceRequest,
    /// In the order of the request.
    parts: Result<Parts<Place>, Refused>,
}

/// Where the batches of one partition of a request are among the appends of the run.
struct Place {
    append: usize,
    /// Records before them in that append.
    after: u64,
}

/// The appends of a run.
#[derive(Default)]
struct Gathered {
    appends: Vec<Append>,
    /// The last append, if others may join it.
    open: Option<Open>,
    /// The topics of appends that several requests have part in.
    joined: Vec<Arc<TopicInfo>>,
}

struct Open {
    records: u64,
    /// By whose settings its batches were checked.
    topic: Arc<TopicInfo>,
    joined: bool,
}

/// Requests of one client that are appended together; none of them has begun.
pub(crate) struct Run {
    /// Who asks, and the header of the first request; but for the correlation id that of all.
    call: Call,
    asked: SmallVec<[Asked; 1]>,
    gathered: Gathered,
    /// Bytes that may still be inflated on this thread.
    inflating: usize,
    /// The topic that was written last.
    known: Option<Arc<TopicInfo>>,
}

/// A run with leave to append what is good of it.
pub(crate) struct Ready {
    run: Run,
    /// Held until the last append is answered; `None` where there is nothing to append.
    turn: Option<Turn>,
}

/// A run whose appends are in the log's queue, or in the line before it.
pub(crate) struct Begun<'a> {
    call: Call,
    asked: SmallVec<[Asked; 1]>,
    stage: Stage<'a>,
    /// What serving it took so far, if that is counted.
    took: Option<Duration>,
}

enum Stage<'a> {
    /// Nothing of it is appended.
    Refused,
    Appending {
        appends: AppendsFuture<'a>,
        turn: Turn,
    },
    /// Answered.
    Done,
}

impl Run {
    /// A run of one request, every record of which is checked here. Waits only where a batch inflates to much.
    pub(crate) async fn of(call: Call, request: ProduceRequest) -> Self {
        let mut run = Self {
            call,
            asked: SmallVec::new(),
            gathered: Gathered::default(),
            inflating: INFLATED_HERE,
            known: None,
        };
        let parts = match run.check(&request) {
            Ok(Checked { mut parts, heavy }) if !heavy.is_empty() => {
                let (call, timeout) = (&run.call, request.timeout_ms);
                let checked = inflating::check(call, timeout, heavy, &mut parts).await;
                checked.map(|()| parts)
            }
            checked => checked.map(|checked| checked.parts),
        };
        run.add(run.call.header.correlation_id, request, parts);
        run
    }

    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether there is room for another request. Where there are quotas requests are taken one by one, each when those
    /// before it are paid for.
    pub(crate) fn has_room(&self) -> bool {
        self.asked.len() < REQUESTS_MAX && !self.call.shared.admission.has_quotas()
    }

    /// Whether `frame` holds a request that may join: of the same client, in the same version.
    pub(crate) fn takes(&self, frame: &[u8]) -> bool {
        self.call.header.begins(frame)
    }

    /// Checks another request, every record of it, and adds it.
    ///
    /// # Errors
    /// The request as it came, if it has another patience than those of the run, or a batch of it inflates to much: nobody is
    /// to wait, or to be refused, for one that came later.
    pub(crate) fn join(
        &mut self,
        correlation_id: i32,
        request: ProduceRequest,
    ) -> Result<(), ProduceRequest> {
        let timeout = |asked: &Asked| asked.request.timeout_ms;
        if self.asked.first().map(timeout) != Some(request.timeout_ms) {
            return Err(request);
        }
        let parts = match self.check(&request) {
            Ok(checked) if !checked.heavy.is_empty() => return Err(request),
            checked => checked.map(|checked| checked.parts),
        };
        self.add(correlation_id, request, parts);
        Ok(())
    }

    /// Checks a request but for what inflates to more than a run may have here.
    fn check(&mut self, request: &ProduceRequest) -> Result<Checked, Refused> {
        let call = &self.call;
        pressure::check_debt(call, request)?;
        let timed = pressure::Timed::begin(call);
        let mut parts = Parts::new();
        let mut heavy = Vec::new();
        for topic in &request.topic_data {
            for data in &topic.partition_data {
                let to = (topic.name.as_str(), data);
                let mut apart = |batch| {
                    let part = parts.len();
                    heavy.push(Heavy { part, batch });
                };
                let inflating = (&mut self.inflating, &mut apart as _);
                let part = prepare(call, request, to, &mut self.known, inflating);
                parts.push((data.index, part));
            }
        }
        timed.end(call);
        Ok(Checked { parts, heavy })
    }

    fn add(
        &mut self,
        correlation_id: i32,
        request: ProduceRequest,
        parts: Result<Parts<Prepared>, Refused>,
    ) {
        let (gathered, known) = (&mut self.gathered, self.known.as_ref());
        let parts = parts.map(|parts| {
            let parts = parts.into_iter();
            let parts =
                parts.map(|(index, part)| (index, part.map(|part| gathered.add(part, known))));
            parts.collect()
        });
        self.asked.push(Asked {
            correlation_id,
            request,
            parts,
        });
    }

    /// Waits for the turn of all that was checked. Nothing that comes behind it may begin before that is done, or it
    /// would overtake it.
    ///
    /// The turn comes after the checks, so that nobody holds a place before the log while batches are inflated.
    pub(crate) async fn ready(mut self) -> Ready {
        let Some(asked) = pressure::Asked::of(self.checked()) else {
            return Ready {
                run: self,
                turn: None,
            };
        };
        let turn = match pressure::turn(&self.call, asked).await {
            Ok(mut turn) => {
                turn.charge(&self.call, self.checked());
                Some(turn)
            }
            Err(refused) => {
                for asked in &mut self.asked {
                    asked.parts = Err(refused);
                }
                None
            }
        };
        Ready { run: self, turn }
    }

    /// Requests that were not refused as a whole.
    fn checked(&self) -> impl Iterator<Item = &ProduceRequest> {
        let checked = self.asked.iter().filter(|asked| asked.parts.is_ok());
        checked.map(|asked| &asked.request)
    }
}

/// A request that was checked, but for `heavy` batches.
struct Checked {
    parts: Parts<Prepared>,
    heavy: Vec<Heavy>,
}

impl Ready {
    /// For how long nothing is taken from the client, from now on.
    pub(crate) fn owed(&self) -> Duration {
        self.turn.as_ref().map_or(Duration::ZERO, Turn::owed)
    }

    /// Begins the appends.
    ///
    /// When this returns the batches are in the broker's queue, or next in the line before it, so that they are before
    /// those of every request that begins later.
    pub(crate) async fn begin(self, shared: &Shared) -> Begun<'_> {
        let Self { run, turn } = self;
        let Run {
            call,
            mut asked,
            mut gathered,
            ..
        } = run;
        let outdated = gathered.take_outdated(shared);
        if !outdated.is_empty() {
            refuse(&mut asked, &outdated);
        }
        let counted = shared.admission.counts_time(call.client());
        let begun = counted.then(|| shared.clock.monotonic());
        let stage = match turn {
            Some(turn) => Stage::Appending {
                appends: append(shared, gathered.appends).await,
                turn,
            },
            None => Stage::Refused,
        };
        Begun {
            took: begun.map(|begun| shared.clock.monotonic().saturating_sub(begun)),
            call,
            asked,
            stage,
        }
    }
}

impl Place {
    /// What became of its batches.
    fn of(&self, appended: &[Result<Appended, Refusal>]) -> Result<Appended, Refusal> {
        let Some(appended) = appended.get(self.append) else {
            return Err(Refusal::of_broker(broker::Error::Stopping));
        };
        appended.clone().map(|appended| Appended {
            base_offset: appended.base_offset.plus(self.after),
            ..appended
        })
    }
}

impl Gathered {
    /// Adds batches to the last append, or as another. `known` is the topic that was looked up last.
    fn add(&mut self, prepared: Prepared, known: Option<&Arc<TopicInfo>>) -> Place {
        let Prepared {
            to,
            batches,
            durability,
            joins,
        } = prepared;
        let deltas = batches.iter().map(CheckedBatch::last_offset_delta);
        let records: u64 = deltas.map(|delta| u64::from(delta) + 1).sum();
        let topic = known.filter(|known| joins && known.name == to.topic);
        if let (Some(topic), Some(open), Some(last)) =
            (topic, &mut self.open, self.appends.last_mut())
            && (&last.to, last.durability) == (&to, durability)
            && Arc::ptr_eq(topic, &open.topic)
        {
            last.batches.extend(batches);
            let after = open.records;
            open.records += records;
            if !std::mem::replace(&mut open.joined, true) {
                self.joined.push(Arc::clone(topic));
            }
            return Place {
                append: self.appends.len() - 1,
                after,
            };
        }
        self.open = topic.map(|topic| Open {
            records,
            topic: Arc::clone(topic),
            joined: false,
        });
        self.appends.push(Append {
            to,
            batches: batches.into_vec(),
            durability,
        });
        Place {
            append: self.appends.len() - 1,
            after: 0,
        }
    }

    /// Takes appends out that several have part in and whose topic changed while they waited: what is good by its old settings
    /// need not be by the new, and the log refuses an append as a whole. Whether an append, by its place, was taken out.
    fn take_outdated(&mut self, shared: &Shared) -> Vec<bool> {
        let rules = |topic: &TopicInfo| {
            let config = &topic.config;
            (
                topic.id,
                config.batch_bytes,
                config.cleanup.policy.compacts(),
            )
        };
        let mut outdated = self.joined.iter().filter(|then| {
            let now = shared.broker.topic_named(then.name.as_str());
            now.is_none_or(|now| rules(&now) != rules(then))
        });
        let Some(first) = outdated.next() else {
            return Vec::new();
        };
        let names: Vec<&TopicName> = outdated.chain([first]).map(|topic| &topic.name).collect();
        let appends = self.appends.iter_mut().map(|append| {
            let is_outdated = names.contains(&&append.to.topic);
            if is_outdated {
                // Nothing is written of it, and the others keep their places.
                append.batches.clear();
            }
            is_outdated
        });
        appends.collect()
    }
}

/// Has what was taken out tried again, after a new look at the topics.
fn refuse(asked: &mut [Asked], outdated: &[bool]) {
    let is_outdated = |place: &Place| outdated.get(place.append).copied().unwrap_or(false);
    let parts = asked.iter_mut().flat_map(|asked| asked.parts.iter_mut());
    for (_, part) in parts.flatten() {
        if part.as_ref().is_ok_and(is_outdated) {
            let reason = "the settings of the topic have just changed";
            *part = Err(Refusal::new(ErrorCode::NotLeaderOrFollower, reason));
        }
    }
}

async fn append(shared: &Shared, appends: Vec<Append>) -> AppendsFuture<'_> {
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
    appends
}

impl Begun<'_> {
    /// When all is appended, writes the answers behind those in `frames`, and answers how long nothing more is taken from
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
            Stage::Refused | Stage::Done => AppendAnswers::new(),
        };
        let pause = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Appending { turn, .. } => pressure::produced(&self.call, turn, &appended),
            Stage::Refused => Pause::default(),
            Stage::Done => return Poll::Ready(Err(Fatal::Gone)),
        };
        Poll::Ready(self.answer(pause, appended, frames))
    }

    fn answer(
        &mut self,
        pause: Pause,
        appended: AppendAnswers,
        frames: &mut BytesMut,
    ) -> Result<Duration, Fatal> {
        let call = &mut self.call;
        let mut kept = pause.kept;
        let appended = appended.into_iter();
        let appended: SmallVec<[Result<Appended, Refusal>; 1]> = appended
            .map(|appended| appended.map_err(Refusal::of_broker))
            .collect();
        for asked in std::mem::take(&mut self.asked) {
            let Asked {
                correlation_id,
                request,
                parts,
            } = asked;
            call.header.correlation_id = correlation_id;
            match parts {
                Ok(parts) => {
                    let answers = parts.into_iter().map(|(index, part)| {
                        let appended = part.and_then(|place| place.of(&appended));
                        answer_partition(call, index, appended)
                    });
                    answer(call, &request, pause.told, answers, frames)?;
                }
                Err(refused) => {
                    kept = kept.max(refused.retry_after);
                    let parts = request.topic_data.iter();
                    let answers = parts
                        .flat_map(|topic| &topic.partition_data)
                        .map(|data| answer_partition(call, data.index, Err(refused.into())));
                    answer(call, &request, refused.retry_after, answers, frames)?;
                }
            }
        }
        Ok(kept)
    }
}

/// Writes the answer to one request, from those of its partitions in their order.
fn answer(
    call: &Call,
    request: &ProduceRequest,
    told: Duration,
    mut answers: impl Iterator<Item = PartitionProduceResponse>,
    frames: &mut BytesMut,
) -> Result<(), Fatal> {
    if request.acks == 0 {
        return if answers.all(|answer| answer.error_code == 0) {
            Ok(())
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
    call.reply_into(frames, &answer)
}

/// Serves Produce in its turn.
pub(crate) async fn produce(call: Call, request: ProduceRequest) -> Result<Answer, Fatal> {
    let shared = Arc::clone(&call.shared);
    let gone = call.peer.gone.clone();
    let ready = async { Run::of(call, request).await.ready().await };
    let ready = tokio::select! {
        biased;
        ready = ready => ready,
        // Nobody waits for it, and nothing of it has begun.
        () = gone.cancelled() => return Err(Fatal::Gone),
    };
    let mut begun = ready.begin(&shared).await;
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
