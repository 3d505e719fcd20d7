//! When rules are evaluated, and what survives.

use std::time::Duration;

use alerting::{AlertState, Health, Options};
use env::SimDisk;
use model::Timestamp;
use promql::Value;
use test_kit::clock::START;

use crate::rig::Rig;

/// Ticks far apart: whatever happens within minutes is not theirs.
const RULE: &str = "
groups:
  - name: desk
    interval: 10h
    rules:
      - alert: High
        expr: exposure > 100
        for: 30s
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.desk }} is at {{ $value }}'}
";

const AT_ONCE: &str = "
groups:
  - name: desk
    interval: 10h
    rules: [{alert: High, expr: exposure > 100}]
";

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn ask(rig: &Rig, expr: &str) -> Vec<(String, f64)> {
    let expr = promql::parse(expr).unwrap();
    let now = rig.clock.now();
    let Value::Vector(samples) =
        promql::instant(&expr, &rig.store, now, &promql::Options::default()).unwrap()
    else {
        unreachable!("an instant vector")
    };
    samples
        .into_iter()
        .map(|sample| (sample.labels.to_string(), sample.value))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_acted_on_at_once_and_for_ends_between_ticks() {
    let rig = Rig::new(RULE).await;
    seconds(5).await;
    rig.sample("fx", 150.0).await;
    let pending = rig.until("fx", AlertState::Pending).await;
    let late = pending.active_at.since(START.plus(Duration::from_secs(5)));
    assert!(late < Duration::from_millis(20), "{late:?}");
    let firing = rig.until("fx", AlertState::Firing).await;
    let waited = firing.fired_at.unwrap().since(pending.active_at);
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    assert!(waited < Duration::from_millis(30_020), "{waited:?}");
    assert_eq!(firing.summary(), "fx is at 150");
    let shown = ask(&rig, "ALERTS");
    let labels =
        "ALERTS{alertname=\"High\", alertstate=\"firing\", desk=\"fx\", severity=\"critical\"}";
    assert_eq!(shown, [(labels.to_owned(), 1.0)]);
    rig.sample("fx", 50.0).await;
    rig.until("fx", AlertState::Resolved).await;
    assert_eq!(
        rig.states().await,
        ["fx:pending", "fx:firing", "fx:resolved"]
    );
    assert!(ask(&rig, "ALERTS").is_empty() && ask(&rig, "ALERTS_FOR_STATE").is_empty());
    assert!(rig.handle.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_may_keep_to_its_ticks() {
    let rules = "
groups:
  - {name: desk, interval: 60s, early_evaluation: false, rules: [{alert: High, expr: exposure > 100}]}
";
    let rig = Rig::new(rules).await;
    seconds(61).await;
    let ticked = rig.handle.rules()[0].rules[0].health();
    assert_eq!(ticked, Health::Ok);
    rig.sample("fx", 150.0).await;
    let sampled = rig.clock.now();
    let firing = rig.until("fx", AlertState::Firing).await;
    let waited = firing.active_at.since(sampled);
    assert!(
        waited > Duration::from_secs(1),
        "the tick was far away: {waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_of_for_changes_nothing() {
    let rig = Rig::new(RULE).await;
    rig.sample("fx", 150.0).await;
    let active_at = rig.until("fx", AlertState::Pending).await.active_at;
    seconds(10).await;
    let (disk, now) = rig.kill().await;

    let rig = Rig::on(
        disk,
        now.plus(Duration::from_secs(3)),
        RULE,
        Options::default(),
    )
    .await;
    let firing = rig.until("fx", AlertState::Firing).await;
    assert_eq!(firing.active_at, active_at);
    let waited = firing.fired_at.unwrap().since(active_at);
    assert!(
        waited >= Duration::from_secs(30) && waited < Duration::from_millis(30_020),
        "{waited:?}"
    );
    let (disk, now) = rig.kill().await;

    // Firing is not told again, and the end is.
    let rig = Rig::on(disk, now, RULE, Options::default()).await;
    rig.until("fx", AlertState::Firing).await;
    seconds(60).await;
    rig.sample("fx", 150.0).await;
    seconds(1).await;
    assert_eq!(rig.states().await, ["fx:pending", "fx:firing"]);
    rig.sample("fx", 1.0).await;
    let resolved = rig.until("fx", AlertState::Resolved).await;
    assert_eq!(resolved.active_at, active_at);
}

#[tokio::test(start_paused = true)]
async fn kills_at_any_moment_tell_every_change_once() {
    for delay in 0..40 {
        let rig = Rig::new(AT_ONCE).await;
        rig.until_ready().await;
        rig.sample("fx", 150.0).await;
        tokio::time::sleep(Duration::from_micros(delay * 250)).await;
        let (disk, now) = rig.kill().await;
        let rig = Rig::on(disk, now, AT_ONCE, Options::default()).await;
        rig.until_ready().await;
        // Also when the kill came before the evaluation: the next sample shows it.
        rig.sample("fx", 151.0).await;
        rig.until("fx", AlertState::Firing).await;
        rig.sample("fx", 1.0).await;
        rig.until("fx", AlertState::Resolved).await;
        assert_eq!(
            rig.states().await,
            ["fx:firing", "fx:resolved"],
            "killed after {delay}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_pending_begins_anew_and_firing_stays() {
    let rig = Rig::new(RULE).await;
    rig.sample("fx", 150.0).await;
    rig.until("fx", AlertState::Firing).await;
    rig.sample("bonds", 150.0).await;
    let before = rig.until("bonds", AlertState::Pending).await.active_at;
    let (disk, now) = rig.kill().await;
    let later = now.plus(Duration::from_mins(61));
    let rig = Rig::on(disk, later, RULE, Options::default()).await;
    assert_eq!(
        rig.until("fx", AlertState::Firing).await.state,
        AlertState::Firing
    );
    rig.sample("fx", 150.0).await;
    rig.sample("bonds", 150.0).await;
    let anew = rig.until("bonds", AlertState::Pending).await.active_at;
    assert!(anew >= later && before < now, "{anew:?}");
}

#[tokio::test(start_paused = true)]
async fn rules_that_go_resolve_their_alerts_and_rules_that_change_keep_them() {
    let rig = Rig::new(AT_ONCE).await;
    rig.sample("fx", 150.0).await;
    let firing = rig.until("fx", AlertState::Firing).await;
    let changed = AT_ONCE.replace("> 100", "> 120");
    rig.load(&changed).unwrap();
    rig.sample("fx", 151.0).await;
    seconds(1).await;
    assert_eq!(rig.handle.alerts()[0].active_at, firing.active_at);
    let problems = rig
        .load("groups: [{name: desk, rules: [{alert: High}]}]")
        .unwrap_err();
    assert!(
        problems[0].to_string().starts_with("rules/desk.yaml:1:"),
        "{problems:?}"
    );
    assert_eq!(rig.handle.alerts().len(), 1, "what was in force stays");
    rig.load("groups: []").unwrap();
    seconds(1).await;
    assert_eq!(rig.states().await, ["fx:firing", "fx:resolved"]);
    assert!(rig.handle.rules().is_empty() && ask(&rig, "ALERTS").is_empty());
}

#[tokio::test(start_paused = true)]
async fn alerts_of_rules_that_went_while_down_are_resolved() {
    let rig = Rig::new(AT_ONCE).await;
    rig.sample("fx", 150.0).await;
    rig.until("fx", AlertState::Firing).await;
    let (disk, now) = rig.kill().await;
    let rig = Rig::on(disk, now, "groups: []", Options::default()).await;
    seconds(1).await;
    assert_eq!(rig.states().await, ["fx:firing", "fx:resolved"]);
}

#[tokio::test(start_paused = true)]
async fn results_evaluate_rules_of_other_groups_and_circles_come_to_rest() {
    let rules = "
groups:
  - name: alerts
    interval: 10h
    rules: [{alert: High, expr: 'desk:exposure:double > 200'}]
  - name: recorded
    interval: 10h
    rules: [{record: 'desk:exposure:double', expr: exposure * 2}]
  - name: circle-a
    interval: 10h
    rules: [{record: a, expr: b + 1 or exposure}]
  - name: circle-b
    interval: 10h
    rules: [{record: b, expr: a + 1}]
";
    let rig = Rig::new(rules).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    let firing = rig.until("fx", AlertState::Firing).await;
    assert!(
        firing.active_at < START.plus(Duration::from_millis(1_100)),
        "{firing:?}"
    );
    seconds(5).await;
    let before = ask(&rig, "a");
    seconds(60).await;
    assert_eq!(
        ask(&rig, "a"),
        before,
        "a circle rests until something from outside comes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_delays_what_is_told_and_loses_nothing() {
    let rig = Rig::new(AT_ONCE).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    rig.until("fx", AlertState::Firing).await;
    // The sample below is in memory only: what it causes cannot be written.
    rig.disk.set_capacity(Some(rig.disk.used()));
    let labels = series::Labels::of(&[("__name__", "exposure"), ("desk", "fx")]);
    rig.store.append(&labels, rig.clock.now(), 1.0).unwrap();
    rig.load(&AT_ONCE.replace("10h", "1s")).unwrap();
    seconds(5).await;
    assert_eq!(rig.states().await, ["fx:firing"]);
    rig.disk.set_capacity(None);
    rig.until("fx", AlertState::Resolved).await;
    assert_eq!(rig.states().await, ["fx:firing", "fx:resolved"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_fails_harms_no_other_and_says_why() {
    let rules = "
groups:
  - name: desk
    interval: 1s
    rules:
      - {record: bad, expr: exposure * on (desk) exposure}
      - {alert: High, expr: exposure > 100}
";
    let rig = Rig::on(
        SimDisk::new(1),
        Timestamp::from_millis(0),
        rules,
        Options::default(),
    )
    .await;
    for side in ["a", "b"] {
        let labels =
            series::Labels::of(&[("__name__", "exposure"), ("desk", "fx"), ("side", side)]);
        rig.store.append(&labels, rig.clock.now(), 150.0).unwrap();
    }
    rig.until("fx", AlertState::Firing).await;
    let rules = &rig.handle.rules()[0].rules;
    assert_eq!(
        (rules[0].health(), rules[1].health()),
        (Health::Err, Health::Ok)
    );
    assert!(rules[0].last_error().is_some());
}
