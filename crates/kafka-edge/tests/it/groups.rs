//! Groups over the wire: two members share, one leaves, the other gets everything.

use bytes::Bytes;
use kafka_wire::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_wire::messages::leave_group_request::MemberIdentity;
use kafka_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_wire::messages::*;
use kafka_wire::{Api, StrBytes};

use crate::support::{Raw, Server, text};

fn group() -> GroupId {
    GroupId(text("readers"))
}

fn join(member: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"wants"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// The first of two steps: an id.
async fn member_id(client: &mut Raw) -> StrBytes {
    let answer: JoinGroupResponse = client
        .call(Api::JoinGroup, 9, &join(&StrBytes::new()))
        .await;
    assert_eq!(answer.error_code, 79);
    answer.member_id
}

fn sync(joined: &JoinGroupResponse, shares: &[(&StrBytes, &'static [u8])]) -> SyncGroupRequest {
    let shares = shares.iter().map(|(member, share)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member).clone())
            .with_assignment(Bytes::from_static(share))
    });
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(shares.collect())
}

async fn heartbeat(client: &mut Raw, joined: &JoinGroupResponse) -> i16 {
    let beat = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    let answer: HeartbeatResponse = client.call(Api::Heartbeat, 4, &beat).await;
    answer.error_code
}

#[tokio::test]
async fn members_share_and_who_stays_gets_all() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    let first = member_id(&mut one).await;
    let second = member_id(&mut two).await;

    // Both join; the rebalance waits for both.
    let one_joins = one.send(Api::JoinGroup, 9, &join(&first)).await;
    let two_joins = two.send(Api::JoinGroup, 9, &join(&second)).await;
    let one_joined: JoinGroupResponse = one.receive(Api::JoinGroup, 9, one_joins).await;
    let two_joined: JoinGroupResponse = two.receive(Api::JoinGroup, 9, two_joins).await;
    assert_eq!((one_joined.error_code, two_joined.error_code), (0, 0));
    assert_eq!(one_joined.generation_id, two_joined.generation_id);
    assert_eq!(one_joined.leader, first, "the first to join leads");
    assert_eq!((one_joined.members.len(), two_joined.members.len()), (2, 0));
    assert_eq!(one_joined.members[0].metadata, "wants");

    // The leader assigns, both are told.
    let two_syncs = two.send(Api::SyncGroup, 5, &sync(&two_joined, &[])).await;
    let shares: [(&StrBytes, &[u8]); 2] = [(&first, b"left"), (&second, b"right")];
    let synced: SyncGroupResponse = one
        .call(Api::SyncGroup, 5, &sync(&one_joined, &shares))
        .await;
    assert_eq!(
        (synced.error_code, synced.assignment),
        (0, Bytes::from_static(b"left"))
    );
    let synced: SyncGroupResponse = two.receive(Api::SyncGroup, 5, two_syncs).await;
    assert_eq!(
        (synced.error_code, synced.assignment),
        (0, Bytes::from_static(b"right"))
    );
    assert_eq!(heartbeat(&mut two, &two_joined).await, 0);

    let described: DescribeGroupsResponse = two
        .call(
            Api::DescribeGroups,
            5,
            &DescribeGroupsRequest::default().with_groups(vec![group()]),
        )
        .await;
    let described = &described.groups[0];
    assert_eq!(&*described.group_state, "Stable");
    assert_eq!(
        (&*described.protocol_type, &*described.protocol_data),
        ("consumer", "range")
    );
    let member = described
        .members
        .iter()
        .find(|member| member.member_id == second)
        .unwrap();
    assert_eq!(
        (&*member.client_id, &*member.client_host),
        ("test", "/127.0.0.1")
    );
    assert_eq!(
        (&*member.member_metadata, &*member.member_assignment),
        (&b"wants"[..], &b"right"[..])
    );

    // A group with members cannot be deleted.
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let deleted: DeleteGroupsResponse = one.call(Api::DeleteGroups, 2, &delete).await;
    assert_eq!(deleted.results[0].error_code, 68);

    // The leader leaves: the other hears of it and gets everything.
    let leaving = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_members(vec![
            MemberIdentity::default().with_member_id(first.clone()),
        ]);
    let left: LeaveGroupResponse = one.call(Api::LeaveGroup, 5, &leaving).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(
        heartbeat(&mut two, &two_joined).await,
        27,
        "rebalance in progress"
    );
    let joined: JoinGroupResponse = two.call(Api::JoinGroup, 9, &join(&second)).await;
    assert_eq!((joined.error_code, &joined.leader), (0, &second));
    let shares: [(&StrBytes, &[u8]); 1] = [(&second, b"all")];
    let synced: SyncGroupResponse = two.call(Api::SyncGroup, 5, &sync(&joined, &shares)).await;
    assert_eq!(synced.assignment, "all");
    assert_eq!(
        heartbeat(&mut two, &two_joined).await,
        22,
        "the old generation is over"
    );
    assert_eq!(heartbeat(&mut two, &joined).await, 0);
}

#[tokio::test]
async fn a_join_that_nobody_waits_for_does_not_keep_its_connection() {
    let server = Server::start().await;
    let mut one = server.client().await;
    let first = member_id(&mut one).await;
    let joined: JoinGroupResponse = one.call(Api::JoinGroup, 9, &join(&first)).await;
    let shares: [(&StrBytes, &[u8]); 1] = [(&first, b"all")];
    let _: SyncGroupResponse = one.call(Api::SyncGroup, 5, &sync(&joined, &shares)).await;
    // A second member waits for the first, which does not come, and goes away.
    let mut two = server.client().await;
    let second = member_id(&mut two).await;
    two.send(Api::JoinGroup, 9, &join(&second)).await;
    while heartbeat(&mut one, &joined).await == 0 {}
    assert_eq!(server.metric("lantern_kafka_edge_connections "), 2.0);
    drop(two);
    let gone = async {
        while server.metric("lantern_kafka_edge_connections ") > 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, gone)
        .await
        .expect("the connection ends");
}
