//! What comes back is what went in, and how many bytes it took.

use std::sync::Arc;

use super::encode::EXACT_MAX;
use super::*;
use crate::value::STALE_NAN;
use proptest::prelude::*;

fn bytes_per_sample(values: impl Fn(u32) -> f64) -> f64 {
    let samples: Vec<_> = (0..CHUNK_SAMPLES)
        .map(|i| (1_700_000_000_000 + i64::from(i) * 1_000, values(i)))
        .collect();
    let chunk = Chunk::of(&samples);
    let same = |(a, b): ((i64, f64), &(i64, f64))| a.0 == b.0 && a.1.to_bits() == b.1.to_bits();
    assert!(chunk.iter().zip(&samples).all(same));
    chunk.heap_bytes() as f64 / f64::from(CHUNK_SAMPLES)
}

#[track_caller]
fn check(values: impl Fn(u32) -> f64, most: f64) {
    let bytes = bytes_per_sample(values);
    assert!(bytes < most, "{bytes} bytes a sample, at most {most}");
}

#[test]
fn regular_series_take_little() {
    check(|_| 1.0, 0.8);
    check(|i| f64::from(i) * 1_024.0, 0.8);
    check(|i| f64::from(i * 13 + i % 7) / 100.0, 2.0);
    check(|i| f64::from(4_000_000 + (i * 7_919) % 1_000), 2.5);
    check(|i| (f64::from(i) * 0.1).sin(), 9.0);
}

#[test]
fn a_stale_marker_does_not_spoil_a_counter() {
    check(|i| if i == 100 { STALE_NAN } else { f64::from(i) }, 0.9);
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        (-1_000_i32..1_000).prop_map(f64::from),
        (-100_000_i32..100_000).prop_map(|v| f64::from(v) / 100.0),
        any::<i64>().prop_map(|v| v as f64),
        Just(0.0),
        Just(-0.0),
        Just(STALE_NAN),
        Just(EXACT_MAX),
        Just(-EXACT_MAX),
        Just(f64::INFINITY),
    ]
}

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => Just(1_000_i64),
        2 => 990_i64..1_010,
        1 => 1_i64..100_000_000,
        1 => 1_i64..=1 << 52,
    ]
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        start in -(1_i64 << 60)..1 << 60,
        items in prop::collection::vec((steps(), values()), 0..300),
    ) {
        let mut at = start;
        let samples: Vec<(i64, f64)> = items
            .into_iter()
            .map(|(step, value)| {
                at += step;
                (at, value)
            })
            .collect();
        let bits = |s: &(i64, f64)| (s.0, s.1.to_bits());
        let chunk = Chunk::of(&samples);
        let read: Vec<_> = chunk.iter().map(|s| bits(&s)).collect();
        prop_assert_eq!(read, samples.iter().map(bits).collect::<Vec<_>>());
    }
}

#[test]
fn samples_are_cut_to_their_window() {
    let chunk = |from: i64| Arc::new(Chunk::of(&[(from, 1.0), (from + 10, 2.0)]));
    let samples = Samples::new(vec![chunk(0), chunk(20), chunk(40)], 10, 40);
    let times: Vec<i64> = samples.clone().map(|(t, _)| t.millis()).collect();
    assert_eq!(times, [10, 20, 30, 40]);
    assert_eq!(
        samples.newest().map(|(t, v)| (t.millis(), v)),
        Some((40, 1.0))
    );
}
