//! Starts, changes, removals, restarts and kills: nothing is lost, and what ends in order comes once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

/// How often each value was seen.
fn counts(rig: &Rig) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for value in rig.probe.values() {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

async fn produce(rig: &Rig, from: usize, to: usize) {
    for number in from..to {
        let (key, value) = (format!("k{}", number % 5), format!("{number:04}"));
        rig.produce("orders", 0, &[(&key, &value, NONE)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_listener_begins_at_the_end_or_at_the_beginning() {
    for (from, expected) in [("latest", &["new"][..]), ("earliest", &["old", "new"])] {
        let rig = Rig::new();
        rig.topic("orders", 1).await;
        rig.produce("orders", 0, &[("a", "old", NONE)]).await;
        rig.listener(&format!("{{topics: orders, native: probe, from: {from}}}"))
            .await;
        rig.produce("orders", 0, &[("a", "new", NONE)]).await;
        rig.until_finished().await;
        assert_eq!(rig.probe.values(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn topics_and_partitions_that_come_later_are_read_whole() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: [orders, returns], native: probe, ordering: none}")
        .await;
    rig.topic("returns", 1).await;
    rig.produce("returns", 0, &[("a", "r1", NONE)]).await;
    rig.until(|| rig.probe.values().contains(&"r1".to_owned()))
        .await;
    rig.broker
        .add_partitions(&"orders".parse().unwrap(), 2)
        .await
        .unwrap();
    rig.produce("orders", 1, &[("a", "o1", NONE)]).await;
    rig.until(|| rig.probe.values().contains(&"o1".to_owned()))
        .await;
    // Deleted and made anew, with the same name and lower offsets.
    rig.broker
        .delete_topic(&"returns".parse().unwrap())
        .await
        .unwrap();
    rig.topic("returns", 1).await;
    rig.produce("returns", 0, &[("a", "r2", NONE)]).await;
    rig.until(|| rig.probe.values().contains(&"r2".to_owned()))
        .await;
    assert_eq!(counts(&rig).into_values().max(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_order_delivers_nothing_twice() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let spec = "{topics: orders, native: probe, concurrency: 3, \
                retry: {attempts: 9, initial: 10s, max: 10s}}";
    rig.listener(spec).await;
    // One key is stuck: what others finished behind it must be remembered.
    rig.probe.script(|_, value| {
        if value == "0003" {
            Answer::failed("stuck")
        } else {
            Answer::done(3)
        }
    });
    produce(&rig, 0, 40).await;
    rig.until(|| rig.probe.values().len() >= 33).await;
    let before = counts(&rig);
    let (disk, now) = rig.stop().await;
    let rig = Rig::on(disk, now);
    rig.listener(spec).await;
    produce(&rig, 40, 45).await;
    rig.until_finished().await;
    let after = counts(&rig);
    for number in 0..45 {
        let value = format!("{number:04}");
        let times = |seen: &BTreeMap<String, usize>| seen.get(&value).copied().unwrap_or(0);
        let expected = if number == 3 { 2 } else { 1 };
        assert_eq!(times(&before) + times(&after), expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_nothing_and_repeats_little() {
    let mut rig = Rig::new();
    rig.topic("orders", 1).await;
    let spec = "{topics: orders, native: probe, concurrency: 2}";
    rig.listener(spec).await;
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for life in 0..10_usize {
        rig.probe.script(|_, _| Answer::done(7));
        produce(&rig, life * 30, life * 30 + 30).await;
        let moment = u64::try_from(life * 41 % 300).unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        for (value, times) in counts(&rig) {
            *all.entry(value).or_default() += times;
        }
        let (disk, now) = rig.kill().await;
        rig = Rig::on(disk, now);
        rig.listener(spec).await;
    }
    rig.until_finished().await;
    for (value, times) in counts(&rig) {
        *all.entry(value).or_default() += times;
    }
    assert_eq!(all.len(), 300, "every record came");
    // Progress is stored every 200 ms; two calls of 7 ms at a time.
    let again: usize = all.values().map(|times| times - 1).sum();
    assert!(again <= 10 * 65, "{again} came again in ten kills");
}

#[tokio::test(start_paused = true)]
async fn changes_under_load_lose_and_repeat_nothing() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 2}")
        .await;
    rig.probe.script(|_, _| Answer::done(4));
    let changes = [
        "{topics: orders, native: probe, concurrency: 5, batch: 4}",
        "{topics: orders, native: probe, ordering: partition}",
        "{topics: orders, native: probe, rate: {perSecond: 500}, retry: {attempts: 1}}",
        "{topics: orders, native: probe, ordering: none, concurrency: 7}",
        "{topics: [orders, others], native: probe, priority: 1, deadline: {timeout: 1h}}",
    ];
    for round in 0..20 {
        produce(&rig, round * 25, round * 25 + 25).await;
        rig.listen(&[("l", changes[round % changes.len()])])
            .unwrap();
    }
    rig.until_finished().await;
    let counts = counts(&rig);
    assert_eq!((counts.len(), counts.values().max()), (500, Some(&1)));
    assert!(
        rig.handle.list()[0].generation >= 15,
        "{:?}",
        rig.handle.list()
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_removed_ends_its_work_and_goes_on_there_when_it_comes_back() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let spec = "{topics: orders, native: probe, concurrency: 2}";
    rig.listener(spec).await;
    rig.probe.script(|_, _| Answer::done(50));
    for round in 0..10 {
        produce(&rig, round * 10, round * 10 + 10).await;
        rig.listen(&[]).unwrap();
        if round % 2 == 0 {
            // Back after the old one has ended, or before.
            rig.until(|| rig.handle.list().is_empty()).await;
        }
        rig.listen(&[("l", spec)]).unwrap();
    }
    rig.until_finished().await;
    let counts = counts(&rig);
    assert_eq!((counts.len(), counts.values().max()), (100, Some(&1)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cannot_be_leaves_the_old_one_at_work() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    for (spec, part) in [
        ("{topics: orders, native: prob}", "'prob'"),
        (
            "{topics: orders, native: probe, concurrency: 0}",
            "concurrency",
        ),
    ] {
        let problems = rig.listen(&[("l", spec)]).unwrap_err();
        assert!(problems[0].to_string().contains(part), "{problems:?}");
    }
    let twice = ("l", "{topics: orders, native: probe}");
    let problems = rig.listen(&[twice, twice]).unwrap_err();
    assert!(
        problems[0].to_string().contains("comes twice"),
        "{problems:?}"
    );
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["1"]);
    assert_eq!(rig.handle.list()[0].generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_calls_under_way() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    rig.probe.script(|_, _| Answer::done(3_000));
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.until(|| !rig.probe.values().is_empty()).await;
    let (disk, now) = rig.stop().await;
    let rig = Rig::on(disk, now);
    rig.listener("{topics: orders, native: probe}").await;
    rig.produce("orders", 0, &[("a", "2", NONE)]).await;
    rig.until_finished().await;
    assert_eq!(
        rig.probe.values(),
        ["2"],
        "the first was taken before the stop"
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_stays_behind_pauses_and_core_ones_go_on() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listen(&[
        (
            "l",
            "{topics: orders, native: probe, concurrency: 1, core: false, from: earliest}",
        ),
        ("core", "{topics: payments, native: probe, from: earliest}"),
    ])
    .unwrap();
    // A call takes a minute: it will never be done.
    rig.probe.script(|_, value| match value {
        "paid" => Answer::done(1),
        _ => Answer::done(60_000),
    });
    let many = vec![("k", "slow", NONE); 500];
    rig.produce("orders", 0, &many).await;
    let paused = |name: &str| {
        rig.handle
            .list()
            .iter()
            .any(|one| one.name == name && one.paused)
    };
    rig.until(|| paused("l")).await;
    let calls = rig.probe.values().len();
    assert!(
        (5..=7).contains(&calls),
        "five minutes of patience: {calls} calls"
    );
    rig.topic("payments", 1).await;
    rig.produce("payments", 0, &[("a", "paid", NONE)]).await;
    rig.until(|| rig.probe.values().contains(&"paid".to_owned()))
        .await;
    assert!(paused("l") && !paused("core"));
    // After a minute of rest it goes on, as no core listener lags.
    rig.until(|| !paused("l")).await;
    rig.until(|| rig.probe.values().len() > calls + 2).await;
}
