//! What a listener may rely on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dispatch::Outcome;
use test_kit::clock::START;

use crate::rig::{Answer, Rig};

const NONE: &[(&str, &str)] = &[];

#[tokio::test(start_paused = true)]
async fn every_record_comes_once_and_in_the_order_of_its_key() {
    let rig = Rig::new();
    rig.topic("orders", 3).await;
    rig.listener("{topics: orders, native: probe, concurrency: 4, batch: 3}")
        .await;
    // Some calls take long, so that the order would break if it could.
    let calls = AtomicU32::new(0);
    rig.probe
        .script(move |_, _| Answer::done(u64::from(calls.fetch_add(7, Ordering::Relaxed) % 13)));
    let mut sent = Vec::new();
    for number in 0..300 {
        let key = format!("k{}", number % 7);
        let value = format!("{key}-{number:03}");
        rig.produce("orders", number % 7 % 3, &[(&key, &value, NONE)])
            .await;
        sent.push(value);
    }
    rig.until_finished().await;
    let mut seen = rig.probe.values();
    for key in 0..7 {
        let mine = format!("k{key}-");
        let of_key: Vec<_> = seen
            .iter()
            .filter(|value| value.starts_with(&mine))
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent);
    assert!((2..=4).contains(&rig.probe.most()), "{}", rig.probe.most());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_holds_back_its_key_and_becomes_a_dead_letter() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener(
        "{topics: orders, native: probe, concurrency: 1, retry: {attempts: 3, initial: 1s}}",
    )
    .await;
    rig.probe.script(|_, value| match value {
        "a1" => Answer::failed("no"),
        _ => Answer::done(0),
    });
    let headers = &[("ce_id", "17"), ("ce_type", "order.created")];
    rig.produce(
        "orders",
        0,
        &[("a", "a1", headers), ("b", "b1", NONE), ("a", "a2", NONE)],
    )
    .await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let values: Vec<_> = seen
        .iter()
        .map(|seen| (seen.value.as_str(), seen.attempt))
        .collect();
    assert_eq!(
        values,
        [("a1", 1), ("b1", 1), ("a1", 2), ("a1", 3), ("a2", 1)]
    );
    assert!(seen[2].at - seen[0].at <= 1_010 && seen[3].at - seen[2].at <= 2_010);

    let letters = rig.records("orders.dlq").await;
    assert_eq!(letters.len(), 1);
    let (key, value, letter) = &letters[0];
    assert_eq!((key.as_str(), value.as_str()), ("a", "a1"));
    for (name, value) in [
        ("ce_id", "17"),
        ("ce_type", "order.created"),
        ("x-dlq-topic", "orders"),
        ("x-dlq-partition", "0"),
        ("x-dlq-offset", "0"),
        ("x-dlq-listener", "l"),
        ("x-dlq-reason", "exhausted"),
    ] {
        assert_eq!(letter[name], value, "{name}");
    }
    let attempts: Vec<BTreeMap<String, String>> =
        serde_json::from_str(&letter["x-dlq-attempts"]).unwrap();
    assert_eq!(attempts.len(), 3);
    assert_eq!(attempts[0]["error"], "no");
    assert!(
        attempts[0]["at"].starts_with("2025-11-21T01:53:2"),
        "{attempts:?}"
    );
    let cause = START.millis() + seen[0].at;
    let (millis, _) = letter["x-hlc"].split_once('-').unwrap();
    assert!(
        millis.parse::<i64>().unwrap() >= cause,
        "an effect is after its cause"
    );
    let topic = rig.broker.topic(&"orders.dlq".parse().unwrap()).unwrap();
    assert_eq!(topic.config.retention, Some(Duration::from_hours(72)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_is_not_tried_again() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, deadLetters: {topic: lost, retention: 1h}}")
        .await;
    rig.probe.script(|_, _| Answer {
        after: Duration::ZERO,
        outcome: Outcome::Refused {
            error: "nonsense".into(),
        },
    });
    rig.produce("orders", 0, &[("a", "a1", NONE)]).await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["a1"]);
    assert_eq!(rig.records("lost").await[0].2["x-dlq-reason"], "refused");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_handed_on_and_what_is_late_is_not_delivered() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1, deadline: {timeout: 2s}}")
        .await;
    rig.probe.script(|_, _| Answer::done(500));
    let soon = (rig.clock.now().millis() + 300).to_string();
    let soon: &[(&str, &str)] = &[("x-deadline-ms", &soon)];
    let records = [
        ("a", "first", NONE),
        ("b", "late", soon),
        ("c", "next", NONE),
    ];
    rig.produce("orders", 0, &records).await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let values: Vec<_> = seen.iter().map(|seen| seen.value.as_str()).collect();
    assert_eq!(values, ["first", "next"]);
    let left = seen[1].remaining.unwrap();
    assert!((1_400..=1_500).contains(&left), "{left}");
    let letters = rig.records("orders.dlq").await;
    let (_, value, letter) = &letters[0];
    assert_eq!(
        (value.as_str(), letter["x-dlq-reason"].as_str()),
        ("late", "expired")
    );
    assert_eq!(letter["x-dlq-attempts"], "[]");
}

#[tokio::test(start_paused = true)]
async fn expired_records_are_dropped_where_that_is_asked_for() {
    let rig = Rig::new();
    rig.topic("ticks", 1).await;
    rig.listener("{topics: ticks, native: probe, deadline: {expired: drop}}")
        .await;
    let past = (rig.clock.now().millis() - 1).to_string();
    let past: &[(&str, &str)] = &[("x-deadline-ms", &past)];
    rig.produce("ticks", 0, &[("", "old", past), ("", "new", NONE)])
        .await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["new"]);
    assert!(rig.broker.topic(&"ticks.dlq".parse().unwrap()).is_none());
}

#[tokio::test(start_paused = true)]
async fn urgent_records_overtake_a_flood_and_the_flood_starves_nobody() {
    let rig = Rig::new();
    rig.topic("flood", 1).await;
    rig.topic("calm", 1).await;
    rig.listener(
        "{topics: [flood, calm], native: probe, concurrency: 1, ordering: none, starvation: 1s, \
         priority: 9}",
    )
    .await;
    rig.probe.script(|_, _| Answer::done(10));
    let urgent: &[(&str, &str)] = &[("x-priority", "0")];
    // Ten seconds of work of the most urgent, and three records that have no urgency.
    for _ in 0..10 {
        rig.produce("flood", 0, &[("", "flood", urgent); 100]).await;
    }
    rig.produce("calm", 0, &[("", "calm", NONE); 3]).await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let calm: Vec<_> = seen
        .iter()
        .filter(|seen| seen.value == "calm")
        .map(|seen| seen.at)
        .collect();
    assert_eq!((seen.len(), calm.len()), (1_003, 3));
    for pair in calm.windows(2) {
        let between = pair[1] - pair[0];
        assert!((990..=1_050).contains(&between), "once a second: {calm:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_held_until_its_time() {
    let rig = Rig::new();
    rig.topic("reminders", 1).await;
    rig.listener("{topics: reminders, native: probe}").await;
    let begin = rig.clock.now().millis();
    let (late, soon) = ((begin + 90_000).to_string(), (begin + 5_000).to_string());
    let late: &[(&str, &str)] = &[("x-deliver-at-ms", &late)];
    let soon: &[(&str, &str)] = &[("x-deliver-at-ms", &soon)];
    let records = [("a", "late", late), ("a", "soon", soon), ("a", "now", NONE)];
    rig.produce("reminders", 0, &records).await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let base = begin - START.millis();
    let shown: Vec<_> = seen
        .iter()
        .map(|seen| (seen.value.as_str(), seen.at - base))
        .collect();
    assert_eq!(
        shown[1..],
        [("soon", 5_000), ("late", 90_000)],
        "to the millisecond"
    );
    assert!(shown[0].0 == "now" && shown[0].1 < 10, "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn duplicates_in_a_window_are_left_out() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1, deduplicate: {window: 500ms}}")
        .await;
    let id: &[(&str, &str)] = &[("ce_id", "one")];
    rig.produce(
        "orders",
        0,
        &[("a", "1", id), ("a", "2", id), ("a", "3", NONE)],
    )
    .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.produce("orders", 0, &[("a", "4", id)]).await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["1", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, rate: {perSecond: 50, burst: 10}}")
        .await;
    rig.produce("orders", 0, &[("", "x", NONE); 160]).await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let took = seen[159].at - seen[0].at;
    assert!(
        (2_900..=3_200).contains(&took),
        "150 after the first ten, at 50 a second: {took} ms"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_attempt() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, retry: {initial: 10ms}}")
        .await;
    rig.probe.script(|delivery, value| {
        assert!(
            value != "bad" || delivery.attempt > 1,
            "this panic is wanted"
        );
        Answer::done(0)
    });
    rig.produce("orders", 0, &[("a", "bad", NONE), ("b", "good", NONE)])
        .await;
    rig.until_finished().await;
    let mut seen = rig.probe.values();
    seen.sort();
    assert_eq!(seen, ["bad", "bad", "good"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_gets_a_rest_and_nothing_is_lost() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener(
        "{topics: orders, native: probe, ordering: none, retry: {attempts: 100, initial: 1ms, max: 1ms}}",
    )
    .await;
    let (clock, begin) = (Arc::clone(&rig.clock), rig.clock.now());
    rig.probe.script(move |_, _| {
        if clock.now().since(begin) < Duration::from_mins(1) {
            Answer::failed("down")
        } else {
            Answer::done(0)
        }
    });
    rig.produce("orders", 0, &[("", "x", NONE); 50]).await;
    rig.until(|| rig.handle.list()[0].breaker == "open").await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    let down = seen.iter().filter(|seen| seen.at < 60_000).count();
    // Without a breaker it would be some attempts a millisecond.
    assert!(
        (10..200).contains(&down),
        "{down} calls in a minute of no answer"
    );
    rig.until(|| rig.handle.list()[0].done == 50).await;
    assert_eq!(rig.records("orders.dlq").await, []);
}

#[tokio::test(start_paused = true)]
async fn a_record_for_one_listener_goes_to_that_one_only() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1}")
        .await;
    let mine: &[(&str, &str)] = &[("x-listener", "l")];
    let other: &[(&str, &str)] = &[("x-listener", "billing")];
    rig.produce(
        "orders",
        0,
        &[("a", "1", other), ("a", "2", mine), ("a", "3", NONE)],
    )
    .await;
    rig.until_finished().await;
    assert_eq!(rig.probe.values(), ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_too_large_for_its_topic_loses_its_value_and_holds_nobody_back() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.topic("orders.dlq", 1).await;
    rig.listener("{topics: orders, native: probe}").await;
    rig.probe.script(|_, _| Answer {
        after: Duration::ZERO,
        outcome: Outcome::Refused {
            error: "nonsense".into(),
        },
    });
    let value = "x".repeat((1 << 20) - 100);
    rig.produce("orders", 0, &[("a", &value, NONE)]).await;
    rig.until_finished().await;
    let letters = rig.records("orders.dlq").await;
    assert_eq!((letters.len(), letters[0].1.len()), (1, 0));
    assert_eq!(letters[0].2["x-dlq-value-bytes"], value.len().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_answers_ends_and_its_record_is_tried_again() {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener("{topics: orders, native: probe, concurrency: 1, retry: {initial: 10ms}}")
        .await;
    rig.probe.script(|delivery, _| match delivery.attempt {
        1 => Answer::done(3_600_000),
        _ => Answer::done(0),
    });
    rig.produce("orders", 0, &[("a", "1", NONE)]).await;
    rig.until_finished().await;
    let seen = rig.probe.seen.lock().clone();
    assert_eq!((seen.len(), seen[1].attempt), (2, 2));
    assert!(seen[1].at - seen[0].at >= 60_000, "a minute: {seen:?}");
}
