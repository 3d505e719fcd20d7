//! The bytes inside JoinGroup and SyncGroup that only members read. Source: ConsumerProtocol\*.json of Kafka.
//!
//! Each begins with its version in two bytes. Version 0 is written, all are read.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_wire::messages::consumer_protocol_assignment::TopicPartition as WireAssigned;
use kafka_wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_wire::{Api, Decodable, Encodable, StrBytes};
use model::{TopicName, TopicPartition};

use crate::Error;
use crate::admin::{named, wire_index, wire_name};

/// The version that every client reads.
const WRITTEN: i16 = 0;

/// The newest version whose fields are known here; later ones only add to it.
const READ_MAX: i16 = 3;

fn malformed(api: Api) -> Error {
    Error::Answer {
        api,
        reason: "what another member wrote into it is malformed",
    }
}

fn encode<B: Encodable>(body: &B) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(WRITTEN);
    // Version 0 has every field that is filled here.
    drop(body.encode(&mut bytes, WRITTEN));
    bytes.freeze()
}

fn decode<B: Decodable>(mut bytes: Bytes, api: Api) -> Result<B, Error> {
    let version = bytes.try_get_i16().map_err(|_| malformed(api))?;
    if version < 0 {
        return Err(malformed(api));
    }
    B::decode(&mut bytes, version.min(READ_MAX)).map_err(|_| malformed(api))
}

pub(crate) fn encode_subscription(topics: &[TopicName]) -> Bytes {
    let topics = topics.iter();
    let topics = topics.map(|topic| StrBytes::from_string(topic.to_string()));
    encode(&ConsumerProtocolSubscription::default().with_topics(topics.collect()))
}

pub(crate) fn decode_subscription(bytes: Bytes) -> Result<Vec<TopicName>, Error> {
    let subscription: ConsumerProtocolSubscription = decode(bytes, Api::JoinGroup)?;
    let topics = subscription.topics.iter();
    topics
        .map(|topic| TopicName::new(topic).map_err(|_| malformed(Api::JoinGroup)))
        .collect()
}

pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut assigned: Vec<WireAssigned> = Vec::new();
    for at in partitions {
        let index = wire_index(at.partition);
        match assigned.last_mut() {
            Some(last) if last.topic.as_str() == at.topic.as_str() => last.partitions.push(index),
            Some(_) | None => assigned.push(
                WireAssigned::default()
                    .with_topic(wire_name(&at.topic))
                    .with_partitions(vec![index]),
            ),
        }
    }
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(assigned))
}

/// No bytes assign nothing.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>, Error> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment: ConsumerProtocolAssignment = decode(bytes, Api::SyncGroup)?;
    let mut partitions = Vec::new();
    for topic in &assignment.assigned_partitions {
        for index in &topic.partitions {
            partitions.push(named(&topic.topic, *index, Api::SyncGroup)?);
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use model::PartitionId;

    use super::*;

    #[test]
    fn subscriptions_and_assignments_come_back() {
        let topics: Vec<TopicName> = vec!["a".parse().unwrap(), "b".parse().unwrap()];
        let decoded = decode_subscription(encode_subscription(&topics)).unwrap();
        assert_eq!(decoded, topics);
        let at = |topic: &TopicName, n| TopicPartition::new(topic.clone(), PartitionId::new(n));
        let partitions = vec![at(&topics[0], 0), at(&topics[0], 2), at(&topics[1], 1)];
        let decoded = decode_assignment(encode_assignment(&partitions)).unwrap();
        assert_eq!(decoded, partitions);
        assert_eq!(decode_assignment(Bytes::new()).unwrap(), []);
        assert!(decode_assignment(Bytes::from_static(b"\0")).is_err());
        assert!(decode_subscription(Bytes::from_static(b"\0\0\0")).is_err());
    }
}
