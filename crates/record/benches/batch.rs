//! What walking and making a batch costs. Target: at most 10 ns per record to walk and validate.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::Timestamp;
use record::{BatchBuilder, CheckedBatch, Compression, validate_records};

const RECORDS: u32 = 1_000;

fn batch(compression: Compression, headers: &[(&str, Option<&[u8]>)]) -> CheckedBatch {
    let mut builder = BatchBuilder::new(compression);
    for index in 0..RECORDS {
        let key = format!("order-{index:08}");
        let now = Timestamp::from_millis(1_700_000_000_000 + i64::from(index));
        builder.push(now, Some(key.as_bytes()), Some(&[b'x'; 80]), headers);
    }
    builder.build()
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    let plain = batch(Compression::None, &[]);
    let headers = batch(
        Compression::None,
        &[("ce_id", Some(b"1")), ("ce_type", Some(b"order.paid"))],
    );
    let records = plain.records().expect("uncompressed");
    group.bench_function("iterate", |bencher| {
        bencher.iter(|| {
            records
                .iter()
                .map(|record| record.map_or(0, |record| record.value.map_or(0, <[u8]>::len)))
                .sum::<usize>()
        });
    });
    group.bench_function("validate", |bencher| {
        bencher.iter(|| validate_records(&plain));
    });
    group.bench_function("validate with 2 headers", |bencher| {
        bencher.iter(|| validate_records(&headers));
    });
    group.bench_function("parse with crc", |bencher| {
        bencher.iter(|| CheckedBatch::parse(plain.as_bytes().clone()));
    });
    group.bench_function("build", |bencher| {
        bencher.iter(|| batch(Compression::None, &[]));
    });
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let compressed = batch(compression, &[]);
        group.bench_function(format!("validate {compression}"), |bencher| {
            bencher.iter(|| validate_records(&compressed));
        });
    }
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
