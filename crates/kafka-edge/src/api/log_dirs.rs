//! DescribeLogDirs: how many bytes partitions take. There is one folder, whose path is nobody's business.

use std::collections::BTreeMap;

use kafka_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use model::{PartitionId, TopicPartition};

use super::metadata::wire_name;
use crate::context::{Call, partition, text};

/// What the folder is called.
const FOLDER: &str = "data";

/// Serves DescribeLogDirs, of some partitions or all. Those that do not exist are left out, as Kafka does.
pub(crate) fn describe(call: &Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let asked: Vec<TopicPartition> = match request.topics {
        None => {
            let all = call.broker().topics();
            let all = all.values().flat_map(|info| {
                let numbers = (0..info.partitions).map(PartitionId::new);
                numbers.map(|number| TopicPartition::new(info.name.clone(), number))
            });
            all.collect()
        }
        Some(topics) => {
            let all = topics.iter().flat_map(|topic| {
                let numbers = topic.partitions.iter();
                numbers.filter_map(|number| partition(&topic.topic, *number).ok())
            });
            all.collect()
        }
    };
    let mut topics: BTreeMap<_, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for at in asked {
        let Some(size) = call.broker().size(&at) else {
            continue;
        };
        let one = DescribeLogDirsPartition::default()
            .with_partition_index(i32::try_from(at.partition.get()).unwrap_or(i32::MAX))
            .with_partition_size(i64::try_from(size.bytes()).unwrap_or(i64::MAX));
        topics.entry(at.topic).or_default().push(one);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default()
            .with_name(wire_name(&name))
            .with_partitions(partitions)
    });
    let folder = DescribeLogDirsResult::default()
        .with_log_dir(text(FOLDER))
        .with_topics(topics.collect());
    DescribeLogDirsResponse::default().with_results(vec![folder])
}
