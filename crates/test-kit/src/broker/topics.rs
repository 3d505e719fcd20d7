//! Topics: made, changed, removed, kept.

use broker::{Durability, Error, TimestampKind, TopicConfig, ensure_topic};
use model::PartitionId;

use super::{BrokerHarness, append, at, create, name, read_all, spec};
use crate::batches::batch;
use crate::within;

/// Create, list, find; `ensure_topic` takes what is there.
pub async fn a_topic_is_created_listed_and_found(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let made = create(&*broker, "orders", 3).await;
    assert_eq!((made.name.as_str(), made.partitions), ("orders", 3));
    let listed = broker.topics();
    assert_eq!(listed[&name("orders")].id, made.id);
    assert_eq!(broker.topic(&name("orders")).unwrap().id, made.id);
    assert!(broker.topic(&name("absent")).is_none());
    let ensured = ensure_topic(&*broker, spec("orders", 9)).await.unwrap();
    assert_eq!((ensured.id, ensured.partitions), (made.id, 3));
    let other = ensure_topic(&*broker, spec("other", 1)).await.unwrap();
    assert_ne!(other.id, made.id);
}

/// The second creation fails and changes nothing; two at once make one topic.
pub async fn a_topic_cannot_be_created_twice(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let made = create(&*broker, "orders", 2).await;
    let again = within(broker.create_topic(spec("orders", 5))).await;
    assert!(matches!(again, Err(Error::TopicExists { .. })), "{again:?}");
    let kept = broker.topic(&name("orders")).unwrap();
    assert_eq!((kept.id, kept.partitions), (made.id, 2));
    let both = tokio::join!(
        broker.create_topic(spec("race", 1)),
        broker.create_topic(spec("race", 1))
    );
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    for partitions in [0, u32::MAX] {
        let refused = within(broker.create_topic(spec("none", partitions))).await;
        assert!(matches!(refused, Err(Error::InvalidPartitions { .. })));
    }
}

/// Records of a deleted topic do not come back, and a new topic of that name is another topic.
pub async fn a_deleted_topic_is_gone_and_its_name_is_free(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let first = create(&*broker, "orders", 1).await;
    append(&*broker, &at("orders", 0), ["old"]).await;
    within(broker.delete_topic(&name("orders"))).await.unwrap();
    assert!(broker.topic(&name("orders")).is_none());
    let gone = within(broker.delete_topic(&name("orders"))).await;
    assert!(matches!(gone, Err(Error::UnknownTopic { .. })), "{gone:?}");
    let batches = vec![batch(["x"])];
    let refused = within(broker.append(&at("orders", 0), batches, Durability::Flushed)).await;
    assert!(matches!(refused, Err(Error::UnknownTopic { .. })));

    let second = create(&*broker, "orders", 1).await;
    assert_ne!(first.id, second.id);
    assert_eq!(read_all(&*broker, &at("orders", 0), 0).await, []);
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(broker.topic(&name("orders")).unwrap().id, second.id);
    assert_eq!(read_all(&*broker, &at("orders", 0), 0).await, []);
}

/// New partitions are empty, old ones keep their records.
pub async fn partitions_grow_and_do_not_shrink(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let made = create(&*broker, "orders", 1).await;
    append(&*broker, &at("orders", 0), ["a"]).await;
    let grown = within(broker.add_partitions(&name("orders"), 3))
        .await
        .unwrap();
    assert_eq!((grown.id, grown.partitions), (made.id, 3));
    assert_eq!(append(&*broker, &at("orders", 2), ["b"]).await, 0);
    for count in [3, 2, 0, u32::MAX] {
        let refused = within(broker.add_partitions(&name("orders"), count)).await;
        assert!(
            matches!(refused, Err(Error::InvalidPartitions { .. })),
            "{count}"
        );
    }
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(broker.topic(&name("orders")).unwrap().partitions, 3);
    assert_eq!(read_all(&*broker, &at("orders", 0), 0).await.len(), 1);
    assert_eq!(read_all(&*broker, &at("orders", 2), 0).await.len(), 1);
}

/// A bad value is refused by its key; a good configuration survives.
pub async fn configuration_is_checked_replaced_and_kept(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let mut bad = spec("orders", 1);
    bad.config.inert.insert("no.such.key".into(), "1".into());
    let refused = within(broker.create_topic(bad)).await;
    assert!(matches!(refused, Err(Error::InvalidConfig { key, .. }) if key == "no.such.key"));
    create(&*broker, "orders", 1).await;

    let mut config = TopicConfig::default();
    config.set("retention.ms", Some("60000")).unwrap();
    config.set("cleanup.policy", Some("compact")).unwrap();
    let changed = within(broker.configure_topic(&name("orders"), config.clone())).await;
    assert_eq!(changed.unwrap().config, config);
    let mut bad = config.clone();
    bad.segment_bytes = stdx::ByteSize::from_bytes(1);
    let refused = within(broker.configure_topic(&name("orders"), bad)).await;
    assert!(matches!(refused, Err(Error::InvalidConfig { .. })));
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(broker.topic(&name("orders")).unwrap().config, config);
}

/// Ids, partitions and configurations are the same after an orderly stop and after a crash.
pub async fn topics_and_ids_survive_stop_and_crash(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    for (topic, partitions) in [("a", 1), ("b", 4), ("c", 2)] {
        create(&*broker, topic, partitions).await;
    }
    within(broker.delete_topic(&name("b"))).await.unwrap();
    let before: Vec<_> = broker
        .topics()
        .values()
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    drop(broker);
    harness.stop().await;
    let broker = harness.open();
    let after: Vec<_> = broker
        .topics()
        .values()
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    assert_eq!(before, after);
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    let after: Vec<_> = broker
        .topics()
        .values()
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    assert_eq!(before, after);
    assert_eq!(append(&*broker, &at("c", 1), ["x"]).await, 0);
}

/// Every call says which topic or partition there is not.
pub async fn unknown_places_are_named_in_the_error(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let absent = within(broker.marks(&at("absent", 0))).await;
    assert!(matches!(absent, Err(Error::UnknownTopic { topic }) if topic.as_str() == "absent"));
    let beyond = broker.watch(&at("orders", 1));
    assert!(matches!(
        beyond,
        Err(Error::UnknownPartition { partition, .. }) if partition == PartitionId::new(1)
    ));
    let configured = within(broker.configure_topic(&name("absent"), TopicConfig::default())).await;
    assert!(matches!(configured, Err(Error::UnknownTopic { .. })));
    let grown = within(broker.add_partitions(&name("absent"), 2)).await;
    assert!(matches!(grown, Err(Error::UnknownTopic { .. })));
}

/// A topic may ask for the broker's time; its answer says which.
pub async fn log_append_time_is_the_brokers(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    let mut stamped = spec("stamped", 1);
    stamped.config.timestamps = TimestampKind::LogAppend;
    within(broker.create_topic(stamped)).await.unwrap();
    create(&*broker, "plain", 1).await;
    let append = |topic| {
        let (broker, to) = (broker.clone(), at(topic, 0));
        async move {
            let batches = vec![batch(["x"])];
            within(broker.append(&to, batches, Durability::Flushed))
                .await
                .unwrap()
        }
    };
    assert_eq!(append("plain").await.log_append_time, None);
    let stamp = append("stamped").await.log_append_time.unwrap();
    let fetched = super::read(&*broker, &at("stamped", 0), 0).await;
    let batches: Vec<_> = record::Batches::new(fetched.batches).collect();
    assert_eq!(batches[0].as_ref().unwrap().max_timestamp(), stamp);
}
