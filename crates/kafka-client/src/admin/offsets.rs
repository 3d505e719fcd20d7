//! Offsets of places in many partitions that one server leads.

use std::collections::BTreeMap;

use kafka_wire::Api;
use kafka_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use model::{Offset, PartitionId, TopicName, TopicPartition};

use super::{Admin, Place, wire_index, wire_name};
use crate::error::check;
use crate::{Error, Isolation};

impl Place {
    /// How the protocol says it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Time(time) => time.millis(),
        }
    }
}

impl Admin {
    /// The offset of a place in each of these partitions, which this server leads; none where there
    /// is no record at or after the time asked for.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code of the first partition that failed; those of
    /// [`crate::Connection::call`].
    pub async fn offsets(
        &self,
        of: &[TopicPartition],
        place: Place,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, Error> {
        let mut topics: BTreeMap<&TopicName, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for partition in of {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(wire_index(partition.partition))
                .with_timestamp(place.timestamp());
            topics.entry(&partition.topic).or_default().push(asked);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            ListOffsetsTopic::default()
                .with_name(wire_name(name))
                .with_partitions(partitions)
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation.number())
            .with_topics(topics.collect());
        let answer: ListOffsetsResponse = self.connection.call(Api::ListOffsets, &request).await?;
        let mut found = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                check(Api::ListOffsets, partition.error_code, Some(&topic.name))?;
                let at = named(&topic.name, partition.partition_index, Api::ListOffsets)?;
                found.insert(at, Offset::from_i64(partition.offset));
            }
        }
        if found.len() != of.len() {
            return Err(Error::Answer {
                api: Api::ListOffsets,
                reason: "a partition asked about is missing",
            });
        }
        Ok(found)
    }
}

/// A partition that an answer names.
pub(crate) fn named(topic: &str, index: i32, api: Api) -> Result<TopicPartition, Error> {
    let strange = |()| Error::Answer {
        api,
        reason: "it names a partition that cannot be one",
    };
    let name = TopicName::new(topic).map_err(|_| strange(()))?;
    let index = u32::try_from(index).map_err(|_| strange(()))?;
    Ok(TopicPartition::new(name, PartitionId::new(index)))
}
