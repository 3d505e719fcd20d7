//! One listener at work: an event loop over what was read, what was answered, and time.
//!
//! Read first: `running/work.rs`, what is under way beside the loop, and `running/calls.rs`.
//!
//! Invariants: no more than `concurrency` calls at a time; everything that waits is bounded (the queue by the room
//! in its partitions and by the listener's share of memory, calls by `concurrency`, burials by what was given up); nothing
//! is awaited in the loop but its events, so that a slow disk or endpoint holds back its own answer only.
//! What is answered for an output topic, and progress with it, is in `running/outputs.rs`.

mod calls;
mod outputs;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::{Offer, Policy, Queue};
use flow::{Breaker, BreakerOptions, TokenBucket};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::aside::{self, Asides};
use crate::aside_log;
use crate::context::Context;
use crate::delivery::Listener;
use crate::held::{Held, compact};
use crate::intake::Read;
use crate::meaning::offer;
use crate::memory::Budget;
use crate::metrics::ListenerMetrics;
use crate::outbox::Outbox;
use crate::sources::{RECORDS_MAX, SourceKey, Sources, WINDOW_MAX};
use crate::spec::Spec;
use crate::status::Status;
use crate::transact::Producing;
use work::{Doing, Work};

/// How often positions are committed and topics looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often partitions and lag are looked at, in ticks.
const LOOK_TICKS: u32 = 5;
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

/// How the run of a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to.
    Stopped,
    /// A transaction of it failed: it is to begin where the last one that was committed ended.
    BeginAgain,
}

/// One listener.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own: no two of them together make a state"
)]
pub(crate) struct Running {
    context: Arc<Context>,
    orders: watch::Receiver<Orders>,
    status: watch::Sender<Status>,
    metrics: ListenerMetrics,
    now: Orders,
    queue: Queue<Held>,
    budget: Arc<Budget>,
    sources: Sources,
    /// Absent until its progress was read.
    asides: Option<Asides>,
    work: JoinSet<Work>,
    doing: HashMap<Id, Doing>,
    /// Calls under way.
    calls: usize,
    /// Progress is being stored, by itself or in a transaction.
    committing: bool,
    outbox: Outbox,
    /// Who writes transactions, if there is an output; absent while one is under way, and until it has begun.
    producing: Option<Producing>,
    /// What was finished is not what is stored: nothing more may be.
    broken: bool,
    tidying: bool,
    breaker: Breaker,
    /// Tells this breaker from those of endpoints that the listener had before.
    breaker_number: u64,
    bucket: Option<TokenBucket>,
    /// Not before this a call may be made: the bucket is empty or the breaker open.
    not_before: Duration,
    /// Longest wait for a first call since the last look.
    waited: Duration,
    /// The bucket was empty since the last look.
    limited: bool,
}

impl Running {
    pub(crate) fn new(
        context: Arc<Context>,
        mut orders: watch::Receiver<Orders>,
        status: watch::Sender<Status>,
        metrics: ListenerMetrics,
        group: model::GroupId,
    ) -> Self {
        let budget = context.memory.budget();
        let now = orders.borrow_and_update().clone();
        let spec = &now.prepared.spec;
        metrics.paused.set(i64::from(now.paused));
        Self {
            queue: Queue::new(with_grace(spec.policy)),
            bucket: spec.rate.map(TokenBucket::new),
            breaker: Breaker::new(BreakerOptions::default()),
            breaker_number: 0,
            sources: Sources::new(group, Arc::clone(&budget)),
            outbox: Outbox::new(Arc::clone(&budget)),
            producing: None,
            broken: false,
            budget,
            context,
            orders,
            status,
            metrics,
            now,
            asides: None,
            work: JoinSet::new(),
            doing: HashMap::new(),
            calls: 0,
            committing: false,
            tidying: false,
            not_before: Duration::ZERO,
            waited: Duration::ZERO,
            limited: false,
        }
    }

    fn spec(&self) -> &Spec {
        &self.now.prepared.spec
    }

    /// Runs until `stop`, then lets what is under way end for at most `drain`.
    pub(crate) async fn run(
        mut self,
        stop: CancellationToken,
        drain: watch::Receiver<Duration>,
    ) -> Ending {
        self.look().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        while !self.broken {
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
                    self.make_room();
                    if ticks.is_multiple_of(LOOK_TICKS) || self.waits_for_transactions() {
                        self.look().await;
                    }
                }
            }
        }
        let drain = *drain.borrow();
        self.drain(drain).await
    }

    /// Does all that can be done now.
    fn go_on(&mut self) {
        let now = self.context.clock.monotonic();
        self.queue.expire_leases(now, self.context.jitter());
        // Also when no call may be made: what is over must not wake the loop again and again.
        self.queue.wake(now);
        self.transact(now);
        while self.may_call() {
            if !self.call(now) {
                break;
            }
        }
        self.bury();
        self.deliver_what_is_due();
        // Without its progress nothing is known of what waits: nothing is read yet.
        if !self.now.paused && self.asides.is_some() {
            self.read_on();
        }
        self.metrics.in_flight.set(count(self.calls));
        self.metrics.waiting.set(count(self.queue.len()));
        self.metrics.held_bytes.set(count(self.budget.held()));
        self.metrics.held_bytes_max.set(count(self.budget.most()));
        let blocked = self.queue.stats().blocked;
        self.metrics.blocked.set(blocked.as_secs_f64());
    }

    /// Whether one more call is allowed, if something is ready.
    fn may_call(&self) -> bool {
        !self.now.paused && self.calls < self.spec().concurrency && !self.outbox.is_full()
    }

    /// Offers what was read, and asks for more.
    fn read_on(&mut self) {
        let now = self.context.now();
        let spec = &self.now.prepared.spec;
        let put = self
            .sources
            .go_on(spec, &mut self.queue, &self.metrics, now);
        if let Some(asides) = &mut self.asides
            && !put.is_empty()
        {
            asides.begin(&put);
            self.put_aside(Arc::new(put), Duration::ZERO);
        }
    }

    /// When much memory is held, lets go of what is not needed.
    fn make_room(&mut self) {
        if self.budget.held() > self.budget.much() {
            self.sources.let_go(&self.queue);
            compact(&mut self.queue, &self.budget);
        }
    }

    /// Due records that may be taken into the queue.
    fn room_for_due(&self, asides: &Asides) -> usize {
        if self.budget.has_room() || self.queue.is_empty() {
            self.queue.room(asides.source(), RECORDS_MAX, WINDOW_MAX)
        } else {
            0
        }
    }

    fn take(&mut self, key: &SourceKey, read: Read) {
        let spec = &self.now.prepared.spec;
        self.sources
            .take(key, read, spec, &mut self.queue, &self.metrics);
    }

    /// Looks for records whose time has come.
    fn deliver_what_is_due(&mut self) {
        let Some(mut asides) = self.asides.take() else {
            return;
        };
        if let Some((at, scan)) = asides.scan() {
            let context = Arc::clone(&self.context);
            self.spawn(Doing::Scan, async move {
                Work::Scanned(aside_log::scan(&context, &at, scan).await)
            });
        }
        let room = self.room_for_due(&asides);
        if let Some((at, places)) = asides.take(aside::millis(&self.context), room) {
            let (context, budget) = (Arc::clone(&self.context), Arc::clone(&self.budget));
            self.spawn(Doing::Fetch, async move {
                Work::Fetched(aside_log::fetch(&context, &budget, &at, &places).await)
            });
        }
        self.metrics.delayed.set(count(asides.len()));
        self.asides = Some(asides);
    }

    fn fetched(&mut self, fetched: aside_log::Fetched) {
        let Some(asides) = &mut self.asides else {
            return;
        };
        let now = self.context.now();
        let (source, end) = asides.fetched(fetched.count);
        for (ticket, held) in fetched.due {
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

    /// Looks for partitions that came or went, and at the lag.
    async fn look(&mut self) {
        // Before any progress is read: an earlier transaction may still add to it.
        if !self.begin_producing().await {
            return;
        }
        if self.asides.is_none() {
            let (name, group) = (&self.now.prepared.spec.name, self.sources.group());
            match Asides::open(&self.context, name, group, &mut self.queue).await {
                Ok(asides) => self.asides = Some(asides),
                Err(error) => {
                    warn!(listener = name, %error, "Progress cannot be read; trying again.");
                }
            }
        }
        self.tidy().await;
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
        let unreadable = self.sources.unreadable();
        self.metrics.unreadable.set(count(unreadable));
        let stats = self.queue.stats();
        let breaker = self.breaker.state(self.context.clock.monotonic());
        self.status.send_replace(Status {
            lag,
            waiting: self.queue.len(),
            in_flight: self.calls,
            done: stats.done,
            failures: stats.failures,
            breaker,
            paused: self.now.paused,
            limited: std::mem::take(&mut self.limited),
            unreadable,
            held_bytes: self.budget.held(),
            waited: std::mem::take(&mut self.waited),
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
            self.breaker_number += 1;
        }
        self.not_before = Duration::ZERO;
        self.queue.set_policy(with_grace(new.policy));
        self.now = orders;
    }

    /// When something happens by itself.
    fn wake(&self) -> Option<Duration> {
        let queue = self.queue.next_event();
        let gate = (self.queue.ready() > 0 && self.may_call()).then_some(self.not_before);
        let asides = self.asides.as_ref();
        let room = |asides: &&Asides| self.room_for_due(asides) > 0;
        let due = asides.filter(room).and_then(Asides::next_due).map(|due| {
            let left = due.saturating_sub(aside::millis(&self.context));
            self.context.clock.monotonic() + Duration::from_millis(left)
        });
        let window = self.outbox.due().filter(|_| !self.committing);
        let queue = [queue, due, window].into_iter().flatten().min();
        let next = match (queue, gate) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        next.map(|at| at.saturating_sub(self.context.clock.monotonic()))
    }

    /// Lets what is under way end, and stores how far it is.
    async fn drain(mut self, drain: Duration) -> Ending {
        let deadline = Instant::now() + drain;
        // Also copies and dead letters: they are durable, and their records would come again.
        while !self.work.is_empty() {
            match tokio::time::timeout_at(deadline, self.work.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) | Err(_) => break,
            }
            if !self.broken {
                self.bury();
            }
        }
        if self.broken {
            return Ending::BeginAgain;
        }
        self.store_last(deadline).await;
        Ending::Stopped
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
