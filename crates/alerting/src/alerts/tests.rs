//! What becomes of an alert: states, times and samples, for any order of events.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn spans(wait: u64, keep: u64) -> Spans {
    Spans {
        wait: SECOND * u32::try_from(wait).unwrap(),
        keep_firing_for: SECOND * u32::try_from(keep).unwrap(),
        repeat: Duration::from_hours(4),
    }
}

fn found(desks: &[&str]) -> Vec<Found> {
    let one = |desk: &&str| Found {
        labels: Labels::of(&[("alertname", "High"), ("desk", desk)]),
        result: Labels::of(&[("desk", desk)]),
        value: 7.0,
    };
    desks.iter().map(one).collect()
}

/// The states told at each step, as `desk:state`.
fn told(alerts: &mut Alerts, desks: &[&str], now: i64, spans: Spans) -> Vec<String> {
    let told = alerts.advance(found(desks), at(now), spans, false, |_| Vec::new());
    let shown = told.iter().map(|told| {
        let desk = told.alert.labels.get("desk").unwrap();
        format!(
            "{desk}:{}{}",
            told.alert.state.as_str(),
            if told.reminder { "!" } else { "" }
        )
    });
    shown.collect()
}

#[test]
fn without_for_it_fires_at_once_and_resolves_at_once() {
    let mut alerts = Alerts::default();
    assert_eq!(
        told(&mut alerts, &["fx", "bonds"], 0, spans(0, 0)),
        ["bonds:firing", "fx:firing"]
    );
    assert!(told(&mut alerts, &["fx", "bonds"], 1, spans(0, 0)).is_empty());
    assert_eq!(
        told(&mut alerts, &["fx"], 2, spans(0, 0)),
        ["bonds:resolved"]
    );
    assert_eq!(alerts.active().count(), 1);
    assert_eq!(
        alerts.sorted().len(),
        2,
        "a resolved one is shown for a while"
    );
    assert_eq!(
        told(&mut alerts, &["bonds"], 3, spans(0, 0)),
        ["bonds:firing", "fx:resolved"]
    );
}

#[test]
fn for_is_over_at_its_very_end() {
    let mut alerts = Alerts::default();
    let spans = spans(10, 0);
    assert_eq!(told(&mut alerts, &["fx"], 100, spans), ["fx:pending"]);
    assert_eq!(alerts.deadline(spans), Some(at(110)));
    assert!(told(&mut alerts, &["fx"], 109, spans).is_empty());
    assert_eq!(told(&mut alerts, &["fx"], 110, spans), ["fx:firing"]);
    assert_eq!(alerts.deadline(spans), None);
    let alert = alerts.active().next().unwrap();
    assert_eq!((alert.active_at, alert.fired_at), (at(100), Some(at(110))));
}

#[test]
fn a_pending_one_that_ends_is_forgotten_and_begins_anew() {
    let mut alerts = Alerts::default();
    assert_eq!(told(&mut alerts, &["fx"], 0, spans(10, 0)), ["fx:pending"]);
    assert_eq!(told(&mut alerts, &[], 5, spans(10, 0)), ["fx:inactive"]);
    assert!(alerts.sorted().is_empty());
    assert_eq!(told(&mut alerts, &["fx"], 6, spans(10, 0)), ["fx:pending"]);
    assert!(told(&mut alerts, &["fx"], 15, spans(10, 0)).is_empty());
    assert_eq!(told(&mut alerts, &["fx"], 16, spans(10, 0)), ["fx:firing"]);
}

#[test]
fn keep_firing_for_bridges_gaps() {
    let mut alerts = Alerts::default();
    let spans = spans(0, 30);
    assert_eq!(told(&mut alerts, &["fx"], 0, spans), ["fx:firing"]);
    assert_eq!(
        told(&mut alerts, &[], 10, spans),
        ["fx:firing"],
        "recorded: the span began"
    );
    assert_eq!(alerts.deadline(spans), Some(at(40)));
    assert_eq!(
        told(&mut alerts, &["fx"], 20, spans),
        ["fx:firing"],
        "recorded: it ended"
    );
    assert_eq!(alerts.deadline(spans), None);
    assert_eq!(told(&mut alerts, &[], 50, spans), ["fx:firing"]);
    assert!(told(&mut alerts, &[], 79, spans).is_empty());
    assert_eq!(told(&mut alerts, &[], 80, spans), ["fx:resolved"]);
}

#[test]
fn a_firing_one_is_told_again_after_the_repeat_interval() {
    let mut alerts = Alerts::default();
    let spans = spans(0, 0);
    told(&mut alerts, &["fx"], 0, spans);
    assert!(told(&mut alerts, &["fx"], 4 * 3_600 - 1, spans).is_empty());
    assert_eq!(told(&mut alerts, &["fx"], 4 * 3_600, spans), ["fx:firing!"]);
    assert!(told(&mut alerts, &["fx"], 4 * 3_600 + 1, spans).is_empty());
}

#[test]
fn resolved_ones_are_bounded_in_time_and_number() {
    let mut alerts = Alerts::default();
    let desks: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let desks: Vec<&str> = desks.iter().map(String::as_str).collect();
    told(&mut alerts, &desks, 0, spans(0, 0));
    told(&mut alerts, &[], 1, spans(0, 0));
    assert_eq!(alerts.sorted().len(), RESOLVED_MAX);
    told(&mut alerts, &[], 1 + 15 * 60, spans(0, 0));
    assert!(alerts.sorted().is_empty());
}

proptest! {
    /// Whatever comes: a state is told only when it changes, firing is never told before `for` is
    /// over without a gap, and every firing alert is resolved at some time.
    #[test]
    fn the_order_of_what_is_told_holds(
        steps in proptest::collection::vec((any::<bool>(), 1_i64..8), 1..60),
        wait in 0_u64..12,
    ) {
        let mut alerts = Alerts::default();
        let (mut now, mut state, mut held_since) = (0, AlertState::Inactive, None);
        for (holds, span) in steps {
            now += span;
            held_since = match (holds, held_since) {
                (false, _) => None,
                (true, None) => Some(now),
                (true, since) => since,
            };
            let desks: &[&str] = if holds { &["fx"] } else { &[] };
            for told in alerts.advance(found(desks), at(now), spans(wait, 0), false, |_| Vec::new()) {
                prop_assert_ne!(told.alert.state, state);
                state = told.alert.state;
            }
            let expected = match held_since {
                None if matches!(state, AlertState::Resolved) => AlertState::Resolved,
                None => AlertState::Inactive,
                Some(since) if now - since >= i64::try_from(wait).unwrap() => AlertState::Firing,
                Some(_) => AlertState::Pending,
            };
            prop_assert_eq!(state, expected);
        }
    }
}
