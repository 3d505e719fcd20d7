//! A member of a group of the second protocol (KIP-848): says that it is alive, is told what it may own,
//! gives back what it is asked for, and commits by its epoch. It keeps its id and epoch across restarts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use broker::{Broker, GroupError};
use groups::MemberId;
use groups::consumer::{Assignment, ConsumerAnswer, ConsumerHeartbeat};
use model::{GroupId, TopicPartition};

use super::Client;
use super::member::{Member, places};
use crate::life::Life;

/// The epoch with which a member joins.
const JOINS: i32 = 0;

#[derive(Debug)]
pub(crate) struct Subscriber {
    member: Member,
    epoch: i32,
    positions: BTreeMap<TopicPartition, u64>,
}

impl Subscriber {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            member: Member::named(format!("s{number}"), "crew"),
            epoch: JOINS,
            positions: BTreeMap::new(),
        }
    }

    /// What it owns, by the ids of topics.
    fn owned(&self, life: &Life<'_>) -> Assignment {
        let mut owned = Assignment::new();
        for place in self.positions.keys() {
            if let Some(info) = life.broker.topic(&place.topic) {
                owned.insert(info.id, place.partition);
            }
        }
        owned
    }

    async fn beat(
        &self,
        life: &Life<'_>,
        group: &GroupId,
        tell: bool,
    ) -> Result<ConsumerAnswer, GroupError> {
        let joins = self.epoch == JOINS;
        let mut names: Vec<_> = places().map(|place| place.topic.as_str().into()).to_vec();
        names.dedup();
        let request = ConsumerHeartbeat {
            group: group.clone(),
            member: self.member.id.clone(),
            epoch: self.epoch,
            instance: None,
            rack: None,
            client_id: self.member.name.as_str().into(),
            client_host: "127.0.0.1".into(),
            rebalance_timeout: joins.then_some(Duration::from_millis(600)),
            names: joins.then_some(names),
            regex: None,
            assignor: None,
            owned: (joins || tell).then(|| self.owned(life)),
            may_lack_id: false,
        };
        life.call(life.groups.consumer_heartbeat(request)).await
    }

    /// From joining until a refusal, or until it leaves.
    async fn belong(&mut self, life: &Life<'_>) -> Result<(), GroupError> {
        let group = self.member.group();
        // It keeps the id of its own, whatever it was told.
        self.member.id = MemberId::new(&self.member.name);
        let mut tell = false;
        for _ in 0..=life.world.dice.below(80) {
            let answer = self.beat(life, &group, tell).await?;
            tell = false;
            self.epoch = answer.epoch;
            if let Some(assignment) = answer.assignment {
                self.take(life, &group, &assignment).await?;
                tell = true;
            }
            for _ in 0..life.world.dice.below(4) {
                life.pause(40).await;
                let by = self.member.by(&group, self.epoch);
                self.member.work(life, &by, &mut self.positions).await?;
            }
            life.pause(60).await;
        }
        if life.world.dice.chance(30) {
            self.epoch = groups::consumer::LEAVES;
            self.beat(life, &group, false).await?;
            life.note(&self.member.name, format_args!("leaves"));
            self.begin_anew();
            life.pause(300).await;
        }
        Ok(())
    }

    /// Stops reading what it may not own any more, and reads on what is new.
    async fn take(
        &mut self,
        life: &Life<'_>,
        group: &GroupId,
        assignment: &Assignment,
    ) -> Result<(), GroupError> {
        let may = |place: &TopicPartition| {
            let info = life.broker.topic(&place.topic);
            info.is_some_and(|info| assignment.contains(info.id, place.partition))
        };
        self.positions.retain(|place, _| may(place));
        let new: Vec<_> = places()
            .into_iter()
            .filter(|place| may(place) && !self.positions.contains_key(place))
            .collect();
        let resumed = self.member.resume(life, group, &new).await?;
        self.positions.extend(resumed);
        life.note(
            &self.member.name,
            format_args!("epoch {}, {} partitions", self.epoch, self.positions.len()),
        );
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.epoch = JOINS;
        self.positions.clear();
    }
}

impl Client for Subscriber {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(30).await;
                if let Err(error) = self.belong(life).await {
                    // Of a newer epoch it hears with its next heartbeat.
                    let stale = matches!(
                        error,
                        GroupError::Refused(groups::Error::StaleMemberEpoch { .. })
                    );
                    let lost = matches!(error, GroupError::Refused(_)) && !stale;
                    if lost || self.epoch < JOINS {
                        self.begin_anew();
                    }
                    self.member.trouble(life, error).await;
                }
            }
        })
    }
}
