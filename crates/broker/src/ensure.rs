//! Topics in few words: what one is by default, its partitions, and making it when it is missing.

use std::sync::Arc;

use model::{PartitionId, TopicName, TopicPartition};

use crate::{Broker, Error, TopicConfig, TopicInfo, TopicSpec};

/// The topic `spec.name`, created as `spec` says when it is missing.
///
/// An existing topic is taken as it is, with its own configuration and at least one partition; two
/// callers at once get the same topic.
///
/// # Errors
/// Those of [`Broker::create_topic`], except that the topic exists.
pub async fn ensure_topic(broker: &dyn Broker, spec: TopicSpec) -> Result<Arc<TopicInfo>, Error> {
    let name = spec.name.clone();
    if let Some(topic) = broker.topic(&name) {
        return Ok(topic);
    }
    match broker.create_topic(spec).await {
        Err(Error::TopicExists { .. }) => broker
            .topic(&name)
            .ok_or(Error::UnknownTopic { topic: name }),
        answer => answer,
    }
}

impl TopicSpec {
    /// A topic with so many partitions that keeps records as by default.
    pub fn new(name: TopicName, partitions: u32) -> Self {
        Self {
            name,
            partitions,
            config: TopicConfig::default(),
        }
    }
}

impl TopicInfo {
    /// Its partition of this number, which may be one that it does not have.
    pub fn partition(&self, number: u32) -> TopicPartition {
        TopicPartition::new(self.name.clone(), PartitionId::new(number))
    }
}
