//! Topics, configuration, records: what administrators may do, and the codes of what they may not.

use kafka_wire::messages::*;
use kafka_wire::{Api, ErrorCode};
use uuid::Uuid;

use crate::support::{Raw, Server, batch, text, wire_name};

fn creatable(name: &str, partitions: i32, factor: i16) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic::default()
        .with_name(wire_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

async fn create(
    client: &mut Raw,
    topics: Vec<create_topics_request::CreatableTopic>,
    validate_only: bool,
) -> Vec<create_topics_response::CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_validate_only(validate_only);
    let answer: CreateTopicsResponse = client.call(Api::CreateTopics, 7, &request).await;
    answer.topics
}

async fn create_code(client: &mut Raw, topic: create_topics_request::CreatableTopic) -> i16 {
    let result = create(client, vec![topic], false).await.remove(0);
    assert_eq!(
        result.error_code != 0,
        result.error_message.is_some(),
        "errors have words"
    );
    result.error_code
}

#[tokio::test]
async fn topics_are_created_by_numbers_or_assignment_and_refused_by_kind() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let made = create(&mut client, vec![creatable("three", 3, 1)], false)
        .await
        .remove(0);
    assert_eq!(
        (
            made.error_code,
            made.num_partitions,
            made.replication_factor
        ),
        (0, 3, 1)
    );
    assert!(!made.topic_id.is_nil());
    let defaults = create(&mut client, vec![creatable("default", -1, -1)], false)
        .await
        .remove(0);
    assert_eq!((defaults.error_code, defaults.num_partitions), (0, 4));

    let assignment = |index: i32, node: i32| {
        create_topics_request::CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(vec![node.into()])
    };
    let assigned = |list| creatable("assigned", -1, -1).with_assignments(list);
    let config = |name: &str, value: Option<&str>| {
        creatable("configured", 1, 1).with_configs(vec![
            create_topics_request::CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(value.map(text)),
        ])
    };
    let cases = [
        (creatable("three", 3, 1), ErrorCode::TopicAlreadyExists),
        (creatable("", 1, 1), ErrorCode::InvalidTopicException),
        (
            creatable("no spaces", 1, 1),
            ErrorCode::InvalidTopicException,
        ),
        (
            creatable("lantern.mine", 1, 1),
            ErrorCode::InvalidTopicException,
        ),
        (creatable("zero", 0, 1), ErrorCode::InvalidPartitions),
        (creatable("minus", -2, 1), ErrorCode::InvalidPartitions),
        (
            creatable("many", 1_000_000, 1),
            ErrorCode::InvalidPartitions,
        ),
        (
            creatable("copies", 1, 3),
            ErrorCode::InvalidReplicationFactor,
        ),
        (creatable("none", 1, 0), ErrorCode::InvalidReplicationFactor),
        (
            assigned(vec![assignment(0, 2)]),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            assigned(vec![assignment(1, 0)]),
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            assigned(vec![assignment(0, 0)]).with_num_partitions(1),
            ErrorCode::InvalidRequest,
        ),
        (
            config("retention.ms", Some("soon")),
            ErrorCode::InvalidConfig,
        ),
        (config("no.such.key", Some("1")), ErrorCode::InvalidConfig),
        (config("retention.ms", None), ErrorCode::InvalidConfig),
    ];
    for (topic, code) in cases {
        let name = topic.name.to_string();
        assert_eq!(create_code(&mut client, topic).await, code.code(), "{name}");
    }
    assert_eq!(
        create_code(
            &mut client,
            assigned(vec![assignment(1, 0), assignment(0, 0)])
        )
        .await,
        0
    );

    let twice = create(
        &mut client,
        vec![creatable("x", 1, 1), creatable("x", 1, 1)],
        false,
    )
    .await;
    assert!(
        twice
            .iter()
            .all(|one| one.error_code == ErrorCode::InvalidRequest.code())
    );
    let only = create(&mut client, vec![creatable("only", 1, 1)], true)
        .await
        .remove(0);
    assert_eq!(only.error_code, 0);
    assert_eq!(
        create_code(&mut client, creatable("only", 1, 1)).await,
        0,
        "was not created before"
    );
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_id_but_not_lanterns_own() {
    let server = Server::start().await;
    server.topic("one", 1).await;
    server.topic("two", 1).await;
    let mut client = server.client().await;
    let id = |name: &str| {
        let topics = broker::Broker::topics(&*server.broker);
        Uuid::from_bytes(topics[name].id.bytes())
    };
    let state = |name: Option<&str>, id: Uuid| {
        delete_topics_request::DeleteTopicState::default()
            .with_name(name.map(wire_name))
            .with_topic_id(id)
    };
    let nil = Uuid::nil();
    let states = vec![
        state(Some("one"), nil),
        state(None, id("two")),
        state(None, Uuid::from_u128(7)),
        state(Some("nowhere"), nil),
        state(Some("lantern.groups"), nil),
        state(None, nil),
    ];
    let request = DeleteTopicsRequest::default().with_topics(states);
    let answer: DeleteTopicsResponse = client.call(Api::DeleteTopics, 6, &request).await;
    let codes: Vec<_> = answer.responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 0, 100, 3, 29, 42]);
    assert_eq!(answer.responses[1].name.as_ref().unwrap().as_str(), "two");
}

#[tokio::test]
async fn asking_about_a_topic_creates_it_only_when_all_agree() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let ask = |name: &str, create: bool| {
        let topic =
            metadata_request::MetadataRequestTopic::default().with_name(Some(wire_name(name)));
        MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(create)
    };
    let mut code = async |name: &str, create: bool| {
        let answer: MetadataResponse = client.call(Api::Metadata, 9, &ask(name, create)).await;
        (
            answer.topics[0].error_code,
            answer.topics[0].partitions.len(),
        )
    };
    assert_eq!(code("orders", false).await, (3, 0));
    assert_eq!(
        code("orders", true).await,
        (0, 4),
        "and it can be used at once"
    );
    assert_eq!(code("orders", false).await, (0, 4));
    assert_eq!(code("no spaces", true).await, (17, 0));
    assert_eq!(code("lantern.mine", true).await, (3, 0));
    let closed = Server::with(kafka_edge::Options {
        auto_create_topics: false,
        ..kafka_edge::Options::default()
    })
    .await;
    let mut client = closed.client().await;
    let answer: MetadataResponse = client.call(Api::Metadata, 9, &ask("orders", true)).await;
    assert_eq!(answer.topics[0].error_code, 3);
}

async fn described(client: &mut Raw, kind: i8, name: &str) -> Vec<(String, String, i8)> {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer: DescribeConfigsResponse = client.call(Api::DescribeConfigs, 4, &request).await;
    assert_eq!(
        answer.results[0].error_code, 0,
        "{:?}",
        answer.results[0].error_message
    );
    let configs = answer.results[0].configs.iter().map(|one| {
        let value = one.value.as_deref().unwrap_or_default();
        (one.name.to_string(), value.to_owned(), one.config_source)
    });
    configs.collect()
}

#[tokio::test]
async fn configuration_is_shown_and_changed_key_by_key_or_whole() {
    let server = Server::start().await;
    let topic = server
        .topic_with("orders", 1, &[("retention.ms", "60000")])
        .await;
    let mut client = server.client().await;
    let value = |shown: &[(String, String, i8)], key: &str| {
        let found = shown.iter().find(|(name, ..)| name == key).unwrap();
        (found.1.clone(), found.2)
    };
    let shown = described(&mut client, 2, "orders").await;
    assert_eq!(value(&shown, "retention.ms"), ("60000".to_owned(), 1));
    assert_eq!(value(&shown, "segment.bytes").1, 5, "a default");

    let change = |name: &str, operation: i8, value: Option<&str>| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(value.map(text))
    };
    let incremental = |configs, validate: bool| {
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("orders"))
            .with_configs(configs);
        IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate)
    };
    let both = vec![
        change("max.message.bytes", 0, Some("5000")),
        change("cleanup.policy", 0, Some("compact")),
    ];
    for (request, code) in [
        (incremental(both.clone(), true), 0),
        (
            incremental(vec![change("retention.ms", 0, Some("x"))], false),
            40,
        ),
    ] {
        let answer: IncrementalAlterConfigsResponse =
            client.call(Api::IncrementalAlterConfigs, 1, &request).await;
        assert_eq!(answer.responses[0].error_code, code);
    }
    assert_eq!(
        described(&mut client, 2, "orders").await,
        shown,
        "nothing changed yet"
    );
    let _: IncrementalAlterConfigsResponse = client
        .call(Api::IncrementalAlterConfigs, 1, &incremental(both, false))
        .await;
    let shown = described(&mut client, 2, "orders").await;
    assert_eq!(value(&shown, "max.message.bytes").0, "5000");
    assert_eq!(value(&shown, "cleanup.policy").0, "compact");
    assert_eq!(
        value(&shown, "retention.ms").0,
        "60000",
        "what is not named stays"
    );

    // The change is in force.
    let records = batch(&[&[b'x'; 6_000]]).into_bytes();
    let request = crate::produce::request(topic.as_str(), 0, -1, Some(records));
    let answer: ProduceResponse = client.call(Api::Produce, 9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 10);

    let entry = alter_configs_request::AlterableConfig::default()
        .with_name(text("segment.bytes"))
        .with_value(Some(text("65536")));
    let whole = |kind: i8, name: &str, entries| {
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(entries);
        AlterConfigsRequest::default().with_resources(vec![resource])
    };
    let mut code = async |request| {
        let answer: AlterConfigsResponse = client.call(Api::AlterConfigs, 2, &request).await;
        answer.responses[0].error_code
    };
    assert_eq!(code(whole(2, "orders", vec![entry])).await, 0);
    assert_eq!(code(whole(2, "nowhere", vec![])).await, 3);
    assert_eq!(
        code(whole(4, "0", vec![])).await,
        42,
        "the broker is configured in its file"
    );
    let shown = described(&mut client, 2, "orders").await;
    assert_eq!(value(&shown, "segment.bytes"), ("65536".to_owned(), 1));
    assert_eq!(
        value(&shown, "retention.ms").1,
        5,
        "what is not named goes back to its default"
    );

    let node = described(&mut client, 4, "0").await;
    assert_eq!(value(&node, "num.partitions").0, "4");
    for (name, default) in [
        ("offsets.retention.minutes", "10080"),
        ("transaction.max.timeout.ms", "900000"),
        ("transactional.id.expiration.ms", "604800000"),
    ] {
        assert_eq!(value(&node, name), (default.to_owned(), 5), "{name}");
    }
    assert!(value(&node, "advertised.listeners").0.contains("127.0.0.1"));
}

#[tokio::test]
async fn partitions_grow_and_records_go() {
    let server = Server::start().await;
    let topic = server.topic("orders", 2).await;
    let mut client = server.client().await;
    let grow = |name: &str, count: i32| {
        create_partitions_request::CreatePartitionsTopic::default()
            .with_name(wire_name(name))
            .with_count(count)
            .with_assignments(None)
    };
    for (asked, code) in [
        (grow("orders", 2), ErrorCode::InvalidPartitions.code()),
        (grow("orders", 1), ErrorCode::InvalidPartitions.code()),
        (
            grow("nowhere", 5),
            ErrorCode::UnknownTopicOrPartition.code(),
        ),
        (
            grow("lantern.groups", 5),
            ErrorCode::TopicAuthorizationFailed.code(),
        ),
        (grow("orders", 3), 0),
    ] {
        let request = CreatePartitionsRequest::default().with_topics(vec![asked]);
        let answer: CreatePartitionsResponse =
            client.call(Api::CreatePartitions, 3, &request).await;
        assert_eq!(answer.results[0].error_code, code);
    }
    for _ in 0..5 {
        let request =
            crate::produce::request(topic.as_str(), 2, -1, Some(batch(&[b"x"]).into_bytes()));
        let _: ProduceResponse = client.call(Api::Produce, 9, &request).await;
    }
    let mut delete = async |offset: i64| {
        let asked = delete_records_request::DeleteRecordsPartition::default()
            .with_partition_index(2)
            .with_offset(offset);
        let asked = delete_records_request::DeleteRecordsTopic::default()
            .with_name(wire_name("orders"))
            .with_partitions(vec![asked]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]);
        let answer: DeleteRecordsResponse = client.call(Api::DeleteRecords, 2, &request).await;
        let one = &answer.topics[0].partitions[0];
        (one.error_code, one.low_watermark)
    };
    assert_eq!(delete(3).await, (0, 3));
    assert_eq!(delete(99).await, (1, -1), "beyond the high watermark");
    assert_eq!(delete(-1).await, (0, 5), "all of it");
}

#[tokio::test]
async fn clients_cannot_bring_about_more_partitions_than_the_server_holds() {
    let server = Server::with(kafka_edge::Options {
        partitions_total_max: 20,
        ..kafka_edge::Options::default()
    })
    .await;
    let mut client = server.client().await;
    assert_eq!(
        create_code(&mut client, creatable("large", 20, 1)).await,
        44
    );
    server.topic("orders", 10).await;
    assert_eq!(
        create_code(&mut client, creatable("one", 10, 1)).await,
        44,
        "Lantern has its own"
    );
    assert_eq!(create_code(&mut client, creatable("one", 2, 1)).await, 0);
    let names = (0..300).map(|number| {
        metadata_request::MetadataRequestTopic::default()
            .with_name(Some(wire_name(&format!("asked-{number}"))))
    });
    let request = MetadataRequest::default()
        .with_topics(Some(names.collect()))
        .with_allow_auto_topic_creation(true);
    let answer: MetadataResponse = client.call(Api::Metadata, 9, &request).await;
    let made = answer
        .topics
        .iter()
        .filter(|topic| topic.error_code == 0)
        .count();
    assert_eq!(made, 1, "four partitions fit once");
    let left = answer
        .topics
        .iter()
        .filter(|topic| topic.error_code == 3)
        .count();
    assert_eq!(left, 200, "one request does not go on for ever");
}

#[tokio::test]
async fn partitions_are_described_a_page_at_a_time() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.topic(name, 3).await;
    }
    let mut client = server.client().await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let names = ["c", "a", "b", "nowhere"];
        let topic = |name: &str| {
            describe_topic_partitions_request::TopicRequest::default().with_name(wire_name(name))
        };
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(names.iter().map(|name| topic(name)).collect())
            .with_response_partition_limit(2)
            .with_cursor(cursor.take());
        let answer: DescribeTopicPartitionsResponse =
            client.call(Api::DescribeTopicPartitions, 0, &request).await;
        for topic in &answer.topics {
            let name = topic.name.as_ref().unwrap().to_string();
            assert!(topic.partitions.len() <= 2);
            for one in &topic.partitions {
                // Null is in the protocol, but Java's Admin breaks on it.
                assert_eq!(one.eligible_leader_replicas, Some(Vec::new()));
                assert_eq!(one.last_known_elr, Some(Vec::new()));
            }
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|one| (name.clone(), one.partition_index)),
            );
            assert_eq!(topic.error_code == 3, name == "nowhere");
        }
        let Some(next) = answer.next_cursor else {
            break;
        };
        cursor = Some(
            describe_topic_partitions_request::Cursor::default()
                .with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index),
        );
    }
    let expected: Vec<_> = ["a", "b", "c"]
        .iter()
        .flat_map(|name| (0..3).map(|index| ((*name).to_owned(), index)))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn who_asks_is_told_what_it_may_do_in_bits() {
    let server = Server::start().await;
    server.topic("orders", 1).await;
    let mut client = server.client().await;
    let named = |name: &str| {
        metadata_request::MetadataRequestTopic::default().with_name(Some(wire_name(name)))
    };
    let bits = |operations: &[u8]| operations.iter().fold(0, |bits, one| bits | 1 << one);
    let (topic, cluster) = (
        bits(&[3, 4, 5, 6, 7, 8, 10, 11]),
        bits(&[5, 7, 8, 9, 10, 11, 12]),
    );
    for (asked, topic, cluster) in [(false, i32::MIN, i32::MIN), (true, topic, cluster)] {
        let request = MetadataRequest::default()
            .with_topics(Some(
                ["orders", "lantern.groups", "nowhere"].map(named).into(),
            ))
            .with_include_topic_authorized_operations(asked)
            .with_include_cluster_authorized_operations(asked);
        let answer: MetadataResponse = client.call(Api::Metadata, 8, &request).await;
        assert_eq!(answer.cluster_authorized_operations, cluster);
        let of = |name: &str| {
            let mut topics = answer.topics.iter();
            let found = topics.find(|topic| topic.name == Some(wire_name(name)));
            found.map(|topic| topic.topic_authorized_operations)
        };
        assert_eq!(of("orders"), Some(topic));
        assert_eq!(of("nowhere"), Some(topic), "also of one that is not there");
        let own = if asked { bits(&[3, 8, 10]) } else { i32::MIN };
        assert_eq!(of("lantern.groups"), Some(own), "can only be read");

        let request =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(asked);
        let answer: DescribeClusterResponse = client.call(Api::DescribeCluster, 0, &request).await;
        assert_eq!(answer.cluster_authorized_operations, cluster);

        let request = DescribeGroupsRequest::default()
            .with_groups(vec![GroupId(text("nobody"))])
            .with_include_authorized_operations(asked);
        let answer: DescribeGroupsResponse = client.call(Api::DescribeGroups, 5, &request).await;
        let group = if asked {
            bits(&[3, 6, 8, 10, 11])
        } else {
            i32::MIN
        };
        assert_eq!(answer.groups[0].authorized_operations, group);
    }
}
