//! DescribeLogDirs: how many bytes partitions take, by log directory, whose path is nobody's business. One that is out of
//! service has the error that Kafka gives it, and no partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::ErrorCode;
use kafka_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use model::{PartitionId, TopicName, TopicPartition};

use super::metadata::wire_name;
use crate::context::{Call, partition, text};

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
    let mut folders: BTreeMap<Arc<str>, Folder> = BTreeMap::new();
    for at in asked {
        let Some(kept) = call.broker().kept(&at) else {
            continue;
        };
        let folder = folders.entry(kept.log_dir).or_default();
        if kept.offline {
            folder.offline = true;
            continue;
        }
        let one = DescribeLogDirsPartition::default()
            .with_partition_index(i32::try_from(at.partition.get()).unwrap_or(i32::MAX))
            .with_partition_size(i64::try_from(kept.size.bytes()).unwrap_or(i64::MAX));
        folder.topics.entry(at.topic).or_default().push(one);
    }
    let folders = folders
        .into_iter()
        .map(|(name, folder)| folder.result(&name));
    DescribeLogDirsResponse::default().with_results(folders.collect())
}

/// One log directory.
#[derive(Default)]
struct Folder {
    offline: bool,
    topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>>,
}

impl Folder {
    fn result(self, name: &str) -> DescribeLogDirsResult {
        let topics = self.topics.into_iter().map(|(name, partitions)| {
            DescribeLogDirsTopic::default()
                .with_name(wire_name(&name))
                .with_partitions(partitions)
        });
        let result = DescribeLogDirsResult::default()
            .with_log_dir(text(name))
            .with_topics(topics.collect());
        if self.offline {
            return result.with_error_code(ErrorCode::KafkaStorageError.code());
        }
        result
    }
}
