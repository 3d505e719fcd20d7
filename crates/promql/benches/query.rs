//! What queries cost over 1,000 counters of an hour at one sample a second. `cargo bench -p promql`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use model::Timestamp;
use promql::{Options, Prepared, parse};
use series::{Labels, Store, StoreOptions, Touched};

fn store() -> Store {
    let store = Store::new(StoreOptions::default());
    let mut touched = Touched::new();
    for index in 0..1_000_i64 {
        let (host, cpu) = ((index / 8).to_string(), (index % 8).to_string());
        let job = if index < 100 { "few" } else { "many" };
        let labels = Labels::of(&[
            ("__name__", "x"),
            ("host", &host),
            ("cpu", &cpu),
            ("job", job),
        ]);
        let id = store.resolve(&labels).expect("room");
        for second in 0..3_600_i64 {
            let value = (second * 7 + second % 3 + index) as f64 / 100.0;
            store.append_id(
                id,
                Timestamp::from_millis(second * 1_000),
                value,
                &mut touched,
            );
        }
    }
    store
}

fn benches(c: &mut Criterion) {
    let store = store();
    let options = Options::default();
    let end = Timestamp::from_millis(3_599_000);
    let mut group = c.benchmark_group("promql");
    group.sample_size(20);
    for text in [
        "x",
        "rate(x[1m])",
        "sum by (host) (rate(x[5m]))",
        "x{job=\"few\"} / on (host, cpu) x",
        "topk(5, x)",
    ] {
        let mut prepared = Prepared::new(parse(text).expect("PromQL"));
        group.bench_function(format!("instant, 1000 series: {text}"), |b| {
            b.iter(|| black_box(prepared.instant(&store, end, &options)).is_ok());
        });
    }
    for text in [
        "rate(x{job=\"few\"}[1m])",
        "sum by (host) (rate(x{job=\"few\"}[1m]))",
    ] {
        let expr = parse(text).expect("PromQL");
        let (start, step) = (Timestamp::from_millis(0), Duration::from_secs(15));
        group.bench_function(format!("1 h at 15 s, 100 series: {text}"), |b| {
            b.iter(|| black_box(promql::range(&expr, &store, start, end, step, &options)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(query, benches);
criterion_main!(query);
