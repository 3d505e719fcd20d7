//! What must hold whatever the samples are.

use std::time::Duration;

use model::Timestamp;
use promql::{Options, Value, parse};
use proptest::prelude::*;
use series::{Labels, Store, StoreOptions};

/// Expressions that cover every kind of node.
const EXPRESSIONS: [&str; 18] = [
    "x",
    "x offset 30s",
    "-x",
    "x * 2 > 4",
    "x > bool 2",
    "sum by (a) (x)",
    "topk(1, x)",
    "count_values(\"v\", x)",
    "rate(x[1m])",
    "increase(x[1m:10s])",
    "quantile_over_time(0.5, x[1m])",
    "x and on (a) x{b=\"1\"}",
    "x unless x > 3",
    "x or y",
    "x / on (a) group_left () max by (a) (x)",
    "max_over_time(sum(x)[1m:5s])",
    "absent(x{a=\"9\"})",
    "label_replace(x, \"c\", \"$1\", \"a\", \"(.*)\")",
];

type Point = (u8, u8, u16, u8);

fn store(points: &[Point]) -> Store {
    let store = Store::new(StoreOptions::default());
    for (a, b, second, value) in points {
        let (a, b) = ((a % 3).to_string(), (b % 2).to_string());
        let labels = Labels::of(&[("__name__", "x"), ("a", &a), ("b", &b)]);
        let at = Timestamp::from_millis(i64::from(*second) * 1_000);
        store
            .append(&labels, at, f64::from(*value))
            .expect("a series within the limits");
    }
    store
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0_u16..300, 0_u8..6), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_range_query_is_its_instant_queries(points in points(), step in 1_u64..40) {
        let store = store(&points);
        let options = Options::default();
        let step = Duration::from_secs(step);
        let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(200_000));
        for text in EXPRESSIONS {
            let expr = parse(text).unwrap();
            let range = promql::range(&expr, &store, start, end, step, &options).unwrap();
            let Value::Matrix(matrix) = range else { panic!("no matrix") };
            let mut by_step: Vec<(Timestamp, Labels, u64)> = matrix
                .iter()
                .flat_map(|s| s.samples.iter().map(|(t, v)| (*t, s.labels.clone(), v.to_bits())))
                .collect();
            by_step.sort();
            let mut one_by_one = Vec::new();
            let mut at = start;
            while at <= end {
                match promql::instant(&expr, &store, at, &options).unwrap() {
                    Value::Vector(samples) => one_by_one.extend(
                        samples.into_iter().map(|s| (s.timestamp, s.labels, s.value.to_bits())),
                    ),
                    other => panic!("{other:?}"),
                }
                at = at.plus(step);
            }
            one_by_one.sort();
            prop_assert_eq!(by_step, one_by_one, "{}", text);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(points in points(), seed in any::<u64>()) {
        // One value for each series and second, so that no arrival wins over another.
        let mut points = points;
        points.sort_by_key(|p| (p.0 % 3, p.1 % 2, p.2));
        points.dedup_by_key(|p| (p.0 % 3, p.1 % 2, p.2));
        let mut shuffled = points.clone();
        shuffled.sort_by_key(|p| u64::from(p.2).wrapping_mul(seed | 1).rotate_left(17));
        let (a, b) = (store(&points), store(&shuffled));
        let at = Timestamp::from_millis(150_000);
        for text in ["sum by (a) (rate(x[2m]))", "sum(count_over_time(x[5m]))"] {
            let expr = parse(text).unwrap();
            let ask = |store| match promql::instant(&expr, store, at, &Options::default()) {
                Ok(Value::Vector(mut samples)) => {
                    samples.sort_by(|a, b| a.labels.cmp(&b.labels));
                    samples
                }
                other => panic!("{other:?}"),
            };
            let close = |x: f64, y: f64| (x - y).abs() <= 1e-9 * (1.0 + x.abs());
            let (first, second) = (ask(&a), ask(&b));
            prop_assert_eq!(first.len(), second.len());
            for (x, y) in first.iter().zip(&second) {
                prop_assert!(x.labels == y.labels && close(x.value, y.value));
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z{}()\\[\\]=~\"0-9: +*/<>,]{0,60}") {
        drop(parse(&text));
    }
}
