//! One group as it runs: what is evaluated when, and in which order.
//!
//! Ticks stand at `offset + n × interval` of Unix time, where the offset is a hash of file and group, so
//! that groups spread over their interval and a restart changes nothing. When ticks were missed (the
//! machine slept), the newest is made up for and the others are counted.
//!
//! Between ticks a *part* of the group is evaluated: the rules whose selectors were touched by arriving
//! samples, those whose `for` or `keep_firing_for` ends, and, since order in a group is binding, whatever
//! the results of these touch further down. The first touch after a pause is acted on at once; then
//! touches are collected for [`COALESCE`], longer when evaluating takes long, so that early evaluation
//! never takes more than a part of one core.
//!
//! Invariants: evaluation times of a group strictly increase; time is an argument.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Timestamp;
use series::{Labels, Store, Touched};

use crate::alerts::Transition;
use crate::record::AlertRecord;
use crate::rule::{Pass, Rule, World};
use crate::spec::GroupSpec;
use crate::status::GroupStatus;

/// Touches within this long of an early evaluation are taken together.
pub(crate) const COALESCE: Duration = Duration::from_millis(10);

/// An early evaluation that took long is followed by a pause of so many times as long.
const PAUSE_FACTOR: u32 = 3;

/// A clock that goes back by more than this was set.
const CLOCK_SET_BACK: Duration = Duration::from_mins(1);

/// The shortest time an evaluation may take before it is stopped; else the interval.
const TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// Why a group is evaluated now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// A tick is due.
    Tick,
    /// Touched watches, or a `for` that is over.
    Part(Touched),
}

/// When a group is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) tick: Timestamp,
    /// The next end of a `for` or `keep_firing_for`.
    pub(crate) deadline: Option<Timestamp>,
    /// From when on touches are acted on.
    pub(crate) early_from: Timestamp,
}

/// What an evaluation gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Transitions to be made durable.
    pub(crate) records: Vec<AlertRecord>,
    /// Samples to be made durable; the store has them.
    pub(crate) samples: Vec<(Labels, [(Timestamp, f64); 1])>,
    /// What these samples touched, in this group and in others.
    pub(crate) touched: Touched,
    /// Rules evaluated, and how many of them failed.
    pub(crate) evaluated: usize,
    pub(crate) failed: usize,
    pub(crate) missed_ticks: u64,
    pub(crate) took: Duration,
}

/// A group as it runs.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) spec: Arc<GroupSpec>,
    pub(crate) rules: Vec<Rule>,
    due: Due,
    last: Timestamp,
    status: GroupStatus,
}

impl Group {
    /// A group whose first tick is the next one after `now`.
    pub(crate) fn new(spec: &Arc<GroupSpec>, store: &Store, now: Timestamp) -> Self {
        let due = Due {
            tick: next_tick(spec, now),
            deadline: None,
            early_from: now,
        };
        Self {
            spec: Arc::clone(spec),
            rules: spec
                .rules
                .iter()
                .map(|rule| Rule::new(rule, store))
                .collect(),
            due,
            last: Timestamp::MIN,
            status: GroupStatus::new(spec),
        }
    }

    /// When it is due.
    pub(crate) fn due(&self) -> Due {
        self.due
    }

    /// Looks again at what its rules wait for.
    pub(crate) fn settle(&mut self, repeat: Duration) {
        self.due.deadline = self
            .rules
            .iter()
            .filter_map(|rule| rule.deadline(repeat))
            .min();
        self.status.rules = self.rules.iter().map(|rule| rule.status.clone()).collect();
    }

    /// How it stands.
    pub(crate) fn status(&self) -> GroupStatus {
        self.status.clone()
    }

    /// Evaluates what is due.
    pub(crate) fn evaluate(&mut self, why: &Why, now: Timestamp, world: &World) -> Outcome {
        let started = Instant::now();
        let nothing = Touched::new();
        let (tick, touched) = match why {
            // The newest tick that is not in the future; others before it are missed.
            Why::Tick => (
                Some(next_tick(&self.spec, now).minus(self.spec.interval)),
                &nothing,
            ),
            Why::Part(touched) => (None, touched),
        };
        let options = self.options(started);
        let at = self.later(tick.unwrap_or(now).minus(self.spec.query_offset));
        let mut pass = Pass::new(world, at, tick.is_some(), self.spec.limit, &options);
        let mut outcome = Outcome::default();
        for rule in &mut self.rules {
            let hit = |watch| touched.contains(watch) || pass.touched.contains(watch);
            let due = pass.tick
                || rule.watches().iter().copied().any(hit)
                || rule
                    .deadline(world.repeat)
                    .is_some_and(|deadline| deadline <= pass.at);
            if !due {
                continue;
            }
            let before = started.elapsed();
            let transitions = fenced(rule, &mut pass);
            rule.status.took = started.elapsed().saturating_sub(before);
            outcome.evaluated += 1;
            outcome.failed += usize::from(rule.status.last_error.is_some());
            let record = |told: &Transition| AlertRecord::new(&self.spec, &rule.spec, told);
            outcome.records.extend(transitions.iter().map(record));
        }
        outcome.took = started.elapsed();
        outcome.samples = pass.samples;
        outcome.touched = pass.touched;
        if let Some(tick) = tick {
            let interval = self.spec.interval.as_millis().max(1);
            let missed = tick.since(self.due.tick).as_millis() / interval;
            outcome.missed_ticks = u64::try_from(missed).unwrap_or(u64::MAX);
            self.due.tick = tick.plus(self.spec.interval);
            self.status.took = outcome.took;
            self.status.last_evaluation = tick;
        }
        self.due.early_from = now.plus(outcome.took + COALESCE.max(outcome.took * PAUSE_FACTOR));
        self.settle(world.repeat);
        outcome
    }

    /// Ends it: alerts are resolved, series end.
    pub(crate) fn retire(&mut self, now: Timestamp, world: &World, keep: &[bool]) -> Outcome {
        let options = promql::Options::default();
        let at = self.later(now);
        let mut pass = Pass::new(world, at, false, 0, &options);
        let mut outcome = Outcome::default();
        for (rule, keep) in self.rules.iter_mut().zip(keep) {
            rule.unwatch(&world.store);
            if !keep {
                let transitions = rule.retire(&mut pass);
                let record = |told: &Transition| AlertRecord::new(&self.spec, &rule.spec, told);
                outcome.records.extend(transitions.iter().map(record));
            }
        }
        outcome.samples = pass.samples;
        outcome.touched = pass.touched;
        outcome
    }

    /// The next evaluation time: `at`, but after the last one. When the clock was set back by more
    /// than a moment, it is followed.
    fn later(&mut self, at: Timestamp) -> Timestamp {
        let set_back = at.plus(CLOCK_SET_BACK) < self.last;
        self.last = if set_back {
            at
        } else {
            at.max(self.last.plus(Duration::from_millis(1)))
        };
        self.last
    }

    /// Follows the clock when it was set back, so that no tick is awaited for longer than an interval.
    pub(crate) fn realign(&mut self, now: Timestamp) {
        if self.due.tick > now.plus(self.spec.interval) {
            self.due.tick = next_tick(&self.spec, now);
            self.due.early_from = now;
        }
    }

    fn options(&self, started: Instant) -> promql::Options {
        let limit = self.spec.interval.max(TIMEOUT_MIN);
        promql::Options {
            stop: Some(Arc::new(move || started.elapsed() > limit)),
            ..promql::Options::default()
        }
    }
}

/// Evaluates a rule; a panic is its error and harms no other.
fn fenced(rule: &mut Rule, pass: &mut Pass<'_>) -> Vec<Transition> {
    let evaluated = catch_unwind(AssertUnwindSafe(|| rule.evaluate(pass)));
    evaluated.unwrap_or_else(|_| {
        rule.fail("the evaluation panicked; please report this with the rule");
        Vec::new()
    })
}

/// The first tick after `now`.
fn next_tick(spec: &GroupSpec, now: Timestamp) -> Timestamp {
    let interval = i64::try_from(spec.interval.as_millis())
        .unwrap_or(i64::MAX)
        .max(1);
    let mut hasher = DefaultHasher::new();
    (&spec.file, &spec.name).hash(&mut hasher);
    let offset = i64::try_from(hasher.finish() % interval.unsigned_abs()).unwrap_or(0);
    let into = (now.millis() - offset).rem_euclid(interval);
    Timestamp::from_millis(now.millis() - into + interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> (Group, World) {
        let file = crate::RuleFile {
            path: "a.yaml".into(),
            name: "a.yaml".into(),
            text: text.into(),
        };
        let groups = crate::file::compile(&[file], Duration::from_mins(1)).unwrap();
        let world = World {
            store: Arc::new(Store::new(series::StoreOptions::default())),
            external_url: String::new(),
            external_labels: std::collections::BTreeMap::new(),
            repeat: Duration::from_hours(4),
        };
        (Group::new(&groups[0], &world.store, at(0)), world)
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn put(world: &World, name: &str, millis: i64, value: f64) -> Touched {
        let labels = Labels::of(&[("__name__", name), ("desk", "fx")]);
        let mut touched = Touched::new();
        world
            .store
            .append_touching(&labels, at(millis), value, &mut touched)
            .unwrap();
        touched
    }

    fn shown(outcome: &Outcome) -> Vec<String> {
        let shown = outcome.samples.iter().map(|(labels, samples)| {
            let value = samples[0].1;
            let value = if series::is_stale(value) {
                "stale".into()
            } else {
                value.to_string()
            };
            format!("{labels} {value}")
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        shown
    }

    const CHAIN: &str = "
groups:
  - name: desk
    interval: 10s
    rules:
      - {record: 'desk:double', expr: exposure * 2}
      - {record: other, expr: something}
      - {alert: High, expr: 'desk:double > 100', for: 5s}
";

    #[test]
    fn ticks_stand_at_the_same_times_after_a_restart() {
        let (group, _) = group(CHAIN);
        let first = group.due().tick;
        assert!(first > at(0) && first <= at(10_000));
        for passed in [0, 1, 9_999] {
            let later = next_tick(&group.spec, first.plus(Duration::from_millis(passed)));
            assert_eq!(later, first.plus(Duration::from_secs(10)));
        }
    }

    #[test]
    fn a_touch_evaluates_what_depends_on_it_in_order() {
        let (mut group, world) = group(CHAIN);
        let touched = put(&world, "exposure", 100, 70.0);
        let outcome = group.evaluate(&Why::Part(touched), at(101), &world);
        assert_eq!(
            outcome.evaluated, 2,
            "not the rule that reads something else"
        );
        let states: Vec<_> = outcome
            .records
            .iter()
            .map(|record| record.state.as_str())
            .collect();
        assert_eq!(states, ["pending"]);
        assert_eq!(
            shown(&outcome),
            [
                "ALERTS_FOR_STATE{alertname=\"High\", desk=\"fx\"} 1700000000",
                "ALERTS{alertname=\"High\", alertstate=\"pending\", desk=\"fx\"} 1",
                "desk:double{desk=\"fx\"} 140",
            ]
        );
        assert_eq!(group.due().deadline, Some(at(5_101)));
        // The same value again is evaluated and writes nothing.
        let touched = put(&world, "exposure", 200, 70.0);
        let outcome = group.evaluate(&Why::Part(touched), at(201), &world);
        assert_eq!((outcome.evaluated, outcome.samples.len()), (1, 0));
        // `for` ends between ticks, with nothing touched.
        let outcome = group.evaluate(&Why::Part(Touched::new()), at(5_101), &world);
        assert_eq!(outcome.records[0].state.as_str(), "firing");
        assert_eq!(
            shown(&outcome),
            [
                "ALERTS_FOR_STATE{alertname=\"High\", desk=\"fx\"} 1700000000",
                "ALERTS{alertname=\"High\", alertstate=\"firing\", desk=\"fx\"} 1",
                "ALERTS{alertname=\"High\", alertstate=\"pending\", desk=\"fx\"} stale",
            ]
        );
    }

    #[test]
    fn a_tick_writes_everything_and_counts_missed_ones() {
        let (mut group, world) = group(CHAIN);
        put(&world, "exposure", 100, 70.0);
        let tick = group.due().tick;
        let outcome = group.evaluate(&Why::Tick, tick, &world);
        assert_eq!((outcome.evaluated, outcome.missed_ticks), (3, 0));
        let late = tick.plus(Duration::from_secs(35));
        let outcome = group.evaluate(&Why::Tick, late, &world);
        assert_eq!(outcome.missed_ticks, 2);
        assert_eq!(group.due().tick, tick.plus(Duration::from_secs(40)));
        assert_eq!(outcome.samples.len(), 4, "{:?}", shown(&outcome));
    }

    #[test]
    fn a_limit_drops_the_rules_alerts_and_is_an_error() {
        let text = "groups: [{name: g, limit: 1, rules: [{alert: A, expr: a > 0}]}]";
        let (mut group, world) = group(text);
        for desk in ["fx", "bonds"] {
            let labels = Labels::of(&[("__name__", "a"), ("desk", desk)]);
            world.store.append(&labels, at(0), 1.0).unwrap();
            group.evaluate(&Why::Tick, group.due().tick, &world);
        }
        let rule = &group.status().rules[0];
        assert_eq!(rule.last_error(), Some("'A' has 2 results, the limit is 1"));
        assert_eq!(rule.active().count(), 0);
    }

    #[test]
    fn a_rule_that_fails_at_the_end_of_its_for_does_not_try_without_end() {
        let text = "groups: [{name: g, rules: [{alert: A, expr: a * on (desk) a > 0, for: 5s}]}]";
        let (mut group, world) = group(text);
        let touched = put(&world, "a", 100, 1.0);
        group.evaluate(&Why::Part(touched), at(101), &world);
        assert_eq!(group.due().deadline, Some(at(5_101)));
        // A second series of the desk: the match is no longer one to one.
        let labels = Labels::of(&[("__name__", "a"), ("desk", "fx"), ("side", "b")]);
        world.store.append(&labels, at(200), 1.0).unwrap();
        let outcome = group.evaluate(&Why::Part(Touched::new()), at(5_101), &world);
        assert_eq!((outcome.failed, group.due().deadline), (1, None));
        assert_eq!(
            group.status().rules[0].active().count(),
            1,
            "the alert stays as it was"
        );
    }

    #[test]
    fn two_results_of_one_name_are_an_error() {
        let text = "groups: [{name: g, rules: [{alert: A, expr: a > 0, labels: {desk: all}}]}]";
        let (mut group, world) = group(text);
        for desk in ["fx", "bonds"] {
            let labels = Labels::of(&[("__name__", "a"), ("desk", desk)]);
            world.store.append(&labels, at(0), 1.0).unwrap();
        }
        let outcome = group.evaluate(&Why::Tick, group.due().tick, &world);
        assert_eq!((outcome.failed, outcome.records.len()), (1, 0));
    }

    #[test]
    fn what_is_retired_ends_its_series_and_alerts() {
        let (mut group, world) = group(CHAIN);
        let touched = put(&world, "exposure", 100, 70.0);
        group.evaluate(&Why::Part(touched), at(101), &world);
        group.evaluate(&Why::Part(Touched::new()), at(5_101), &world);
        let outcome = group.retire(at(6_000), &world, &[false, false, false]);
        assert_eq!(outcome.records[0].state.as_str(), "resolved");
        assert_eq!(outcome.samples.len(), 3);
        assert!(
            outcome
                .samples
                .iter()
                .all(|(_, samples)| series::is_stale(samples[0].1))
        );
    }
}
