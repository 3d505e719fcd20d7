//! Groups of the consumer protocol (KIP-848) over the wire: sharing, refusals, offsets by epoch, and
//! changing between the protocols.

use kafka_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_wire::messages::*;
use kafka_wire::{Api, StrBytes};

use crate::support::{Raw, Server, text, wire_name};

const HEARTBEAT: Api = Api::ConsumerGroupHeartbeat;

fn group() -> GroupId {
    GroupId(text("followers"))
}

/// A first heartbeat, or a whole one.
fn whole(member: &str, epoch: i32, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    let names = topics.iter().map(|name| wire_name(name));
    beat(member, epoch)
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(names.collect()))
        .with_topic_partitions(Some(vec![]))
}

/// A heartbeat that says nothing new.
fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

async fn send(
    client: &mut Raw,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    client.call(HEARTBEAT, 1, request).await
}

/// What an answer assigns: `None` when it says nothing about that.
fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    let topics = answer.assignment.as_ref()?.topic_partitions.iter();
    Some(topics.flat_map(|topic| topic.partitions.clone()).collect())
}

/// The code of a refusal, whose reason must be told.
fn refusal(answer: &ConsumerGroupHeartbeatResponse) -> i16 {
    assert_ne!(answer.error_code, 0);
    let reason = answer.error_message.as_deref().unwrap_or_default();
    assert!(!reason.is_empty(), "{} without a reason", answer.error_code);
    answer.error_code
}

async fn commit(client: &mut Raw, version: i16, member: &str, epoch: i32) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(wire_name("orders"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic]);
    let answer: OffsetCommitResponse = client.call(Api::OffsetCommit, version, &request).await;
    answer.topics[0].partitions[0].error_code
}

/// The code and the offset of partition 0.
async fn fetch(client: &mut Raw, member: Option<&str>, epoch: i32) -> (i16, i64) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(wire_name("orders"))
        .with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id(member.map(text))
        .with_member_epoch(epoch)
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer: OffsetFetchResponse = client.call(Api::OffsetFetch, 9, &request).await;
    let answer = &answer.groups[0];
    let found = answer.topics.first();
    let offset = found.map_or(-1, |topic| topic.partitions[0].committed_offset);
    (answer.error_code, offset)
}

async fn listed(client: &mut Raw, kinds: &[&str]) -> Vec<(String, String)> {
    let kinds = kinds.iter().map(|kind| text(kind)).collect();
    let request = ListGroupsRequest::default().with_types_filter(kinds);
    let answer: ListGroupsResponse = client.call(Api::ListGroups, 5, &request).await;
    let groups = answer.groups.iter();
    groups
        .map(|one| (one.group_type.to_string(), one.group_state.to_string()))
        .collect()
}

/// The old way of joining.
async fn join_classic(client: &mut Raw, member: &StrBytes) -> JoinGroupResponse {
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    client.call(Api::JoinGroup, 9, &request).await
}

#[tokio::test]
async fn two_members_share_and_offsets_are_checked_by_epoch() {
    let server = Server::start().await;
    let topic = server.topic("orders", 4).await;
    let id = server_id(&server, topic.as_str());
    let mut client = server.client().await;

    let one = send(&mut client, &whole("one", 0, &["orders"])).await;
    assert_eq!(assigned(&one), Some(vec![0, 1, 2, 3]));
    assert_eq!((one.member_epoch, one.heartbeat_interval_ms), (1, 5_000));
    let two = send(&mut client, &whole("two", 0, &["orders"])).await;
    assert_eq!((assigned(&two), two.member_epoch), (Some(vec![]), 2));

    // The first is asked to give back half; null says nothing about it, a list does.
    let asked = send(&mut client, &beat("one", 1)).await;
    assert_eq!(
        (assigned(&asked), asked.member_epoch),
        (Some(vec![0, 1]), 1)
    );
    let silent = send(&mut client, &beat("one", 1)).await;
    assert_eq!((assigned(&silent), silent.member_epoch), (None, 1));
    assert_eq!(assigned(&send(&mut client, &beat("two", 2)).await), None);
    let owned = TopicPartitions::default()
        .with_topic_id(id)
        .with_partitions(vec![0, 1]);
    let gave = beat("one", 1).with_topic_partitions(Some(vec![owned]));
    assert_eq!(send(&mut client, &gave).await.member_epoch, 2);
    let given = send(&mut client, &beat("two", 2)).await;
    assert_eq!(assigned(&given), Some(vec![2, 3]));

    // Offsets are a member's of its own epoch.
    assert_eq!(commit(&mut client, 9, "one", 2).await, 0);
    assert_eq!(commit(&mut client, 9, "one", 1).await, 113, "stale epoch");
    assert_eq!(commit(&mut client, 8, "one", 1).await, 35, "who knows none");
    assert_eq!(commit(&mut client, 9, "ghost", 2).await, 25);
    assert_eq!(commit(&mut client, 9, "", -1).await, 25, "it has members");
    assert_eq!(fetch(&mut client, Some("one"), 2).await, (0, 7));
    assert_eq!(fetch(&mut client, Some("one"), 1).await.0, 113);
    assert_eq!(fetch(&mut client, Some("ghost"), 2).await.0, 25);
    assert_eq!(fetch(&mut client, None, -1).await, (0, 7), "a tool");

    // Administrators.
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    let described: ConsumerGroupDescribeResponse =
        client.call(Api::ConsumerGroupDescribe, 1, &request).await;
    let described = &described.groups[0];
    assert_eq!(
        (&*described.group_state, &*described.assignor_name),
        ("Stable", "uniform")
    );
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    let member = &described.members[1];
    assert_eq!((&*member.member_id, member.member_epoch), ("two", 2));
    let has = &member.assignment.topic_partitions[0];
    assert_eq!(
        (&**has.topic_name, &*has.partitions),
        ("orders", &[2, 3][..])
    );
    let request = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let classic: DescribeGroupsResponse = client.call(Api::DescribeGroups, 5, &request).await;
    assert_eq!(
        &*classic.groups[0].group_state, "Dead",
        "not of that protocol"
    );
    let expected = vec![("consumer".to_owned(), "Stable".to_owned())];
    assert_eq!(listed(&mut client, &[]).await, expected);
    assert_eq!(listed(&mut client, &["Consumer"]).await, expected);
    assert_eq!(listed(&mut client, &["classic"]).await, vec![]);
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let deleted: DeleteGroupsResponse = client.call(Api::DeleteGroups, 2, &delete).await;
    assert_eq!(deleted.results[0].error_code, 68);

    // One leaves, the other gets all; the last one leaves, and the group can be deleted.
    assert_eq!(send(&mut client, &beat("two", -1)).await.member_epoch, -1);
    let all = send(&mut client, &beat("one", 2)).await;
    assert_eq!(assigned(&all), Some(vec![0, 1, 2, 3]));
    send(&mut client, &beat("one", -1)).await;
    assert_eq!(commit(&mut client, 9, "", -1).await, 0, "nobody is in it");
    let deleted: DeleteGroupsResponse = client.call(Api::DeleteGroups, 2, &delete).await;
    assert_eq!(deleted.results[0].error_code, 0);
    assert_eq!(refusal(&send(&mut client, &beat("one", 2)).await), 69);
    assert_eq!(fetch(&mut client, None, -1).await, (0, -1));
}

fn server_id(server: &Server, topic: &str) -> uuid::Uuid {
    let info = broker::Broker::topic(&*server.broker, &topic.parse().unwrap()).unwrap();
    uuid::Uuid::from_bytes(info.id.bytes())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_code_and_a_reason() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let orders = || whole("one", 0, &["orders"]);
    let refused = [
        (beat("one", 3), 69, "no such group"),
        (orders().with_group_id(GroupId(text(""))), 24, "no group id"),
        (orders().with_member_id(text("")), 42, "no member id"),
        (orders().with_rebalance_timeout_ms(-1), 42, "no timeout"),
        (orders().with_subscribed_topic_names(None), 42, "no topics"),
        (orders().with_topic_partitions(None), 42, "no partitions"),
        (orders().with_member_epoch(-3), 42, "no epoch"),
        (orders().with_member_epoch(-2), 42, "not static"),
        (orders().with_instance_id(Some(text(""))), 42, "empty"),
        (orders().with_server_assignor(Some(text("best"))), 112, ""),
        (
            orders().with_subscribed_topic_regex(Some(text("(a"))),
            128,
            "",
        ),
    ];
    for (request, code, what) in refused {
        assert_eq!(refusal(&send(&mut client, &request).await), code, "{what}");
    }
    assert_eq!(listed(&mut client, &[]).await, vec![], "no group was left");

    let fixed = orders().with_instance_id(Some(text("fixed")));
    assert_eq!(send(&mut client, &fixed).await.error_code, 0);
    let thief = fixed.clone().with_member_id(text("thief"));
    assert_eq!(refusal(&send(&mut client, &thief).await), 111);
    let thief = thief.with_member_epoch(1);
    assert_eq!(refusal(&send(&mut client, &thief).await), 82);
    assert_eq!(refusal(&send(&mut client, &beat("one", 9)).await), 110);
    assert_eq!(refusal(&send(&mut client, &beat("two", 1)).await), 25);
    let by_pattern = whole("three", 0, &[]).with_subscribed_topic_regex(Some(text("ord.*")));
    let joined = send(&mut client, &by_pattern).await;
    assert_eq!(assigned(&joined), Some(vec![]));

    // Away and back under another id: the same partition, and nobody was disturbed.
    let away = beat("one", -2).with_instance_id(Some(text("fixed")));
    assert_eq!(send(&mut client, &away).await.member_epoch, -2);
    let back = whole("one again", 0, &["orders"]).with_instance_id(Some(text("fixed")));
    let back = send(&mut client, &back).await;
    assert_eq!((assigned(&back), back.member_epoch), (Some(vec![0]), 2));
    assert_eq!(refusal(&send(&mut client, &beat("one", 1)).await), 25);

    // Version 0 has members without ids; they get one.
    let answer: ConsumerGroupHeartbeatResponse =
        client.call(HEARTBEAT, 0, &whole("", 0, &["orders"])).await;
    assert!(answer.member_id.is_some_and(|id| id.starts_with("test-")));
}

#[tokio::test]
async fn an_empty_group_changes_its_protocol_and_one_with_members_refuses() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let first = || whole("one", 0, &["orders"]);

    // From committed offsets alone to the consumer protocol.
    assert_eq!(commit(&mut client, 9, "", -1).await, 0);
    let classic = |state: &str| vec![("classic".to_owned(), state.to_owned())];
    assert_eq!(listed(&mut client, &[]).await, classic("Empty"));
    assert_eq!(send(&mut client, &first()).await.error_code, 0);
    assert_eq!(fetch(&mut client, Some("one"), 1).await, (0, 7));

    // A classic member is refused as long as somebody is there.
    let nobody = StrBytes::new();
    assert_eq!(join_classic(&mut client, &nobody).await.error_code, 23);
    send(&mut client, &beat("one", -1)).await;
    let told = join_classic(&mut client, &nobody).await;
    assert_eq!(told.error_code, 79, "an id first");
    let joined = join_classic(&mut client, &told.member_id).await;
    assert_eq!(joined.error_code, 0);
    assert_eq!(
        listed(&mut client, &[]).await,
        classic("CompletingRebalance")
    );

    // And the other way round.
    assert_eq!(refusal(&send(&mut client, &first()).await), 69);
    let leaving =
        leave_group_request::MemberIdentity::default().with_member_id(joined.member_id.clone());
    let leave = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![leaving]);
    let left: LeaveGroupResponse = client.call(Api::LeaveGroup, 5, &leave).await;
    assert_eq!(left.members[0].error_code, 0);
    assert_eq!(send(&mut client, &first()).await.error_code, 0);
    assert_eq!(fetch(&mut client, Some("one"), 1).await, (0, 7), "kept");
}

#[tokio::test]
async fn unknown_groups_and_older_clients_hear_what_they_know() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    assert_eq!(commit(&mut client, 9, "one", 1).await, 69);
    assert_eq!(commit(&mut client, 8, "one", 1).await, 22);
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("0"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer: DescribeConfigsResponse = client.call(Api::DescribeConfigs, 4, &request).await;
    let value = |name: &str| {
        let found = answer.results[0]
            .configs
            .iter()
            .find(|one| *one.name == *name);
        found
            .and_then(|one| one.value.as_ref())
            .map(ToString::to_string)
    };
    for (name, expected) in [
        ("group.consumer.session.timeout.ms", "45000"),
        ("group.consumer.heartbeat.interval.ms", "5000"),
        ("group.consumer.max.size", "1000"),
        ("group.consumer.assignors", "uniform,range"),
        ("group.coordinator.rebalance.protocols", "classic,consumer"),
    ] {
        assert_eq!(value(name).as_deref(), Some(expected), "{name}");
    }
}
