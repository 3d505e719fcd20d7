//! What a listener has under way beside its loop, and what becomes of it when it ends, by itself or by a panic.
//!
//! Invariant: whatever begins is known by its [`Doing`] until it ends, so that a panic anywhere costs a pause, and neither a
//! record nor the listener.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use delivery::{Found, LeaseId, Outcome, Reason, SpentId, Turn};
use flow::Call;
use model::Position;
use opentelemetry::trace::TraceId;
use tokio::task::{Id, JoinError};
use tracing::warn;

use super::Running;
use crate::aside::{Asides, Tidy};
use crate::aside_log::{self, Aside};
use crate::context::Context;
use crate::dead_letter::{DeadLetter, Letter, bury, prepare};
use crate::derived::Derived;
use crate::sources::{Commits, commit};
use crate::spec::Spec;
use crate::transact::Producing;

/// Pause after a dead letter could not be written, or something panicked.
const AGAIN: Duration = Duration::from_secs(1);

/// Something under way.
#[derive(Clone)]
pub(super) enum Doing {
    Call {
        lease: LeaseId,
        call: Call,
        breaker: u64,
    },
    Bury(SpentId, Arc<DeadLetter>),
    PutAside(Arc<Vec<Aside>>),
    Scan,
    Fetch,
    Tidy,
    Commit,
    Transact,
}

/// Something that ended.
pub(super) enum Work {
    Answered {
        lease: LeaseId,
        outcomes: Vec<Outcome>,
        outputs: Vec<Derived>,
        took: Duration,
        sampled: Option<TraceId>,
    },
    Buried(SpentId),
    /// To be appended together with the progress that counts its record as finished.
    Prepared(SpentId, Letter),
    Committed {
        commits: Commits,
        /// How much had happened to delayed records.
        changes: u64,
        done: bool,
    },
    Transacted {
        commits: Commits,
        changes: u64,
        outputs: usize,
        took: Duration,
        /// To go on with, if it was committed.
        producing: Option<Producing>,
    },
    PutAside(Vec<aside_log::Done>),
    Scanned(Option<Found>),
    Fetched(aside_log::Fetched),
    Tidied(Option<Vec<(Turn, Position)>>),
}

impl Running {
    pub(super) fn spawn(
        &mut self,
        doing: Doing,
        work: impl Future<Output = Work> + Send + 'static,
    ) {
        let task = self.work.spawn(work);
        self.doing.insert(task.id(), doing);
    }

    pub(super) fn ended(&mut self, ended: Result<(Id, Work), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(doing) = self.doing.remove(&id) else {
            return;
        };
        match ended {
            Ok((_, work)) => self.done(&doing, work),
            Err(error) => self.panicked(doing, &error),
        }
    }

    pub(super) fn done(&mut self, doing: &Doing, work: Work) {
        let now = self.context.clock.monotonic();
        match work {
            Work::Answered {
                lease,
                outcomes,
                outputs,
                took,
                sampled,
            } => {
                self.metrics.attempted(took, sampled);
                if let Doing::Call { call, breaker, .. } = *doing {
                    self.calls -= 1;
                    self.settle(now, lease, (call, breaker), outcomes, outputs);
                }
            }
            Work::Buried(spent) => self.queue.buried(now, spent),
            Work::Prepared(spent, letter) => {
                // In this step and no other, as an answer.
                self.outbox.put_letter(now, letter);
                self.queue.buried(now, spent);
            }
            Work::PutAside(done) => {
                if let Some(asides) = &mut self.asides {
                    asides.done(&self.context, done, &mut self.queue);
                }
            }
            Work::Scanned(found) => {
                if let Some(asides) = &mut self.asides {
                    asides.scanned(found);
                }
            }
            Work::Fetched(fetched) => self.fetched(fetched),
            Work::Tidied(moved) => {
                self.tidying = false;
                if let (Some(asides), Some(moved)) = (&mut self.asides, moved) {
                    asides.carried(&moved);
                }
            }
            Work::Committed {
                commits,
                changes,
                done,
            } => {
                self.committing = false;
                if done {
                    self.committed(commits, changes);
                }
            }
            Work::Transacted {
                commits,
                changes,
                outputs,
                took,
                producing,
            } => {
                self.transacted(producing.map(|producing| (producing, outputs, took)));
                if !self.broken {
                    self.committed(commits, changes);
                }
            }
        }
    }

    /// Does again, after a pause, what a panic ended; a call is a failed attempt.
    fn panicked(&mut self, doing: Doing, error: &JoinError) {
        let listener = self.now.prepared.spec.name.clone();
        let ended = match doing {
            Doing::Call {
                lease,
                call,
                breaker,
            } => {
                warn!(listener, %error, "A listener panicked.");
                self.calls -= 1;
                let now = self.context.clock.monotonic();
                return self.settle(now, lease, (call, breaker), Vec::new(), Vec::new());
            }
            Doing::Bury(id, letter) => return self.write_letter(id, letter, AGAIN),
            Doing::PutAside(asides) => return self.put_aside(asides, AGAIN),
            Doing::Scan => Work::Scanned(None),
            Doing::Fetch => Work::Fetched(aside_log::Fetched {
                due: Vec::new(),
                count: 0,
            }),
            Doing::Tidy => Work::Tidied(Some(Vec::new())),
            Doing::Transact => {
                warn!(listener, %error, "A transaction panicked.");
                return self.transacted(None);
            }
            Doing::Commit => Work::Committed {
                commits: Commits::new(),
                changes: 0,
                done: false,
            },
        };
        warn!(listener, %error, "A part of a listener panicked and is tried again.");
        self.spawn(doing, async move {
            tokio::time::sleep(AGAIN).await;
            ended
        });
    }

    /// Copies records whose time has not come; they are finished when that is durable.
    pub(super) fn put_aside(&mut self, asides: Arc<Vec<Aside>>, pause: Duration) {
        let Some(at) = self.asides.as_ref().map(|asides| asides.at().clone()) else {
            return;
        };
        let context = Arc::clone(&self.context);
        self.spawn(Doing::PutAside(Arc::clone(&asides)), async move {
            tokio::time::sleep(pause).await;
            Work::PutAside(aside_log::put(&context, at, &asides).await)
        });
    }

    /// Keeps the topic of delayed records small.
    pub(super) async fn tidy(&mut self) {
        let Some(asides) = self.asides.as_mut().filter(|_| !self.tidying) else {
            return;
        };
        let at = asides.at().clone();
        // Until something was put aside there is no such topic.
        let Ok(marks) = self.context.broker.marks(&at).await else {
            return;
        };
        let Some(tidy) = asides.carry(&self.context, marks.log_start) else {
            return;
        };
        self.tidying = true;
        let context = Arc::clone(&self.context);
        self.spawn(Doing::Tidy, async move {
            match tidy {
                Tidy::Cut(until) => {
                    aside_log::delete(&context, &at, until).await;
                    Work::Tidied(None)
                }
                Tidy::Carry(carry) => {
                    Work::Tidied(Some(aside_log::carry(&context, &at, carry).await))
                }
            }
        });
    }

    /// Writes dead letters of what was given up, or makes them ready for a transaction.
    pub(super) fn bury(&mut self) {
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
            self.write_letter(id, Arc::new(letter), Duration::ZERO);
        }
    }

    fn write_letter(&mut self, id: SpentId, letter: Arc<DeadLetter>, pause: Duration) {
        let (context, prepared) = (Arc::clone(&self.context), Arc::clone(&self.now.prepared));
        self.spawn(Doing::Bury(id, Arc::clone(&letter)), async move {
            tokio::time::sleep(pause).await;
            if prepared.spec.output.is_some() {
                let letter = prepare_letter(&context, &prepared.spec, &letter).await;
                return Work::Prepared(id, letter);
            }
            write_letter(&context, &prepared.spec, &letter).await;
            Work::Buried(id)
        });
    }

    /// This much is stored.
    fn committed(&mut self, commits: Commits, changes: u64) {
        self.sources.committed(commits);
        if let Some(asides) = &mut self.asides {
            asides.committed(changes, &self.queue);
        }
    }

    /// What changed since it was stored.
    pub(super) fn commits(&mut self) -> Commits {
        let whole = self.spec().output.is_some();
        let mut commits = self.sources.commits(&self.queue, whole);
        let now = crate::aside::millis(&self.context);
        let aside = self
            .asides
            .as_mut()
            .and_then(|asides| asides.commit(now, &self.queue));
        commits.extend(aside);
        commits
    }

    /// Stores how far it is, if that changed.
    pub(super) fn commit(&mut self) {
        // What waits in the outbox goes with the progress that it is part of.
        if self.committing || !self.outbox.is_empty() {
            return;
        }
        let commits = self.commits();
        if commits.is_empty() {
            return;
        }
        self.committing = true;
        let changes = self.asides.as_ref().map_or(0, Asides::changes);
        let (context, group) = (Arc::clone(&self.context), self.sources.group().clone());
        self.spawn(Doing::Commit, async move {
            let result = commit(&context, &group, commits.clone()).await;
            if let Err(error) = &result {
                warn!(%group, %error, "A listener's progress cannot be stored; trying again.");
            }
            Work::Committed {
                commits,
                changes,
                done: result.is_ok(),
            }
        });
    }
}

/// Writes a dead letter; ready when it is durable. At most [`crate::context::BURIAL_BYTES`] of them are written at once.
async fn write_letter(context: &Context, spec: &Spec, letter: &Arc<DeadLetter>) {
    let (broker, clock) = (&*context.broker, &*context.clock);
    let mut whole = true;
    loop {
        let written = {
            let _turn = context.burial(letter.held.shared.size()).await;
            bury(letter, whole, spec, broker, clock).await
        };
        let Err(error) = written else { return };
        if whole && matches!(error, broker::Error::BatchTooLarge { .. }) {
            whole = false;
            continue;
        }
        warn!(listener = spec.name, %error, "A dead letter cannot be written; trying again.");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Makes a dead letter ready for a transaction, whenever its topic can be made and takes it.
async fn prepare_letter(context: &Context, spec: &Spec, letter: &Arc<DeadLetter>) -> Letter {
    loop {
        match prepare(letter, spec, context).await {
            Ok(letter) => return letter,
            Err(error) => {
                warn!(listener = spec.name, %error, "A dead letter cannot be written; trying again.");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
