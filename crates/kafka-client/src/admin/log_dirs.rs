//! Bytes that one server keeps.

use std::collections::BTreeMap;

use kafka_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_wire::{Api, ErrorCode};
use model::TopicPartition;

use super::Admin;
use super::offsets::named;
use crate::Error;
use crate::error::check;

impl Admin {
    /// Bytes of every partition that this server keeps, over all its disks. What is on one that is out of service is not
    /// known.
    ///
    /// # Errors
    /// [`Error::Refused`]; those of [`crate::Connection::call`].
    pub async fn sizes(&self) -> Result<BTreeMap<TopicPartition, u64>, Error> {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let answer: DescribeLogDirsResponse =
            self.connection.call(Api::DescribeLogDirs, &request).await?;
        check(Api::DescribeLogDirs, answer.error_code, None)?;
        let mut sizes = BTreeMap::new();
        for folder in answer.results {
            if folder.error_code == ErrorCode::KafkaStorageError.code() {
                continue;
            }
            check(
                Api::DescribeLogDirs,
                folder.error_code,
                Some(&folder.log_dir),
            )?;
            for topic in folder.topics {
                // A partition that moves to another disk is there twice until it has.
                for one in topic.partitions.iter().filter(|one| !one.is_future_key) {
                    let at = named(&topic.name, one.partition_index, Api::DescribeLogDirs)?;
                    let size = u64::try_from(one.partition_size).unwrap_or(0);
                    *sizes.entry(at).or_default() += size;
                }
            }
        }
        Ok(sizes)
    }
}
