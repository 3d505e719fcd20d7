//! The topics there are, as groups see them: names, identities and partition counts.
//!
//! Not here: what changed since when (`engine` counts versions).

use std::collections::BTreeMap;

use model::{TopicId, TopicName};

/// One topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Its identity; another one under the same name is another topic.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
}

/// All topics by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    by_name: BTreeMap<TopicName, Topic>,
    by_id: BTreeMap<TopicId, (TopicName, u32)>,
}

impl Topics {
    /// The topic of this name; text that is no name is no topic.
    pub fn named(&self, name: &str) -> Option<Topic> {
        self.by_name.get(name).copied()
    }

    /// Partitions of the topic with this identity.
    pub fn partitions(&self, id: TopicId) -> Option<u32> {
        self.by_id.get(&id).map(|(_, partitions)| *partitions)
    }

    /// The name of the topic with this identity.
    pub fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.by_id.get(&id).map(|(name, _)| name)
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, Topic)> {
        self.by_name.iter().map(|(name, topic)| (name, *topic))
    }
}

impl FromIterator<(TopicName, Topic)> for Topics {
    fn from_iter<I: IntoIterator<Item = (TopicName, Topic)>>(topics: I) -> Self {
        let by_name: BTreeMap<_, _> = topics.into_iter().collect();
        let by_id = by_name.iter();
        let by_id = by_id.map(|(name, topic)| (topic.id, (name.clone(), topic.partitions)));
        Self {
            by_id: by_id.collect(),
            by_name,
        }
    }
}

/// A number that differs when these topics or their partition counts do, the same on every machine and
/// in every version of Lantern: 64-bit FNV-1a. `topics` must come in the order of their identities.
pub(crate) fn fingerprint(topics: impl Iterator<Item = (TopicId, u32)>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = topics.flat_map(|(id, partitions)| {
        let count = partitions.to_be_bytes();
        id.bytes().into_iter().chain(count)
    });
    bytes.fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_topics_and_counts_apart() {
        let id = |byte| TopicId::from_bytes([byte; 16]);
        let of = |topics: &[(u8, u32)]| {
            fingerprint(topics.iter().map(|(byte, count)| (id(*byte), *count)))
        };
        let all = [
            of(&[]),
            of(&[(1, 1)]),
            of(&[(1, 2)]),
            of(&[(2, 1)]),
            of(&[(1, 1), (2, 1)]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(of(&[]), 0xcbf2_9ce4_8422_2325, "stored, so never changed");
    }
}
