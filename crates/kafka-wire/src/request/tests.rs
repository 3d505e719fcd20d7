//! Every request in every version, then the same bytes bent.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader as KafkaHeader, *};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::encode_request;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

fn group() -> GroupId {
    GroupId(text("readers"))
}

/// A request body with at least two elements in each array and a value in each field it can have.
fn sample(api: Api, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    let put = |result: Result<(), BodyError>| result.unwrap_or_else(|e| panic!("{api}: {e}"));
    macro_rules! encode {
        ($value:expr) => {
            put($value.encode(&mut body, version).map_err(Into::into))
        };
    }
    match api {
        Api::Produce => {
            use produce_request::*;
            let partition = PartitionProduceData::default()
                .with_index(1)
                .with_records(Some(Bytes::from_static(b"records")));
            let empty = PartitionProduceData::default().with_records(None);
            let data = TopicProduceData::default()
                .with_name(topic("orders"))
                .with_partition_data(vec![partition, empty]);
            encode!(
                ProduceRequest::default()
                    .with_transactional_id(Some(TransactionalId(text("tx"))))
                    .with_acks(-1)
                    .with_topic_data(vec![data.clone(), data])
            );
        }
        Api::Fetch => {
            use fetch_request::*;
            let partition = FetchPartition::default()
                .with_fetch_offset(5)
                .with_partition_max_bytes(9);
            let data = FetchTopic::default()
                .with_topic(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            let mut request = FetchRequest::default().with_topics(vec![data.clone(), data]);
            if version >= 7 {
                let gone = ForgottenTopic::default()
                    .with_topic(topic("old"))
                    .with_partitions(vec![1, 2]);
                request = request.with_forgotten_topics_data(vec![gone]);
            }
            if version >= 11 {
                request = request.with_rack_id(text("rack"));
            }
            if version >= 12 {
                request = request.with_cluster_id(Some(text("cluster")));
            }
            encode!(request);
        }
        Api::ListOffsets => {
            use list_offsets_request::*;
            let partition = ListOffsetsPartition::default().with_timestamp(-1);
            let data = ListOffsetsTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            encode!(ListOffsetsRequest::default().with_topics(vec![data.clone(), data]));
        }
        Api::Metadata => {
            use metadata_request::*;
            let data = MetadataRequestTopic::default().with_name(Some(topic("orders")));
            let mut request =
                MetadataRequest::default().with_topics(Some(vec![data.clone(), data]));
            if version < 4 {
                request = request.with_allow_auto_topic_creation(true);
            }
            encode!(request);
        }
        Api::OffsetCommit => {
            use offset_commit_request::*;
            let partition = OffsetCommitRequestPartition::default()
                .with_committed_offset(3)
                .with_committed_metadata(Some(text("note")));
            let data = OffsetCommitRequestTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            let mut request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_member_id(text("m"))
                .with_topics(vec![data.clone(), data]);
            if version >= 7 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            encode!(request);
        }
        Api::OffsetFetch => {
            use offset_fetch_request::*;
            let request = OffsetFetchRequest::default();
            if version <= 7 {
                let data = OffsetFetchRequestTopic::default()
                    .with_name(topic("orders"))
                    .with_partition_indexes(vec![0, 1]);
                encode!(
                    request
                        .with_group_id(group())
                        .with_topics(Some(vec![data.clone(), data]))
                );
            } else {
                let data = OffsetFetchRequestTopics::default()
                    .with_name(topic("orders"))
                    .with_partition_indexes(vec![0, 1]);
                let one = OffsetFetchRequestGroup::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![data.clone(), data]));
                let all = OffsetFetchRequestGroup::default()
                    .with_group_id(group())
                    .with_topics(None);
                encode!(request.with_groups(vec![one, all]));
            }
        }
        Api::FindCoordinator => {
            let request = FindCoordinatorRequest::default();
            if version <= 3 {
                encode!(request.with_key(text("readers")));
            } else {
                encode!(request.with_coordinator_keys(vec![text("a"), text("b")]));
            }
        }
        Api::JoinGroup => {
            use join_group_request::*;
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"meta"));
            let mut request = JoinGroupRequest::default()
                .with_group_id(group())
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone(), protocol]);
            if version >= 5 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            if version >= 8 {
                request = request.with_reason(Some(text("because")));
            }
            encode!(request);
        }
        Api::Heartbeat => {
            let mut request = HeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(text("m"));
            if version >= 3 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            encode!(request);
        }
        Api::LeaveGroup => {
            use leave_group_request::*;
            let mut request = LeaveGroupRequest::default().with_group_id(group());
            if version <= 2 {
                request = request.with_member_id(text("m"));
            } else {
                let mut member = MemberIdentity::default().with_member_id(text("m"));
                if version >= 5 {
                    member = member.with_reason(Some(text("because")));
                }
                request = request.with_members(vec![member.clone(), member]);
            }
            encode!(request);
        }
        Api::SyncGroup => {
            use sync_group_request::*;
            let share = SyncGroupRequestAssignment::default()
                .with_member_id(text("m"))
                .with_assignment(Bytes::from_static(b"share"));
            let mut request = SyncGroupRequest::default()
                .with_group_id(group())
                .with_assignments(vec![share.clone(), share]);
            if version >= 5 {
                request = request.with_protocol_type(Some(text("consumer")));
            }
            encode!(request);
        }
        Api::DescribeGroups => {
            encode!(DescribeGroupsRequest::default().with_groups(vec![group(), group()]));
        }
        Api::ListGroups => {
            let mut request = ListGroupsRequest::default();
            if version >= 4 {
                request = request.with_states_filter(vec![text("Stable"), text("Empty")]);
            }
            if version >= 5 {
                request = request.with_types_filter(vec![text("classic")]);
            }
            encode!(request);
        }
        Api::ApiVersions => {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request = request
                    .with_client_software_name(text("client"))
                    .with_client_software_version(text("1"));
            }
            encode!(request);
        }
        Api::CreateTopics => {
            use create_topics_request::*;
            let config = CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("5")));
            let assignment =
                CreatableReplicaAssignment::default().with_broker_ids(vec![1.into(), 2.into()]);
            let data = CreatableTopic::default()
                .with_name(topic("orders"))
                .with_assignments(vec![assignment.clone(), assignment])
                .with_configs(vec![config.clone(), config]);
            encode!(CreateTopicsRequest::default().with_topics(vec![data.clone(), data]));
        }
        Api::DeleteTopics => {
            use delete_topics_request::*;
            let request = DeleteTopicsRequest::default();
            if version <= 5 {
                encode!(request.with_topic_names(vec![topic("a"), topic("b")]));
            } else {
                let state = DeleteTopicState::default().with_name(Some(topic("a")));
                encode!(request.with_topics(vec![state.clone(), state]));
            }
        }
        Api::DeleteRecords => {
            use delete_records_request::*;
            let partition = DeleteRecordsPartition::default().with_offset(4);
            let data = DeleteRecordsTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            encode!(DeleteRecordsRequest::default().with_topics(vec![data.clone(), data]));
        }
        Api::InitProducerId => {
            encode!(
                InitProducerIdRequest::default()
                    .with_transactional_id(Some(TransactionalId(text("tx"))))
            );
        }
        Api::OffsetForLeaderEpoch => {
            use offset_for_leader_epoch_request::*;
            let partition = OffsetForLeaderPartition::default();
            let data = OffsetForLeaderTopic::default()
                .with_topic(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            encode!(OffsetForLeaderEpochRequest::default().with_topics(vec![data.clone(), data]));
        }
        Api::AddPartitionsToTxn => {
            use add_partitions_to_txn_request::*;
            let data = AddPartitionsToTxnTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![0, 1]);
            encode!(
                AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(TransactionalId(text("tx")))
                    .with_v3_and_below_topics(vec![data.clone(), data])
            );
        }
        Api::AddOffsetsToTxn => encode!(
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(TransactionalId(text("tx")))
                .with_group_id(group())
        ),
        Api::EndTxn => {
            encode!(EndTxnRequest::default().with_transactional_id(TransactionalId(text("tx"))));
        }
        Api::TxnOffsetCommit => {
            use txn_offset_commit_request::*;
            let partition = TxnOffsetCommitRequestPartition::default()
                .with_committed_offset(7)
                .with_committed_metadata(Some(text("note")));
            let data = TxnOffsetCommitRequestTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            let mut request = TxnOffsetCommitRequest::default()
                .with_transactional_id(TransactionalId(text("tx")))
                .with_group_id(group())
                .with_topics(vec![data.clone(), data]);
            if version >= 3 {
                request = request
                    .with_member_id(text("me"))
                    .with_group_instance_id(Some(text("i")));
            }
            encode!(request);
        }
        Api::DescribeConfigs => {
            use describe_configs_request::*;
            let resource = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_configuration_keys(Some(vec![text("a"), text("b")]));
            let all = resource.clone().with_configuration_keys(None);
            encode!(DescribeConfigsRequest::default().with_resources(vec![resource, all]));
        }
        Api::AlterConfigs => {
            use alter_configs_request::*;
            let config = AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(None);
            let resource =
                AlterConfigsResource::default().with_configs(vec![config.clone(), config]);
            encode!(
                AlterConfigsRequest::default().with_resources(vec![resource.clone(), resource])
            );
        }
        Api::DescribeLogDirs => {
            use describe_log_dirs_request::*;
            let data = DescribableLogDirTopic::default()
                .with_topic(topic("orders"))
                .with_partitions(vec![1, 2]);
            encode!(DescribeLogDirsRequest::default().with_topics(Some(vec![data.clone(), data])));
        }
        Api::CreatePartitions => {
            use create_partitions_request::*;
            let assignment =
                CreatePartitionsAssignment::default().with_broker_ids(vec![1.into(), 1.into()]);
            let data = CreatePartitionsTopic::default()
                .with_name(topic("orders"))
                .with_assignments(Some(vec![assignment.clone(), assignment]));
            let plain = CreatePartitionsTopic::default().with_assignments(None);
            encode!(CreatePartitionsRequest::default().with_topics(vec![data, plain]));
        }
        Api::DeleteGroups => {
            encode!(DeleteGroupsRequest::default().with_groups_names(vec![group(), group()]));
        }
        Api::IncrementalAlterConfigs => {
            use incremental_alter_configs_request::*;
            let config = AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("5")));
            let resource =
                AlterConfigsResource::default().with_configs(vec![config.clone(), config]);
            encode!(
                IncrementalAlterConfigsRequest::default()
                    .with_resources(vec![resource.clone(), resource])
            );
        }
        Api::ListPartitionReassignments => {
            use list_partition_reassignments_request::*;
            let data = ListPartitionReassignmentsTopics::default()
                .with_name(topic("orders"))
                .with_partition_indexes(vec![0, 1]);
            encode!(
                ListPartitionReassignmentsRequest::default()
                    .with_topics(Some(vec![data.clone(), data]))
            );
        }
        Api::OffsetDelete => {
            use offset_delete_request::*;
            let partition = OffsetDeleteRequestPartition::default();
            let data = OffsetDeleteRequestTopic::default()
                .with_name(topic("orders"))
                .with_partitions(vec![partition.clone(), partition]);
            encode!(
                OffsetDeleteRequest::default()
                    .with_group_id(group())
                    .with_topics(vec![data.clone(), data])
            );
        }
        Api::DescribeCluster => encode!(DescribeClusterRequest::default()),
        Api::ConsumerGroupHeartbeat => {
            use consumer_group_heartbeat_request::*;
            let data = TopicPartitions::default().with_partitions(vec![0, 1]);
            let mut request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(text("m"))
                .with_instance_id(Some(text("i")))
                .with_rack_id(Some(text("r")))
                .with_subscribed_topic_names(Some(vec![topic("a"), topic("b")]))
                .with_server_assignor(Some(text("uniform")))
                .with_topic_partitions(Some(vec![data.clone(), data]));
            if version >= 1 {
                request = request.with_subscribed_topic_regex(Some(text("a|b")));
            }
            encode!(request);
        }
        Api::ConsumerGroupDescribe => {
            encode!(ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(), group()]));
        }
        Api::DescribeProducers => {
            use describe_producers_request::*;
            let data = TopicRequest::default()
                .with_name(topic("orders"))
                .with_partition_indexes(vec![0, 1]);
            encode!(DescribeProducersRequest::default().with_topics(vec![data.clone(), data]));
        }
        Api::DescribeTransactions => {
            let ids = vec![TransactionalId(text("a")), TransactionalId(text("b"))];
            encode!(DescribeTransactionsRequest::default().with_transactional_ids(ids));
        }
        Api::ListTransactions => encode!(
            ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing"), text("Empty")])
                .with_producer_id_filters(vec![ProducerId(1), ProducerId(2)])
        ),
        Api::DescribeTopicPartitions => {
            use describe_topic_partitions_request::*;
            let data = TopicRequest::default().with_name(topic("orders"));
            let cursor = Cursor::default()
                .with_topic_name(topic("orders"))
                .with_partition_index(3);
            encode!(
                DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![data.clone(), data])
                    .with_cursor(Some(cursor))
            );
        }
    }
    body.freeze()
}

fn versions() -> impl Iterator<Item = (Api, i16)> {
    Api::ALL
        .iter()
        .flat_map(|api| api.decoded().map(|version| (*api, version)))
}

/// The frame of [`sample`], without length.
fn frame(api: Api, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    let header = KafkaHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_correlation_id(41)
        .with_client_id(Some(text("tester")))
        .with_unknown_tagged_fields(if api.is_flexible(version) {
            [(7, Bytes::from_static(b"unknown"))].into()
        } else {
            [].into()
        });
    let header_version = if api.is_flexible(version) { 2 } else { 1 };
    header.encode(&mut frame, header_version).unwrap();
    frame.extend_from_slice(&sample(api, version));
    frame
}

#[test]
fn every_request_in_every_version_is_walked_to_its_last_byte_and_decoded() {
    for (api, version) in versions() {
        let body = sample(api, version);
        let walked = walk(&shape(api), version, api.is_flexible(version), &body);
        let walked = walked.unwrap_or_else(|error| panic!("{api} {version}: {error:?}"));
        assert_eq!(walked.length, body.len(), "{api} {version}");
        let decoded = decode_request(frame(api, version).freeze())
            .unwrap_or_else(|error| panic!("{api} {version}: {error}"));
        assert_eq!(decoded.header.api, api);
        assert_eq!(decoded.header.version, version);
        assert_eq!(decoded.header.correlation_id, 41);
        assert_eq!(decoded.header.client_id.as_deref(), Some("tester"));
    }
}

#[test]
fn every_beginning_of_a_request_is_malformed() {
    for (api, version) in versions() {
        let whole = frame(api, version).freeze();
        for length in 0..whole.len() {
            let error = decode_request(whole.slice(..length)).unwrap_err();
            assert!(
                matches!(error, DecodeError::Header | DecodeError::Malformed { .. }),
                "{api} {version} cut at {length}: {error:?}"
            );
        }
    }
}

#[test]
fn a_count_beyond_the_bytes_is_refused_before_anything_is_reserved() {
    // Metadata 1: 2^31 - 1 topics in four bytes.
    let mut frame = BytesMut::from(&b"\0\x03\0\x01\0\0\0\x01\xff\xff"[..]);
    frame.extend_from_slice(&i32::MAX.to_be_bytes());
    let error = CheckedRequest::parse(frame.freeze()).unwrap_err();
    assert!(
        matches!(error, DecodeError::Malformed { position: 4, .. }),
        "{error:?}"
    );
    // Metadata 9, the compact way.
    let frame = Bytes::from_static(b"\0\x03\0\x09\0\0\0\x01\xff\xff\0\xff\xff\xff\xff\x0f\0\0\0\0");
    let error = CheckedRequest::parse(frame).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error:?}");
}

#[test]
fn true_counts_have_a_limit_too() {
    // DeleteGroups 0 with one more empty name than is allowed.
    let mut frame = BytesMut::from(&b"\0\x2a\0\0\0\0\0\x01\xff\xff"[..]);
    frame.extend_from_slice(&u32::try_from(ELEMENTS_MAX + 1).unwrap().to_be_bytes());
    frame.resize(frame.len() + 2 * (ELEMENTS_MAX + 1), 0);
    let error = CheckedRequest::parse(frame.freeze()).unwrap_err();
    assert!(
        matches!(error, DecodeError::TooManyElements { .. }),
        "{error:?}"
    );
}

#[test]
fn a_known_tagged_field_that_lies_about_its_size_is_refused() {
    let mut whole = frame(Api::Fetch, 12);
    let good = whole.len();
    // The cluster id is the last thing: tag 0, size 8, compact length 8, "cluster", nothing more.
    assert_eq!(whole[good - 10..], *b"\x00\x08\x08cluster");
    whole[good - 8] = 7;
    assert!(decode_request(whole.freeze()).is_err());
}

#[test]
fn unknown_apis_and_versions_say_what_was_asked() {
    let error = decode_request(Bytes::from_static(b"\x7f\xff\0\x01\0\0\0\x02")).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::UnknownApi {
            key: 0x7fff,
            version: 1
        }
    ));
    // KIP-511: whatever follows the correlation id.
    let error = decode_request(Bytes::from_static(b"\0\x12\0\x63\0\0\0\x02\xde\xad")).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::UnsupportedVersion {
            api: Api::ApiVersions,
            version: 99,
            correlation_id: 2
        }
    ));
}

#[test]
fn elements_are_no_larger_than_what_is_accounted_for() {
    // A BTreeMap entry of tagged fields: key, Bytes, and its share of a node that is a third full.
    let tagged = 3 * (size_of::<i32>() + size_of::<Bytes>() + 16);
    for size in [
        tagged,
        size_of::<StrBytes>(),
        size_of::<produce_request::TopicProduceData>(),
        size_of::<produce_request::PartitionProduceData>(),
        size_of::<fetch_request::FetchTopic>(),
        size_of::<fetch_request::FetchPartition>(),
        size_of::<fetch_request::ForgottenTopic>(),
        size_of::<list_offsets_request::ListOffsetsTopic>(),
        size_of::<metadata_request::MetadataRequestTopic>(),
        size_of::<offset_commit_request::OffsetCommitRequestTopic>(),
        size_of::<offset_commit_request::OffsetCommitRequestPartition>(),
        size_of::<offset_fetch_request::OffsetFetchRequestGroup>(),
        size_of::<offset_fetch_request::OffsetFetchRequestTopics>(),
        size_of::<join_group_request::JoinGroupRequestProtocol>(),
        size_of::<leave_group_request::MemberIdentity>(),
        size_of::<sync_group_request::SyncGroupRequestAssignment>(),
        size_of::<create_topics_request::CreatableTopic>(),
        size_of::<create_topics_request::CreatableTopicConfig>(),
        size_of::<create_partitions_request::CreatePartitionsTopic>(),
        size_of::<describe_configs_request::DescribeConfigsResource>(),
        size_of::<alter_configs_request::AlterConfigsResource>(),
        size_of::<describe_log_dirs_request::DescribableLogDirTopic>(),
        size_of::<incremental_alter_configs_request::AlterConfigsResource>(),
        size_of::<incremental_alter_configs_request::AlterableConfig>(),
        size_of::<describe_topic_partitions_request::TopicRequest>(),
    ] {
        assert!(size <= ELEMENT_BYTES, "{size}");
    }
}

#[test]
fn requests_round_trip_through_our_own_encoder() {
    let body = MetadataRequest::default().with_topics(None);
    let framed = encode_request(Api::Metadata, 12, 5, "me", &body).unwrap();
    let decoded = decode_request(framed.slice(4..)).unwrap();
    assert_eq!(decoded.request, Request::Metadata(body));
}

proptest! {
    /// Whatever is done to a good request, it decodes or is refused: no panic, no abort.
    #[test]
    fn bent_requests_are_decoded_or_refused(
        pick in 0..1_000_usize,
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let all: Vec<_> = versions().collect();
        let (api, version) = all[pick % all.len()];
        let mut frame = frame(api, version);
        for (at, value) in bends {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        match decode_request(frame.freeze()) {
            Ok(_) => (),
            Err(error) => prop_assert!(!matches!(error, DecodeError::Panicked { .. }), "{error}"),
        }
    }

    #[test]
    fn noise_is_decoded_or_refused(
        key in 0..80_i16,
        version in 0..14_i16,
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&noise);
        match decode_request(frame.freeze()) {
            Ok(_) => (),
            Err(error) => prop_assert!(!matches!(error, DecodeError::Panicked { .. }), "{error}"),
        }
    }
}

#[test]
fn requests_captured_from_real_clients_decode_to_their_last_byte() {
    let captured = include_str!("../../../../docs/format/golden/kafka-requests.txt");
    let lines = captured.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let [client, key, version, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let frame: Bytes = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let checked = CheckedRequest::parse(frame)
            .unwrap_or_else(|error| panic!("{client} {key} {version}: {error}"));
        let (api, version) = (checked.header.api, checked.header.version);
        assert_eq!(api.key().to_string(), key);
        let body = checked.body.clone();
        let walked = walk(&shape(api), version, api.is_flexible(version), &body).unwrap();
        assert_eq!(walked.length, body.len(), "{client} {api} {version}");
        checked
            .decode()
            .unwrap_or_else(|error| panic!("{client} {api} {version}: {error}"));
        count += 1;
    }
    assert_eq!(count, 58);
}
