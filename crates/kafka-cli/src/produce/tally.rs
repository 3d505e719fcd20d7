//! Which records are acknowledged and which are not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use kafka_client::Outcomes;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, reason};
use crate::units::counted;

/// The lines that a batch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) records: u64,
}

/// The count of everything that was read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    state: Mutex<State>,
    failed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    read: u64,
    bytes: u64,
    acknowledged: u64,
    /// Sent, without an outcome yet.
    waiting: BTreeMap<u64, Span>,
    lost: Vec<Span>,
    /// Why the first of them was lost.
    reason: Option<String>,
}

impl Tally {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record of so many bytes was read.
    pub(super) fn took(&self, bytes: usize) {
        let mut state = self.state();
        state.read += 1;
        state.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// A batch was sent.
    pub(super) fn sent(&self, tag: u64, span: Span) {
        self.state().waiting.insert(tag, span);
    }

    /// Ready when a batch is lost.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    pub(super) fn read(&self) -> u64 {
        self.state().read
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.state().acknowledged
    }

    fn landed(&self, tag: u64, result: Result<(), String>) {
        let mut state = self.state();
        let Some(span) = state.waiting.remove(&tag) else {
            return;
        };
        match result {
            Ok(()) => state.acknowledged += span.records,
            Err(reason) => {
                state.lost.push(span);
                state.reason.get_or_insert(reason);
                self.failed.cancel();
            }
        }
    }

    /// The error that names what is not acknowledged, if anything is not. `hurry`: the user did not wait.
    pub(super) fn lost(&self, hurry: bool, lines: bool) -> Option<Error> {
        let state = self.state();
        let waiting = state.waiting.values();
        let lost: Vec<Span> = state.lost.iter().chain(waiting).copied().collect();
        let records: u64 = lost.iter().map(|span| span.records).sum();
        let first = lost.iter().map(|span| span.first).min()?;
        let last = lost.iter().map(|span| span.last).max()?;
        let word = if lines { "line" } else { "value" };
        let among = if first == last {
            format!("{word} {first}")
        } else if records == last - first + 1 {
            format!("{word}s {first} to {last}")
        } else {
            format!("among {word}s {first} to {last}")
        };
        let reason = state.reason.clone().unwrap_or_else(|| {
            let said = if hurry {
                "interrupted"
            } else {
                "there was no answer"
            };
            said.to_owned()
        });
        Some(Error::NotAcknowledged {
            lost: records,
            read: counted(state.read, "record"),
            lines: among,
            reason,
        })
    }
}

/// Counts outcomes until the last.
pub(super) async fn count(tally: std::sync::Arc<Tally>, mut outcomes: Outcomes) {
    while let Some(outcome) = outcomes.next().await {
        let result = outcome.result.map(drop);
        tally.landed(outcome.tag, result.map_err(|error| reason(&error)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_named() {
        let tally = Tally::default();
        let span = |first, last, records| Span {
            first,
            last,
            records,
        };
        for _ in 0..20 {
            tally.took(10);
        }
        tally.sent(0, span(1, 10, 10));
        tally.sent(1, span(11, 19, 5));
        tally.sent(2, span(12, 20, 5));
        assert!(tally.lost(false, true).is_some(), "nothing has an outcome");
        tally.landed(0, Ok(()));
        tally.landed(1, Err("the disk is full".into()));
        tally.landed(2, Ok(()));
        assert_eq!(
            tally.lost(false, true).unwrap().to_string(),
            "5 of 20 records not acknowledged (among lines 11 to 19): the disk is full"
        );
        assert_eq!(tally.acknowledged(), 15);
        assert!(tally.failed.is_cancelled());
    }

    #[test]
    fn nothing_is_lost_when_everything_is_acknowledged() {
        let tally = Tally::default();
        tally.took(1);
        tally.sent(
            0,
            Span {
                first: 1,
                last: 1,
                records: 1,
            },
        );
        assert_eq!(
            tally.lost(true, true).unwrap().to_string(),
            "1 of 1 record not acknowledged (line 1): interrupted"
        );
        tally.landed(0, Ok(()));
        assert!(tally.lost(false, true).is_none());
    }
}
