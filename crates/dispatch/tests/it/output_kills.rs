//! Outputs through kills: each input's output stands in the output topic once, in the order of its key, for who reads what is
//! committed; and at any moment exactly those of inputs that count as finished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use delivery::Finished;
use dispatch::Output;
use model::{Position, TopicPartition};

use crate::faulty::{Fault, Op};
use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];
const KEYS: usize = 7;

/// Value of an output: that of its input with a sign. Every fifth input makes two, every eleventh none.
fn outputs_of(value: &str) -> Vec<String> {
    let number: usize = value.parse().unwrap();
    match number {
        _ if number.is_multiple_of(11) => Vec::new(),
        _ if number.is_multiple_of(5) => vec![format!("{value}+"), format!("{value}++")],
        _ => vec![format!("{value}+")],
    }
}

/// Begins where the last life ended: a listener that is slow, fails at times, and answers.
async fn begin(rig: &Rig, spec: &str) {
    rig.probe.script(|delivery, value| {
        let number: u64 = value.parse().unwrap();
        match delivery.attempt {
            1 if number.is_multiple_of(9) => Answer::failed("the first time"),
            _ => Answer::done(number * 7 % 13),
        }
    });
    let made = |value: &str| outputs_of(value).into_iter().map(Output::new).collect();
    rig.probe.making(made);
    rig.listener(spec).await;
}

async fn produce(rig: &Rig, from: usize, to: usize) {
    for number in from..to {
        let (key, value) = (format!("k{}", number % KEYS), format!("{number:05}"));
        let partition = u32::try_from(number % KEYS % 2).unwrap();
        rig.produce("orders", partition, &[(&key, &value, NONE)])
            .await;
    }
}

/// Outputs by key, in the order of their topic.
async fn paid(rig: &Rig) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value, _) in rig.records("paid").await {
        by_key.entry(key).or_default().push(value);
    }
    by_key
}

/// What `paid` is when every input up to `count` is finished.
fn all_paid(count: usize) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..count {
        let outputs = outputs_of(&format!("{number:05}"));
        if !outputs.is_empty() {
            let key = format!("k{}", number % KEYS);
            by_key.entry(key).or_default().extend(outputs);
        }
    }
    by_key
}

/// Outputs that can be read are those of exactly the inputs that are finished by what is stored.
async fn agree(rig: &Rig) {
    let group = "lantern-listener-l".parse().unwrap();
    let mut expected = BTreeSet::new();
    for (at, commit) in rig.broker.committed(&group, None).await.unwrap() {
        let Some(commit) = commit.filter(|_| at.topic.as_str() == "orders") else {
            continue;
        };
        let finished = Finished::read(commit.position, &commit.metadata);
        for (offset, value) in inputs(rig, &at).await {
            if offset < commit.position || finished.contains(offset) {
                expected.extend(outputs_of(&value));
            }
        }
    }
    let found: Vec<String> = paid(rig).await.into_values().flatten().collect();
    let once: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), once.len(), "some came twice: {found:?}");
    assert_eq!(once, expected, "together or not at all");
}

/// Values of a partition by offset.
async fn inputs(rig: &Rig, at: &TopicPartition) -> Vec<(Position, String)> {
    let limit = broker::ReadLimit {
        bytes: 64 << 20,
        at_least_one: true,
    };
    let read = rig.broker.read(at, Position::default(), limit);
    let records = test_kit::batches::records(&read.await.unwrap().batches);
    let records = records.into_iter();
    records
        .map(|(offset, value)| (offset.into(), value))
        .collect()
}

/// Waits until the coordinator has read back what was, and ended what was decided.
async fn settled(rig: &Rig) {
    while !rig.transactions.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// So many lives, each ended in another moment by a kill or by a power cut in the midst of writing.
async fn lives(spec: &str, count: usize) {
    const EACH: usize = 20;
    let mut rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.topic("paid", 3).await;
    begin(&rig, spec).await;
    for life in 0..count {
        produce(&rig, life * EACH, life * EACH + EACH).await;
        let (disk, now) = if life % 2 == 0 {
            let moment = u64::try_from(life * 41 % 173).unwrap();
            tokio::time::sleep(Duration::from_millis(moment)).await;
            rig.kill().await
        } else {
            rig.fail_power_after(u64::try_from(life * 29 % 97).unwrap());
            tokio::time::sleep(Duration::from_millis(300)).await;
            rig.cut().await
        };
        rig = Rig::on(disk, now);
        settled(&rig).await;
        agree(&rig).await;
        begin(&rig, spec).await;
    }
    rig.until_finished().await;
    assert_eq!(paid(&rig).await, all_paid(count * EACH));
    agree(&rig).await;
    assert_eq!(rig.records("orders.dlq").await, []);
}

#[tokio::test(start_paused = true)]
async fn every_input_has_its_output_once_through_fifty_ends_in_the_order_of_its_key() {
    lives(
        "{topics: orders, native: probe, concurrency: 4, batch: 3, from: earliest, \
         output: {topic: paid}, retry: {attempts: 9, initial: 5ms}}",
        50,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_input_has_its_output_once_through_twenty_ends_in_the_order_of_its_partition() {
    lives(
        "{topics: orders, native: probe, concurrency: 2, ordering: partition, from: earliest, \
         output: {topic: paid}, retry: {attempts: 9, initial: 5ms}}",
        20,
    )
    .await;
}

/// What is finished out of order has no bound but the window: here its note is longer than other listeners may write.
#[tokio::test(start_paused = true)]
async fn nothing_is_answered_twice_however_much_was_finished_out_of_order() {
    const COUNT: usize = 20_000;
    let spec = "{topics: orders, native: probe, concurrency: 64, ordering: none, \
                from: earliest, output: {topic: paid}, \
                retry: {attempts: 9, initial: 1h, max: 1h}}";
    let making = |value: &str| vec![Output::new(format!("{value}+"))];
    let mut rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("paid", 1).await;
    let stuck = |value: &str| value.parse::<usize>().unwrap().is_multiple_of(20);
    rig.probe.script(move |_, value| {
        if stuck(value) {
            Answer::failed("not yet")
        } else {
            Answer::done(0)
        }
    });
    rig.probe.making(making);
    let values: Vec<String> = (0..COUNT).map(|number| format!("{number:05}")).collect();
    for some in values.chunks(500) {
        let records: Vec<_> = some
            .iter()
            .map(|value| ("", value.as_str(), NONE))
            .collect();
        rig.produce("orders", 0, &records).await;
    }
    rig.listener(spec).await;
    let taken = i64::try_from(COUNT - COUNT.div_ceil(20)).unwrap();
    rig.until(|| rig.figure("output_records_total") == taken)
        .await;
    let group = "lantern-listener-l".parse().unwrap();
    let stored = rig.broker.committed(&group, None).await.unwrap();
    let note = stored.into_iter().find_map(|(_, commit)| commit).unwrap();
    assert!(note.metadata.len() > 4_096, "{}", note.metadata.len());
    let (disk, now) = rig.kill().await;
    rig = Rig::on(disk, now);
    rig.probe.making(making);
    rig.listener(spec).await;
    rig.until_finished().await;
    let mut found = rig.records("paid").await;
    found.sort();
    let mut expected = values.iter().map(|value| format!("{value}+"));
    assert!(
        found
            .into_iter()
            .map(|(_, value, _)| value)
            .eq(expected.by_ref())
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_fails_or_panics_is_made_again_from_its_inputs() {
    let spec = "{topics: orders, native: probe, from: earliest, output: {topic: paid}}";
    for fault in [Fault::Fails, Fault::Panics] {
        let rig = Rig::new();
        rig.topic("orders", 2).await;
        rig.topic("paid", 2).await;
        begin(&rig, spec).await;
        produce(&rig, 0, 40).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        rig.faults
            .plan(move |op, topic| (op == Op::Append && topic == "paid").then_some(fault));
        produce(&rig, 40, 80).await;
        let failed = "listener=\"l\",outcome=\"failed\"";
        rig.until(|| rig.figure_of("transactions_total", failed) >= 3)
            .await;
        rig.faults.heal();
        rig.until_finished().await;
        assert_eq!(paid(&rig).await, all_paid(80));
        agree(&rig).await;
        let calls = rig.probe.values().len();
        assert!(calls > 100, "its inputs came again: {calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_listener_writes_no_more_and_begins_again() {
    let spec = "{topics: orders, native: probe, from: earliest, output: {topic: paid}}";
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.topic("paid", 2).await;
    begin(&rig, spec).await;
    let id = transactions::TransactionalId::new("lantern-listener-l").unwrap();
    for round in 0..5 {
        produce(&rig, round * 20, round * 20 + 20).await;
        let ask = broker::transaction_coordinator::Init {
            timeout: Duration::from_secs(30),
            expected: None,
        };
        // While it is ending one, its successor has to ask again.
        while rig.transactions.init(&id, ask).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    rig.until_finished().await;
    assert_eq!(paid(&rig).await, all_paid(100));
    agree(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_change_leave_nothing_to_be_made_twice() {
    let mut rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.topic("paid", 2).await;
    let specs = [
        "{topics: orders, native: probe, from: earliest, output: {topic: paid}}",
        "{topics: orders, native: other, from: earliest, output: {topic: paid}, ordering: partition}",
    ];
    begin(&rig, specs[0]).await;
    for round in 0..10 {
        produce(&rig, round * 20, round * 20 + 20).await;
        rig.listen(&[("l", specs[round % 2])]).unwrap();
        if round % 4 == 3 {
            let calls = rig.probe.values().len();
            let (disk, now) = rig.stop().await;
            rig = Rig::on(disk, now);
            settled(&rig).await;
            agree(&rig).await;
            assert!(calls > 0);
            begin(&rig, specs[0]).await;
        }
    }
    rig.until_finished().await;
    assert_eq!(paid(&rig).await, all_paid(200));
}
