//! Calls of the listener: what may be called now, and what a call's end means.

use std::sync::Arc;
use std::time::Duration;

use delivery::{LeaseId, Outcome};
use flow::{BreakerState, Call};
use tracing::{info, warn};

use super::Running;
use super::work::{Doing, Work};
use crate::answer::Answer;
use crate::delivery::Delivery;
use crate::derived::{Derived, derive};
use crate::spans::Trace;

impl Running {
    /// Makes one call if something is ready and it may.
    pub(super) fn call(&mut self, now: Duration) -> bool {
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
                    self.limited = true;
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
        // A retry waited by its own fault.
        for leased in lease.records.iter().filter(|one| one.attempt == 1) {
            self.waited = self.waited.max(leased.waited);
        }
        let mut deliveries: Vec<Delivery> = lease
            .records
            .into_iter()
            .map(|leased| Delivery {
                partition: Arc::clone(&leased.payload.lot.partition),
                offset: leased.payload.offset,
                attempt: leased.attempt,
                remaining: leased.remaining,
                shared: leased.payload.shared,
                trace: None,
                chain: leased.chain,
                _lot: leased.payload.lot,
            })
            .collect();
        let tracing = self.context.tracing.as_ref();
        let trace = tracing.and_then(|tracing| tracing.begin(&self.spec().name, &deliveries));
        let sampled = trace.as_ref().and_then(Trace::sampled);
        for delivery in &mut deliveries {
            if delivery.attempt == 1 {
                let delay = wall.since(delivery.record().timestamp);
                self.metrics.begun(delay, sampled);
            }
            delivery.trace.clone_from(&trace);
        }
        let (prepared, context) = (Arc::clone(&self.now.prepared), Arc::clone(&self.context));
        let call_max = self.spec().policy.lease;
        let doing = Doing::Call {
            lease: lease.id,
            call,
            breaker: self.breaker_number,
        };
        let lease = lease.id;
        self.calls += 1;
        self.spawn(doing, async move {
            // A call ends before its lease: a record is never with two calls at once.
            let answering = prepared.listener.deliver(&deliveries);
            let answer = tokio::time::timeout(call_max, answering).await;
            let answer = answer.unwrap_or_else(|_| {
                let error = format!("no answer within {call_max:?}");
                Answer::from(vec![
                    Outcome::Failed { error, after: None };
                    deliveries.len()
                ])
            });
            let took = context.clock.monotonic().saturating_sub(now);
            let to = prepared.spec.output.as_ref();
            let (outcomes, outputs) = derive(answer, &deliveries, &context, to);
            if let Some(trace) = trace {
                trace.end(&outcomes);
            }
            Work::Answered {
                lease,
                outcomes,
                outputs,
                took,
                sampled,
            }
        });
        true
    }

    /// A call of the breaker with this number ended.
    pub(super) fn settle(
        &mut self,
        now: Duration,
        lease: LeaseId,
        (call, breaker): (Call, u64),
        outcomes: Vec<Outcome>,
        outputs: Vec<Derived>,
    ) {
        // A refusal is an answer: the endpoint is well.
        let well = !outcomes.is_empty()
            && !outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Failed { .. }));
        // What an old endpoint did says nothing of a new one.
        if breaker == self.breaker_number && self.breaker.done(call, well, now) {
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
        let mut taken = Taken::of(&outputs);
        let outcome = |_| {
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
        };
        let jitter = self.context.jitter();
        self.queue
            .settle_each(now, lease, jitter, outcome, |number| taken.note(number));
        // In this step and no other: whatever progress is stored from here on covers them.
        for output in outputs {
            if taken.covers(output.of) {
                self.outbox.put(now, output);
            }
        }
    }
}

/// Which records of a call were taken; kept only where somebody asks.
enum Taken {
    Nobody,
    Numbers(Vec<usize>),
}

impl Taken {
    fn of(outputs: &[Derived]) -> Self {
        if outputs.is_empty() {
            Self::Nobody
        } else {
            Self::Numbers(Vec::new())
        }
    }

    fn note(&mut self, number: usize) {
        if let Self::Numbers(numbers) = self {
            numbers.push(number);
        }
    }

    /// Whether what was made of this record, or of all of them, counts.
    fn covers(&self, of: Option<usize>) -> bool {
        match (self, of) {
            (Self::Nobody, _) => false,
            // In the order of the call.
            (Self::Numbers(numbers), Some(of)) => numbers.binary_search(&of).is_ok(),
            (Self::Numbers(numbers), None) => !numbers.is_empty(),
        }
    }
}
