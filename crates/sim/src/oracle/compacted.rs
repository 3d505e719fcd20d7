//! What compaction may take from a log, and what must stay.
//!
//! A record may go when a newer one of its key is there that was not aborted, or when it was aborted itself. A tombstone goes
//! by itself, too, once it is older than `delete.retention.ms`, and what it deleted stays gone. A marker goes when it is that
//! old (KIP-534). Nothing else may be missing: above all the newest record of each key is there.
//!
//! What went stays gone: where a record stood for a key, none before it speaks for that key ever again, also when it went itself.
//!
//! Where nobody knows what became of a transaction, its records may be there or not, and may stand for others or not.
//!
//! Times are those of the run (`Life::real`), never of the broker's clock, which is set back now and then. So they are at least
//! what the broker measured, and "too early" here is too early by any clock.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::transactions::{Fate, Transactions};
use crate::text;

/// What is asked of a log that is compacted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// `delete.retention.ms`.
    pub(crate) tombstones: Duration,
    pub(crate) now: Duration,
}

impl Rules {
    fn may_go(&self, since: Duration) -> bool {
        self.now.saturating_sub(since) >= self.tombstones
    }
}

/// What is there for the keys of a log.
pub(super) struct Keys<'a> {
    rules: Rules,
    transactions: &'a Transactions,
    /// The newest record of each key that may stand for older ones.
    newest: HashMap<&'a str, u64>,
    /// Tombstones that may have gone: the last offset where each may have been, if anything is known of that.
    tombstones: HashMap<&'a str, Vec<Option<u64>>>,
}

impl<'a> Keys<'a> {
    /// `found` is what a reader sees, `sent` when each record was sent, `known` where it is or was.
    pub(super) fn new(
        rules: Rules,
        transactions: &'a Transactions,
        found: &'a BTreeMap<u64, String>,
        sent: &'a BTreeMap<String, Duration>,
        known: impl Iterator<Item = (u64, &'a String)>,
    ) -> Self {
        let stands =
            |text: &str| !matches!(transactions.fate(text), Some(Fate::Aborted | Fate::Open));
        let mut newest = HashMap::new();
        for (offset, text) in found.iter().filter(|(_, text)| stands(text)) {
            if let Some(key) = text::key(text) {
                newest.insert(key, *offset);
            }
        }
        let old =
            |text: &str, since| text::is_tombstone(text) && stands(text) && rules.may_go(since);
        let places: BTreeMap<(&str, u64), u64> = known
            .map(|(offset, text)| (text::origin(text), offset))
            .collect();
        // One that nobody saw is before what its client sent later, if it is anywhere.
        let last = |text: &str| {
            let (client, number) = text::origin(text);
            let mut behind = places.range((client, number)..=(client, u64::MAX));
            let ((_, found), offset) = behind.next()?;
            Some(if *found == number {
                *offset
            } else {
                offset.saturating_sub(1)
            })
        };
        let mut tombstones: HashMap<&str, Vec<Option<u64>>> = HashMap::new();
        for (text, _) in sent.iter().filter(|(text, since)| old(text, **since)) {
            if let Some(key) = text::key(text) {
                tombstones.entry(key).or_default().push(last(text));
            }
        }
        Self {
            rules,
            transactions,
            newest,
            tombstones,
        }
    }

    /// Whether the record that says `text` at `offset` may be missing.
    pub(super) fn may_miss(&self, offset: u64, text: &str) -> bool {
        let Some(key) = text::key(text) else {
            return false;
        };
        let fate = self.transactions.fate(text);
        let outdated = self.newest.get(key).is_some_and(|newest| *newest > offset);
        let deleted = self.tombstones.get(key).into_iter().flatten();
        let mut deleted = deleted.map(|at| at.is_none_or(|at| at >= offset));
        outdated
            || matches!(fate, Some(Fate::Aborted | Fate::Open | Fate::Unknown))
            || deleted.any(|deleted| deleted)
    }

    /// Where a record speaks for its key again although the one that says `text` stood for it at `offset`.
    pub(super) fn came_back(&self, offset: u64, text: &str) -> Option<u64> {
        let stood = matches!(self.transactions.fate(text), None | Some(Fate::Committed));
        let newest = text::key(text).and_then(|key| self.newest.get(key));
        newest.copied().filter(|newest| stood && *newest < offset)
    }

    /// Whether a marker may be missing that was not there yet at `since`.
    pub(super) fn may_miss_marker(&self, since: Duration) -> bool {
        self.rules.may_go(since)
    }
}
