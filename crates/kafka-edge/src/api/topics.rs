//! CreateTopics and DeleteTopics.

use std::collections::BTreeSet;

use broker::{TopicConfig, TopicInfo, TopicSpec};
use kafka_wire::ErrorCode;
use kafka_wire::messages::create_topics_request::CreatableTopic;
use kafka_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_wire::messages::delete_topics_response::DeletableTopicResult;
use kafka_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use model::TopicName;
use model::limits::PARTITIONS_MAX;
use uuid::Uuid;

use super::configs::source;
use super::metadata::wire_name;
use crate::codes::Coded;
use crate::context::{Call, text};

/// Why one topic of a request is refused: the code, and words for people.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    pub(super) fn too_many(code: ErrorCode) -> Self {
        Self::new(
            code,
            "there would be more partitions than this server is configured to hold",
        )
    }

    pub(super) fn twice() -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            "it is named more than once in this request",
        )
    }
}

impl<E: Coded + std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(error.kafka_code(), error.to_string())
    }
}

/// Names that occur more than once.
pub(super) fn named_twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    names
        .filter(|name| !seen.insert(*name))
        .map(str::to_owned)
        .collect()
}

/// Serves CreateTopics.
pub(crate) async fn create_topics(
    call: &Call,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let twice = named_twice(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let made = if twice.contains(topic.name.as_str()) {
            Err(Refusal::twice())
        } else {
            create(call, &topic, request.validate_only).await
        };
        let result = CreatableTopicResult::default().with_name(topic.name);
        topics.push(match made {
            Ok(made) => made.fill(result),
            Err(refusal) => result
                .with_error_code(call.refuse(refusal.code))
                .with_error_message(Some(text(refusal.reason)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_configs(None),
        });
    }
    CreateTopicsResponse::default().with_topics(topics)
}

/// A topic that was made, or would have been.
struct Made {
    id: Uuid,
    partitions: u32,
    config: TopicConfig,
}

impl Made {
    fn fill(self, result: CreatableTopicResult) -> CreatableTopicResult {
        let configs = self.config.entries().into_iter().map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(text(entry.key.name))
                .with_config_source(source(&entry))
                .with_value(Some(text(entry.value)))
        });
        // Versions before 5 have none of this; the encoder leaves it out.
        result
            .with_error_message(None)
            .with_topic_id(self.id)
            .with_num_partitions(i32::try_from(self.partitions).unwrap_or(i32::MAX))
            .with_replication_factor(1)
            .with_configs(Some(configs.collect()))
    }
}

async fn create(call: &Call, asked: &CreatableTopic, validate_only: bool) -> Result<Made, Refusal> {
    let name = TopicName::new(&asked.name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    if let Some(info) = call.broker().topic(&name) {
        let TopicInfo { name, .. } = &*info;
        let reason = format!("topic '{name}' already exists");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, reason));
    }
    if name.is_internal() {
        let reason = "names that begin with 'lantern.' belong to Lantern itself";
        return Err(Refusal::new(ErrorCode::InvalidTopicException, reason));
    }
    let partitions = partitions(call, asked)?;
    let config = config(call, asked)?;
    call.room_for(partitions).map_err(Refusal::too_many)?;
    if validate_only {
        return Ok(Made {
            id: Uuid::nil(),
            partitions,
            config,
        });
    }
    let spec = TopicSpec {
        name,
        partitions,
        config,
    };
    let info = call.broker().create_topic(spec).await?;
    Ok(Made {
        id: Uuid::from_bytes(info.id.bytes()),
        partitions: info.partitions,
        config: info.config.clone(),
    })
}

/// The number of partitions, by number or by a list of where each one goes.
fn partitions(call: &Call, asked: &CreatableTopic) -> Result<u32, Refusal> {
    let refuse = |code, reason: String| Err(Refusal::new(code, reason));
    let (count, factor) = (asked.num_partitions, asked.replication_factor);
    if !asked.assignments.is_empty() {
        if count != -1 || factor != -1 {
            let reason = "give either numbers or an assignment of partitions";
            return refuse(ErrorCode::InvalidRequest, reason.to_owned());
        }
        return assigned(call, asked);
    }
    if !matches!(factor, -1 | 1) {
        let reason = format!("one node holds one replica of each partition, not {factor}");
        return refuse(ErrorCode::InvalidReplicationFactor, reason);
    }
    match u32::try_from(count) {
        Ok(count) if (1..=PARTITIONS_MAX).contains(&count) => Ok(count),
        Err(_) if count == -1 => Ok(call.shared.options.partitions_default),
        _ => {
            let reason = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {count}");
            refuse(ErrorCode::InvalidPartitions, reason)
        }
    }
}

fn assigned(call: &Call, asked: &CreatableTopic) -> Result<u32, Refusal> {
    let mut indexes: Vec<i32> = asked
        .assignments
        .iter()
        .map(|one| one.partition_index)
        .collect();
    indexes.sort_unstable();
    let consecutive = indexes
        .iter()
        .zip(0..)
        .all(|(index, expected)| *index == expected);
    let here = asked
        .assignments
        .iter()
        .all(|one| *one.broker_ids == [call.node()]);
    let count = u32::try_from(indexes.len()).unwrap_or(u32::MAX);
    if !consecutive || !here {
        let reason = "partitions are numbered from 0 and each has one replica, on this node";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, reason));
    }
    if count > PARTITIONS_MAX {
        let reason = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {count}");
        return Err(Refusal::new(ErrorCode::InvalidPartitions, reason));
    }
    Ok(count)
}

fn config(call: &Call, asked: &CreatableTopic) -> Result<TopicConfig, Refusal> {
    let mut config = call.shared.options.topic_defaults.clone();
    for entry in &asked.configs {
        let Some(value) = entry.value.as_deref() else {
            let reason = format!("the value of {} is null", &*entry.name);
            return Err(Refusal::new(ErrorCode::InvalidConfig, reason));
        };
        config.set(&entry.name, Some(value))?;
    }
    Ok(config)
}

/// Serves DeleteTopics, by name and (version 6) by id.
pub(crate) async fn delete_topics(
    call: &Call,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let mut responses = Vec::new();
    for name in request.topic_names {
        responses.push(delete_by_name(call, &name).await);
    }
    for state in request.topics {
        let id = state.topic_id;
        responses.push(match state.name {
            Some(name) if id.is_nil() => delete_by_name(call, &name).await,
            None if !id.is_nil() => delete_by_id(call, id).await,
            name => DeletableTopicResult::default()
                .with_name(name)
                .with_topic_id(id)
                .with_error_code(call.refuse(ErrorCode::InvalidRequest))
                .with_error_message(Some(text("give either the name or the id"))),
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete_by_name(call: &Call, asked: &str) -> DeletableTopicResult {
    let result = DeletableTopicResult::default()
        .with_name(Some(kafka_wire::messages::TopicName(text(asked))));
    let known = TopicName::new(asked)
        .ok()
        .and_then(|name| call.broker().topic(&name));
    match known {
        Some(info) => delete(call, &info, result).await,
        None => result
            .with_error_code(call.refuse(ErrorCode::UnknownTopicOrPartition))
            .with_error_message(Some(text("there is no such topic"))),
    }
}

async fn delete_by_id(call: &Call, id: Uuid) -> DeletableTopicResult {
    let result = DeletableTopicResult::default()
        .with_name(None)
        .with_topic_id(id);
    let topics = call.broker().topics();
    match topics
        .values()
        .find(|info| info.id.bytes() == *id.as_bytes())
    {
        Some(info) => {
            let result = result.with_name(Some(wire_name(&info.name)));
            delete(call, info, result).await
        }
        None => result
            .with_error_code(call.refuse(ErrorCode::UnknownTopicId))
            .with_error_message(Some(text("there is no topic with this id"))),
    }
}

async fn delete(
    call: &Call,
    info: &TopicInfo,
    result: DeletableTopicResult,
) -> DeletableTopicResult {
    let result = result.with_topic_id(Uuid::from_bytes(info.id.bytes()));
    let deleted = if info.name.is_internal() {
        let reason = "this topic belongs to Lantern itself";
        Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, reason))
    } else {
        call.broker()
            .delete_topic(&info.name)
            .await
            .map_err(Refusal::from)
    };
    match deleted {
        Ok(()) => result.with_error_message(None),
        Err(refusal) => result
            .with_error_code(call.refuse(refusal.code))
            .with_error_message(Some(text(refusal.reason))),
    }
}
