//! One listener at work: an event loop over what was read, what was answered, and time.
//!
//! Invariants: no more than `concurrency` calls at a time; everything that waits is bounded (the queue by the room
//! in its partitions, calls by `concurrency`, burials by what was given up); nothing is awaited in the loop but its events,
//! so that a slow disk or endpoint holds back its own answer only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::{Found, LeaseId, Offer, Outcome, Policy, Queue, Reason, SpentId};
use flow::{Breaker, BreakerOptions, BreakerState, Call, TokenBucket};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::aside::{self, Asides};
use crate::context::Context;
use crate::dead_letter::{DeadLetter, bury};
use crate::delivery::{Delivery, Listener};
use crate::intake::Read;
use crate::meaning::offer;
use crate::metrics::ListenerMetrics;
use crate::sources::{Commits, Held, RECORDS_MAX, SourceKey, Sources, WINDOW_MAX, commit};
use crate::spec::Spec;
use crate::status::Status;

/// How often positions are committed and topics looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often partitions and lag are looked at, in ticks.
const LOOK_TICKS: u32 = 5;
/// Pause after a dead letter could not be written.
const BURY_AGAIN: Duration = Duration::from_secs(1);
/// How much longer a lease is than the call it is for.
const LEASE_GRACE: Duration = Duration::from_secs(10);

/// A spec and who answers for it.
pub(crate) struct Prepared {
    pub(crate) spec: Spec,
    pub(crate) listener: Arc<dyn Listener>,
}

/// What the service asks of a running listener.
#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) paused: bool,
}

/// Something that ended.
enum Work {
    Answered {
        lease: LeaseId,
        outcomes: Vec<Outcome>,
        call: Call,
        took: Duration,
    },
    Buried(SpentId),
    Committed {
        commits: Commits,
        done: bool,
    },
    PutAside(Vec<aside::Done>),
    Scanned(Option<Found>),
    Fetched(Vec<aside::Due>),
}

/// One listener.
pub(crate) struct Running {
    context: Arc<Context>,
    orders: watch::Receiver<Orders>,
    status: watch::Sender<Status>,
    metrics: ListenerMetrics,
    now: Orders,
    queue: Queue<Held>,
    sources: Sources,
    /// Absent until its progress was read.
    asides: Option<Asides>,
    work: JoinSet<Work>,
    /// Calls under way, for those that panic.
    calls: HashMap<Id, (LeaseId, Call)>,
    committing: bool,
    breaker: Breaker,
    bucket: Option<TokenBucket>,
    /// Not before this a call may be made: the bucket is empty or the breaker open.
    not_before: Duration,
    blocked: Duration,
}

impl Running {
    pub(crate) fn new(
        context: Arc<Context>,
        mut orders: watch::Receiver<Orders>,
        status: watch::Sender<Status>,
        metrics: ListenerMetrics,
        sources: Sources,
    ) -> Self {
        let now = orders.borrow_and_update().clone();
        let spec = &now.prepared.spec;
        metrics.paused.set(i64::from(now.paused));
        Self {
            queue: Queue::new(with_grace(spec.policy)),
            bucket: spec.rate.map(TokenBucket::new),
            breaker: Breaker::new(BreakerOptions::default()),
            context,
            orders,
            status,
            metrics,
            now,
            sources,
            asides: None,
            work: JoinSet::new(),
            calls: HashMap::new(),
            committing: false,
            not_before: Duration::ZERO,
            blocked: Duration::ZERO,
        }
    }

    fn spec(&self) -> &Spec {
        &self.now.prepared.spec
    }

    /// Runs until `stop`, then lets what is under way end for at most `drain`.
    pub(crate) async fn run(mut self, stop: CancellationToken, drain: watch::Receiver<Duration>) {
        self.look().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        loop {
            self.go_on();
            let wake = self.wake();
            tokio::select! {
                () = stop.cancelled() => break,
                Some((key, read)) = self.sources.reads.recv() => {
                    self.take(&key, read);
                    // What came together is taken together: one look at the queue for all.
                    while let Ok((key, read)) = self.sources.reads.try_recv() {
                        self.take(&key, read);
                    }
                }
                Some(ended) = self.work.join_next_with_id() => self.ended(ended),
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.change();
                }
                () = sleep(wake) => {}
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.commit();
                    if ticks.is_multiple_of(LOOK_TICKS) {
                        self.look().await;
                    }
                }
            }
        }
        let drain = *drain.borrow();
        self.drain(drain).await;
    }

    /// Does all that can be done now.
    fn go_on(&mut self) {
        let now = self.context.clock.monotonic();
        self.queue.expire_leases(now, self.context.jitter());
        // Also when no call may be made: what is over must not wake the loop again and again.
        self.queue.wake(now);
        while !self.now.paused && self.calls.len() < self.spec().concurrency {
            if !self.call(now) {
                break;
            }
        }
        self.bury();
        self.deliver_what_is_due();
        // Without its progress nothing is known of what waits: nothing is read yet.
        if !self.now.paused && self.asides.is_some() {
            self.sources.ask(&self.queue);
        }
        self.metrics.in_flight.set(count(self.calls.len()));
        self.metrics.waiting.set(count(self.queue.len()));
        self.blocked = self.queue.stats().blocked;
        self.metrics.blocked.set(self.blocked.as_secs_f64());
    }

    /// Makes one call if something is ready and it may.
    fn call(&mut self, now: Duration) -> bool {
        if self.queue.ready() == 0 || now < self.not_before {
            return false;
        }
        let batch = self.spec().batch;
        let limit = match &mut self.bucket {
            None => batch,
            Some(bucket) => match bucket.delay(now) {
                Duration::ZERO => batch.min(
                    usize::try_from(bucket.available(now))
                        .unwrap_or(batch)
                        .max(1),
                ),
                wait => {
                    self.not_before = now + wait;
                    return false;
                }
            },
        };
        let call = match self.breaker.call(now) {
            Ok(call) => call,
            Err(wait) => {
                self.not_before = now + wait.max(Duration::from_millis(10));
                return false;
            }
        };
        let Some(lease) = self.queue.lease(now, limit) else {
            // Everything that was ready had expired. The leave lapses: a probe comes again by itself.
            return false;
        };
        if let Some(bucket) = &mut self.bucket {
            bucket.charge(lease.records.len() as u64, now);
        }
        let wall = self.context.clock.now();
        let deliveries: Vec<Delivery> = lease
            .records
            .into_iter()
            .map(|leased| {
                let delivery = Delivery {
                    partition: leased.payload.partition,
                    offset: leased.payload.offset,
                    attempt: leased.attempt,
                    remaining: leased.remaining,
                    shared: leased.payload.shared,
                    chain: leased.chain,
                };
                if leased.attempt == 1 {
                    let delay = wall.since(delivery.record().timestamp);
                    self.metrics.delay_seconds.observe(delay.as_secs_f64());
                }
                delivery
            })
            .collect();
        let (listener, clock) = (
            Arc::clone(&self.now.prepared.listener),
            Arc::clone(&self.context.clock),
        );
        let call_max = self.spec().policy.lease;
        let task = self.work.spawn(async move {
            // A call ends before its lease: a record is never with two calls at once.
            let outcomes = tokio::time::timeout(call_max, listener.deliver(&deliveries)).await;
            let outcomes = outcomes.unwrap_or_else(|_| {
                let error = format!("no answer within {call_max:?}");
                vec![Outcome::Failed { error, after: None }; deliveries.len()]
            });
            let took = clock.monotonic().saturating_sub(now);
            Work::Answered {
                lease: lease.id,
                outcomes,
                call,
                took,
            }
        });
        self.calls.insert(task.id(), (lease.id, call));
        true
    }

    fn take(&mut self, key: &SourceKey, read: Read) {
        let now = self.context.now();
        let spec = &self.now.prepared.spec;
        let put = self
            .sources
            .take(key, read, spec, &mut self.queue, &self.metrics, now);
        if let Some(asides) = &mut self.asides
            && !put.is_empty()
        {
            asides.begin(&put);
            let (context, at) = (Arc::clone(&self.context), asides.at().clone());
            self.work
                .spawn(async move { Work::PutAside(aside::put(&context, at, put).await) });
        }
    }

    /// Looks for records whose time has come.
    fn deliver_what_is_due(&mut self) {
        let Some(asides) = &mut self.asides else {
            return;
        };
        if let Some((at, scan)) = asides.scan(&self.queue) {
            let context = Arc::clone(&self.context);
            self.work
                .spawn(async move { Work::Scanned(aside::scan(&context, &at, scan).await) });
        }
        let room = self.queue.room(asides.source(), RECORDS_MAX, WINDOW_MAX);
        if let Some((at, places)) = asides.take(aside::millis(&self.context), room) {
            let context = Arc::clone(&self.context);
            self.work
                .spawn(async move { Work::Fetched(aside::fetch(&context, &at, places).await) });
        }
        self.metrics.delayed.set(count(asides.len()));
    }

    fn fetched(&mut self, due: Vec<aside::Due>) {
        let Some(asides) = &mut self.asides else {
            return;
        };
        let now = self.context.now();
        let (source, end) = asides.fetched();
        for (ticket, held) in due {
            let shared = held.shared.clone();
            let Some(record) = shared.get() else { continue };
            let offer = offer(&record, held, source, &self.now.prepared.spec, now);
            let offer = Offer {
                position: ticket,
                ..offer
            };
            self.queue.offer(now.monotonic, offer);
        }
        self.queue.read_to(source, end);
    }

    fn ended(&mut self, ended: Result<(Id, Work), JoinError>) {
        let now = self.context.clock.monotonic();
        match ended {
            Ok((
                id,
                Work::Answered {
                    lease,
                    outcomes,
                    call,
                    took,
                },
            )) => {
                self.calls.remove(&id);
                self.metrics.attempt_seconds.observe(took.as_secs_f64());
                self.settle(now, lease, call, outcomes);
            }
            Ok((_, Work::Buried(spent))) => self.queue.buried(now, spent),
            Ok((_, Work::PutAside(done))) => {
                if let Some(asides) = &mut self.asides {
                    asides.done(&self.context, done, &mut self.queue);
                }
            }
            Ok((_, Work::Scanned(found))) => {
                if let Some(asides) = &mut self.asides {
                    asides.scanned(found);
                }
            }
            Ok((_, Work::Fetched(due))) => self.fetched(due),
            Ok((_, Work::Committed { commits, done })) => {
                self.committing = false;
                if done {
                    self.sources.committed(commits);
                }
            }
            Err(error) => match self.calls.remove(&error.id()) {
                Some((lease, call)) => {
                    warn!(listener = self.spec().name, %error, "A listener panicked.");
                    self.settle(now, lease, call, Vec::new());
                }
                None => self.committing = false,
            },
        }
    }

    fn settle(&mut self, now: Duration, lease: LeaseId, call: Call, outcomes: Vec<Outcome>) {
        // A refusal is an answer: the endpoint is well.
        let well = !outcomes.is_empty()
            && !outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Failed { .. }));
        if self.breaker.done(call, well, now) {
            let state = self.breaker.state(now);
            let listener = &self.spec().name;
            match state {
                BreakerState::Open => warn!(listener, "An endpoint fails; it gets a rest."),
                BreakerState::HalfOpen | BreakerState::Closed => {
                    info!(listener, "An endpoint answers again.");
                }
            }
        }
        let mut outcomes = outcomes.into_iter();
        let metrics = &self.metrics;
        self.queue.settle(now, lease, self.context.jitter(), |_| {
            let outcome = outcomes.next().unwrap_or_else(|| Outcome::Failed {
                error: "the listener gave no outcome".to_owned(),
                after: None,
            });
            match &outcome {
                Outcome::Done => metrics.done.inc(),
                Outcome::Failed { .. } => metrics.failed.inc(),
                Outcome::Refused { .. } => 0,
            };
            outcome
        });
    }

    /// Writes dead letters of what was given up.
    fn bury(&mut self) {
        for spent in self.queue.take_spent() {
            let metrics = &self.metrics;
            match (spent.id, spent.reason) {
                (None, _) => metrics.dropped.inc(),
                (_, Reason::Exhausted) => metrics.exhausted.inc(),
                (_, Reason::Refused) => metrics.refused.inc(),
                (_, Reason::Expired) => metrics.expired.inc(),
            };
            let Some(id) = spent.id else { continue };
            let letter = DeadLetter {
                held: spent.payload,
                reason: spent.reason,
                failures: spent.failures,
            };
            let (context, prepared) = (Arc::clone(&self.context), Arc::clone(&self.now.prepared));
            self.work.spawn(async move {
                let spec = &prepared.spec;
                let (broker, clock) = (&*context.broker, &*context.clock);
                let mut whole = true;
                while let Err(error) = bury(&letter, whole, spec, broker, clock).await {
                    if whole && matches!(error, broker::Error::BatchTooLarge { .. }) {
                        whole = false;
                        continue;
                    }
                    warn!(listener = spec.name, %error, "A dead letter cannot be written; trying again.");
                    tokio::time::sleep(BURY_AGAIN).await;
                }
                Work::Buried(id)
            });
        }
    }

    /// What changed since it was stored.
    fn commits(&mut self) -> Commits {
        let mut commits = self.sources.commits(&self.queue);
        let now = aside::millis(&self.context);
        let aside = self
            .asides
            .as_mut()
            .and_then(|asides| asides.commit(now, &self.queue));
        commits.extend(aside);
        commits
    }

    /// Stores how far it is, if that changed.
    fn commit(&mut self) {
        if self.committing {
            return;
        }
        let commits = self.commits();
        if commits.is_empty() {
            return;
        }
        self.committing = true;
        let (context, group) = (Arc::clone(&self.context), self.sources.group().clone());
        self.work.spawn(async move {
            let result = commit(&context, &group, commits.clone()).await;
            if let Err(error) = &result {
                warn!(%group, %error, "A listener's progress cannot be stored; trying again.");
            }
            Work::Committed {
                commits,
                done: result.is_ok(),
            }
        });
    }

    /// Looks for partitions that came or went, and at the lag.
    async fn look(&mut self) {
        if self.asides.is_none() {
            let (name, group) = (&self.now.prepared.spec.name, self.sources.group());
            match Asides::open(&self.context, name, group, &mut self.queue).await {
                Ok(asides) => self.asides = Some(asides),
                Err(error) => {
                    warn!(listener = name, %error, "Progress cannot be read; trying again.");
                }
            }
        }
        let spec = &self.now.prepared.spec;
        if let Err(error) = self
            .sources
            .refresh(&self.context, spec, &mut self.queue)
            .await
        {
            if !matches!(error, broker::Error::Stopping) {
                warn!(listener = spec.name, %error, "Partitions cannot be taken up; trying again.");
            }
            return;
        }
        let mut lag = 0_u128;
        for (name, position) in self.sources.positions(&self.queue) {
            if let Ok(marks) = self.context.broker.marks(&name).await {
                lag += marks.high_watermark.bits().saturating_sub(position.bits());
            }
        }
        let lag = u64::try_from(lag).unwrap_or(u64::MAX);
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        let stats = self.queue.stats();
        let breaker = self.breaker.state(self.context.clock.monotonic());
        self.status.send_replace(Status {
            lag,
            waiting: self.queue.len(),
            in_flight: self.calls.len(),
            done: stats.done,
            failures: stats.failures,
            breaker,
            paused: self.now.paused,
        });
    }

    /// Goes on by new orders. What is under way ends by the old ones.
    fn change(&mut self) {
        let orders = self.orders.borrow_and_update().clone();
        if orders.paused != self.now.paused {
            self.metrics.paused.set(i64::from(orders.paused));
        }
        let (old, new) = (&self.now.prepared.spec, &orders.prepared.spec);
        if old.rate != new.rate {
            self.bucket = new.rate.map(TokenBucket::new);
        }
        if old.topics != new.topics {
            self.sources.subscribe_anew();
        }
        if old.deduplicate != new.deduplicate {
            self.sources.forget_duplicates();
        }
        if old.kind != new.kind {
            self.breaker = Breaker::new(BreakerOptions::default());
        }
        self.not_before = Duration::ZERO;
        self.queue.set_policy(with_grace(new.policy));
        self.now = orders;
    }

    /// When something happens by itself.
    fn wake(&self) -> Option<Duration> {
        let queue = self.queue.next_event();
        let gate = (self.queue.ready() > 0
            && !self.now.paused
            && self.calls.len() < self.spec().concurrency)
            .then_some(self.not_before);
        let asides = self.asides.as_ref();
        let room = |asides: &&Asides| self.queue.room(asides.source(), RECORDS_MAX, WINDOW_MAX) > 0;
        let due = asides.filter(room).and_then(Asides::next_due).map(|due| {
            let left = due.saturating_sub(aside::millis(&self.context));
            self.context.clock.monotonic() + Duration::from_millis(left)
        });
        let queue = [queue, due].into_iter().flatten().min();
        let next = match (queue, gate) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        next.map(|at| at.saturating_sub(self.context.clock.monotonic()))
    }

    /// Lets what is under way end, and stores how far it is.
    async fn drain(mut self, drain: Duration) {
        let deadline = Instant::now() + drain;
        // Also copies and dead letters: they are durable, and their records would come again.
        while !self.work.is_empty() {
            match tokio::time::timeout_at(deadline, self.work.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) | Err(_) => break,
            }
            self.bury();
        }
        let commits = self.commits();
        if !commits.is_empty()
            && let Err(error) = commit(&self.context, self.sources.group(), commits).await
        {
            warn!(listener = self.spec().name, %error, "A listener's last progress was not stored.");
        }
    }
}

/// Leases end after the calls they are for.
fn with_grace(policy: Policy) -> Policy {
    Policy {
        lease: policy.lease + LEASE_GRACE,
        ..policy
    }
}

/// Ready after `span`; never without one.
async fn sleep(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
