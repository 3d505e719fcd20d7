//! The line before the log, and what an edge asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use env::DynClock;
use flow::{Limiter, LimiterOptions, Outcome};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::aside::Aside;
use crate::events::{Throttled, TurnedAway};
use crate::metrics::Metrics;
use crate::quotas::Used;
use crate::{DEBT_MAX, Flow, Options, Reason, Refused};

/// Requests in the line at most. The Kafka endpoint has one a connection, the HTTP endpoint few.
pub const LINE_MAX: usize = 8_192;

/// What an append costs beside its bytes: on the machine of `docs/figures.md` a request takes as long as
/// moving 8 KiB (`docs/sketches/produce.md`), several of which share what is fixed.
const COST_MIN: u64 = 4 << 10;

/// The longest pause a sender is told; who owes more hears the rest with its next request.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The limit at first, if it is within the bounds: a start is no overload.
const LIMIT_INITIAL: u64 = 16 << 20;

/// Come again after this at the earliest.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Decides who may send how much. Shared by all edges of one log.
#[derive(Debug)]
pub struct Admission {
    options: Options,
    /// Whether there are quotas at all, and of processor time: asked for each request.
    has_quotas: bool,
    has_time_quotas: bool,
    clock: DynClock,
    gate: Mutex<Gate>,
    used: Mutex<Used>,
    aside: Aside,
    metrics: Metrics,
}

#[derive(Debug)]
struct Gate {
    limiter: Limiter,
    waiting: VecDeque<Waiting>,
    /// The cost of what waits.
    line: u64,
}

#[derive(Debug)]
struct Waiting {
    cost: u64,
    since: Duration,
    turn: oneshot::Sender<Permit>,
}

/// The state of the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) limit: u64,
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
    pub(crate) p95: Duration,
}

/// Leave to append, until it is finished or dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the turn away"]
pub struct Permit {
    /// Nobody where there is no limit.
    from: Option<Arc<Admission>>,
    cost: u64,
    admitted: Duration,
    waited: Duration,
    outcome: Outcome,
}

impl Admission {
    /// Admits by these options, which are valid (see [`Options::validate`]).
    pub fn new(options: Options, clock: DynClock) -> Arc<Self> {
        let limit = &options.limit;
        let limiter = Limiter::new(LimiterOptions {
            min: limit.min.bytes(),
            max: limit.max.bytes(),
            initial: LIMIT_INITIAL,
            latency: limit.latency.get(),
        });
        Arc::new(Self {
            has_quotas: options.quotas.any(),
            has_time_quotas: options.quotas.any_of_time(),
            options,
            clock,
            gate: Mutex::new(Gate {
                limiter,
                waiting: VecDeque::new(),
                line: 0,
            }),
            used: Mutex::new(Used::new()),
            aside: Aside::new(),
            metrics: Metrics::new(),
        })
    }

    /// Adds its numbers, `lantern_admission_*`, to `registry`.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        self.metrics.register(registry, Arc::downgrade(self));
    }

    /// Waits for leave to append so many bytes for `client`, at most `patience`.
    ///
    /// Cancel safe: who goes away takes no room along.
    ///
    /// # Errors
    /// [`Reason::Busy`] when the turn does not come in time, at once where that is plain to see; [`Reason::Crowded`].
    pub async fn admit(
        self: &Arc<Self>,
        client: &str,
        bytes: u64,
        patience: Duration,
    ) -> Result<Permit, Refused> {
        if !self.options.limit.enabled {
            return Ok(Permit::free());
        }
        let cost = bytes.saturating_add(COST_MIN);
        // What most requests need: nothing to wait for, and nothing to wait with.
        if let Some(permit) = self.enter_at_once(cost) {
            return Ok(permit);
        }
        let (turn, comes) = oneshot::channel();
        match self.enter(cost, patience, turn) {
            Ok(Some(permit)) => return Ok(permit),
            Ok(None) => (),
            Err(refused) => return Err(self.turned_away(client, refused)),
        }
        if let Ok(Ok(permit)) = tokio::time::timeout(patience, comes).await {
            self.metrics.waited(permit.waited);
            return Ok(permit);
        }
        let refused = Refused {
            reason: Reason::Busy,
            retry_after: self.gate.lock().line_takes().max(RETRY_MIN),
        };
        Err(self.turned_away(client, refused))
    }

    /// Does work for `client` that takes a processor for long, on one of few threads that serve nobody, when its turn comes; its
    /// time is charged as [`Admission::charge_time`] does.
    ///
    /// Cancel safe: work that has begun is finished in vain.
    ///
    /// # Errors
    /// [`Reason::Busy`] when the turn does not come within `patience`; the work is not begun.
    ///
    /// # Panics
    /// As `work` does.
    pub async fn aside<T: Send + 'static>(
        &self,
        client: &str,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let clock = Arc::clone(&self.clock);
        let timed = move || {
            let begun = clock.monotonic();
            let answer = work();
            (answer, clock.monotonic().saturating_sub(begun))
        };
        let Some((answer, took)) = self.aside.run(patience, timed).await else {
            let refused = Refused {
                reason: Reason::Busy,
                retry_after: RETRY_MIN,
            };
            return Err(self.turned_away(client, refused));
        };
        self.metrics.aside(took);
        if self.counts_time(client) {
            self.charge_time(client, took);
        }
        Ok(answer)
    }

    /// Whether anybody has a quota of anything.
    pub fn has_quotas(&self) -> bool {
        self.has_quotas
    }

    /// Threads that [`Admission::aside`] has.
    pub fn aside_threads(&self) -> usize {
        self.aside.threads()
    }

    /// Whether the client owes so much that this must not be done now: more than [`DEBT_MAX`] of its or a topic's quota.
    /// For senders who can be told to pause.
    ///
    /// # Errors
    /// [`Reason::Quota`].
    pub fn check_debt<'a>(
        &self,
        client: &str,
        topics: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Refused> {
        let delay = self.owes(Flow::In, client, topics);
        if delay <= DEBT_MAX {
            return Ok(());
        }
        Err(self.refuse_quota(client, delay.saturating_sub(DEBT_MAX).min(PAUSE_MAX)))
    }

    /// Charges the bytes only if nothing is owed. For senders who can be refused.
    ///
    /// # Errors
    /// [`Reason::Quota`]; nothing is charged.
    pub fn try_charge(&self, client: &str, topic: &str, bytes: u64) -> Result<(), Refused> {
        match self.owes(Flow::In, client, [topic]) {
            Duration::ZERO => {
                self.charge(Flow::In, client, [(topic, bytes)]);
                Ok(())
            }
            delay => Err(self.refuse_quota(client, delay)),
        }
    }

    /// How long until neither the client nor one of the topics owes anything.
    pub fn owes<'a>(
        &self,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = &'a str>,
    ) -> Duration {
        let quotas = &self.options.quotas;
        if !self.has_quotas {
            return Duration::ZERO;
        }
        let now = self.clock.monotonic();
        self.used.lock().delay(quotas, flow, client, topics, now)
    }

    /// Bytes that may be had without owing any; `None` is no limit.
    pub fn available<'a>(
        &self,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = &'a str>,
    ) -> Option<u64> {
        let quotas = &self.options.quotas;
        if !self.has_quotas {
            return None;
        }
        let now = self.clock.monotonic();
        self.used
            .lock()
            .available(quotas, flow, client, topics, now)
    }

    /// Charges bytes by topic; answers how long the client is to pause, a minute at most.
    pub fn charge<'a>(
        &self,
        flow: Flow,
        client: &str,
        topics: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Duration {
        let quotas = &self.options.quotas;
        if !self.has_quotas {
            return Duration::ZERO;
        }
        let now = self.clock.monotonic();
        let delay = self.used.lock().charge(quotas, flow, client, topics, now);
        let what = match flow {
            Flow::In => "producer_byte_rate",
            Flow::Out => "consumer_byte_rate",
        };
        self.throttle(client, what, delay)
    }

    /// Whether serving this client's requests should be timed for [`Admission::charge_time`].
    pub fn counts_time(&self, client: &str) -> bool {
        let quotas = &self.options.quotas;
        self.has_time_quotas && quotas.client(client).request_percentage.is_some()
    }

    /// Charges processor time; answers how long the client is to pause, a minute at most.
    pub fn charge_time(&self, client: &str, took: Duration) -> Duration {
        let now = self.clock.monotonic();
        let quotas = &self.options.quotas;
        let delay = self.used.lock().charge_time(quotas, client, took, now);
        self.throttle(client, "request_percentage", delay)
    }

    /// How long until the client has paid for its processor time.
    pub fn owes_time(&self, client: &str) -> Duration {
        if !self.counts_time(client) {
            return Duration::ZERO;
        }
        let now = self.clock.monotonic();
        self.used.lock().delay_time(client, now)
    }

    /// A pause for having stood in the line, as [`Pacer`](crate::Pacer) finds it: counted, and answered as it is.
    pub fn paced(&self, client: &str, pause: Duration) -> Duration {
        self.throttle(client, "busy", pause)
    }

    /// Whether somebody waits for a turn.
    pub fn is_short(&self) -> bool {
        !self.gate.lock().waiting.is_empty()
    }

    pub(crate) fn line(&self) -> Line {
        let mut gate = self.gate.lock();
        let now = self.clock.monotonic();
        gate.limiter.tick(now);
        Line {
            limit: gate.limiter.limit(),
            in_flight: gate.limiter.in_flight(),
            waiting: u64::try_from(gate.waiting.len()).unwrap_or(u64::MAX),
            p95: gate.limiter.p95().unwrap_or_default(),
        }
    }

    pub(crate) fn names(&self) -> usize {
        self.used.lock().names()
    }

    /// A permit, if nobody waits and there is room.
    fn enter_at_once(self: &Arc<Self>, cost: u64) -> Option<Permit> {
        let now = self.clock.monotonic();
        let mut gate = self.gate.lock();
        let admitted = gate.waiting.is_empty() && gate.limiter.try_admit(cost, now);
        admitted.then(|| Permit::new(self, cost, now, Duration::ZERO))
    }

    /// A permit now, or a place in the line.
    fn enter(
        self: &Arc<Self>,
        cost: u64,
        patience: Duration,
        turn: oneshot::Sender<Permit>,
    ) -> Result<Option<Permit>, Refused> {
        let now = self.clock.monotonic();
        let mut gate = self.gate.lock();
        if gate.waiting.is_empty() && gate.limiter.try_admit(cost, now) {
            return Ok(Some(Permit::new(self, cost, now, Duration::ZERO)));
        }
        if gate.refusal(patience).is_some() {
            gate.forget_gone();
        }
        if let Some(refused) = gate.refusal(patience) {
            return Err(refused);
        }
        gate.line = gate.line.saturating_add(cost);
        gate.waiting.push_back(Waiting {
            cost,
            since: now,
            turn,
        });
        Ok(None)
    }

    /// Work is over: its room goes to who waits.
    fn leave(self: &Arc<Self>, cost: u64, admitted: Duration, outcome: Outcome) {
        let now = self.clock.monotonic();
        // Permits of those who went away while they waited: dropped when the lock is free, since that takes it.
        let mut unclaimed = Vec::new();
        let mut gate = self.gate.lock();
        gate.limiter
            .done(cost, now.saturating_sub(admitted), outcome, now);
        while let Some(front) = gate.waiting.front() {
            let (cost, since, gone) = (front.cost, front.since, front.turn.is_closed());
            if !gone && !gate.limiter.try_admit(cost, now) {
                break;
            }
            gate.line = gate.line.saturating_sub(cost);
            let Some(first) = gate.waiting.pop_front() else {
                break;
            };
            if !gone {
                let permit = Permit::new(self, cost, now, now.saturating_sub(since));
                unclaimed.extend(first.turn.send(permit).err());
            }
        }
        drop(gate);
        drop(unclaimed);
    }

    fn throttle(&self, client: &str, what: &'static str, delay: Duration) -> Duration {
        // Clients are told milliseconds.
        let pause = Duration::from_millis(
            u64::try_from(delay.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX),
        );
        let pause = pause.min(PAUSE_MAX);
        if !pause.is_zero() {
            Throttled {
                client,
                what,
                pause,
            }
            .happened(&self.metrics);
        }
        pause
    }

    fn refuse_quota(&self, client: &str, retry_after: Duration) -> Refused {
        let reason = Reason::Quota;
        let retry_after = retry_after.max(RETRY_MIN);
        self.turned_away(
            client,
            Refused {
                reason,
                retry_after,
            },
        )
    }

    /// Counts and tells that work of a client was refused, by whoever decided so.
    pub fn turned_away(&self, client: &str, refused: Refused) -> Refused {
        TurnedAway { client, refused }.happened(&self.metrics);
        refused
    }
}

impl Gate {
    /// Why nobody else can stand in the line for so long.
    fn refusal(&self, patience: Duration) -> Option<Refused> {
        let takes = self.line_takes();
        let reason = if self.waiting.len() >= LINE_MAX {
            Reason::Crowded
        } else if takes > patience {
            Reason::Busy
        } else {
            return None;
        };
        let retry_after = takes.max(RETRY_MIN);
        Some(Refused {
            reason,
            retry_after,
        })
    }

    /// How long what waits will take, by what was done in the last second.
    fn line_takes(&self) -> Duration {
        let done = self.limiter.throughput();
        if done == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(self.line as f64 / done as f64)
    }

    fn forget_gone(&mut self) {
        self.waiting.retain(|waiting| !waiting.turn.is_closed());
        self.line = self.waiting.iter().map(|waiting| waiting.cost).sum();
    }
}

impl Permit {
    fn free() -> Self {
        Self {
            from: None,
            cost: 0,
            admitted: Duration::ZERO,
            waited: Duration::ZERO,
            outcome: Outcome::Ignored,
        }
    }

    fn new(from: &Arc<Admission>, cost: u64, admitted: Duration, waited: Duration) -> Self {
        Self {
            from: Some(Arc::clone(from)),
            cost,
            admitted,
            waited,
            outcome: Outcome::Ignored,
        }
    }

    /// How long its request stood in the line.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// The append was answered like this. Dropped without it, the time it took says nothing about the log.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(from) = self.from.take() {
            from.leave(self.cost, self.admitted, self.outcome);
        }
    }
}

#[cfg(test)]
mod tests;
