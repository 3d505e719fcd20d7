//! What groups have committed: the newest record of every key of `lantern.groups`, in memory.
//!
//! Invariants: the state is the replay of the topic, whether at the start or as records become
//! durable; records are applied in log order; [`Progress::live`] lists records whose replay gives
//! the same state again.
//!
//! Not here: writing and compacting the topic (`groups`), and what a group of members is
//! (`coordinator`).

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{GroupId, TopicName, TopicPartition};

use super::delays::Moved;
use super::group_records::{
    KIND_COMMIT, commit_key, commit_value, parse_commit_key, parse_commit_value,
};
use super::staged::{KIND_STAGED, Staged, parse_staged_key};
use crate::Commit;

/// The live records of the topic.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    groups: BTreeMap<GroupId, BTreeMap<TopicPartition, Commit>>,
    /// Records of kinds that belong to someone else, by key.
    others: BTreeMap<Bytes, Bytes>,
    commits: usize,
    staged: Staged,
    /// What changed since it was taken, once somebody asked for it.
    moves: Option<Vec<Moved>>,
}

/// What happened to a record that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is part of the state now.
    Kept,
    /// It is a commit that cannot be read; nothing changed.
    Unreadable,
}

impl Progress {
    /// Applies one record; without a value its key goes.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Applied {
        if key.first() == Some(&KIND_STAGED) {
            return self.apply_staged(key, value);
        }
        if key.first() != Some(&KIND_COMMIT) {
            match value {
                Some(value) => {
                    self.others
                        .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                }
                None => {
                    self.others.remove(key);
                }
            }
            return Applied::Kept;
        }
        let Some((group, of)) = parse_commit_key(key) else {
            return Applied::Unreadable;
        };
        match value.map(parse_commit_value) {
            Some(Some(commit)) => self.insert(group, of, commit),
            Some(None) => return Applied::Unreadable,
            None => self.remove(&group, &of),
        }
        Applied::Kept
    }

    fn apply_staged(&mut self, key: &[u8], value: Option<&[u8]>) -> Applied {
        let Some((producer_id, group, of)) = parse_staged_key(key) else {
            return Applied::Unreadable;
        };
        match value.map(parse_commit_value) {
            Some(Some(commit)) => self.staged.insert(producer_id, (group, of), commit),
            Some(None) => return Applied::Unreadable,
            None => self.staged.remove(producer_id, &(group, of)),
        }
        Applied::Kept
    }

    /// What waits for the end of transactions.
    pub(crate) fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Notes changes from now on; answers what there is, as if it had come just now.
    pub(crate) fn note_moves(&mut self) -> Vec<Moved> {
        self.moves = Some(Vec::new());
        let all = self.groups.iter().flat_map(|(group, partitions)| {
            partitions.iter().map(|(of, commit)| Moved {
                group: group.clone(),
                of: of.clone(),
                to: Some(commit.position),
            })
        });
        all.collect()
    }

    /// What changed since it was taken last, in order.
    pub(crate) fn take_moves(&mut self) -> Vec<Moved> {
        self.moves.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Places that have progress.
    pub(crate) fn commits(&self) -> usize {
        self.commits
    }

    fn insert(&mut self, group: GroupId, of: TopicPartition, commit: Commit) {
        if let Some(moves) = &mut self.moves {
            moves.push(Moved {
                group: group.clone(),
                of: of.clone(),
                to: Some(commit.position),
            });
        }
        let new = self.groups.entry(group).or_default().insert(of, commit);
        self.commits += usize::from(new.is_none());
    }

    fn remove(&mut self, group: &GroupId, of: &TopicPartition) {
        if let Some(moves) = &mut self.moves {
            moves.push(Moved {
                group: group.clone(),
                of: of.clone(),
                to: None,
            });
        }
        let Some(partitions) = self.groups.get_mut(group) else {
            return;
        };
        self.commits -= usize::from(partitions.remove(of).is_some());
        if partitions.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Keys that are live.
    pub(crate) fn len(&self) -> usize {
        self.commits + self.others.len() + self.staged.len()
    }

    /// What `group` committed, by partition.
    pub(crate) fn group(&self, group: &GroupId) -> Option<&BTreeMap<TopicPartition, Commit>> {
        self.groups.get(group)
    }

    /// Groups with a commit, in order of their ids.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().cloned().collect()
    }

    /// Commits in topics for which `gone` says so.
    pub(crate) fn commits_in(
        &self,
        gone: impl Fn(&TopicName) -> bool,
    ) -> Vec<(GroupId, TopicPartition)> {
        let mut found = Vec::new();
        for (group, partitions) in &self.groups {
            for of in partitions.keys().filter(|of| gone(&of.topic)) {
                found.push((group.clone(), of.clone()));
            }
        }
        found
    }

    /// Key and value of every live record, always in the same order.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        let commits = self.groups.iter().flat_map(|(group, partitions)| {
            partitions.iter().map(move |(of, commit)| {
                (commit_key(group, of).into(), commit_value(commit).into())
            })
        });
        let others = self.others.iter();
        let others = others.map(|(key, value)| (key.clone(), value.clone()));
        let staged = self.staged.live();
        let staged = staged.map(|(key, value)| (key.into(), value.into()));
        commits.chain(others).chain(staged)
    }
}

#[cfg(test)]
mod tests {
    use model::{PartitionId, Position, Timestamp};

    use super::super::staged::staged_key;
    use super::*;

    fn group(id: &str) -> GroupId {
        GroupId::new(id).unwrap()
    }

    fn at(topic: &str, partition: u32) -> TopicPartition {
        TopicPartition::new(topic.parse().unwrap(), PartitionId::new(partition))
    }

    fn commit(position: u128) -> Commit {
        Commit {
            position: Position::from_bits(position),
            leader_epoch: Some(0),
            metadata: String::new(),
            at: Timestamp::from_millis(5),
        }
    }

    fn sample() -> Progress {
        let mut progress = Progress::default();
        for (id, of, position) in [
            ("a", at("t", 0), 1),
            ("a", at("t", 1), 2),
            ("b", at("u", 0), 3),
        ] {
            let key = commit_key(&group(id), &of);
            progress.apply(&key, Some(&commit_value(&commit(position))));
        }
        progress.apply(b"\x02group a", Some(b"members"));
        let staged = staged_key(7, &group("c"), &at("t", 0));
        progress.apply(&staged, Some(&commit_value(&commit(5))));
        progress
    }

    #[test]
    fn the_newest_record_of_a_key_is_the_truth() {
        let mut progress = sample();
        let key = commit_key(&group("a"), &at("t", 0));
        progress.apply(&key, Some(&commit_value(&commit(9))));
        assert_eq!(progress.group(&group("a")).unwrap()[&at("t", 0)], commit(9));
        assert_eq!(progress.len(), 5);
    }

    #[test]
    fn a_record_without_value_removes_its_key_and_an_empty_group() {
        let mut progress = sample();
        progress.apply(&commit_key(&group("b"), &at("u", 0)), None);
        progress.apply(&commit_key(&group("b"), &at("u", 7)), None);
        progress.apply(b"\x02group a", None);
        assert_eq!(progress.groups(), [group("a")]);
        assert_eq!(progress.len(), 3);
    }

    #[test]
    fn the_live_records_replay_to_the_same_state() {
        let progress = sample();
        let mut again = Progress::default();
        for (key, value) in progress.live() {
            again.apply(&key, Some(&value));
        }
        assert_eq!(again.groups, progress.groups);
        assert_eq!(again.others, progress.others);
        assert_eq!(again.staged, progress.staged);
        assert_eq!(again.len(), progress.len());
    }

    #[test]
    fn commits_of_a_topic_that_is_gone_are_found() {
        let gone = sample().commits_in(|topic| topic.as_str() == "t");
        assert_eq!(gone, [(group("a"), at("t", 0)), (group("a"), at("t", 1))]);
    }

    #[test]
    fn staged_progress_is_not_committed_and_goes_by_its_own_key() {
        let mut progress = sample();
        assert_eq!(progress.group(&group("c")), None);
        assert_eq!(
            progress.staged().partitions(&group("c")),
            [at("t", 0)].into()
        );
        let key = staged_key(8, &group("c"), &at("t", 0));
        progress.apply(&key, Some(&commit_value(&commit(6))));
        progress.apply(&staged_key(7, &group("c"), &at("t", 0)), None);
        assert_eq!(progress.staged().partitions(&group("c")).len(), 1);
        assert_eq!(progress.staged().of(8).len(), 1);
        assert_eq!(
            progress.staged().keys_in(|topic| topic.as_str() == "t"),
            [key]
        );
    }

    #[test]
    fn a_damaged_commit_changes_nothing() {
        let mut progress = sample();
        let key = commit_key(&group("a"), &at("t", 0));
        assert_eq!(progress.apply(&key, Some(b"\x07")), Applied::Unreadable);
        assert_eq!(progress.apply(b"\x01\x00", None), Applied::Unreadable);
        assert_eq!(progress.group(&group("a")).unwrap()[&at("t", 0)], commit(1));
    }
}
