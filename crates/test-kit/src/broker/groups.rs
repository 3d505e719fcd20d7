//! Progress of consumer groups.

use broker::{Broker, Commit, Error};
use model::TopicPartition;

use super::{BrokerHarness, at, commit, create, group, name};
use crate::within;

async fn committed(
    broker: &dyn Broker,
    id: &str,
    of: Option<Vec<TopicPartition>>,
) -> Vec<(TopicPartition, Option<Commit>)> {
    within(broker.committed(&group(id), of)).await.unwrap()
}

async fn store(broker: &dyn Broker, id: &str, commits: &[(&TopicPartition, u64)]) {
    let commits = commits
        .iter()
        .map(|(of, offset)| ((*of).clone(), commit(*offset, "note")))
        .collect();
    within(broker.commit(&group(id), commits)).await.unwrap();
}

/// The newest commit of a group in a partition is the one; metadata comes back.
pub async fn progress_is_kept_per_group_and_partition(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 3).await;
    let (zero, one) = (at("orders", 0), at("orders", 1));
    assert_eq!(committed(&*broker, "shop", None).await, []);
    store(&*broker, "shop", &[(&zero, 5), (&one, 6)]).await;
    store(&*broker, "shop", &[(&zero, 7)]).await;
    store(&*broker, "till", &[(&zero, 1)]).await;
    assert_eq!(
        committed(&*broker, "shop", None).await,
        [
            (zero.clone(), Some(commit(7, "note"))),
            (one.clone(), Some(commit(6, "note")))
        ]
    );
    let asked = vec![zero.clone(), at("orders", 2)];
    assert_eq!(
        committed(&*broker, "till", Some(asked)).await,
        [
            (zero.clone(), Some(commit(1, "note"))),
            (at("orders", 2), None)
        ]
    );
    let groups = within(broker.committed_groups()).await.unwrap();
    assert_eq!(groups, [group("shop"), group("till")]);
    let absent = vec![(at("absent", 0), commit(0, ""))];
    let unknown = within(broker.commit(&group("shop"), absent)).await;
    assert!(matches!(unknown, Err(Error::UnknownTopic { .. })));
}

/// A commit that was answered is there after a crash.
pub async fn progress_survives_stop_and_crash(mut harness: impl BrokerHarness) {
    let zero = at("orders", 0);
    for round in 0..4 {
        let broker = harness.open();
        if round == 0 {
            create(&*broker, "orders", 1).await;
        } else {
            let expected = [(zero.clone(), Some(commit(round * 10 + 4, "note")))];
            assert_eq!(committed(&*broker, "shop", None).await, expected);
        }
        for n in 0..5 {
            store(&*broker, "shop", &[(&zero, (round + 1) * 10 + n)]).await;
        }
        drop(broker);
        if round % 2 == 0 {
            harness.kill().await;
        } else {
            harness.stop().await;
        }
    }
}

/// Forgetting is durable, for some partitions or all; an unknown group is an error.
pub async fn forgotten_progress_stays_forgotten(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 2).await;
    let (zero, one) = (at("orders", 0), at("orders", 1));
    store(&*broker, "shop", &[(&zero, 5), (&one, 6)]).await;
    store(&*broker, "till", &[(&zero, 5)]).await;
    let some = Some(vec![zero.clone()]);
    within(broker.forget_group(&group("shop"), some))
        .await
        .unwrap();
    within(broker.forget_group(&group("till"), None))
        .await
        .unwrap();
    let unknown = within(broker.forget_group(&group("till"), None)).await;
    assert!(
        matches!(unknown, Err(Error::UnknownGroup { .. })),
        "{unknown:?}"
    );
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(
        committed(&*broker, "shop", None).await,
        [(one.clone(), Some(commit(6, "note")))]
    );
    assert_eq!(committed(&*broker, "till", None).await, []);
    assert_eq!(
        within(broker.committed_groups()).await.unwrap(),
        [group("shop")]
    );
}

/// A new topic of the same name starts without anybody's progress.
pub async fn progress_of_a_deleted_topic_is_forgotten(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    create(&*broker, "kept", 1).await;
    store(
        &*broker,
        "shop",
        &[(&at("orders", 0), 5), (&at("kept", 0), 2)],
    )
    .await;
    within(broker.delete_topic(&name("orders"))).await.unwrap();
    create(&*broker, "orders", 1).await;
    let expected = [(at("kept", 0), Some(commit(2, "note")))];
    assert_eq!(committed(&*broker, "shop", None).await, expected);
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    assert_eq!(committed(&*broker, "shop", None).await, expected);
}
