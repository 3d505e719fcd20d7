//! A store against a plain map, and what it does at its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use proptest::prelude::*;
use series::{Appended, Error, Labels, MatchOp, Matcher, Store, StoreOptions, Touched};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn labels(name: &str, job: &str) -> Labels {
    Labels::of(&[("__name__", name), ("job", job)])
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).expect("a pattern")
}

fn names(store: &Store, matchers: &[Matcher]) -> Vec<String> {
    let found = store.series(matchers, Timestamp::MIN, Timestamp::MAX);
    found.iter().map(ToString::to_string).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Append { series: u8, second: i64, value: u8 },
    Collect { now: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append =
        (0_u8..6, 0_i64..40_000, 0_u8..4).prop_map(|(series, second, value)| Step::Append {
            series,
            second,
            value,
        });
    let collect = (0_i64..50_000).prop_map(|now| Step::Collect { now });
    prop::collection::vec(prop_oneof![40 => append, 1 => collect], 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_is_a_map_of_maps(steps in steps()) {
        let store = Store::new(StoreOptions::default());
        let mut model: BTreeMap<u8, BTreeMap<i64, f64>> = BTreeMap::new();
        let mut now = i64::MIN;
        for step in steps {
            match step {
                Step::Append { series, second, value } => {
                    let value = f64::from(value);
                    let series_labels = labels("x", &series.to_string());
                    let appended = store.append(&series_labels, at(second), value).unwrap();
                    let in_time = now == i64::MIN || (now - 21_600..=now + 600).contains(&second);
                    if !in_time {
                        prop_assert!(!appended.is_stored());
                        continue;
                    }
                    let samples = model.entry(series).or_default();
                    let expected = match samples.get(&second) {
                        Some(there) if *there == value => Appended::Duplicate,
                        Some(_) => Appended::Conflict,
                        None if samples.keys().next_back().is_none_or(|last| *last < second) => {
                            Appended::Stored
                        }
                        None => Appended::StoredLate,
                    };
                    // The model forgets at once, the store by whole chunks.
                    if samples.contains_key(&second) || now == i64::MIN {
                        prop_assert_eq!(appended, expected);
                    }
                    samples.entry(second).or_insert(value);
                }
                Step::Collect { now: later } => {
                    store.gc(at(later));
                    now = now.max(later);
                }
            }
        }
        let cutoff = if now == i64::MIN { i64::MIN / 1_000 } else { now - 21_600 };
        for (series, samples) in &model {
            let found = store.select(
                &[Matcher::equal("job", &series.to_string())],
                at(cutoff),
                Timestamp::MAX,
            );
            let read: Vec<(i64, f64)> = found
                .into_iter()
                .flat_map(|s| s.samples)
                .map(|(t, v)| (t.millis() / 1_000, v))
                .collect();
            let wanted: Vec<(i64, f64)> = samples.range(cutoff..).map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(read, wanted);
        }
    }

    #[test]
    fn selection_is_a_filter(
        series in prop::collection::btree_set(("[ab]", "[xyz]?", "[0-9]{0,2}"), 0..30),
        job in "[ab]?|a\\|b|.\\*",
        zone in "[xyz]?|x\\|y|.\\+|[^x]",
        op in 0_usize..4,
    ) {
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let (Ok(first), Ok(second)) =
            (Matcher::new(MatchOp::Regex, "job", &job), Matcher::new(ops[op], "zone", &zone))
        else {
            return Ok(());
        };
        let store = Store::new(StoreOptions::default());
        let mut all = Vec::new();
        for (job, zone, cpu) in &series {
            let labels =
                Labels::of(&[("__name__", "m"), ("job", job), ("zone", zone), ("cpu", cpu)]);
            store.append(&labels, at(1), 1.0).unwrap();
            all.push(labels);
        }
        let wants = |labels: &Labels, matcher: &Matcher| {
            matcher.matches(labels.get(matcher.name()).unwrap_or_default())
        };
        all.retain(|labels| wants(labels, &first) && wants(labels, &second));
        all.sort();
        all.dedup();
        prop_assert_eq!(store.series(&[first, second], Timestamp::MIN, Timestamp::MAX), all);
    }
}

#[test]
fn matchers_find_series() {
    let store = Store::new(StoreOptions::default());
    for (name, job) in [("up", "a"), ("up", "b"), ("down", "a")] {
        store.append(&labels(name, job), at(0), 1.0).unwrap();
    }
    assert_eq!(
        names(&store, &[Matcher::equal("job", "b")]),
        [r#"up{job="b"}"#]
    );
    assert_eq!(
        names(&store, &[matcher(MatchOp::Regex, "__name__", "u.*|x")]),
        [r#"up{job="a"}"#, r#"up{job="b"}"#]
    );
    assert_eq!(
        names(&store, &[matcher(MatchOp::NotEqual, "job", "a")]),
        [r#"up{job="b"}"#]
    );
    assert_eq!(names(&store, &[Matcher::equal("zone", "")]).len(), 3);
    assert_eq!(names(&store, &[]).len(), 3);
    let everything = (Timestamp::MIN, Timestamp::MAX);
    assert_eq!(
        store.label_names(&[], everything.0, everything.1),
        ["__name__", "job"]
    );
    assert_eq!(
        store.label_values("job", &[], everything.0, everything.1),
        ["a", "b"]
    );
    let ups = [Matcher::equal("__name__", "down")];
    assert_eq!(
        store.label_values("job", &ups, everything.0, everything.1),
        ["a"]
    );
    assert_eq!(store.biggest_metrics(1), [("up".to_owned(), 2)]);
}

#[test]
fn time_bounds_what_is_taken() {
    let store = Store::new(StoreOptions::default());
    let up = labels("up", "a");
    store.advance(at(100_000));
    assert_eq!(
        store.append(&up, at(100_000 - 21_601), 1.0).unwrap(),
        Appended::TooOld
    );
    assert_eq!(
        store.append(&up, at(100_601), 1.0).unwrap(),
        Appended::TooNew
    );
    assert_eq!(
        store.counters().series,
        0,
        "a refused sample makes no series"
    );
    assert_eq!(
        store.append(&up, at(100_600), 1.0).unwrap(),
        Appended::Stored
    );
    assert_eq!(
        store.append(&up, at(100_000 - 21_600), 1.0).unwrap(),
        Appended::StoredLate
    );
    assert_eq!(
        store.append(&up, at(100_600), 1.0).unwrap(),
        Appended::Duplicate
    );
    assert_eq!(
        store.append(&up, at(100_600), 2.0).unwrap(),
        Appended::Conflict
    );
    let counters = store.counters();
    assert_eq!(
        [
            counters.too_old,
            counters.too_new,
            counters.stored,
            counters.stored_late
        ],
        [1, 1, 1, 1]
    );
    assert_eq!([counters.duplicates, counters.conflicts], [1, 1]);
}

#[test]
fn limits_say_what_they_refuse() {
    let options = StoreOptions {
        series_max: 1,
        labels_max: 3,
        label_name_bytes_max: 8,
        label_value_bytes_max: 4,
        ..StoreOptions::default()
    };
    let store = Store::new(options);
    let refused = |labels: &Labels| store.resolve(labels).unwrap_err().to_string();
    store.resolve(&labels("x", "a")).unwrap();
    assert_eq!(
        refused(&labels("x", "b")),
        r#"the store holds 1 series already, its limit; series x{job="b"} is refused"#
    );
    assert!(refused(&labels("x", "abcde")).contains("'job' has 5 bytes, at most 4"));
    assert!(refused(&Labels::of(&[("long_name_x", "a")])).contains("11 bytes, at most 8"));
    let many = Labels::of(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let error = store.resolve(&many).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyLabels {
                count: 4,
                limit: 3,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(store.counters().series_refused, 4);
}

#[test]
fn collected_series_are_gone_and_come_back_as_others() {
    let store = Store::new(StoreOptions {
        retention: Duration::from_mins(1),
        ..StoreOptions::default()
    });
    let up = labels("up", "a");
    let id = store.resolve(&up).unwrap();
    let mut touched = Touched::new();
    assert_eq!(
        store.append_id(id, at(0), 1.0, &mut touched),
        Appended::Stored
    );
    let before = store.generation();
    assert_eq!(store.gc(at(30)), (0, 0));
    assert_eq!(store.gc(at(100)), (1, 1));
    assert_ne!(store.generation(), before);
    assert_eq!(
        store.append_id(id, at(100), 1.0, &mut touched),
        Appended::Gone
    );
    assert!(names(&store, &[]).is_empty());
    assert!(
        store
            .label_names(&[], Timestamp::MIN, Timestamp::MAX)
            .is_empty()
    );
    assert_eq!(store.append(&up, at(100), 1.0).unwrap(), Appended::Stored);
    assert_ne!(store.resolve(&up).unwrap(), id);
}

#[test]
fn watches_hear_of_series_there_and_to_come() {
    let store = Store::new(StoreOptions::default());
    let mut touched = Touched::new();
    let old = store.resolve(&labels("up", "old")).unwrap();
    let ups = store.watch(vec![Matcher::equal("__name__", "up")]);
    let jobs = store.watch(vec![matcher(MatchOp::Regex, "job", "new.*")]);
    store.append_id(old, at(0), 1.0, &mut touched);
    assert!(touched.contains(ups) && !touched.contains(jobs));
    touched.clear();
    store
        .append_touching(&labels("other", "new1"), at(0), 1.0, &mut touched)
        .unwrap();
    assert!(touched.contains(jobs) && !touched.contains(ups));
    touched.clear();
    // What changes nothing wakes nobody.
    store.append_id(old, at(0), 1.0, &mut touched);
    store.append_id(old, at(0), 2.0, &mut touched);
    assert!(touched.is_empty());
    store.unwatch(ups);
    store.append_id(old, at(1), 1.0, &mut touched);
    assert!(touched.is_empty());
    store
        .append_touching(&labels("up", "newest"), at(1), 1.0, &mut touched)
        .unwrap();
    assert_eq!(touched.iter().collect::<Vec<_>>(), [jobs]);
    // The number is free again, and nothing of the old watch is left.
    let again = store.watch(vec![Matcher::equal("__name__", "nothing")]);
    assert_eq!(again, ups);
    touched.clear();
    store.append_id(old, at(2), 1.0, &mut touched);
    assert!(!touched.contains(again));
}

#[test]
fn readers_and_writers_do_not_disturb_each_other() {
    let store = Store::new(StoreOptions::default());
    let up = labels("up", "a");
    std::thread::scope(|scope| {
        for writer in 0..2_i64 {
            let (store, up) = (&store, &up);
            scope.spawn(move || {
                for second in 0..2_000 {
                    store.append(up, at(second * 2 + writer), 1.0).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let mut most = 0;
            while most < 4_000 {
                let found = store.select(&[Matcher::equal("job", "a")], at(0), Timestamp::MAX);
                let times: Vec<Timestamp> = found
                    .into_iter()
                    .flat_map(|s| s.samples)
                    .map(|s| s.0)
                    .collect();
                assert!(times.is_sorted_by(|a, b| a < b), "in order, each once");
                assert!(times.len() >= most, "nothing disappears");
                most = times.len();
            }
        });
    });
    assert_eq!(store.stats().samples, 4_000);
}

#[test]
fn regular_series_take_less_than_two_bytes_a_sample() {
    let store = Store::new(StoreOptions::default());
    let mut touched = Touched::new();
    for index in 0..20_i64 {
        let id = store
            .resolve(&labels("node_cpu_seconds_total", &index.to_string()))
            .unwrap();
        for second in 0..21_600_i64 {
            // Ticks of a hundredth, as /proc/stat counts them, at a jittering pace.
            let ticks = second * (index * 5) + (second * second) % 3;
            store.append_id(id, at(second), ticks as f64 / 100.0, &mut touched);
        }
    }
    let stats = store.stats();
    let bytes = stats.sample_bytes as f64 / stats.samples as f64;
    assert!(bytes < 2.0, "{bytes} bytes a sample");
}
