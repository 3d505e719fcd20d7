//! What the coordinator of transactions says about itself: each event writes its log line and bumps
//! its counter.
//!
//! Metric names: `lantern_broker_transaction_*`.

use model::Outcome;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tracing::{info, warn};
use transactions::{Transaction, TransactionalId};

/// The counters; clones count into the same numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    commits: Counter,
    aborts: Counter,
    timeouts: Counter,
    takeovers: Counter,
    end_failures: Counter,
}

impl Events {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("lantern_broker_transaction");
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("commits", "Transactions committed", &self.commits);
        counter("aborts", "Transactions aborted", &self.aborts);
        counter(
            "timeouts",
            "Transactions aborted because their time was over",
            &self.timeouts,
        );
        counter(
            "takeovers",
            "Transactions aborted because a newer producer of their id began",
            &self.takeovers,
        );
        counter(
            "end_failures",
            "Attempts to end a decided transaction that failed and are tried again",
            &self.end_failures,
        );
    }

    pub(super) fn ended(&self, outcome: Outcome) {
        match outcome {
            Outcome::Commit => self.commits.inc(),
            Outcome::Abort => self.aborts.inc(),
        };
    }

    pub(super) fn timed_out(&self, id: &TransactionalId, transaction: &Transaction) {
        self.timeouts.inc();
        warn!(%id, producer = %transaction.producer(), "A transaction was open too long and is aborted.");
    }

    pub(super) fn taken_over(&self, id: &TransactionalId, transaction: &Transaction) {
        self.takeovers.inc();
        info!(%id, producer = %transaction.producer(), "A newer producer takes over; the open transaction is aborted.");
    }

    pub(super) fn end_failed(&self, id: &TransactionalId, error: &crate::Error, first: bool) {
        self.end_failures.inc();
        if !first {
            return;
        }
        warn!(%id, %error, "A decided transaction could not be ended everywhere; it is tried again.");
    }
}

pub(super) fn loaded(ids: usize, open: usize, ending: usize, took: std::time::Duration) {
    info!(ids, open, ending, ?took, "Transactions are read back.");
}

pub(super) fn load_failed(error: &crate::Error) {
    warn!(%error, "Transactions could not be read back; trying again shortly.");
}

pub(super) fn unreadable(count: u64) {
    warn!(
        count,
        "Records of transactions could not be read and were passed over."
    );
}

pub(super) fn nobodys(producer_id: i64, partitions: usize) {
    warn!(
        producer_id,
        partitions, "A transaction of which no coordinator knows is aborted."
    );
}

pub(super) fn nobodys_kept(producer_id: i64, error: &crate::Error) {
    warn!(producer_id, %error, "A transaction of which no coordinator knows could not be aborted; the next start tries again.");
}

pub(super) fn abort_failed(id: &TransactionalId, error: &crate::Error) {
    warn!(%id, %error, "A transaction whose time is over could not be aborted; it is tried again.");
}

pub(super) fn forget_failed(id: &TransactionalId, error: &crate::Error) {
    warn!(%id, %error, "An unused transactional id could not be forgotten; it is tried again.");
}
