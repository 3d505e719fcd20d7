//! Idempotent producers: retries, gaps, epochs, ids.

use std::collections::HashSet;

use broker::{Appended, Broker, Durability, Error};
use model::{Offset, TopicPartition};

use super::{BrokerHarness, append, at, create, read_all};
use crate::batches::batch_of;
use crate::within;

async fn send(
    broker: &dyn Broker,
    to: &TopicPartition,
    producer: (i64, i16, i32),
    values: &[&str],
) -> Result<Appended, Error> {
    let batches = vec![batch_of(producer, values)];
    within(broker.append(to, batches, Durability::Flushed)).await
}

/// A batch sent again is acknowledged with its first offset and stored once.
pub async fn a_retry_answers_with_the_first_offset(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let id = within(broker.new_producer_id()).await.unwrap();
    append(&*broker, &orders, ["other"]).await;
    let first = send(&*broker, &orders, (id, 0, 0), &["a", "b"])
        .await
        .unwrap();
    assert_eq!(
        (first.base_offset, first.duplicate),
        (Offset::new(1), false)
    );
    let again = send(&*broker, &orders, (id, 0, 0), &["a", "b"])
        .await
        .unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset::new(1), true));
    let next = send(&*broker, &orders, (id, 0, 2), &["c"]).await.unwrap();
    assert_eq!((next.base_offset, next.duplicate), (Offset::new(3), false));
    let old = send(&*broker, &orders, (id, 0, 0), &["a", "b"])
        .await
        .unwrap();
    assert_eq!((old.base_offset, old.duplicate), (Offset::new(1), true));
    assert_eq!(read_all(&*broker, &orders, 0).await.len(), 4);
}

/// The log remembers producers: a retry after a crash is recognised too.
pub async fn a_retry_is_known_after_a_crash(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let id = within(broker.new_producer_id()).await.unwrap();
    send(&*broker, &orders, (id, 0, 0), &["a"]).await.unwrap();
    send(&*broker, &orders, (id, 0, 1), &["b"]).await.unwrap();
    drop(broker);
    harness.kill().await;
    let broker = harness.open();
    let again = send(&*broker, &orders, (id, 0, 1), &["b"]).await.unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset::new(1), true));
    let next = send(&*broker, &orders, (id, 0, 2), &["c"]).await.unwrap();
    assert_eq!(next.base_offset, Offset::new(2));
    drop(broker);
    harness.stop().await;
    let broker = harness.open();
    let again = send(&*broker, &orders, (id, 0, 2), &["c"]).await.unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset::new(2), true));
    assert_eq!(read_all(&*broker, &orders, 0).await.len(), 3);
}

/// A lost batch is noticed: the next one is refused and nothing is stored.
pub async fn a_gap_in_the_sequence_is_refused(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let id = within(broker.new_producer_id()).await.unwrap();
    send(&*broker, &orders, (id, 0, 0), &["a"]).await.unwrap();
    let gap = send(&*broker, &orders, (id, 0, 5), &["f"]).await;
    assert!(
        matches!(
            gap,
            Err(Error::OutOfOrderSequence {
                expected: 1,
                found: 5,
                ..
            })
        ),
        "{gap:?}"
    );
    assert_eq!(read_all(&*broker, &orders, 0).await.len(), 1);
}

/// A newer epoch shuts the older one out.
pub async fn an_old_epoch_is_fenced(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let id = within(broker.new_producer_id()).await.unwrap();
    send(&*broker, &orders, (id, 1, 0), &["new"]).await.unwrap();
    let old = send(&*broker, &orders, (id, 0, 0), &["old"]).await;
    assert!(
        matches!(
            old,
            Err(Error::ProducerFenced {
                newest: 1,
                found: 0,
                ..
            })
        ),
        "{old:?}"
    );
}

/// Ids are new across calls, stops and crashes.
pub async fn producer_ids_are_never_given_twice(mut harness: impl BrokerHarness) {
    let mut seen = HashSet::new();
    for round in 0..4 {
        let broker = harness.open();
        for _ in 0..700 {
            let id = within(broker.new_producer_id()).await.unwrap();
            assert!(id >= 0);
            assert!(seen.insert(id), "{id} came twice");
        }
        drop(broker);
        if round % 2 == 0 {
            harness.kill().await;
        } else {
            harness.stop().await;
        }
    }
}
