//! What a listener has answered and no transaction has taken yet.
//!
//! Invariants: outputs stand in the order in which their inputs were finished; all that is here belongs to the next
//! transaction, so that progress and outputs are cut at one place; it is bounded by [`RECORDS_MAX`] and [`BYTES_MAX`], and by
//! the answers of calls that were under way then.

use std::sync::Arc;
use std::time::Duration;

use crate::derived::Derived;
use crate::memory::{Budget, Charge};

/// A transaction begins so long after the first answer: those that come meanwhile share its flushes.
const WINDOW: Duration = Duration::from_millis(10);
/// It begins at once when so many records wait, or so many bytes.
const WINDOW_RECORDS: usize = 1_000;
const WINDOW_BYTES: usize = 1 << 20;
/// No call is made while so many records wait, or so many bytes: transactions are slower than the listener.
const RECORDS_MAX: usize = 8_000;
const BYTES_MAX: usize = 8 << 20;

/// Outputs that wait for their transaction.
pub(crate) struct Outbox {
    budget: Arc<Budget>,
    waiting: Vec<Derived>,
    charge: Charge,
    /// When the first of them came.
    since: Duration,
}

/// Outputs of one transaction, and the memory that they take.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) outputs: Vec<Derived>,
    _charge: Charge,
}

impl Outbox {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self {
            charge: budget.charge(0),
            budget,
            waiting: Vec::new(),
            since: Duration::ZERO,
        }
    }

    /// Takes what was answered; its input is finished in the same step.
    pub(crate) fn put(&mut self, now: Duration, output: Derived) {
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.charge.resize(self.charge.bytes() + output.size());
        self.waiting.push(output);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing more should be asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= RECORDS_MAX || self.charge.bytes() >= BYTES_MAX
    }

    /// When a transaction should begin, if one should.
    pub(crate) fn due(&self) -> Option<Duration> {
        let much = self.waiting.len() >= WINDOW_RECORDS || self.charge.bytes() >= WINDOW_BYTES;
        let due = if much {
            self.since
        } else {
            self.since + WINDOW
        };
        (!self.is_empty()).then_some(due)
    }

    /// Everything there is, for one transaction.
    pub(crate) fn take(&mut self) -> Outgoing {
        Outgoing {
            outputs: std::mem::take(&mut self.waiting),
            _charge: std::mem::replace(&mut self.charge, self.budget.charge(0)),
        }
    }
}
