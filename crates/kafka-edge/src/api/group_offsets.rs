//! OffsetCommit, OffsetFetch and OffsetDelete: how far groups have read.

use std::collections::{BTreeMap, BTreeSet};

use broker::Commit;
use broker::coordinator::{COMMIT_METADATA_BYTES_MAX, GroupError};
use groups::{InstanceId, MemberId, MemberRef};
use kafka_wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, TopicName as WireName,
};
use kafka_wire::{ErrorCode, StrBytes};
use model::{GroupId, TopicPartition};

use super::membership::{group_id, group_to_change};
use crate::codes::Coded;
use crate::context::{Call, offset, partition, position, text};

/// The first OffsetFetch version that asks about several groups at once.
const SEVERAL_GROUPS_SINCE: i16 = 8;

/// The first OffsetCommit version whose clients know member epochs.
const MEMBER_EPOCHS_SINCE: i16 = 9;

/// Serves OffsetCommit. Errors are per partition; one of the whole group stands in all of them.
pub(crate) async fn offset_commit(
    call: &Call,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut commits = Vec::new();
    let mut refused: BTreeMap<(usize, usize), ErrorCode> = BTreeMap::new();
    let mut places: BTreeMap<TopicPartition, (usize, usize)> = BTreeMap::new();
    for (t, topic) in request.topics.iter().enumerate() {
        for (p, asked) in topic.partitions.iter().enumerate() {
            match commit_of(call, &topic.name, asked) {
                Ok((of, commit)) => {
                    places.insert(of.clone(), (t, p));
                    commits.push((of, commit));
                }
                Err(code) => drop(refused.insert((t, p), code)),
            }
        }
    }
    let whole = commit_all(call, &request, commits).await;
    let (whole, unknown) = match whole {
        Ok(unknown) => (None, unknown),
        Err(code) => (Some(code), Vec::new()),
    };
    for of in unknown {
        if let Some(place) = places.get(&of) {
            refused.insert(*place, ErrorCode::UnknownTopicOrPartition);
        }
    }
    let topics = request.topics.into_iter().enumerate().map(|(t, topic)| {
        let partitions = topic.partitions.iter().enumerate().map(|(p, asked)| {
            let code = whole.or_else(|| refused.get(&(t, p)).copied());
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code.map_or(0, |code| call.refuse(code)))
        });
        OffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn commit_of(
    call: &Call,
    topic: &str,
    asked: &OffsetCommitRequestPartition,
) -> Result<(TopicPartition, Commit), ErrorCode> {
    let of = partition(topic, asked.partition_index)?;
    let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > COMMIT_METADATA_BYTES_MAX {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let commit = Commit {
        position: position(asked.committed_offset).ok_or(ErrorCode::InvalidRequest)?,
        leader_epoch: Some(asked.committed_leader_epoch).filter(|epoch| *epoch >= 0),
        metadata: metadata.to_owned(),
        at: call.shared.clock.now(),
    };
    Ok((of, commit))
}

async fn commit_all(
    call: &Call,
    request: &OffsetCommitRequest,
    commits: Vec<(TopicPartition, Commit)>,
) -> Result<Vec<TopicPartition>, ErrorCode> {
    let by = MemberRef {
        group: group_to_change(&request.group_id)?,
        member: MemberId::new(&request.member_id),
        instance: request
            .group_instance_id
            .as_ref()
            .map(|id| InstanceId::new(id)),
        generation: request.generation_id_or_member_epoch,
    };
    let committed = call.shared.groups.commit(&by, commits).await;
    committed.map_err(|error| commit_code(call, &error))
}

/// Clients of older versions know nothing of member epochs, and a group that is not there is to them
/// one at another generation.
fn commit_code(call: &Call, error: &GroupError) -> ErrorCode {
    let knows_epochs = call.version() >= MEMBER_EPOCHS_SINCE;
    match error {
        GroupError::Refused(groups::Error::UnknownGroup { .. }) if !knows_epochs => {
            ErrorCode::IllegalGeneration
        }
        GroupError::Refused(groups::Error::StaleMemberEpoch { .. }) if !knows_epochs => {
            ErrorCode::UnsupportedVersion
        }
        error => error.kafka_code(),
    }
}

/// Serves OffsetFetch. A partition never committed is offset -1, which is no error.
pub(crate) async fn offset_fetch(call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version() >= SEVERAL_GROUPS_SINCE {
        let mut groups = Vec::with_capacity(request.groups.len());
        for asked in request.groups {
            let of = asked.topics.as_ref().map(|topics| {
                let topics = topics.iter();
                topics
                    .map(|topic| (&topic.name, &*topic.partition_indexes))
                    .collect()
            });
            let found = match may_fetch(call, &asked) {
                Ok(()) => committed(call, &asked.group_id, of, request.require_stable).await,
                Err(code) => Err(code),
            };
            groups.push(group_answer(call, found).with_group_id(asked.group_id));
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let of = request.topics.as_ref().map(|topics| {
        let topics = topics.iter();
        topics
            .map(|topic| (&topic.name, &*topic.partition_indexes))
            .collect()
    });
    match committed(call, &request.group_id, of, request.require_stable).await {
        Ok(found) => OffsetFetchResponse::default().with_topics(topics_answer(call, found)),
        // Version 1 has nowhere else to say it than in a partition; clients of it see no offsets
        // and ask again.
        Err(code) => OffsetFetchResponse::default().with_error_code(call.refuse(code)),
    }
}

/// Members of the second protocol say who they are, from version 9 on.
fn may_fetch(call: &Call, asked: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
    let by = MemberRef {
        group: group_id(&asked.group_id)?,
        member: MemberId::new(asked.member_id.as_deref().unwrap_or_default()),
        instance: None,
        generation: asked.member_epoch,
    };
    let allowed = call.shared.groups.may_fetch(&by);
    allowed.map_err(|error| error.kafka_code())
}

/// What one partition has: the code of why not, or what was committed.
type Found = Vec<(WireName, Vec<(i32, Result<Option<Commit>, ErrorCode>)>)>;

async fn committed(
    call: &Call,
    group: &str,
    of: Option<Vec<(&WireName, &[i32])>>,
    require_stable: bool,
) -> Result<Found, ErrorCode> {
    let group = group_id(group)?;
    // Looked at first: what is settled in between is seen as staged, and asked for again.
    let unstable = if require_stable {
        staged(call, &group)?
    } else {
        BTreeSet::new()
    };
    let asked = of.as_ref().map(|topics| {
        let all = topics.iter().flat_map(|(topic, indexes)| {
            indexes
                .iter()
                .filter_map(|index| partition(topic, *index).ok())
        });
        all.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    });
    let committed = call.shared.groups.committed(&group, asked).await;
    let committed = committed.map_err(|error| error.kafka_code())?;
    let Some(topics) = of else {
        return Ok(by_topic(committed, unstable));
    };
    let known: BTreeMap<TopicPartition, Option<Commit>> = committed.into_iter().collect();
    let found = topics.into_iter().map(|(topic, indexes)| {
        let partitions = indexes.iter().map(|index| {
            let commit = partition(topic, *index).and_then(|of| {
                if unstable.contains(&of) {
                    return Err(ErrorCode::UnstableOffsetCommit);
                }
                Ok(known.get(&of).cloned().flatten())
            });
            (*index, commit)
        });
        (topic.clone(), partitions.collect())
    });
    Ok(found.collect())
}

/// Partitions whose offset a transaction may change any moment.
fn staged(call: &Call, group: &GroupId) -> Result<BTreeSet<TopicPartition>, ErrorCode> {
    let Some(log) = call.broker().transactional() else {
        return Ok(BTreeSet::new());
    };
    // As for all trouble of the broker's with groups.
    log.staged(group)
        .map_err(|_| ErrorCode::CoordinatorNotAvailable)
}

fn by_topic(
    committed: Vec<(TopicPartition, Option<Commit>)>,
    unstable: BTreeSet<TopicPartition>,
) -> Found {
    let mut all: BTreeMap<TopicPartition, Result<Option<Commit>, ErrorCode>> = committed
        .into_iter()
        .map(|(of, commit)| (of, Ok(commit)))
        .collect();
    let unstable = unstable.into_iter();
    all.extend(unstable.map(|of| (of, Err(ErrorCode::UnstableOffsetCommit))));
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (of, commit) in all {
        let index = i32::try_from(of.partition.get()).unwrap_or(i32::MAX);
        topics.entry(of.topic).or_default().push((index, commit));
    }
    let topics = topics.into_iter();
    topics
        .map(|(topic, partitions)| (WireName(text(topic.as_str())), partitions))
        .collect()
}

fn group_answer(call: &Call, found: Result<Found, ErrorCode>) -> OffsetFetchResponseGroup {
    let found = match found {
        Ok(found) => found,
        Err(code) => {
            return OffsetFetchResponseGroup::default().with_error_code(call.refuse(code));
        }
    };
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, found)| {
            let (at, epoch, metadata, code) = parts(call, found);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(at)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(code)
        });
        OffsetFetchResponseTopics::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponseGroup::default().with_topics(topics.collect())
}

fn topics_answer(call: &Call, found: Found) -> Vec<OffsetFetchResponseTopic> {
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, found)| {
            let (at, epoch, metadata, code) = parts(call, found);
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(at)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    topics.collect()
}

fn parts(call: &Call, found: Result<Option<Commit>, ErrorCode>) -> (i64, i32, StrBytes, i16) {
    match found {
        Ok(Some(commit)) => (
            offset(commit.position),
            commit.leader_epoch.unwrap_or(-1),
            text(commit.metadata),
            0,
        ),
        Ok(None) => (-1, -1, StrBytes::new(), 0),
        Err(code) => (-1, -1, StrBytes::new(), call.refuse(code)),
    }
}

/// Serves OffsetDelete.
pub(crate) async fn offset_delete(
    call: &Call,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let mut known = BTreeMap::new();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let of = partition(&topic.name, asked.partition_index).ok();
            let exists = of.filter(|of| {
                let info = call.broker().topic(&of.topic);
                info.is_some_and(|info| of.partition.get() < info.partitions)
            });
            if let Some(of) = exists {
                known.insert(of, 0);
            }
        }
    }
    let asked: Vec<_> = known.keys().cloned().collect();
    let group = group_to_change(&request.group_id);
    let deleted = match group {
        Ok(group) => {
            let deleted = call
                .shared
                .groups
                .delete_offsets(&group, asked.clone())
                .await;
            deleted.map_err(|error| error.kafka_code())
        }
        Err(code) => Err(code),
    };
    let results = match deleted {
        Ok(results) => results,
        Err(code) => return OffsetDeleteResponse::default().with_error_code(call.refuse(code)),
    };
    for (of, result) in asked.into_iter().zip(results) {
        known.insert(of, result.map_or_else(|error| call.code(&error), |()| 0));
    }
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let of = partition(&topic.name, asked.partition_index).ok();
            let code = of.and_then(|of| known.get(&of).copied());
            OffsetDeleteResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(
                    code.unwrap_or_else(|| call.refuse(ErrorCode::UnknownTopicOrPartition)),
                )
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
