//! Queries that are asked again and again see what changes in the store.

use model::Timestamp;
use promql::{Options, Prepared, Value, parse};
use series::{Labels, Store, StoreOptions};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn values(value: Value) -> Vec<(String, f64)> {
    match value {
        Value::Vector(samples) => samples
            .into_iter()
            .map(|s| (s.labels.to_string(), s.value))
            .collect(),
        other => panic!("{other:?} is no vector"),
    }
}

#[test]
fn a_prepared_query_sees_new_samples_and_new_series() {
    let store = Store::new(StoreOptions::default());
    let mut query = Prepared::new(parse("sum by (job) (x)").unwrap());
    let options = Options::default();
    let mut ask =
        |store: &Store, seconds| values(query.instant(store, at(seconds), &options).unwrap());
    assert!(ask(&store, 0).is_empty());
    store
        .append(
            &Labels::of(&[("__name__", "x"), ("job", "a"), ("i", "1")]),
            at(0),
            1.0,
        )
        .unwrap();
    assert_eq!(ask(&store, 0), [(r#"{job="a"}"#.to_owned(), 1.0)]);
    store
        .append(
            &Labels::of(&[("__name__", "x"), ("job", "a"), ("i", "1")]),
            at(1),
            2.0,
        )
        .unwrap();
    assert_eq!(ask(&store, 1), [(r#"{job="a"}"#.to_owned(), 2.0)]);
    store
        .append(
            &Labels::of(&[("__name__", "x"), ("job", "a"), ("i", "2")]),
            at(1),
            5.0,
        )
        .unwrap();
    assert_eq!(ask(&store, 1), [(r#"{job="a"}"#.to_owned(), 7.0)]);
    store.gc(at(7 * 3_600));
    assert!(ask(&store, 7 * 3_600).is_empty());
}

#[test]
fn a_query_stops_when_told_and_at_its_limit() {
    let store = Store::new(StoreOptions::default());
    for second in 0..100 {
        store
            .append(&Labels::of(&[("__name__", "x")]), at(second), 1.0)
            .unwrap();
    }
    let expr = parse("sum_over_time(x[1m])").unwrap();
    let few = Options {
        samples_max: 10,
        ..Options::default()
    };
    let error = promql::instant(&expr, &store, at(90), &few).unwrap_err();
    assert_eq!(error, promql::Error::TooManySamples { limit: 10 });
    let stopped = Options {
        stop: Some(std::sync::Arc::new(|| true)),
        ..Options::default()
    };
    let error = promql::instant(&expr, &store, at(90), &stopped).unwrap_err();
    assert_eq!(error, promql::Error::Stopped);
}

#[test]
fn the_deepest_expressions_are_evaluated() {
    let store = Store::new(StoreOptions::default());
    store
        .append(&Labels::of(&[("__name__", "x")]), at(0), 1.0)
        .unwrap();
    for text in [
        "x or ".repeat(190) + "x",
        "-".repeat(190) + "x",
        "abs(".repeat(190) + "x" + &")".repeat(190),
        format!("{}x{}", "max_over_time(".repeat(95), "[1s:1s])".repeat(95)),
    ] {
        let expr = parse(&text).unwrap();
        let found = values(promql::instant(&expr, &store, at(0), &Options::default()).unwrap());
        assert_eq!(found.len(), 1, "{text:.20}");
    }
}
