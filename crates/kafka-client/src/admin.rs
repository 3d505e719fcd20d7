//! Topics, offsets and producer ids.

use kafka_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::messages::metadata_request::MetadataRequestTopic;
use kafka_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, delete_topics_request::DeleteTopicState,
};
use kafka_wire::{Api, StrBytes, messages};
use model::{Offset, PartitionId, Timestamp, TopicId, TopicName, TopicPartition};

use crate::error::check;
use crate::{Connection, Error, Options};

mod configs;
mod groups;
mod log_dirs;
mod offsets;
mod records;

pub use configs::ConfigValue;
pub(crate) use groups::{Committer, wire_group};
pub use groups::{GroupDetail, GroupListing, MemberDetail};
pub(crate) use offsets::named;

/// How long a server may take to create or delete topics, in milliseconds.
const ADMIN_TIMEOUT_MS: i32 = 10_000;

/// Asks a server about topics, and changes them.
#[derive(Debug, Clone)]
pub struct Admin {
    connection: Connection,
}

/// A topic as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: TopicName,
    /// Its number of partitions.
    pub partitions: u32,
    /// Its identity; all zero from servers that give none.
    pub id: TopicId,
}

/// How many of what a new topic has; what is left open is the server's to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicShape {
    /// Partitions.
    pub partitions: Option<u32>,
    /// Servers that keep each of them.
    pub replicas: Option<i16>,
}

/// A place in a partition by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The oldest record kept.
    Earliest,
    /// After the newest readable record.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record at this time or later.
    Time(Timestamp),
}

pub(crate) fn wire_name(name: &TopicName) -> messages::TopicName {
    messages::TopicName(StrBytes::from_string(name.to_string()))
}

pub(crate) fn wire_index(partition: PartitionId) -> i32 {
    i32::try_from(partition.get()).unwrap_or(i32::MAX)
}

impl Admin {
    /// Over a connection of its own.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Ok(Self::new(
            Connection::open(address, Options::default()).await?,
        ))
    }

    /// Over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Creates a topic with the server's default configuration.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `TopicAlreadyExists`; those of [`Connection::call`].
    pub async fn create_topic(&self, name: &TopicName, partitions: u32) -> Result<(), Error> {
        self.create_topic_with(name, partitions, &[]).await
    }

    /// Creates a topic with these configuration keys and values.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `TopicAlreadyExists`; those of [`Connection::call`].
    pub async fn create_topic_with(
        &self,
        name: &TopicName,
        partitions: u32,
        config: &[(&str, &str)],
    ) -> Result<(), Error> {
        let shape = TopicShape {
            partitions: Some(partitions),
            replicas: Some(1),
        };
        self.create_topic_shaped(name, shape, config).await
    }

    /// Creates a topic of this shape with these configuration keys and values.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `TopicAlreadyExists`; those of [`Connection::call`].
    pub async fn create_topic_shaped(
        &self,
        name: &TopicName,
        shape: TopicShape,
        config: &[(&str, &str)],
    ) -> Result<(), Error> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = config.iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(text(key))
                .with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(wire_name(name))
            .with_num_partitions(
                shape
                    .partitions
                    .map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX)),
            )
            .with_replication_factor(shape.replicas.unwrap_or(-1))
            .with_configs(config.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        let answer: CreateTopicsResponse =
            self.connection.call(Api::CreateTopics, &request).await?;
        for topic in answer.topics {
            check(
                Api::CreateTopics,
                topic.error_code,
                topic.error_message.as_deref(),
            )?;
        }
        Ok(())
    }

    /// Removes a topic and its records.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        let request = DeleteTopicsRequest::default().with_timeout_ms(ADMIN_TIMEOUT_MS);
        let name = wire_name(name);
        let request = if self.connection.version(Api::DeleteTopics)? >= 6 {
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(name))])
        } else {
            request.with_topic_names(vec![name])
        };
        let answer: DeleteTopicsResponse =
            self.connection.call(Api::DeleteTopics, &request).await?;
        for topic in answer.responses {
            check(
                Api::DeleteTopics,
                topic.error_code,
                topic.error_message.as_deref(),
            )?;
        }
        Ok(())
    }

    /// These topics, or all. None is created by asking.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them does not exist; those of [`Connection::call`].
    pub async fn topics(&self, names: Option<&[TopicName]>) -> Result<Vec<TopicMetadata>, Error> {
        let topic =
            |name: &TopicName| MetadataRequestTopic::default().with_name(Some(wire_name(name)));
        let request = MetadataRequest::default()
            .with_topics(names.map(|names| names.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = self.connection.call(Api::Metadata, &request).await?;
        let mut topics = Vec::with_capacity(answer.topics.len());
        for topic in answer.topics {
            let name = topic.name.as_ref().map_or("", |name| name.as_str());
            check(Api::Metadata, topic.error_code, Some(name))?;
            let name = TopicName::new(name).map_err(|_| Error::Answer {
                api: Api::Metadata,
                reason: "a topic has a name that cannot be one",
            })?;
            topics.push(TopicMetadata {
                name,
                partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
                id: TopicId::from_bytes(topic.topic_id.into_bytes()),
            });
        }
        Ok(topics)
    }

    /// The offset of a place; `None` when there is no record at or after the time asked for.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn offset(&self, of: &TopicPartition, place: Place) -> Result<Option<Offset>, Error> {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(wire_index(of.partition))
            .with_timestamp(place.timestamp());
        let topic = ListOffsetsTopic::default()
            .with_name(wire_name(&of.topic))
            .with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            // As consumers read: not beyond an open transaction.
            .with_isolation_level(1)
            .with_topics(vec![topic]);
        let answer: ListOffsetsResponse = self.connection.call(Api::ListOffsets, &request).await?;
        let found = answer
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        let Some(found) = found else {
            return Err(Error::Answer {
                api: Api::ListOffsets,
                reason: "the partition asked about is missing",
            });
        };
        check(Api::ListOffsets, found.error_code, None)?;
        Ok(Offset::from_i64(found.offset))
    }

    /// A new identity for an idempotent producer: its id and epoch, for
    /// [`record::BatchBuilder::producer`].
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`Connection::call`].
    pub async fn new_producer_id(&self) -> Result<(i64, i16), Error> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer: InitProducerIdResponse =
            self.connection.call(Api::InitProducerId, &request).await?;
        check(Api::InitProducerId, answer.error_code, None)?;
        Ok((answer.producer_id.0, answer.producer_epoch))
    }
}
