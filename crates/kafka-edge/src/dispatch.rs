//! Which handler serves which request.

use kafka_wire::Request;

use crate::answer::Answer;
use crate::api::{
    cluster, configs, consumer_groups, coordinator, epochs, fetch, group_admin, group_offsets,
    list_offsets, log_dirs, membership, metadata, partitions, produce, producer_ids, records,
    topics, transactions, txn_admin, txn_offsets,
};
use crate::context::{Call, Fatal};

/// Serves one request.
pub(crate) async fn dispatch(call: Call, request: Request) -> Result<Answer, Fatal> {
    match request {
        Request::Produce(request) => produce::produce(call, request).await,
        Request::Fetch(request) => fetch::fetch(&call, request).await,
        Request::ListOffsets(request) => {
            call.reply(&list_offsets::list_offsets(&call, request).await)
        }
        Request::Metadata(request) => call.reply(&metadata::metadata(&call, request).await),
        Request::OffsetCommit(request) => {
            call.reply(&group_offsets::offset_commit(&call, request).await)
        }
        Request::OffsetFetch(request) => {
            call.reply(&group_offsets::offset_fetch(&call, request).await)
        }
        Request::OffsetDelete(request) => {
            call.reply(&group_offsets::offset_delete(&call, request).await)
        }
        Request::FindCoordinator(request) => {
            call.reply(&coordinator::find_coordinator(&call, request))
        }
        Request::JoinGroup(request) => call.reply(&membership::join_group(&call, request).await?),
        Request::SyncGroup(request) => call.reply(&membership::sync_group(&call, request).await?),
        Request::Heartbeat(request) => call.reply(&membership::heartbeat(&call, &request)),
        Request::LeaveGroup(request) => call.reply(&membership::leave_group(&call, request)),
        Request::DescribeGroups(request) => {
            call.reply(&group_admin::describe_groups(&call, request).await)
        }
        Request::ListGroups(request) => call.reply(&group_admin::list_groups(&call, request).await),
        Request::DeleteGroups(request) => {
            call.reply(&group_admin::delete_groups(&call, request).await)
        }
        Request::ApiVersions(request) => call.reply(&cluster::api_versions(&call, &request)),
        Request::CreateTopics(request) => call.reply(&topics::create_topics(&call, request).await),
        Request::DeleteTopics(request) => call.reply(&topics::delete_topics(&call, request).await),
        Request::DeleteRecords(request) => {
            call.reply(&records::delete_records(&call, request).await)
        }
        Request::InitProducerId(request) => {
            call.reply(&producer_ids::init_producer_id(&call, request).await)
        }
        Request::OffsetForLeaderEpoch(request) => {
            call.reply(&epochs::offset_for_leader_epoch(&call, request).await)
        }
        Request::AddPartitionsToTxn(request) => {
            call.reply(&transactions::add_partitions(&call, request).await)
        }
        Request::AddOffsetsToTxn(request) => {
            call.reply(&transactions::add_offsets(&call, request).await)
        }
        Request::EndTxn(request) => call.reply(&transactions::end(&call, request).await),
        Request::TxnOffsetCommit(request) => call.reply(&txn_offsets::commit(&call, request).await),
        Request::DescribeProducers(request) => {
            call.reply(&txn_admin::describe_producers(&call, request).await)
        }
        Request::DescribeTransactions(request) => {
            call.reply(&txn_admin::describe(&call, request).await)
        }
        Request::ListTransactions(request) => call.reply(&txn_admin::list(&call, request).await),
        Request::DescribeConfigs(request) => call.reply(&configs::describe_configs(&call, request)),
        Request::AlterConfigs(request) => call.reply(&configs::alter_configs(&call, request).await),
        Request::IncrementalAlterConfigs(request) => {
            call.reply(&configs::incremental_alter_configs(&call, request).await)
        }
        Request::DescribeLogDirs(request) => call.reply(&log_dirs::describe(&call, request).await),
        Request::CreatePartitions(request) => {
            call.reply(&partitions::create_partitions(&call, request).await)
        }
        Request::ListPartitionReassignments(_) => {
            call.reply(&partitions::list_partition_reassignments())
        }
        Request::DescribeCluster(request) => {
            call.reply(&cluster::describe_cluster(&call, &request))
        }
        Request::ConsumerGroupHeartbeat(request) => {
            call.reply(&consumer_groups::heartbeat(&call, request).await?)
        }
        Request::ConsumerGroupDescribe(request) => {
            call.reply(&consumer_groups::describe(&call, request))
        }
        Request::DescribeTopicPartitions(request) => {
            call.reply(&metadata::describe_topic_partitions(&call, &request))
        }
    }
}
