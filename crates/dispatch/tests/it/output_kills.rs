//! Outputs and dead letters through kills: each input's output stands in the output topic once, in the order of its key, or its
//! dead letter in theirs once, for who reads what is committed; and at any moment exactly those of inputs that count as finished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use delivery::Finished;
use dispatch::{Content, Filter, Outcome, Output, Replay};
use model::{Position, TopicPartition};

use crate::faulty::{Fault, Op};
use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];
const KEYS: usize = 7;

/// Every thirteenth input is given up, at once or after its attempts.
fn is_given_up(number: usize) -> bool {
    number % 13 == 4
}

/// Value of an output: that of its input with a sign. Every fifth input makes two, every eleventh none, and so does what is
/// given up.
fn outputs_of(value: &str) -> Vec<String> {
    let number: usize = value.parse().unwrap();
    match number {
        _ if is_given_up(number) => Vec::new(),
        _ if number.is_multiple_of(11) => Vec::new(),
        _ if number.is_multiple_of(5) => vec![format!("{value}+"), format!("{value}++")],
        _ => vec![format!("{value}+")],
    }
}

/// Begins where the last life ended: a listener that is slow, fails at times, and answers.
async fn begin(rig: &Rig, spec: &str) {
    rig.probe.script(|delivery, value| {
        let number: usize = value.parse().unwrap();
        let after = u64::try_from(number * 7 % 13).unwrap();
        let error = "nonsense".to_owned();
        match delivery.attempt {
            _ if is_given_up(number) && number.is_multiple_of(2) => Answer {
                after: Duration::from_millis(after),
                outcome: Outcome::Refused { error },
            },
            _ if is_given_up(number) => Answer::failed("every time"),
            1 if number.is_multiple_of(9) => Answer::failed("the first time"),
            _ => Answer::done(after),
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

/// What is buried when every input up to `count` is finished, sorted.
fn all_buried(count: usize) -> Vec<String> {
    let given_up = (0..count).filter(|number| is_given_up(*number));
    given_up.map(|number| format!("{number:05}")).collect()
}

/// Values of the dead letters, sorted: as any reader of what is committed has them.
async fn buried(rig: &Rig) -> Vec<String> {
    let letters = rig.records("orders.dlq").await;
    let mut values: Vec<String> = letters.into_iter().map(|(_, value, _)| value).collect();
    values.sort();
    values
}

/// The dead letters as they are shown, sorted.
async fn shown(rig: &Rig) -> Vec<String> {
    let topic = "orders.dlq".parse().unwrap();
    if rig.broker.topic(&topic).is_none() {
        return Vec::new();
    }
    let all = Filter::default();
    let letters = rig.handle.letters(&topic, None, None, 1_000, &all).await;
    let letters = letters.unwrap().letters.into_iter();
    let mut values: Vec<String> = letters
        .map(|letter| match letter.value {
            Some(Content::Text(value)) => value,
            other => panic!("{other:?}"),
        })
        .collect();
    values.sort();
    values
}

/// Outputs and dead letters that can be read are those of exactly the inputs that are finished by what is stored.
async fn agree(rig: &Rig) {
    let group = "lantern-listener-l".parse().unwrap();
    let mut expected = BTreeSet::new();
    let mut given_up = Vec::new();
    for (at, commit) in rig.broker.committed(&group, None).await.unwrap() {
        let Some(commit) = commit.filter(|_| at.topic.as_str() == "orders") else {
            continue;
        };
        let finished = Finished::read(commit.position, &commit.metadata);
        for (offset, value) in inputs(rig, &at).await {
            if offset < commit.position || finished.contains(offset) {
                expected.extend(outputs_of(&value));
                if is_given_up(value.parse().unwrap()) {
                    given_up.push(value);
                }
            }
        }
    }
    let found: Vec<String> = paid(rig).await.into_values().flatten().collect();
    let once: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), once.len(), "some came twice: {found:?}");
    assert_eq!(once, expected, "together or not at all");
    given_up.sort();
    assert_eq!(
        buried(rig).await,
        given_up,
        "a letter once, and with its progress"
    );
    assert_eq!(shown(rig).await, given_up, "what was aborted is no letter");
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
    assert_eq!(buried(&rig).await, all_buried(count * EACH));
    agree(&rig).await;
}

#[tokio::test(start_paused = true)]
async fn every_input_has_its_output_once_through_fifty_ends_in_the_order_of_its_key() {
    lives(
        "{topics: orders, native: probe, concurrency: 4, batch: 3, from: earliest, \
         output: {topic: paid}, retry: {attempts: 3, initial: 5ms}}",
        50,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_input_has_its_output_once_through_twenty_ends_in_the_order_of_its_partition() {
    lives(
        "{topics: orders, native: probe, concurrency: 2, ordering: partition, from: earliest, \
         output: {topic: paid}, retry: {attempts: 3, initial: 5ms}}",
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
async fn a_letter_that_was_aborted_is_neither_counted_nor_sent_again() {
    let rig = Rig::new();
    rig.topic("orders", 2).await;
    rig.topic("paid", 2).await;
    begin(
        &rig,
        "{topics: orders, native: probe, from: earliest, output: {topic: paid}}",
    )
    .await;
    // Letters are appended, and the outputs of the same transaction are not.
    rig.faults
        .plan(|op, topic| (op == Op::Append && topic == "paid").then_some(Fault::Fails));
    produce(&rig, 0, 60).await;
    let failed = "listener=\"l\",outcome=\"failed\"";
    rig.until(|| rig.figure_of("transactions_total", failed) >= 3)
        .await;
    rig.faults.heal();
    rig.until_finished().await;
    agree(&rig).await;
    let count = all_buried(60).len();
    let at = TopicPartition::new("orders.dlq".parse().unwrap(), model::PartitionId::new(0));
    let limit = broker::ReadLimit {
        bytes: 64 << 20,
        at_least_one: true,
    };
    let read = rig.broker.read(&at, Position::default(), limit);
    let all = record::Batches::new(read.await.unwrap().batches).map(Result::unwrap);
    let appended = all.filter(|batch| !batch.is_control());
    let appended: usize = appended
        .map(|batch| batch.records().unwrap().iter().count())
        .sum();
    assert!(appended > count, "some were aborted: {appended}");

    let topics = rig.handle.letter_topics().await.unwrap();
    assert_eq!(topics[0].letters, count as u64);
    rig.probe.script(|_, _| Answer::done(0));
    for (sent, before) in [(count, 0), (0, count)] {
        let (all, told) = (Replay::default(), tokio::sync::watch::Sender::default());
        let replayed = rig.handle.replay(&at.topic, &all, &told).await.unwrap();
        assert_eq!(
            (replayed.sent, replayed.before),
            (sent as u64, before as u64)
        );
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
