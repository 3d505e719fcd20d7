//! What is Lantern's own: its topics, its listeners' groups and transactions. Clients read it, and change nothing of it.

use kafka_wire::messages::*;
use kafka_wire::{Api, ErrorCode};

use crate::support::{Raw, Server, text, wire_name};

const GROUP: &str = "lantern-listener-billing";

fn group() -> GroupId {
    GroupId(text(GROUP))
}

async fn commit(client: &mut Raw, group: GroupId) -> i16 {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(7)
        .with_committed_metadata(Some(text("v1:0,ffffffffffffffff")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(wire_name("orders"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group)
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer: OffsetCommitResponse = client.call(Api::OffsetCommit, 8, &request).await;
    answer.topics[0].partitions[0].error_code
}

/// What is committed of partition 0 of orders.
async fn committed(client: &mut Raw) -> (i16, i64) {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = OffsetFetchRequestTopics::default()
        .with_name(wire_name("orders"))
        .with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer: OffsetFetchResponse = client.call(Api::OffsetFetch, 8, &request).await;
    let group = &answer.groups[0];
    let offset = group.topics[0].partitions[0].committed_offset;
    (group.error_code, offset)
}

#[tokio::test]
async fn groups_of_listeners_take_no_commit_and_no_member() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let refused = ErrorCode::GroupAuthorizationFailed.code();
    assert_eq!(commit(&mut client, group()).await, refused);

    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let joined: JoinGroupResponse = client.call(Api::JoinGroup, 5, &join).await;
    assert_eq!(joined.error_code, refused);

    let beat = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text("me"))
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(vec![wire_name("orders")]))
        .with_topic_partitions(Some(vec![]));
    let beaten: ConsumerGroupHeartbeatResponse =
        client.call(Api::ConsumerGroupHeartbeat, 1, &beat).await;
    assert_eq!(beaten.error_code, refused);

    let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
    let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
        .with_name(wire_name("orders"))
        .with_partitions(vec![partition]);
    let delete = OffsetDeleteRequest::default()
        .with_group_id(group())
        .with_topics(vec![topic]);
    let deleted: OffsetDeleteResponse = client.call(Api::OffsetDelete, 0, &delete).await;
    assert_eq!(deleted.error_code, refused);

    // Reading is free, and shows that nothing came in.
    assert_eq!(committed(&mut client).await, (0, -1));
    let other = GroupId(text("lanterns"));
    assert_eq!(commit(&mut client, other).await, 0);
}

#[tokio::test]
async fn transactions_of_listeners_are_not_begun_or_ended_by_others() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
    let id = || TransactionalId(text(GROUP));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000);
    let begun: InitProducerIdResponse = client.call(Api::InitProducerId, 4, &init).await;
    assert_eq!(begun.error_code, refused);
    let end = EndTxnRequest::default().with_transactional_id(id());
    let ended: EndTxnResponse = client.call(Api::EndTxn, 3, &end).await;
    assert_eq!(ended.error_code, refused);

    // Nor does another transaction carry commits into their groups.
    let mine = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("mine"))))
        .with_transaction_timeout_ms(60_000);
    let begun: InitProducerIdResponse = client.call(Api::InitProducerId, 4, &mine).await;
    assert_eq!(begun.error_code, 0);
    let add = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text("mine")))
        .with_producer_id(begun.producer_id)
        .with_producer_epoch(begun.producer_epoch)
        .with_group_id(group());
    let added: AddOffsetsToTxnResponse = client.call(Api::AddOffsetsToTxn, 3, &add).await;
    assert_eq!(added.error_code, ErrorCode::GroupAuthorizationFailed.code());
}

#[tokio::test]
async fn own_topics_keep_their_settings() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let refused = ErrorCode::TopicAuthorizationFailed.code();
    for name in ["lantern.groups", "lantern.delayed.billing"] {
        let key = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("0")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name))
            .with_configs(vec![key]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer: IncrementalAlterConfigsResponse =
            client.call(Api::IncrementalAlterConfigs, 1, &request).await;
        assert_eq!(answer.responses[0].error_code, refused, "{name}");
        let reason = answer.responses[0].error_message.as_deref();
        assert!(
            reason.is_some_and(|reason| reason.contains(name)),
            "{reason:?}"
        );
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name));
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        let answer: AlterConfigsResponse = client.call(Api::AlterConfigs, 2, &request).await;
        assert_eq!(answer.responses[0].error_code, refused, "{name}");
    }
}
