//! Consumer groups as one server knows them: who is in, and how far they have read.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::messages::delete_groups_request::DeleteGroupsRequest;
use kafka_wire::messages::describe_groups_response::DescribedGroupMember;
use kafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_wire::messages::{
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId as WireGroup,
    ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_wire::{Api, StrBytes};
use model::{GroupId, Offset, TopicName, TopicPartition};

use super::offsets::named;
use super::{Admin, wire_index, wire_name};
use crate::Error;
use crate::error::check;
use crate::membership::protocol;

/// The first version of OffsetFetch that asks about several groups at once.
const SEVERAL_GROUPS_SINCE: i16 = 8;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// `consumer` for consumer groups.
    pub protocol_type: String,
    /// Its state, from servers that say it in the list.
    pub state: Option<String>,
    /// `classic` or `consumer` (KIP-848), from servers that know several kinds.
    pub kind: Option<String>,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDetail {
    /// `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable` or `Dead` (it does not exist).
    pub state: String,
    /// How partitions are assigned, e.g. `range`; empty without members.
    pub assignor: String,
    /// Its members.
    pub members: Vec<MemberDetail>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDetail {
    /// The id the coordinator gave it.
    pub id: String,
    /// The name it keeps over restarts, if it has one.
    pub instance: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it reads.
    pub assigned: Vec<TopicPartition>,
}

/// On whose behalf offsets are committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) member: &'a str,
    pub(crate) generation: i32,
}

/// An administrator, who is no member.
const NO_MEMBER: Committer<'static> = Committer {
    member: "",
    generation: -1,
};

pub(crate) fn wire_group(group: &GroupId) -> WireGroup {
    WireGroup(StrBytes::from_string(group.to_string()))
}

impl Admin {
    /// The groups that this server coordinates.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`crate::Connection::call`].
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, Error> {
        let request = ListGroupsRequest::default();
        let answer: ListGroupsResponse = self.connection.call(Api::ListGroups, &request).await?;
        check(Api::ListGroups, answer.error_code, None)?;
        let said = |text: StrBytes| (!text.is_empty()).then(|| text.to_string());
        let groups = answer.groups.into_iter().map(|group| GroupListing {
            group: group.group_id.to_string(),
            protocol_type: group.protocol_type.to_string(),
            state: said(group.group_state),
            kind: said(group.group_type),
        });
        Ok(groups.collect())
    }

    /// A group that this server coordinates; one that does not exist is `Dead`.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`crate::Connection::call`].
    pub async fn describe_group(&self, group: &GroupId) -> Result<GroupDetail, Error> {
        let request = DescribeGroupsRequest::default().with_groups(vec![wire_group(group)]);
        let answer: DescribeGroupsResponse =
            self.connection.call(Api::DescribeGroups, &request).await?;
        let described = answer.groups.into_iter().next().ok_or(Error::Answer {
            api: Api::DescribeGroups,
            reason: "the group asked about is missing",
        })?;
        check(
            Api::DescribeGroups,
            described.error_code,
            Some(group.as_str()),
        )?;
        Ok(GroupDetail {
            state: described.group_state.to_string(),
            assignor: described.protocol_data.to_string(),
            members: described.members.into_iter().map(member).collect(),
        })
    }

    /// How far a group that this server coordinates has read: in these partitions, or wherever it
    /// committed. Partitions without a committed offset are left out.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`crate::Connection::call`].
    pub async fn committed(
        &self,
        group: &GroupId,
        of: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let topics = of.map(by_topic);
        let several = self.connection.version(Api::OffsetFetch)? >= SEVERAL_GROUPS_SINCE;
        let request = if several {
            let topics = topics.map(|topics| {
                let topics = topics.into_iter().map(|(name, indexes)| {
                    OffsetFetchRequestTopics::default()
                        .with_name(wire_name(name))
                        .with_partition_indexes(indexes)
                });
                topics.collect()
            });
            let asked = OffsetFetchRequestGroup::default()
                .with_group_id(wire_group(group))
                .with_topics(topics);
            OffsetFetchRequest::default().with_groups(vec![asked])
        } else {
            let topics = topics.map(|topics| {
                let topics = topics.into_iter().map(|(name, indexes)| {
                    OffsetFetchRequestTopic::default()
                        .with_name(wire_name(name))
                        .with_partition_indexes(indexes)
                });
                topics.collect()
            });
            OffsetFetchRequest::default()
                .with_group_id(wire_group(group))
                .with_topics(topics)
        };
        let answer: OffsetFetchResponse = self.connection.call(Api::OffsetFetch, &request).await?;
        check(Api::OffsetFetch, answer.error_code, Some(group.as_str()))?;
        let mut found = Vec::new();
        for group in answer.groups {
            check(Api::OffsetFetch, group.error_code, Some(&group.group_id))?;
            for topic in group.topics {
                let partitions = topic.partitions.iter();
                found.extend(partitions.map(|one| {
                    let at = (one.partition_index, one.committed_offset);
                    (topic.name.clone(), at, one.error_code)
                }));
            }
        }
        for topic in answer.topics {
            let partitions = topic.partitions.iter();
            found.extend(partitions.map(|one| {
                let at = (one.partition_index, one.committed_offset);
                (topic.name.clone(), at, one.error_code)
            }));
        }
        let mut committed = BTreeMap::new();
        for (topic, (index, offset), code) in found {
            check(Api::OffsetFetch, code, Some(&topic))?;
            let at = named(&topic, index, Api::OffsetFetch)?;
            committed.extend(Offset::from_i64(offset).map(|offset| (at, offset)));
        }
        Ok(committed)
    }

    /// Sets how far a group without members, which this server coordinates, has read.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code of the first partition that failed, `UnknownMemberId` when
    /// the group has members; those of [`crate::Connection::call`].
    pub async fn set_committed(
        &self,
        group: &GroupId,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        self.commit_as(group, NO_MEMBER, offsets).await
    }

    pub(crate) async fn commit_as(
        &self,
        group: &GroupId,
        by: Committer<'_>,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let mut topics: BTreeMap<&TopicName, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (at, offset) in offsets {
            let one = OffsetCommitRequestPartition::default()
                .with_partition_index(wire_index(at.partition))
                .with_committed_offset(offset.as_i64())
                .with_committed_metadata(Some(StrBytes::new()));
            topics.entry(&at.topic).or_default().push(one);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(wire_name(name))
                .with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(wire_group(group))
            .with_member_id(StrBytes::from_string(by.member.to_owned()))
            .with_generation_id_or_member_epoch(by.generation)
            .with_topics(topics.collect());
        let answer: OffsetCommitResponse =
            self.connection.call(Api::OffsetCommit, &request).await?;
        for topic in answer.topics {
            for partition in topic.partitions {
                check(Api::OffsetCommit, partition.error_code, Some(&topic.name))?;
            }
        }
        Ok(())
    }

    /// Forgets a group without members, which this server coordinates, and how far it has read.
    ///
    /// # Errors
    /// [`Error::Refused`] with `NonEmptyGroup` or `GroupIdNotFound`; those of
    /// [`crate::Connection::call`].
    pub async fn delete_group(&self, group: &GroupId) -> Result<(), Error> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![wire_group(group)]);
        let answer: DeleteGroupsResponse =
            self.connection.call(Api::DeleteGroups, &request).await?;
        for result in answer.results {
            check(Api::DeleteGroups, result.error_code, Some(group.as_str()))?;
        }
        Ok(())
    }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<&TopicName, Vec<i32>> {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        let indexes = topics.entry(&at.topic).or_default();
        indexes.push(wire_index(at.partition));
    }
    topics
}

fn member(member: DescribedGroupMember) -> MemberDetail {
    MemberDetail {
        id: member.member_id.to_string(),
        instance: member.group_instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assigned: assigned(member.member_assignment),
    }
}

/// What an assignment assigns, as far as it can be read: other protocols have other bytes there.
fn assigned(assignment: Bytes) -> Vec<TopicPartition> {
    protocol::decode_assignment(assignment).unwrap_or_default()
}
