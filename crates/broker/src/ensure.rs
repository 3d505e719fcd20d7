//! Topics that a service needs and creates when they are missing.

use std::sync::Arc;

use crate::{Broker, Error, TopicInfo, TopicSpec};

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
