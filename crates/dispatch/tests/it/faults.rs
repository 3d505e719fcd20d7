//! What fails beside the listener: a partition, a disk, a task. It costs time, and neither a record nor the listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use broker::Durability;
use dispatch::Outcome;
use model::{Outcome as TransactionOutcome, PartitionId, Producer, TopicPartition};
use parking_lot::Mutex;
use test_kit::batches::batch_in_transaction;

use crate::faulty::{Fault, Op};
use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_read_is_tried_ever_more_rarely_and_stays_what_it_was() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("calm", 1).await;
    let (broken, reads) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (breaks, counts) = (Arc::clone(&broken), Arc::clone(&reads));
    rig.faults.plan(move |op, topic| {
        let concerns = op == Op::Read && topic == "orders" && breaks.load(Ordering::Relaxed);
        counts.fetch_add(usize::from(concerns), Ordering::Relaxed);
        concerns.then_some(Fault::Fails)
    });
    rig.listener("{topics: [orders, calm], native: probe}")
        .await;
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.produce("calm", 0, &[("a", "calm", NONE)]).await;
    rig.until(|| rig.handle.list()[0].unreadable == 1).await;
    tokio::time::sleep(Duration::from_mins(4)).await;
    assert_eq!(rig.probe.values(), ["calm"], "others go on");
    let tried = reads.load(Ordering::Relaxed);
    assert!((6..12).contains(&tried), "{tried} reads in four minutes");
    assert_eq!(rig.figure("unreadable"), 1);
    broken.store(false, Ordering::Relaxed);
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["calm", "1"]);
    rig.until(|| rig.figure("unreadable") == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_taken_up_keeps_no_other_waiting() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("calm", 1).await;
    let gone = Arc::new(AtomicBool::new(true));
    let is_gone = Arc::clone(&gone);
    rig.faults.plan(move |op, topic| {
        let concerns = op == Op::Marks && topic == "orders" && is_gone.load(Ordering::Relaxed);
        concerns.then_some(Fault::Fails)
    });
    rig.listener("{topics: [orders, calm], native: probe}")
        .await;
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.produce("calm", 0, &[("a", "calm", NONE)]).await;
    rig.until(|| rig.probe.values() == ["calm"]).await;
    rig.until(|| rig.figure("unreadable") == 1).await;
    assert_eq!(rig.handle.list()[0].unreadable, 1);
    gone.store(false, Ordering::Relaxed);
    rig.until(|| rig.probe.values() == ["calm", "1"]).await;
    rig.until(|| rig.figure("unreadable") == 0).await;
}

/// Each kind of call panics the first two times.
#[tokio::test(start_paused = true)]
async fn a_panic_beside_the_loop_costs_a_pause() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let panics: Mutex<BTreeMap<(String, String), u32>> = Mutex::default();
    rig.faults.plan(move |op, topic| {
        let readers_own = topic == "orders" && op != Op::Commit;
        if readers_own || op == Op::Marks || (op == Op::Read && topic == "orders.dlq") {
            return None;
        }
        let mut panics = panics.lock();
        let count = panics
            .entry((format!("{op:?}"), topic.to_owned()))
            .or_default();
        *count += 1;
        // The first commit is that of the beginning, which is not beside the loop.
        let first = u32::from(op == Op::Commit);
        (*count > first && *count <= 2 + first).then_some(Fault::Panics)
    });
    rig.listener("{topics: orders, native: probe, retry: {attempts: 1}}")
        .await;
    rig.probe.script(|_, value| match value {
        "bad" => Answer {
            after: Duration::ZERO,
            outcome: Outcome::Refused {
                error: "no".to_owned(),
            },
        },
        _ => Answer::done(0),
    });
    let due = (rig.clock.now().millis() + 10_000).to_string();
    let due: &[(&str, &str)] = &[("x-deliver-at-ms", &due)];
    let records = [("a", "bad", NONE), ("b", "later", due), ("c", "good", NONE)];
    rig.produce("orders", 0, &records).await;
    rig.until_finished().await;
    rig.until(|| rig.probe.values().len() >= 3).await;
    let mut seen = rig.probe.values();
    seen.sort();
    assert_eq!(seen, ["bad", "good", "later"]);
    rig.until(|| rig.figure("waiting") == 0).await;
    let letters = rig.records("orders.dlq").await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        rig.handle.list()[0].generation,
        1,
        "it was not started again"
    );
}

#[tokio::test(start_paused = true)]
async fn progress_that_could_not_be_stored_is_stored_later() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let full = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&full);
    rig.faults.plan(move |op, topic| {
        let concerns = op == Op::Commit && topic.starts_with("lantern.delayed");
        (concerns && fails.load(Ordering::Relaxed)).then_some(Fault::Fails)
    });
    rig.listener("{topics: orders, native: probe}").await;
    let now = rig.clock.now();
    let due = (now.millis() + 5_000).to_string();
    let due: &[(&str, &str)] = &[("x-deliver-at-ms", &due)];
    rig.produce("orders", 0, &[("a", "later", due)]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    full.store(true, Ordering::Relaxed);
    rig.until(|| rig.probe.values() == ["later"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    full.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Killed, not stopped: what was stored by then is all there is.
    let (disk, now) = rig.kill().await;
    let rig = Rig::on(disk, now);
    rig.listener("{topics: orders, native: probe}").await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(rig.probe.values().len(), 0, "it was delivered before");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_while_its_listener_is_busy() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1}")
        .await;
    rig.probe.script(|_, _| Answer::done(50_000));
    let begin = rig.clock.now();
    let soon = (begin.millis() + 2_000).to_string();
    let soon: &[(&str, &str)] = &[("x-deadline-ms", &soon)];
    let records = [("a", "1", NONE), ("a", "late", soon), ("a", "2", NONE)];
    rig.produce("orders", 0, &records).await;
    while rig.records("orders.dlq").await.is_empty() {
        assert!(
            rig.clock.now().since(begin) < Duration::from_secs(3),
            "only when its turn came"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.until(|| rig.probe.values() == ["1", "2"]).await;
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_known_over_a_restart_and_a_kill() {
    let mut rig = Rig::new();
    rig.topic("orders", 2).await;
    let spec = "{topics: orders, native: probe, concurrency: 1, deduplicate: {window: 1m}}";
    rig.listener(spec).await;
    let id = |id: &'static str| vec![("ce_id", id)];
    rig.produce(
        "orders",
        0,
        &[("a", "1", &id("one")), ("a", "2", &id("two"))],
    )
    .await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["1", "2"]);
    for kill in [false, true] {
        let (disk, now) = if kill {
            rig.kill().await
        } else {
            rig.stop().await
        };
        rig = Rig::on(disk, now);
        // Another partition has the repetition; it comes while the listener is away, or just after.
        if kill {
            rig.produce("orders", 1, &[("a", "again", &id("one"))])
                .await;
        }
        rig.listener(spec).await;
        rig.produce("orders", 0, &[("a", "again", &id("two")), ("a", "3", NONE)])
            .await;
        rig.until(|| !rig.probe.values().is_empty()).await;
        rig.until_finished().await;
        assert_eq!(rig.probe.values(), ["3"], "killed: {kill}");
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    rig.produce("orders", 0, &[("a", "new", &id("one"))]).await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["3", "new"], "the window is over");
}

#[tokio::test(start_paused = true)]
async fn calls_to_an_old_endpoint_say_nothing_of_the_new_one() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let more = "ordering: none, concurrency: 20, retry: {attempts: 9, initial: 1ms}";
    rig.listener(&format!("{{topics: orders, native: probe, {more}}}"))
        .await;
    rig.probe.script(|_, _| Answer {
        after: Duration::from_secs(3),
        ..Answer::failed("nobody is there")
    });
    rig.produce("orders", 0, &[("", "x", NONE); 20]).await;
    rig.until(|| rig.probe.values().len() == 20).await;
    rig.listen(&[("l", &format!("{{topics: orders, native: other, {more}}}"))])
        .unwrap();
    rig.until(|| rig.handle.list()[0].generation == 2).await;
    rig.probe.script(|_, _| Answer::done(0));
    let begin = rig.clock.now();
    rig.until(|| rig.handle.list()[0].failures == 20).await;
    rig.until_finished().await;
    assert_eq!(rig.handle.list()[0].breaker, "closed");
    let took = rig.clock.now().since(begin);
    assert!(
        took < Duration::from_secs(5),
        "no rest for the new one: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_aborted_at_the_end_is_no_lag_and_holds_nobody_up() {
    let mut rig = Rig::new();
    rig.topic("orders", 2).await;
    let spec = "{topics: orders, native: probe, deduplicate: {window: 1m}}";
    rig.listener(spec).await;
    let id: &[(&str, &str)] = &[("ce_id", "one")];
    rig.produce("orders", 0, &[("a", "1", id)]).await;
    let at = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(0));
    let log = rig.broker.transactional().unwrap();
    let by = Producer::new(rig.broker.new_producer_id().await.unwrap(), 0);
    log.enlist(by, &at).unwrap();
    let batches = vec![batch_in_transaction(by, 0, ["never"])];
    rig.broker
        .append(&at, batches, Durability::Flushed)
        .await
        .unwrap();
    for ended in log.end(by, TransactionOutcome::Abort, vec![at]).await {
        ended.unwrap();
    }
    rig.until_finished().await;
    let (disk, now) = rig.stop().await;
    rig = Rig::on(disk, now);
    rig.listener(spec).await;
    rig.produce("orders", 1, &[("a", "again", id), ("a", "2", NONE)])
        .await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["2"]);
}
