//! DescribeLogDirs: how many bytes partitions take, by log directory, whose path is nobody's business, and how full its disk is
//! (KIP-827). One that is out of service has the error that Kafka gives it, and no partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::Space;
use kafka_wire::ErrorCode;
use kafka_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use model::{PartitionId, TopicName, TopicPartition};

use super::metadata::wire_name;
use crate::context::{Call, partition, text};

/// Serves DescribeLogDirs, of some partitions or all. Those that do not exist are left out, and every log directory is told, as
/// Kafka does.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
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
    let broker = Arc::clone(call.broker());
    // A disk may take its time.
    let dirs = tokio::task::spawn_blocking(move || broker.log_dirs()).await;
    let dirs = dirs.unwrap_or_default().into_iter();
    let mut folders: BTreeMap<Arc<str>, Folder> = dirs
        .map(|dir| {
            let folder = Folder {
                offline: dir.offline,
                space: dir.space,
                topics: BTreeMap::new(),
            };
            (dir.name, folder)
        })
        .collect();
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
    space: Option<Space>,
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
        let Some(Space { total, available }) = self.space else {
            return result;
        };
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        result
            .with_total_bytes(bytes(total))
            .with_usable_bytes(bytes(available))
    }
}
