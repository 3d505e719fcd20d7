//! Events in, samples out.

use serde_json::{Value, json};

use super::*;
use crate::spec::MeterFile;

struct Made {
    at: i64,
    key: &'static str,
    kind: &'static str,
    value: Value,
}

impl Event for Made {
    fn millis(&self) -> i64 {
        self.at
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self.key.as_bytes())
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        (name == "ce_type").then_some(self.kind.as_bytes())
    }

    fn json(&self) -> Option<&Value> {
        Some(&self.value)
    }
}

fn tally(metrics: &str) -> Tally {
    let text = format!(
        "apiVersion: lantern/v1\nkind: Meter\nmetadata: {{name: m}}\nspec:\n  topic: t\n  \
         metrics:\n{metrics}"
    );
    let meter = MeterFile {
        path: "m.yaml".into(),
        text,
    }
    .parse()
    .unwrap();
    Tally::new(&meter)
}

/// Counts `(seconds, key, type, cents)` and answers the samples at `now` seconds.
fn run(tally: &mut Tally, events: &[(i64, &'static str, &'static str, i64)], now: i64) -> String {
    for (at, key, kind, cents) in events {
        let value = json!({"cents": cents, "region": "eu"});
        tally.count(&Made {
            at: at * 1_000,
            key,
            kind,
            value,
        });
    }
    let mut lines: Vec<String> = tally
        .samples(Timestamp::from_millis(now * 1_000))
        .into_iter()
        .map(|(labels, samples)| format!("{labels} {}", samples[0].1))
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn counters_count_or_add_by_label() {
    let mut tally = tally(
        "    - counter: events_total\n      labels: {type: header.ce_type}\n    - counter: \
         cents_total\n      add: value.cents\n      when: {header.ce_type: paid}\n",
    );
    assert_eq!(
        run(&mut tally, &[], 0),
        "cents_total 0",
        "without labels it starts at zero"
    );
    let events = [
        (0, "a", "made", 5),
        (1, "a", "paid", 5),
        (2, "b", "paid", 7),
        (3, "b", "paid", -9),
    ];
    assert_eq!(
        run(&mut tally, &events, 3),
        "cents_total 12\nevents_total{type=\"made\"} 1\nevents_total{type=\"paid\"} 3"
    );
}

#[test]
fn time_between_two_events_of_a_key_is_a_histogram() {
    let mut tally = tally(
        "    - between: seconds\n      from: {header.ce_type: made}\n      to: {header.ce_type: \
         paid}\n      buckets: [1, 10]\n      within: 1m\n",
    );
    let events = [
        (0, "late", "made", 0),
        (1, "a", "made", 0),
        (2, "b", "made", 0),
        (3, "b", "paid", 0),
        (6, "a", "paid", 0),
        (7, "a", "paid", 0),
        (70, "late", "paid", 0),
    ];
    assert_eq!(
        run(&mut tally, &events, 70),
        "seconds_bucket{le=\"+Inf\"} 2\nseconds_bucket{le=\"1\"} 1\nseconds_bucket{le=\"10\"} 2\n\
         seconds_count 2\nseconds_sum 6"
    );
}

#[test]
fn waiting_counts_keys_until_they_go_or_expire() {
    let mut tally = tally(
        "    - waiting: open\n      from: {header.ce_type: made}\n      to: {header.ce_type: \
         [paid, gone]}\n      within: 1m\n    - waiting: slow\n      from: {header.ce_type: \
         made}\n      to: {header.ce_type: paid}\n      longer_than: 10s\n      within: 1m\n",
    );
    let events = [
        (0, "a", "made", 0),
        (5, "b", "made", 0),
        (6, "c", "made", 0),
        (7, "c", "gone", 0),
    ];
    assert_eq!(run(&mut tally, &events, 12), "open 2\nslow 1");
    assert_eq!(
        run(&mut tally, &[(13, "a", "paid", 0)], 20),
        "open 1\nslow 2"
    );
    assert_eq!(run(&mut tally, &[], 100), "open 0\nslow 0");
}

#[test]
fn many_keys_that_come_and_go_leave_nothing_behind() {
    let mut waiting = Waiting::default();
    for number in 0..100_000_i64 {
        let key = number.to_string();
        assert!(waiting.start(key.as_bytes(), number));
        if number >= 10 {
            assert_eq!(
                waiting.end((number - 10).to_string().as_bytes()),
                Some(number - 10)
            );
        }
    }
    assert_eq!(waiting.since.len(), 10);
    assert!(
        waiting.order.len() <= ORDER_SLACK + 2 * 10 + 1,
        "{}",
        waiting.order.len()
    );
    assert_eq!(waiting.count(99_994), 5);
}

#[test]
fn endless_labels_are_bounded_and_counted() {
    let mut tally = tally("    - counter: events_total\n      labels: {key: value.cents}\n");
    let events: Vec<_> = (0..2_000).map(|number| (0, "k", "made", number)).collect();
    let lines = run(&mut tally, &events, 0);
    assert_eq!(lines.lines().count(), SERIES_MAX);
    assert_eq!(tally.over(), 1_000);
}
