//! Every version of every API that is advertised answers something its own version can read.

use kafka_wire::messages::*;
use kafka_wire::{Api, Decodable, Encodable};

use crate::support::{Raw, Server, text, wire_name};

/// Asks in every version and reads the answer to its end.
async fn ask<Q: Encodable, A: Decodable>(
    client: &mut Raw,
    done: &mut Vec<Api>,
    api: Api,
    body: impl Fn(i16) -> Q,
    check: impl Fn(i16, A),
) {
    for version in api.decoded() {
        let answer: A = client.call(api, version, &body(version)).await;
        check(version, answer);
    }
    done.push(api);
}

fn group() -> GroupId {
    GroupId(text("readers"))
}

#[tokio::test]
async fn every_version_of_every_api_is_answered() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let name = || wire_name(topic.as_str());
    let mut client = server.client().await;
    let mut done = Vec::new();
    macro_rules! every {
        ($api:ident, $body:expr, $check:expr) => {
            ask(&mut client, &mut done, Api::$api, $body, $check).await
        };
    }

    every!(
        ApiVersions,
        |_| ApiVersionsRequest::default(),
        |version, answer: ApiVersionsResponse| {
            assert_eq!(answer.error_code, 0, "{version}");
            assert_eq!(answer.api_keys.len(), Api::ALL.len());
        }
    );
    every!(
        Metadata,
        |version| MetadataRequest::default()
            .with_topics(if version > 0 { None } else { Some(vec![]) })
            .with_allow_auto_topic_creation(true),
        |version, answer: MetadataResponse| {
            assert!(
                answer
                    .topics
                    .iter()
                    .any(|topic| topic.name.as_ref() == Some(&name()))
            );
            assert_eq!(answer.brokers.len(), 1, "{version}");
        }
    );
    every!(
        Produce,
        |_| crate::produce::request("nowhere", 0, 1, None),
        |version, answer: ProduceResponse| {
            let one = &answer.responses[0].partition_responses[0];
            assert_eq!(one.error_code, 3);
            assert_eq!(one.error_message.is_some(), version >= 8);
        }
    );
    every!(
        Fetch,
        |_| crate::fetch::request(topic.as_str(), &[(0, 0), (9, 0)], crate::fetch::AT_ONCE),
        |_, answer: FetchResponse| {
            assert_eq!(answer.responses[0].partitions[1].error_code, 3);
        }
    );
    every!(
        ListOffsets,
        |_| {
            let asked = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let asked = list_offsets_request::ListOffsetsTopic::default()
                .with_name(name())
                .with_partitions(vec![asked]);
            ListOffsetsRequest::default().with_topics(vec![asked])
        },
        |version, answer: ListOffsetsResponse| {
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), (0, 0), "{version}");
        }
    );
    every!(
        FindCoordinator,
        |version| if version < 4 {
            FindCoordinatorRequest::default().with_key(text("readers"))
        } else {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("readers"), text("")])
        },
        |version, answer: FindCoordinatorResponse| {
            let port = answer
                .coordinators
                .first()
                .map_or(answer.port, |one| one.port);
            assert_eq!(port, i32::from(server.address.port()), "{version}");
            if version >= 4 {
                assert_eq!(answer.coordinators[1].error_code, 24, "an empty group id");
            }
        }
    );
    every!(
        JoinGroup,
        |version| {
            let protocol =
                join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
            JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("v{version}"))))
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(if version > 0 { 1_000 } else { -1 })
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol])
        },
        |version, answer: JoinGroupResponse| {
            // MEMBER_ID_REQUIRED is the first of two steps from version 4 on.
            assert_eq!(
                answer.error_code,
                if version >= 4 { 79 } else { 0 },
                "{version}"
            );
            assert!(!answer.member_id.is_empty());
        }
    );
    every!(
        SyncGroup,
        |_| SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("nobody")),
        |_, answer: SyncGroupResponse| assert_eq!(answer.error_code, 25)
    );
    every!(
        Heartbeat,
        |_| HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text("nobody")),
        |_, answer: HeartbeatResponse| assert_eq!(answer.error_code, 25)
    );
    every!(
        LeaveGroup,
        |version| {
            let request = LeaveGroupRequest::default().with_group_id(group());
            if version < 3 {
                return request.with_member_id(text("nobody"));
            }
            let member =
                leave_group_request::MemberIdentity::default().with_member_id(text("nobody"));
            request.with_members(vec![member])
        },
        |version, answer: LeaveGroupResponse| {
            let code = answer
                .members
                .first()
                .map_or(answer.error_code, |one| one.error_code);
            assert_eq!(code, 25, "{version}");
        }
    );
    every!(
        OffsetCommit,
        |_| {
            let partition = |index, offset| {
                offset_commit_request::OffsetCommitRequestPartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_committed_metadata(Some(text("note")))
            };
            let asked = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition(1, 7), partition(9, 7), partition(0, -5)]);
            OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![asked])
        },
        |version, answer: OffsetCommitResponse| {
            let codes: Vec<_> = answer.topics[0]
                .partitions
                .iter()
                .map(|one| one.error_code)
                .collect();
            assert_eq!(codes, [0, 3, 42], "{version}");
        }
    );
    every!(
        OffsetFetch,
        |version| {
            if version < 8 {
                let asked = offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(name())
                    .with_partition_indexes(vec![1, 0]);
                return OffsetFetchRequest::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![asked]));
            }
            let asked = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(name())
                .with_partition_indexes(vec![1, 0]);
            let some = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![asked]));
            let all = some.clone().with_topics(None);
            OffsetFetchRequest::default().with_groups(vec![some, all])
        },
        |version, answer: OffsetFetchResponse| {
            if version < 8 {
                let found = &answer.topics[0].partitions;
                assert_eq!(
                    (found[0].committed_offset, found[1].committed_offset),
                    (7, -1)
                );
                assert_eq!(found[0].metadata.as_deref(), Some("note"), "{version}");
                return;
            }
            let found = &answer.groups[0].topics[0].partitions;
            assert_eq!(
                (found[0].committed_offset, found[1].committed_offset),
                (7, -1)
            );
            let all = &answer.groups[1].topics;
            assert_eq!(
                (all.len(), all[0].partitions.len()),
                (1, 1),
                "all that was committed"
            );
        }
    );
    every!(
        DescribeGroups,
        |_| DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("nobody's"))]),
        |version, answer: DescribeGroupsResponse| {
            let states: Vec<_> = answer.groups.iter().map(|one| &*one.group_state).collect();
            assert_eq!(states, ["Empty", "Dead"], "{version}");
        }
    );
    every!(
        ListGroups,
        |version| {
            let filter = if version >= 4 {
                vec![text("Empty")]
            } else {
                vec![]
            };
            ListGroupsRequest::default().with_states_filter(filter)
        },
        |version, answer: ListGroupsResponse| {
            assert!(
                answer.groups.iter().any(|one| one.group_id == group()),
                "{version}"
            );
        }
    );
    every!(
        OffsetDelete,
        |_| {
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let asked = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition.clone(), partition.with_partition_index(9)]);
            OffsetDeleteRequest::default()
                .with_group_id(group())
                .with_topics(vec![asked])
        },
        |_, answer: OffsetDeleteResponse| {
            let codes: Vec<_> = answer.topics[0]
                .partitions
                .iter()
                .map(|one| one.error_code)
                .collect();
            assert_eq!((answer.error_code, codes), (0, vec![0, 3]));
        }
    );
    every!(
        DeleteGroups,
        |_| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("nobody's"))]),
        |_, answer: DeleteGroupsResponse| assert_eq!(answer.results[0].error_code, 69)
    );
    every!(
        CreateTopics,
        |version| {
            let topic = create_topics_request::CreatableTopic::default()
                .with_name(wire_name(&format!("made-{version}")))
                .with_num_partitions(1)
                .with_replication_factor(1);
            CreateTopicsRequest::default().with_topics(vec![topic])
        },
        |version, answer: CreateTopicsResponse| {
            let one = &answer.topics[0];
            assert_eq!(one.error_code, 0, "{version}: {:?}", one.error_message);
            if version >= 5 {
                assert!(
                    one.configs
                        .as_ref()
                        .is_some_and(|configs| configs.len() > 20)
                );
            }
            assert_eq!(!one.topic_id.is_nil(), version >= 7);
        }
    );
    every!(
        CreatePartitions,
        |version| {
            let topic = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(wire_name("made-7"))
                .with_count(i32::from(version) + 2)
                .with_assignments(None);
            CreatePartitionsRequest::default().with_topics(vec![topic])
        },
        |version, answer: CreatePartitionsResponse| {
            assert_eq!(answer.results[0].error_code, 0, "{version}");
        }
    );
    every!(
        DescribeConfigs,
        |_| {
            let resource = |kind, name: &str| {
                describe_configs_request::DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(name))
                    .with_configuration_keys(None)
            };
            DescribeConfigsRequest::default()
                .with_resources(vec![resource(2, topic.as_str()), resource(4, "0")])
                .with_include_synonyms(true)
        },
        |version, answer: DescribeConfigsResponse| {
            for result in &answer.results {
                assert_eq!(result.error_code, 0, "{version}");
                assert!(result.configs.len() > 20, "every key");
                assert!(result.configs.iter().all(|one| one.value.is_some()));
            }
        }
    );
    every!(
        DescribeLogDirs,
        |_| DescribeLogDirsRequest::default().with_topics(None),
        |version, answer: DescribeLogDirsResponse| {
            let space = (
                answer.results[0].total_bytes,
                answer.results[0].usable_bytes,
            );
            assert!(
                version < 4 || (space.0 >= space.1 && space.1 > 0),
                "{space:?}"
            );
            let topics = &answer.results[0].topics;
            let orders = topics.iter().find(|topic| topic.name == name()).unwrap();
            assert_eq!(orders.partitions.len(), 2);
        }
    );
    every!(
        AlterConfigs,
        |_| {
            let resource = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(topic.as_str()));
            AlterConfigsRequest::default().with_resources(vec![resource])
        },
        |_, answer: AlterConfigsResponse| assert_eq!(answer.responses[0].error_code, 0)
    );
    every!(
        IncrementalAlterConfigs,
        |_| {
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(topic.as_str()));
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        },
        |_, answer: IncrementalAlterConfigsResponse| assert_eq!(answer.responses[0].error_code, 0)
    );
    every!(
        InitProducerId,
        |_| InitProducerIdRequest::default().with_transactional_id(None),
        |version, answer: InitProducerIdResponse| {
            assert_eq!(
                (answer.error_code, answer.producer_epoch),
                (0, 0),
                "{version}"
            );
            assert!(answer.producer_id.0 >= 0);
        }
    );
    every!(
        AddPartitionsToTxn,
        |_| {
            let asked = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(name())
                .with_partitions(vec![0]);
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(text("nobody")))
                .with_v3_and_below_topics(vec![asked])
        },
        |version, answer: AddPartitionsToTxnResponse| {
            let topic = &answer.results_by_topic_v3_and_below[0];
            assert_eq!(
                topic.results_by_partition[0].partition_error_code, 49,
                "{version}"
            );
        }
    );
    every!(
        AddOffsetsToTxn,
        |_| AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text("nobody")))
            .with_group_id(group()),
        |version, answer: AddOffsetsToTxnResponse| assert_eq!(answer.error_code, 49, "{version}")
    );
    every!(
        EndTxn,
        |_| EndTxnRequest::default().with_transactional_id(TransactionalId(text("nobody"))),
        |version, answer: EndTxnResponse| assert_eq!(answer.error_code, 49, "{version}")
    );
    every!(
        TxnOffsetCommit,
        |_| {
            let part = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            let asked = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![part]);
            TxnOffsetCommitRequest::default()
                .with_transactional_id(TransactionalId(text("nobody")))
                .with_group_id(group())
                .with_topics(vec![asked])
        },
        |version, answer: TxnOffsetCommitResponse| {
            assert_eq!(answer.topics[0].partitions[0].error_code, 49, "{version}");
        }
    );
    every!(
        DescribeProducers,
        |_| {
            let asked = describe_producers_request::TopicRequest::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            DescribeProducersRequest::default().with_topics(vec![asked])
        },
        |_, answer: DescribeProducersResponse| {
            assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        }
    );
    every!(
        DescribeTransactions,
        |_| DescribeTransactionsRequest::default()
            .with_transactional_ids(vec![TransactionalId(text("nobody"))]),
        |_, answer: DescribeTransactionsResponse| {
            assert_eq!(answer.transaction_states[0].error_code, 105);
        }
    );
    every!(
        ListTransactions,
        |_| ListTransactionsRequest::default(),
        |_, answer: ListTransactionsResponse| assert_eq!(answer.error_code, 0)
    );
    every!(
        OffsetForLeaderEpoch,
        |_| {
            let asked = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let asked = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(name())
                .with_partitions(vec![asked]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![asked])
        },
        |_, answer: OffsetForLeaderEpochResponse| {
            let end = &answer.topics[0].partitions[0];
            assert_eq!(
                (end.error_code, end.leader_epoch, end.end_offset),
                (0, 0, 0)
            );
        }
    );
    every!(
        DeleteRecords,
        |_| {
            let asked = delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
            let asked = delete_records_request::DeleteRecordsTopic::default()
                .with_name(name())
                .with_partitions(vec![asked]);
            DeleteRecordsRequest::default().with_topics(vec![asked])
        },
        |_, answer: DeleteRecordsResponse| {
            let one = &answer.topics[0].partitions[0];
            assert_eq!((one.error_code, one.low_watermark), (0, 0));
        }
    );
    every!(
        DescribeCluster,
        |_| DescribeClusterRequest::default(),
        |_, answer: DescribeClusterResponse| {
            assert_eq!((answer.error_code, &*answer.cluster_id), (0, "lantern"));
        }
    );
    every!(
        ConsumerGroupHeartbeat,
        |version| ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&format!("followers-{version}"))))
            .with_member_id(text("me"))
            .with_rebalance_timeout_ms(5_000)
            .with_subscribed_topic_names(Some(vec![name()]))
            .with_topic_partitions(Some(vec![])),
        |version, answer: ConsumerGroupHeartbeatResponse| {
            assert_eq!(
                (answer.error_code, answer.member_epoch),
                (0, 1),
                "{version}"
            );
            let assigned = answer.assignment.unwrap().topic_partitions;
            assert_eq!(assigned[0].partitions, [0, 1]);
        }
    );
    every!(
        ConsumerGroupDescribe,
        |version| ConsumerGroupDescribeRequest::default().with_group_ids(vec![
            GroupId(text(&format!("followers-{version}"))),
            GroupId(text("nobody's")),
        ]),
        |version, answer: ConsumerGroupDescribeResponse| {
            let found = &answer.groups[0];
            assert_eq!(
                (found.error_code, &*found.group_state),
                (0, "Stable"),
                "{version}"
            );
            assert_eq!(&*found.members[0].client_id, "test");
            assert_eq!(answer.groups[1].error_code, 69);
        }
    );
    every!(
        DescribeTopicPartitions,
        |_| DescribeTopicPartitionsRequest::default().with_response_partition_limit(2_000),
        |_, answer: DescribeTopicPartitionsResponse| assert!(answer.topics.len() > 2)
    );
    every!(
        ListPartitionReassignments,
        |_| ListPartitionReassignmentsRequest::default().with_topics(None),
        |_, answer: ListPartitionReassignmentsResponse| {
            assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
        }
    );
    every!(
        DeleteTopics,
        |version| {
            let gone = wire_name(&format!("made-{}", version.max(2)));
            if version < 6 {
                return DeleteTopicsRequest::default().with_topic_names(vec![gone]);
            }
            let state = delete_topics_request::DeleteTopicState::default().with_name(Some(gone));
            DeleteTopicsRequest::default().with_topics(vec![state])
        },
        |version, answer: DeleteTopicsResponse| {
            // Versions 1 and 2 ask for the same one.
            let expected = if version == 2 { 3 } else { 0 };
            assert_eq!(answer.responses[0].error_code, expected, "{version}");
        }
    );

    done.sort_unstable();
    assert_eq!(done, Api::ALL, "an API was left out");
    let refused = server.metric("lantern_kafka_edge_panics_total");
    assert_eq!(refused, 0.0);
}
