//! All places, bounded.

use std::collections::BTreeMap;
use std::ops::Bound;

use model::{GroupId, Offset, Timestamp, TopicPartition};

use crate::place::Place;

/// Groups times partitions that are measured. One takes 300 bytes while it is idle and at most 16 KiB with a busy
/// window, 64 MiB for all; their timelines come to that and a half again.
pub const PLACES_MAX: usize = 4_096;

/// The places of all groups. When there are too many, those that come later are not measured, and counted.
#[derive(Debug, Default)]
pub struct Places {
    groups: BTreeMap<GroupId, BTreeMap<TopicPartition, Place>>,
    count: usize,
}

impl Places {
    /// Where `group` is in `of`; begun at `committed` if it was not known. `None` when there are too many.
    pub fn place(
        &mut self,
        group: &GroupId,
        of: &TopicPartition,
        committed: Offset,
        now: Timestamp,
    ) -> Option<&mut Place> {
        let known = self
            .groups
            .get(group)
            .is_some_and(|known| known.contains_key(of));
        if !known {
            if self.count >= PLACES_MAX {
                return None;
            }
            let places = self.groups.entry(group.clone()).or_default();
            places.insert(of.clone(), Place::new(committed, now));
            self.count += 1;
        }
        self.groups.get_mut(group)?.get_mut(of)
    }

    /// The group forgot its progress there.
    pub fn remove(&mut self, group: &GroupId, of: &TopicPartition) {
        let Some(places) = self.groups.get_mut(group) else {
            return;
        };
        self.count -= usize::from(places.remove(of).is_some());
        if places.is_empty() {
            self.groups.remove(group);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, by group and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &TopicPartition, &Place)> {
        let groups = self.groups.iter();
        groups.flat_map(|(group, places)| places.iter().map(move |(of, place)| (group, of, place)))
    }

    /// Copies of at most `most` places that are `wanted`, those behind `after`: so that whoever looks at all of them
    /// does not keep those waiting who commit.
    pub fn page(
        &self,
        after: Option<&(GroupId, TopicPartition)>,
        most: usize,
        wanted: impl Fn(&GroupId, &TopicPartition) -> bool,
    ) -> Vec<(GroupId, TopicPartition, Place)> {
        let begin = after.map_or(Bound::Unbounded, |(group, _)| Bound::Included(group));
        let groups = self.groups.range::<GroupId, _>((begin, Bound::Unbounded));
        let all = groups.flat_map(|(group, places)| {
            let begin = match after {
                Some((begun, of)) if begun == group => Bound::Excluded(of),
                _ => Bound::Unbounded,
            };
            let places = places.range::<TopicPartition, _>((begin, Bound::Unbounded));
            places.map(move |(of, place)| (group, of, place))
        });
        all.filter(|(group, of, _)| wanted(group, of))
            .take(most)
            .map(|(group, of, place)| (group.clone(), of.clone(), place.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::PartitionId;

    use super::*;

    #[test]
    fn places_are_bounded_and_make_room_when_they_go() {
        let mut places = Places::default();
        let of = |number| TopicPartition::new("t".parse().unwrap(), PartitionId::new(number));
        let group: GroupId = "g".parse().unwrap();
        let now = Timestamp::from_millis(0);
        for number in 0..u32::try_from(PLACES_MAX).unwrap() {
            assert!(
                places
                    .place(&group, &of(number), Offset::ZERO, now)
                    .is_some()
            );
        }
        let one_more = of(u32::MAX);
        assert!(places.place(&group, &one_more, Offset::ZERO, now).is_none());
        assert!(
            places.place(&group, &of(7), Offset::ZERO, now).is_some(),
            "known ones go on"
        );
        places.remove(&group, &of(7));
        places.remove(&group, &of(7));
        assert!(
            places
                .place(&group, &one_more, Offset::new(9), now)
                .is_some()
        );
        assert_eq!(places.iter().count(), PLACES_MAX);
        let last = places.iter().last().unwrap();
        assert_eq!(last.2.committed(), Offset::new(9));
    }

    #[test]
    fn pages_are_all_of_them_and_each_once() {
        let mut places = Places::default();
        let now = Timestamp::from_millis(0);
        for name in ["a", "b", "c"] {
            for number in 0..5 {
                let of = TopicPartition::new("t".parse().unwrap(), PartitionId::new(number));
                let group = name.parse().unwrap();
                places.place(&group, &of, Offset::ZERO, now).unwrap();
            }
        }
        for most in 1..=16 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = places.page(after.as_ref(), most, |group, _| group.as_str() != "b");
                assert!(page.len() <= most);
                let Some((group, of, _)) = page.last() else {
                    break;
                };
                after = Some((group.clone(), of.clone()));
                seen.extend(page.iter().map(|(group, of, _)| format!("{group} {of}")));
            }
            let all = places.iter().filter(|(group, ..)| group.as_str() != "b");
            let all: Vec<String> = all.map(|(group, of, _)| format!("{group} {of}")).collect();
            assert_eq!(seen, all);
        }
    }
}
