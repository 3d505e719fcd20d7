//! A member of a consumer group: joins, gets its partitions, reads on from what the group committed,
//! commits what it read, and leaves now and then. It keeps its id across restarts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use broker::{Broker, Commit, GroupError};
use bytes::Bytes;
use groups::{JoinAnswer, JoinRequest, Leaving, MemberId, MemberRef, Protocol, SyncRequest};
use model::{GroupId, Offset, Timestamp, TopicPartition};

use super::reader::{Read, read};
use super::{Client, at};
use crate::life::Life;
use crate::reading::offset;

/// What groups read.
pub(super) fn places() -> [TopicPartition; 4] {
    [at("a", 0), at("a", 1), at("b", 0), at("short", 0)]
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(super) name: String,
    group: &'static str,
    pub(super) id: MemberId,
}

impl Member {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            name: format!("m{number}"),
            group: "team",
            id: MemberId::new(""),
        }
    }

    /// The same with a name, a group and an id of the member's own.
    pub(super) fn named(name: String, group: &'static str) -> Self {
        Self {
            id: MemberId::new(&name),
            name,
            group,
        }
    }

    pub(super) fn group(&self) -> GroupId {
        GroupId::new(self.group).expect("the group has a good name")
    }

    pub(super) fn by(&self, group: &GroupId, generation: i32) -> MemberRef {
        MemberRef {
            group: group.clone(),
            member: self.id.clone(),
            instance: None,
            generation,
        }
    }

    /// What to do after a refusal: join again, perhaps as somebody new.
    pub(super) async fn trouble(&mut self, life: &Life<'_>, error: GroupError) {
        life.note(&self.name, format_args!("{error}"));
        match error {
            GroupError::Refused(groups::Error::UnknownMember { .. }) => self.id = MemberId::new(""),
            GroupError::Refused(groups::Error::MemberIdRequired { member }) => {
                self.id = member;
                return;
            }
            GroupError::Refused(
                groups::Error::RebalanceInProgress { .. }
                | groups::Error::IllegalGeneration { .. }
                | groups::Error::StaleMemberEpoch { .. }
                | groups::Error::FencedMemberEpoch { .. }
                | groups::Error::NotAvailable { .. },
            )
            | GroupError::Loading
            | GroupError::Stopping => (),
            GroupError::Storage(error) => life.refused(&error),
            // Its records rotted, and the broker said so.
            GroupError::Refused(groups::Error::UnknownGroup { .. })
                if life.world.oracle.borrow().excused_inside() => {}
            GroupError::Refused(other) => panic!("{}: {other:?}", self.name),
        }
        life.pause(60).await;
    }

    async fn join(&mut self, life: &Life<'_>, group: &GroupId) -> Result<JoinAnswer, GroupError> {
        let request = JoinRequest {
            group: group.clone(),
            member: self.id.clone(),
            instance: None,
            client_id: self.name.as_str().into(),
            client_host: "127.0.0.1".into(),
            session_timeout: Duration::from_millis(400),
            rebalance_timeout: Duration::from_millis(600),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"all"),
            }],
            member_id_required: true,
            may_skip_assignment: false,
        };
        let answer = life.call(life.groups.join(request)).await?;
        self.id = answer.member.clone();
        Ok(answer)
    }

    /// One generation, from joining to its end.
    async fn generation(&mut self, life: &Life<'_>, group: &GroupId) -> Result<(), GroupError> {
        let joined = self.join(life, group).await?;
        let mut assignments = Vec::new();
        if joined.leader == self.id {
            let count = joined.members.len().max(1);
            for (turn, member) in joined.members.iter().enumerate() {
                let mine = (0..places().len()).filter(|place| place % count == turn);
                let mine: Vec<u8> = mine.filter_map(|place| u8::try_from(place).ok()).collect();
                assignments.push((member.member.clone(), Bytes::from(mine)));
            }
        }
        let by = self.by(group, joined.generation);
        let sync = SyncRequest {
            by: by.clone(),
            protocol_type: None,
            protocol: None,
            assignments,
        };
        let synced = life.call(life.groups.sync(sync)).await?;
        let mine: Vec<TopicPartition> = synced
            .assignment
            .iter()
            .filter_map(|place| places().get(usize::from(*place)).cloned())
            .collect();
        life.note(
            &self.name,
            format_args!(
                "generation {}, {} partitions",
                joined.generation,
                mine.len()
            ),
        );
        let mut positions = self.resume(life, group, &mine).await?;
        for _ in 0..=life.world.dice.below(60) {
            life.pause(60).await;
            life.groups.heartbeat(&by)?;
            self.work(life, &by, &mut positions).await?;
        }
        if life.world.dice.chance(30) {
            let leaving = Leaving {
                member: self.id.clone(),
                instance: None,
            };
            life.groups.leave(group, &[leaving])?;
            life.note(&self.name, format_args!("leaves"));
            self.id = MemberId::new("");
            life.pause(300).await;
        }
        Ok(())
    }

    /// Reads once from one of its partitions, and may commit.
    pub(super) async fn work(
        &self,
        life: &Life<'_>,
        by: &MemberRef,
        positions: &mut BTreeMap<TopicPartition, u64>,
    ) -> Result<(), GroupError> {
        let turn = life.world.dice.pick(positions.len());
        let Some((place, position)) = positions.iter_mut().nth(turn) else {
            return Ok(());
        };
        match read(life, place, *position).await {
            Read::Records(seen, _) => {
                let Some(last) = seen.last() else {
                    return Ok(());
                };
                let mut oracle = life.world.oracle.borrow_mut();
                let offsets = seen.iter().map(|record| record.offset);
                oracle.commits.deliver(self.group, place, offsets);
                *position = last.offset + 1;
            }
            // Retention went past it.
            Read::Elsewhere(start) => *position = start,
            Read::Refused => return Ok(()),
        }
        if life.world.dice.chance(60) {
            self.commit(life, by, place, *position).await?;
        }
        Ok(())
    }

    /// Where the group is in these partitions.
    pub(super) async fn resume(
        &self,
        life: &Life<'_>,
        group: &GroupId,
        mine: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, u64>, GroupError> {
        let mut positions = BTreeMap::new();
        for place in mine {
            let before = life
                .world
                .oracle
                .borrow_mut()
                .commits
                .possible(self.group, place);
            let asked = Some(vec![place.clone()]);
            let found = life.call(life.groups.committed(group, asked)).await?;
            let found = found.first().and_then(|(_, commit)| commit.as_ref());
            let found = found.map(|commit| offset(commit.position));
            let marks = life.call(life.broker.marks(place)).await;
            let mut oracle = life.world.oracle.borrow_mut();
            let after = oracle.commits.possible(self.group, place);
            let excused = oracle.excused_inside() || oracle.excused(place);
            assert!(
                excused || before.contains(&found) || after.contains(&found),
                "{group} in {place} is at {found:?}, of {before:?}, then {after:?}"
            );
            if let (Some(found), Ok(marks)) = (found, marks) {
                let end = offset(marks.high_watermark);
                assert!(
                    excused || found <= end,
                    "{group} committed {found} in {place}, which ends at {end}"
                );
            }
            positions.insert(place.clone(), found.unwrap_or(0));
        }
        Ok(positions)
    }

    pub(super) async fn commit(
        &self,
        life: &Life<'_>,
        by: &MemberRef,
        place: &TopicPartition,
        position: u64,
    ) -> Result<(), GroupError> {
        let commit = Commit {
            position: Offset::new(position).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: Timestamp::from_millis(1),
        };
        let written = {
            let mut oracle = life.world.oracle.borrow_mut();
            oracle.commits.begin(self.group, place, Some(position))
        };
        let committed = life
            .call(life.groups.commit(by, vec![(place.clone(), commit)]))
            .await;
        let group = self.group;
        let mut oracle = life.world.oracle.borrow_mut();
        match committed {
            Ok(unknown) => {
                assert!(unknown.is_empty(), "{place} is there");
                oracle.commits.acknowledge(&written);
                oracle.tally.commits += 1;
                if !oracle.excused(place) && !oracle.excused_inside() {
                    let known: Vec<u64> = oracle.log(place).certain(0, position).collect();
                    // What retention has taken needs no reader.
                    let start = life.broker.topic(&place.topic);
                    let kept = start.is_none_or(|info| info.config.retention_bytes.is_none());
                    let missed = known.into_iter().find(|offset| {
                        kept && !oracle.commits.was_delivered(self.group, place, *offset)
                    });
                    assert!(
                        missed.is_none(),
                        "{group} committed {position} in {place} and nobody was given {missed:?}"
                    );
                }
                drop(oracle);
                life.note(&self.name, format_args!("{place} committed {position}"));
                Ok(())
            }
            Err(error) => {
                if matches!(error, GroupError::Refused(_)) {
                    oracle.commits.refuse(&written);
                }
                Err(error)
            }
        }
    }
}

impl Client for Member {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            let group = self.group();
            loop {
                life.pause(30).await;
                if let Err(error) = self.generation(life, &group).await {
                    self.trouble(life, error).await;
                }
            }
        })
    }
}
