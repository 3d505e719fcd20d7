//! Progress that counts only when its transaction is committed.
//!
//! Invariant: as for all progress, the state is the replay of `lantern.groups`: a staged commit is a
//! record of its own kind, whose key names the producer too, and settling removes it in the same
//! batch that makes it count.
//!
//! Format: `docs/format/transactions.md`. Not here: writing (`transactional`).

use std::collections::{BTreeMap, BTreeSet};

use model::{GroupId, TopicName, TopicPartition};

use super::group_records::{commit_key, commit_value, parse_commit_key};
use crate::Commit;

/// Key kind: progress staged in a transaction.
pub(crate) const KIND_STAGED: u8 = 33;

const VERSION: u8 = 0;

/// Bytes before what is as in the key of a commit.
const HEAD: usize = 2 + 8;

/// ```text
///  0      1      2              10
/// ┌──────┬──────┬──────────────┬───────────────────────────────────┐
/// │ kind │ vers │ producer i64 │ as a commit's key from byte 2 on  │   big endian
/// └──────┴──────┴──────────────┴───────────────────────────────────┘
/// ```
pub(crate) fn staged_key(producer_id: i64, group: &GroupId, of: &TopicPartition) -> Vec<u8> {
    let commit = commit_key(group, of);
    let mut key = Vec::with_capacity(HEAD + commit.len());
    key.extend_from_slice(&[KIND_STAGED, VERSION]);
    key.extend_from_slice(&producer_id.to_be_bytes());
    key.extend_from_slice(&commit[2..]);
    key
}

/// Reads a key made by [`staged_key`]; `None` when it is none.
pub(crate) fn parse_staged_key(key: &[u8]) -> Option<(i64, GroupId, TopicPartition)> {
    let (&[kind, version], rest) = key.split_first_chunk()?;
    if (kind, version) != (KIND_STAGED, VERSION) {
        return None;
    }
    let (producer_id, place) = rest.split_first_chunk()?;
    let commit = [&[super::KIND_COMMIT, 0][..], place].concat();
    let (group, of) = parse_commit_key(&commit)?;
    Some((i64::from_be_bytes(*producer_id), group, of))
}

type Place = (GroupId, TopicPartition);

/// Staged commits by producer id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Staged {
    producers: BTreeMap<i64, BTreeMap<Place, Commit>>,
    /// How many producers have staged a place.
    places: BTreeMap<Place, usize>,
}

impl Staged {
    pub(crate) fn insert(&mut self, producer_id: i64, place: Place, commit: Commit) {
        let staged = self.producers.entry(producer_id).or_default();
        if staged.insert(place.clone(), commit).is_none() {
            *self.places.entry(place).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, producer_id: i64, place: &Place) {
        let Some(staged) = self.producers.get_mut(&producer_id) else {
            return;
        };
        if staged.remove(place).is_some()
            && let Some(count) = self.places.get_mut(place)
        {
            *count -= 1;
            if *count == 0 {
                self.places.remove(place);
            }
        }
        if staged.is_empty() {
            self.producers.remove(&producer_id);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.values().map(BTreeMap::len).sum()
    }

    /// What `producer_id` staged.
    pub(crate) fn of(&self, producer_id: i64) -> Vec<(Place, Commit)> {
        let staged = self.producers.get(&producer_id).into_iter().flatten();
        staged
            .map(|(place, commit)| (place.clone(), commit.clone()))
            .collect()
    }

    pub(crate) fn producers(&self) -> impl Iterator<Item = i64> + '_ {
        self.producers.keys().copied()
    }

    /// Partitions of `group` in which anybody has staged progress.
    pub(crate) fn partitions(&self, group: &GroupId) -> BTreeSet<TopicPartition> {
        let places = self.places.keys().filter(|(of, _)| of == group);
        places.map(|(_, of)| of.clone()).collect()
    }

    /// Keys of what is staged in topics for which `gone` says so.
    pub(crate) fn keys_in(&self, gone: impl Fn(&TopicName) -> bool) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        for (id, staged) in &self.producers {
            let stale = staged.keys().filter(|(_, of)| gone(&of.topic));
            keys.extend(stale.map(|(group, of)| staged_key(*id, group, of)));
        }
        keys
    }

    /// Key and value of every staged commit.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        self.producers.iter().flat_map(|(id, staged)| {
            staged
                .iter()
                .map(|((group, of), commit)| (staged_key(*id, group, of), commit_value(commit)))
        })
    }
}

#[cfg(test)]
mod tests {
    use model::PartitionId;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip(id: i64, group in "\\PC{1,40}", topic in "[a-z]{1,9}", number: u32) {
            let group = GroupId::new(&group).unwrap();
            let of = TopicPartition::new(topic.parse().unwrap(), PartitionId::new(number));
            let key = staged_key(id, &group, &of);
            prop_assert_eq!(parse_staged_key(&key), Some((id, group, of)));
        }

        #[test]
        fn other_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_staged_key(&bytes);
        }
    }
}
