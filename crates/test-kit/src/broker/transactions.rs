//! Transactions: what counts together or not at all. A broker that says it has none passes.

use broker::{
    Broker, Durability, DynBroker, Error, ReadLimit, Tail, TransactionalLog, read_committed,
};
use model::{Outcome, Position, Producer, TopicPartition};
use record::CheckedBatch;

use super::{BrokerHarness, append, at, commit, create, group, marks, position};
use crate::batches::{batch_in_transaction, values};
use crate::within;

/// The transactional side, if there is one.
fn log(broker: &DynBroker) -> Option<&dyn TransactionalLog> {
    let log = broker.transactional();
    assert_eq!(log.is_some(), broker.capabilities().transactions);
    log
}

async fn send(
    broker: &dyn Broker,
    to: &TopicPartition,
    batch: CheckedBatch,
) -> Result<broker::Appended, Error> {
    within(broker.append(to, vec![batch], Durability::Flushed)).await
}

async fn end(log: &dyn TransactionalLog, by: Producer, outcome: Outcome, of: &[TopicPartition]) {
    for marker in within(log.end(by, outcome, of.to_vec())).await {
        marker.unwrap();
    }
}

/// Every value that a reader of what is committed sees, and where it stops.
async fn committed(broker: &dyn Broker, of: &TopicPartition) -> (Vec<String>, Position) {
    let limit = ReadLimit {
        bytes: 200,
        at_least_one: true,
    };
    let (mut seen, mut from) = (Vec::new(), position(0));
    loop {
        let fetched = within(read_committed(broker, of, from, limit))
            .await
            .unwrap();
        seen.extend(values(&fetched.batches));
        if fetched.next == from {
            return (seen, from);
        }
        from = fetched.next;
    }
}

/// An open transaction holds readers of what is committed back; a commit shows all of it, an abort
/// nothing; a crash changes neither.
pub async fn a_transaction_is_seen_when_it_is_committed(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 2).await;
    let both = [at("orders", 0), at("orders", 1)];
    let Some(transactional) = log(&broker) else {
        return;
    };
    let id = within(broker.new_producer_id()).await.unwrap();
    let by = Producer::new(id, 0);
    append(&*broker, &both[0], ["before"]).await;
    for (sequence, outcome) in [(0, Outcome::Abort), (1, Outcome::Commit)] {
        for of in &both {
            transactional.enlist(by, of).unwrap();
            let value = outcome.to_string();
            let batch = batch_in_transaction(by, sequence, [&value]);
            send(&*broker, of, batch).await.unwrap();
        }
        append(&*broker, &both[0], ["beside"]).await;
        let marks = marks(&*broker, &both[0]).await;
        assert!(marks.last_stable < marks.high_watermark);
        let (seen, stopped) = committed(&*broker, &both[0]).await;
        assert_eq!(stopped, marks.last_stable);
        assert!(!seen.contains(&outcome.to_string()), "{seen:?}");
        end(transactional, by, outcome, &both).await;
    }
    let expected = [vec!["before", "beside", "commit", "beside"], vec!["commit"]];
    let mut tail = Tail::new(DynBroker::clone(&broker), both[1].clone(), position(0)).unwrap();
    let tailed = within(tail.next()).await.unwrap();
    assert_eq!(values(&tailed.batches), ["commit"], "a tail sees no other");
    drop((tail, broker));
    harness.kill().await;
    let broker = harness.open();
    for (of, expected) in both.iter().zip(expected) {
        let (seen, stopped) = committed(&*broker, of).await;
        assert_eq!(seen, expected);
        assert_eq!(stopped, marks(&*broker, of).await.high_watermark);
    }
}

/// Only a producer that is enlisted writes in a transaction, only the broker writes markers, and a
/// marker of a newer epoch fences.
pub async fn nobody_writes_into_a_transaction_uninvited(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 1).await;
    let orders = at("orders", 0);
    let Some(transactional) = log(&broker) else {
        return;
    };
    let id = within(broker.new_producer_id()).await.unwrap();
    let by = Producer::new(id, 0);
    let refused = send(&*broker, &orders, batch_in_transaction(by, 0, ["x"])).await;
    assert!(matches!(refused, Err(Error::NotInTransaction { .. })));
    transactional.enlist(by, &orders).unwrap();
    send(&*broker, &orders, batch_in_transaction(by, 0, ["x"]))
        .await
        .unwrap();
    let forged = record::marker(by, Outcome::Commit, 0, crate::batches::WHEN);
    let refused = send(&*broker, &orders, forged).await;
    assert!(matches!(refused, Err(Error::ControlBatch { .. })));
    let open = within(transactional.unfinished()).await.unwrap();
    assert_eq!(open[&id].partitions, [orders.clone()].into());
    let next = Producer::new(id, 1);
    end(
        transactional,
        next,
        Outcome::Abort,
        std::slice::from_ref(&orders),
    )
    .await;
    let late = send(&*broker, &orders, batch_in_transaction(by, 1, ["y"])).await;
    assert!(matches!(late, Err(Error::ProducerFenced { .. })));
    assert!(within(transactional.unfinished()).await.unwrap().is_empty());
    let (seen, _) = committed(&*broker, &orders).await;
    assert!(seen.is_empty(), "{seen:?}");
}

/// Staged progress is no progress until it is settled by a commit, also after a crash.
pub async fn staged_progress_counts_when_it_is_settled(mut harness: impl BrokerHarness) {
    let broker = harness.open();
    create(&*broker, "orders", 2).await;
    let both = [at("orders", 0), at("orders", 1)];
    if log(&broker).is_none() {
        return;
    }
    let id = within(broker.new_producer_id()).await.unwrap();
    drop(broker);
    harness.stop().await;
    for (offset, outcome) in [(5, Outcome::Abort), (6, Outcome::Commit)] {
        let broker = harness.open();
        let transactional = log(&broker).unwrap();
        let commits = both.iter().map(|of| (of.clone(), commit(offset, "note")));
        let shop = group("shop");
        let by = Producer::new(id, 0);
        within(transactional.stage(by, &shop, commits.collect()))
            .await
            .unwrap();
        drop(broker);
        harness.kill().await;
        let broker = harness.open();
        let transactional = log(&broker).unwrap();
        assert_eq!(transactional.staged(&shop).unwrap(), both.clone().into());
        assert!(
            within(broker.committed(&shop, None))
                .await
                .unwrap()
                .is_empty()
        );
        let unfinished = within(transactional.unfinished()).await.unwrap();
        assert!(unfinished[&id].staged);
        for _ in 0..2 {
            within(transactional.settle(id, outcome)).await.unwrap();
            assert!(transactional.staged(&shop).unwrap().is_empty());
        }
        drop(broker);
        harness.kill().await;
    }
    let broker = harness.open();
    let found = within(broker.committed(&group("shop"), None))
        .await
        .unwrap();
    let expected = both.map(|of| (of, Some(commit(6, "note"))));
    assert_eq!(found, expected);
}
