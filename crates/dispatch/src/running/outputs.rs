//! Outputs, dead letters and progress of a listener as transactions, one after another.
//!
//! ```text
//!   settle, give up ──> outbox ──window──> all of it + progress of this moment ──> transaction ──> committed ──> the next
//!                                                                                      └─ failed: this run is broken and ends
//! ```
//! Invariant: progress is stored by one way at a time; after a failure by none, since the queue is ahead of what is stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Running;
use super::work::{Doing, Work};
use crate::aside::Asides;
use crate::context::Context;
use crate::outbox::Outgoing;
use crate::sources::{Commits, commit};
use crate::transact::{self, Producing};

/// What one transaction is made of.
struct Cut {
    producing: Producing,
    outgoing: Outgoing,
    commits: Commits,
    changes: u64,
}

impl Running {
    /// Nothing is read yet, as an earlier transaction may still be ended.
    pub(super) fn waits_for_transactions(&self) -> bool {
        self.spec().output.is_some() && self.producing.is_none() && !self.committing
    }

    /// Becomes the one who writes transactions of this listener; `true` when that is so, or not needed.
    pub(super) async fn begin_producing(&mut self) -> bool {
        if !self.waits_for_transactions() {
            return true;
        }
        match Producing::begin(&self.context, self.sources.group()).await {
            Ok(producing) => {
                self.producing = Some(producing);
                true
            }
            Err(error) => {
                if !error.is_soon_over() {
                    let listener = &self.spec().name;
                    warn!(listener, %error, "A listener cannot begin its transactions; trying again.");
                }
                false
            }
        }
    }

    /// Begins a transaction if one is due.
    pub(super) fn transact(&mut self, now: Duration) {
        let due = self.outbox.due().is_some_and(|due| due <= now);
        if !due || self.committing {
            return;
        }
        let Some(cut) = self.cut() else { return };
        self.committing = true;
        let work = self.transaction(cut);
        self.spawn(Doing::Transact, work);
    }

    /// Everything answered and given up so far, and the progress that it comes to.
    fn cut(&mut self) -> Option<Cut> {
        let producing = self.producing.take()?;
        Some(Cut {
            producing,
            outgoing: self.outbox.take(),
            commits: self.commits(),
            changes: self.asides.as_ref().map_or(0, Asides::changes),
        })
    }

    fn transaction(&self, cut: Cut) -> impl Future<Output = Work> + Send + use<> {
        let (context, prepared) = (Arc::clone(&self.context), Arc::clone(&self.now.prepared));
        let group = self.sources.group().clone();
        async move {
            let Cut {
                mut producing,
                outgoing,
                commits,
                changes,
            } = cut;
            let began = context.clock.monotonic();
            let work = transact::Work {
                spec: &prepared.spec,
                group: &group,
                outputs: &outgoing.outputs,
                letters: &outgoing.letters,
                commits: commits.clone(),
            };
            let done = producing.run(&context, work).await;
            if let Err(error) = &done {
                let listener = &prepared.spec.name;
                warn!(listener, %error, "A transaction of output and progress failed; what it held is delivered again.");
            }
            Work::Transacted {
                commits,
                changes,
                outputs: outgoing.outputs.len(),
                took: context.clock.monotonic().saturating_sub(began),
                producing: done.is_ok().then_some(producing),
            }
        }
    }

    /// A transaction ended: committed, with so many outputs in so much time, or not.
    pub(super) fn transacted(&mut self, committed: Option<(Producing, usize, Duration)>) {
        self.committing = false;
        if let Some((producing, outputs, took)) = committed {
            self.producing = Some(producing);
            self.metrics.transacted(outputs, took);
        } else {
            self.broken = true;
            self.metrics.aborted.inc();
        }
    }

    /// Stores how far it is when it ends.
    pub(super) async fn store_last(&mut self, deadline: Instant) {
        // Nothing may come beside a transaction that did not end in time.
        if self.committing && self.spec().output.is_some() {
            return;
        }
        if !self.outbox.is_empty() {
            if let Some(cut) = self.cut() {
                let work = self.transaction(cut);
                if let Ok(work) = tokio::time::timeout_at(deadline, work).await {
                    self.done(&Doing::Transact, work);
                }
            }
            return;
        }
        let commits = self.commits();
        if commits.is_empty() {
            return;
        }
        let context: &Context = &self.context;
        if let Err(error) = commit(context, self.sources.group(), commits).await {
            warn!(listener = self.spec().name, %error, "A listener's last progress was not stored.");
        }
    }
}
