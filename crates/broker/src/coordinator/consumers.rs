//! The calls of groups of the second protocol (KIP-848): heartbeats, and what administrators and
//! offset reads ask.
//!
//! Invariant: the engine knows the topics there are when it takes a heartbeat, so a topic that was
//! created is assigned with the next heartbeat of a member that reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use groups::MemberRef;
use groups::consumer::{ConsumerAnswer, ConsumerDescription, ConsumerHeartbeat, Topic, Topics};
use model::{GroupId, TopicId, TopicName};
use tokio::sync::oneshot;

use super::{CoordinatorOptions, GroupCoordinator, GroupError, State};
use crate::TopicInfo;

/// All topics, as a broker has them.
type Infos = Arc<BTreeMap<TopicName, Arc<TopicInfo>>>;

/// The topics the engine was last told of, to tell it only what is new.
#[derive(Debug, Default)]
pub(super) struct Told {
    infos: Option<Infos>,
}

impl GroupCoordinator {
    /// Takes a heartbeat; ready when what the answer shows is stored.
    ///
    /// # Errors
    /// [`GroupError::Refused`] with what the member should do.
    pub async fn consumer_heartbeat(
        &self,
        request: ConsumerHeartbeat,
    ) -> Result<ConsumerAnswer, GroupError> {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let answer = {
            let mut state = self.serving()?;
            self.tell_topics(&mut state);
            let (ticket, answer) = (state.ticket(), oneshot::channel());
            state.heartbeats.insert(ticket, answer.0);
            let now = self.clock.monotonic();
            let actions = state
                .engine
                .consumer_heartbeat(now, ticket, &request, random);
            self.carry_out(&mut state, actions);
            answer.1
        };
        Ok(answer.await.map_err(|_| GroupError::Stopping)??)
    }

    /// A group of the second protocol as it is, and the names of the topics its members have.
    ///
    /// # Errors
    /// [`groups::Error::UnknownGroup`] when there is none of this protocol.
    pub fn describe_consumer(
        &self,
        group: &GroupId,
    ) -> Result<(ConsumerDescription, BTreeMap<TopicId, TopicName>), GroupError> {
        let state = self.serving()?;
        let Some(description) = state.engine.describe_consumer(group) else {
            return Err(groups::Error::UnknownGroup {
                group: group.clone(),
            }
            .into());
        };
        let topics = state.engine.topics();
        let members = description.members.iter();
        let ids = members.flat_map(|member| {
            let has = member.assigned.topics().chain(member.target.topics());
            has.map(|(id, _)| id)
        });
        let names = ids.filter_map(|id| Some((id, topics.name(id)?.clone())));
        let names = names.collect();
        Ok((description, names))
    }

    /// The options groups are coordinated by.
    pub fn options(&self) -> CoordinatorOptions {
        self.state.lock().engine.options().clone()
    }

    /// Whether `by` may read the group's offsets now.
    ///
    /// # Errors
    /// [`GroupError::Refused`] as of [`groups::Coordinator::may_fetch`].
    pub fn may_fetch(&self, by: &MemberRef) -> Result<(), GroupError> {
        Ok(self.serving()?.engine.may_fetch(by)?)
    }

    /// Tells the engine of the topics there are, if they are others than last time.
    pub(super) fn tell_topics(&self, state: &mut State) {
        let infos = self.broker.topics();
        let told = state.told.infos.as_ref();
        if told.is_some_and(|told| Arc::ptr_eq(told, &infos)) {
            return;
        }
        let topics = infos.values().map(|info| {
            let topic = Topic {
                id: info.id,
                partitions: info.partitions,
            };
            (info.name.clone(), topic)
        });
        state.engine.set_topics(topics.collect::<Topics>());
        state.told.infos = Some(infos);
    }
}
