//! The topic `lantern.metrics`.

use std::time::Duration;

use broker::{Broker, Error, TopicConfig, TopicSpec, ensure_topic};
use model::limits::METRICS_TOPIC;
use model::{PartitionId, TopicName, TopicPartition};
use stdx::ByteSize;

/// Samples stay in the log this much longer than in memory, so that a start finds all it replays.
const SLACK: Duration = Duration::from_mins(30);

/// The one partition of `lantern.metrics`.
pub(crate) fn partition() -> TopicPartition {
    let topic = TopicName::new(METRICS_TOPIC).expect("a constant that is a topic name");
    TopicPartition::new(topic, PartitionId::new(0))
}

/// Makes sure that `lantern.metrics` is there and keeps records as long as the store needs them.
///
/// # Errors
/// Those of the broker.
pub async fn ensure_metrics_topic(broker: &dyn Broker, retention: Duration) -> Result<(), Error> {
    let name = partition().topic;
    let config = TopicConfig {
        retention: Some(retention + SLACK),
        segment_bytes: ByteSize::from_mib(64),
        // Old samples leave in steps of this.
        segment_age: Duration::from_mins(30),
        batch_bytes: ByteSize::from_mib(16),
        ..TopicConfig::default()
    };
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 1,
        config: config.clone(),
    };
    let topic = ensure_topic(broker, spec).await?;
    if topic.config.retention != config.retention {
        broker.configure_topic(&name, config).await?;
    }
    Ok(())
}
