//! What a listener has answered or given up, and no transaction has taken yet.
//!
//! Invariants: outputs stand in the order in which their inputs were finished; all that is here belongs to the next
//! transaction, so that progress, outputs and dead letters are cut at one place; it is bounded by [`RECORDS_MAX`] and
//! [`BYTES_MAX`], by the answers of calls that were under way then, and by what the listener holds, of which letters are made.

use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::Letter;
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

/// Outputs and dead letters that wait for their transaction.
pub(crate) struct Outbox {
    budget: Arc<Budget>,
    outputs: Vec<Derived>,
    letters: Vec<Letter>,
    charge: Charge,
    /// When the first of them came.
    since: Duration,
}

/// Outputs and dead letters of one transaction, and the memory that they take.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) outputs: Vec<Derived>,
    pub(crate) letters: Vec<Letter>,
    _charge: Charge,
}

impl Outbox {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self {
            charge: budget.charge(0),
            budget,
            outputs: Vec::new(),
            letters: Vec::new(),
            since: Duration::ZERO,
        }
    }

    /// Takes what was answered; its input is finished in the same step.
    pub(crate) fn put(&mut self, now: Duration, output: Derived) {
        self.charge(now, output.size());
        self.outputs.push(output);
    }

    /// Takes the dead letter of a record that is finished in the same step.
    pub(crate) fn put_letter(&mut self, now: Duration, letter: Letter) {
        // Though the record is charged already: its transaction makes a copy.
        self.charge(now, letter.size());
        self.letters.push(letter);
    }

    fn charge(&mut self, now: Duration, bytes: usize) {
        if self.is_empty() {
            self.since = now;
        }
        self.charge.resize(self.charge.bytes() + bytes);
    }

    fn len(&self) -> usize {
        self.outputs.len() + self.letters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing more should be asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= RECORDS_MAX || self.charge.bytes() >= BYTES_MAX
    }

    /// When a transaction should begin, if one should.
    pub(crate) fn due(&self) -> Option<Duration> {
        let much = self.len() >= WINDOW_RECORDS || self.charge.bytes() >= WINDOW_BYTES;
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
            outputs: std::mem::take(&mut self.outputs),
            letters: std::mem::take(&mut self.letters),
            _charge: std::mem::replace(&mut self.charge, self.budget.charge(0)),
        }
    }
}
