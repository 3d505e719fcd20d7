//! Whether a pause that is written into an encoded answer is read as one.

use kafka_wire::messages;
use kafka_wire::{FetchAnswer, decode_response, encode_response};

use super::*;

#[test]
fn a_pause_is_told_in_every_version_that_has_room_for_it() {
    let mut told = 0;
    macro_rules! check {
        ($($api:ident $response:ident,)*) => {$(
            for version in Api::$api.decoded() {
                let body = messages::$response::default();
                let Ok(frame) = encode_response(Api::$api, version, 7, &body) else {
                    continue;
                };
                let header = header(Api::$api, version);
                let answer = tell(Answer::frame(frame), &header, Duration::from_micros(1_234_567));
                assert_eq!(answer.pause, Duration::from_micros(1_234_567));
                let body = answer.pieces[0].slice(4..);
                let (id, body): (_, messages::$response) =
                    decode_response(Api::$api, version, body).unwrap();
                assert_eq!(id, 7);
                let expected = if throttle_at(Api::$api, version).is_some() { 1_235 } else { 0 };
                assert_eq!(body.throttle_time_ms, expected, "{} {version}", Api::$api);
                told += usize::from(expected > 0);
            }
        )*};
    }
    check! {
        ListOffsets ListOffsetsResponse,
        Metadata MetadataResponse,
        OffsetCommit OffsetCommitResponse,
        OffsetFetch OffsetFetchResponse,
        FindCoordinator FindCoordinatorResponse,
        JoinGroup JoinGroupResponse,
        Heartbeat HeartbeatResponse,
        LeaveGroup LeaveGroupResponse,
        SyncGroup SyncGroupResponse,
        DescribeGroups DescribeGroupsResponse,
        ListGroups ListGroupsResponse,
        ApiVersions ApiVersionsResponse,
        CreateTopics CreateTopicsResponse,
        DeleteTopics DeleteTopicsResponse,
        DeleteRecords DeleteRecordsResponse,
        InitProducerId InitProducerIdResponse,
        OffsetForLeaderEpoch OffsetForLeaderEpochResponse,
        DescribeConfigs DescribeConfigsResponse,
        AlterConfigs AlterConfigsResponse,
        CreatePartitions CreatePartitionsResponse,
        DeleteGroups DeleteGroupsResponse,
        IncrementalAlterConfigs IncrementalAlterConfigsResponse,
        ListPartitionReassignments ListPartitionReassignmentsResponse,
        DescribeCluster DescribeClusterResponse,
        DescribeTopicPartitions DescribeTopicPartitionsResponse,
    }
    assert!(told > 70, "{told} versions were told");
    for version in Api::Fetch.decoded() {
        let pieces = FetchAnswer::new(version, 7, 0, 0).finish().unwrap();
        let answer = Answer::pieces(pieces, None);
        let answer = tell(answer, &header(Api::Fetch, version), Duration::from_secs(1));
        let body = answer.pieces[0].slice(4..);
        let (_, body): (_, messages::FetchResponse) =
            decode_response(Api::Fetch, version, body).unwrap();
        assert_eq!(body.throttle_time_ms, 1_000);
    }
}

fn header(api: Api, version: i16) -> RequestHeader {
    RequestHeader {
        api,
        version,
        correlation_id: 7,
        client_id: None,
    }
}

#[test]
fn a_client_hears_of_a_refusal_while_it_still_waits() {
    assert_eq!(patience(30_000), Duration::from_millis(22_500));
    assert_eq!(patience(-1), Duration::ZERO);
    assert_eq!(patience(i32::MAX), PATIENCE_MAX);
}
