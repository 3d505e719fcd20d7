//! What became of transactions, as their producers know it.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// Acknowledged, or seen.
    Committed,
    Aborted,
    /// Its commit was asked for and not answered.
    Unknown,
}

/// One transaction.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) fate: Fate,
    pub(crate) producer: u32,
    /// Values by whether they were acknowledged.
    pub(crate) values: BTreeMap<String, bool>,
    /// Those in topics that are compacted: a newer one of the key may stand for them (`compacted`).
    keyed: BTreeSet<String>,
    /// It staged its number as progress, and whether that was acknowledged.
    pub(crate) staged: Option<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    facts: Vec<Fact>,
    by_value: BTreeMap<String, usize>,
}

impl Transactions {
    pub(crate) fn open(&mut self, producer: u32) -> usize {
        self.facts.push(Fact {
            fate: Fate::Open,
            producer,
            values: BTreeMap::new(),
            keyed: BTreeSet::new(),
            staged: None,
        });
        self.facts.len() - 1
    }

    pub(crate) fn fact(&mut self, number: usize) -> &mut Fact {
        &mut self.facts[number]
    }

    /// What became of the transaction of a value, if it was sent in one.
    pub(crate) fn fate(&self, value: &str) -> Option<Fate> {
        let number = self.by_value.get(value)?;
        Some(self.facts[*number].fate)
    }

    pub(crate) fn send(&mut self, number: usize, value: &str, compacted: bool) {
        let fact = &mut self.facts[number];
        fact.values.entry(value.to_owned()).or_insert(false);
        if compacted {
            fact.keyed.insert(value.to_owned());
        }
        self.by_value.insert(value.to_owned(), number);
    }

    /// A reader of what is committed saw the value.
    pub(crate) fn see(&mut self, value: &str) {
        let Some(&number) = self.by_value.get(value) else {
            return;
        };
        let fact = &mut self.facts[number];
        assert!(
            matches!(fact.fate, Fate::Committed | Fate::Unknown),
            "{value} of transaction {number} is seen, which is {:?}",
            fact.fate
        );
        fact.fate = Fate::Committed;
    }

    /// Compares all that is seen in the end, when no transaction is open. `offset` is the progress of
    /// each producer's group.
    pub(crate) fn check(&self, seen: &BTreeSet<String>, offsets: &BTreeMap<u32, Option<u64>>) {
        let mut staged: BTreeMap<u32, BTreeSet<Option<u64>>> = BTreeMap::new();
        for (number, fact) in self.facts.iter().enumerate() {
            let known = fact.values.iter().filter(|(_, known)| **known);
            let known = known.filter(|(value, _)| !fact.keyed.contains(*value));
            let missing = known.clone().filter(|(value, _)| !seen.contains(*value));
            let (known, missing) = (known.count(), missing.count());
            let visible: Vec<&String> = fact
                .values
                .keys()
                .filter(|value| seen.contains(*value))
                .collect();
            let possible = staged
                .entry(fact.producer)
                .or_insert_with(|| BTreeSet::from([None]));
            let offset = Some(number as u64);
            match fact.fate {
                Fate::Committed => {
                    assert!(missing == 0, "transaction {number} is torn: {fact:?}");
                    if fact.staged == Some(true) {
                        *possible = BTreeSet::from([offset]);
                    }
                }
                Fate::Aborted | Fate::Open => {
                    assert!(
                        visible.is_empty(),
                        "transaction {number} came back: {visible:?}"
                    );
                }
                Fate::Unknown => {
                    assert!(
                        visible.is_empty() || missing == 0,
                        "transaction {number} is torn: {visible:?} of {fact:?}"
                    );
                    if fact.staged == Some(true) {
                        if known == 0 {
                            possible.insert(offset);
                        } else if !visible.is_empty() {
                            *possible = BTreeSet::from([offset]);
                        }
                    }
                }
            }
        }
        for (producer, found) in offsets {
            let Some(possible) = staged.get(producer) else {
                continue;
            };
            assert!(
                possible.contains(found),
                "the group of transactions {producer} is at {found:?}, of {possible:?}"
            );
        }
    }
}
