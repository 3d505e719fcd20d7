//! Records that go before their time.

use kafka_wire::Api;
use kafka_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use model::{Offset, TopicPartition};

use super::{ADMIN_TIMEOUT_MS, Admin, wire_index, wire_name};
use crate::Error;
use crate::error::check;

impl Admin {
    /// Removes all records of a partition before `until`.
    ///
    /// # Errors
    /// [`Error::Refused`], e.g. with `OffsetOutOfRange`; those of [`crate::Connection::call`].
    pub async fn delete_records(&self, of: &TopicPartition, until: Offset) -> Result<(), Error> {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(wire_index(of.partition))
            .with_offset(until.as_i64());
        let topic = DeleteRecordsTopic::default()
            .with_name(wire_name(&of.topic))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        let answer: DeleteRecordsResponse =
            self.connection.call(Api::DeleteRecords, &request).await?;
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            check(Api::DeleteRecords, partition.error_code, None)?;
        }
        Ok(())
    }
}
