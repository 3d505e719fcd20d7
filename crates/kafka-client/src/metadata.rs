//! What a cluster is made of: servers, topics, partitions and who leads them.

use kafka_wire::messages::metadata_request::MetadataRequestTopic;
use kafka_wire::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_wire::messages::{BrokerId, MetadataRequest, MetadataResponse};
use kafka_wire::{Api, ErrorCode};
use model::{PartitionId, TopicId, TopicName};

use crate::admin::wire_name;
use crate::error::check;
use crate::{Connection, Error};

/// A cluster as one of its servers describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's own name for itself, if it has one.
    pub cluster_id: Option<String>,
    /// The server that takes changes, if it is known.
    pub controller: Option<i32>,
    /// Its servers.
    pub brokers: Vec<BrokerMetadata>,
    /// The topics asked about, those that do not exist among them.
    pub topics: Vec<TopicDetail>,
}

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerMetadata {
    /// Its number.
    pub id: i32,
    /// Where it says it is, `host:port`.
    pub address: String,
}

/// One topic of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDetail {
    /// Its name.
    pub name: TopicName,
    /// Its identity; all zero from servers that give none.
    pub id: TopicId,
    /// Whether the cluster keeps its own state in it.
    pub internal: bool,
    /// Why nothing else is known of it, e.g. `UnknownTopicOrPartition`.
    pub error: Option<ErrorCode>,
    /// Its partitions by number.
    pub partitions: Vec<PartitionDetail>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDetail {
    /// Its number.
    pub id: PartitionId,
    /// The server that takes and gives its records; none while it is being elected.
    pub leader: Option<i32>,
    /// The servers that keep it.
    pub replicas: Vec<i32>,
    /// Those that keep up.
    pub in_sync: Vec<i32>,
}

/// Asks `connection` about these topics, or all. None is created by asking.
pub(crate) async fn ask(
    connection: &Connection,
    names: Option<&[TopicName]>,
) -> Result<Metadata, Error> {
    let topic = |name: &TopicName| MetadataRequestTopic::default().with_name(Some(wire_name(name)));
    let request = MetadataRequest::default()
        .with_topics(names.map(|names| names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false);
    let answer: MetadataResponse = connection.call(Api::Metadata, &request).await?;
    check(Api::Metadata, answer.error_code, None)?;
    let brokers = answer.brokers.into_iter().map(|broker| BrokerMetadata {
        id: broker.node_id.0,
        address: address(&broker.host, broker.port),
    });
    let topics = answer.topics.into_iter().map(topic_detail);
    Ok(Metadata {
        cluster_id: answer.cluster_id.map(|id| id.to_string()),
        controller: known(answer.controller_id),
        brokers: brokers.collect(),
        topics: topics.collect::<Result<_, _>>()?,
    })
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn known(id: BrokerId) -> Option<i32> {
    (id.0 >= 0).then_some(id.0)
}

fn topic_detail(topic: MetadataResponseTopic) -> Result<TopicDetail, Error> {
    let name = topic.name.as_ref().map_or("", |name| name.as_str());
    let name = TopicName::new(name).map_err(|_| Error::Answer {
        api: Api::Metadata,
        reason: "a topic has a name that cannot be one",
    })?;
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .filter_map(partition_detail)
        .collect();
    partitions.sort_by_key(|partition| partition.id);
    Ok(TopicDetail {
        name,
        id: TopicId::from_bytes(topic.topic_id.into_bytes()),
        internal: topic.is_internal,
        error: ErrorCode::try_from_code(topic.error_code),
        partitions,
    })
}

fn partition_detail(partition: MetadataResponsePartition) -> Option<PartitionDetail> {
    let numbers = |ids: Vec<BrokerId>| ids.into_iter().map(|id| id.0).collect();
    Some(PartitionDetail {
        id: PartitionId::new(u32::try_from(partition.partition_index).ok()?),
        leader: known(partition.leader_id),
        replicas: numbers(partition.replica_nodes),
        in_sync: numbers(partition.isr_nodes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_gets_its_brackets() {
        assert_eq!(address("kafka.example", 9092), "kafka.example:9092");
        assert_eq!(address("::1", 9092), "[::1]:9092");
    }
}
