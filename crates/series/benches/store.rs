//! What an append, a selection and a read cost. `cargo bench -p series`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::Timestamp;
use series::write::{Applier, encode_v2};
use series::{Labels, MatchOp, Matcher, SeriesId, Store, StoreOptions, Touched};

const SERIES: usize = 1_000;

fn labels(index: usize) -> Labels {
    let (host, cpu) = ((index / 8).to_string(), (index % 8).to_string());
    Labels::of(&[
        ("__name__", "node_cpu_seconds_total"),
        ("cpu", &cpu),
        ("host", &host),
        ("job", "lantern"),
    ])
}

fn value(second: i64, index: usize) -> f64 {
    (second * 7 + second % 3 + i64::try_from(index).unwrap_or_default()) as f64 / 100.0
}

fn filled(store: &Store, seconds: i64) -> Vec<SeriesId> {
    let ids: Vec<SeriesId> = (0..SERIES)
        .map(|index| store.resolve(&labels(index)).expect("room"))
        .collect();
    let mut touched = Touched::new();
    for second in 0..seconds {
        for (index, id) in ids.iter().enumerate() {
            let at = Timestamp::from_millis(second * 1_000);
            store.append_id(*id, at, value(second, index), &mut touched);
        }
    }
    ids
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(SERIES as u64));
    let store = Store::new(StoreOptions::default());
    let ids = filled(&store, 1);
    let mut touched = Touched::new();
    let mut second = 1;
    group.bench_function("append_id", |b| {
        b.iter(|| {
            for (index, id) in ids.iter().enumerate() {
                let at = Timestamp::from_millis(second * 1_000);
                black_box(store.append_id(*id, at, value(second, index), &mut touched));
            }
            second += 1;
        });
    });
    let series: Vec<Labels> = (0..SERIES).map(labels).collect();
    let mut applier = Applier::new();
    group.bench_function("apply a record", |b| {
        b.iter(|| {
            let at = Timestamp::from_millis(second * 1_000);
            let samples: Vec<_> = series
                .iter()
                .enumerate()
                .map(|(index, labels)| (labels.clone(), [(at, value(second, index))]))
                .collect();
            let bytes = encode_v2(&samples);
            second += 1;
            black_box(applier.apply(&store, &bytes, &mut touched)).is_ok()
        });
    });
    drop(store);
    let store = Store::new(StoreOptions::default());
    filled(&store, 3_600);
    let stats = store.stats();
    eprintln_stats(stats.sample_bytes as f64 / stats.samples as f64);
    let all = [Matcher::equal("__name__", "node_cpu_seconds_total")];
    let some = [
        Matcher::equal("__name__", "node_cpu_seconds_total"),
        Matcher::new(MatchOp::Regex, "host", "1.").expect("a pattern"),
    ];
    group.bench_function("find all", |b| b.iter(|| store.find(&all).len()));
    group.bench_function("find by pattern", |b| b.iter(|| store.find(&some).len()));
    group.bench_function("read 5 minutes", |b| {
        let found = store.find(&all);
        let (from, to) = (
            Timestamp::from_millis(3_300_000),
            Timestamp::from_millis(3_600_000),
        );
        b.iter(|| {
            found
                .iter()
                .map(|s| s.samples(from, to).count())
                .sum::<usize>()
        });
    });
    group.finish();
}

#[expect(clippy::print_stderr, reason = "a bench says what it measured")]
fn eprintln_stats(bytes: f64) {
    eprintln!("{bytes:.2} bytes a sample");
}

criterion_group!(store, benches);
criterion_main!(store);
