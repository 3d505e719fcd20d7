//! What is built is what the plain encoder makes, and comes back as it went in.

use bytes::Bytes;
use model::{Offset, Timestamp};
use proptest::prelude::*;
use record::{
    BatchBuilder, Batches, CheckedBatch, Compression, Stamp, StampTime, TimestampKind, parse_all,
    validate_records,
};

use crate::plain::{Plain, batch};

pub(crate) const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

pub(crate) fn build(
    compression: Compression,
    records: &[Plain],
    producer: (i64, i16, i32),
) -> CheckedBatch {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        builder.push(
            Timestamp::from_millis(record.timestamp),
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.producer(producer.0, producer.1, producer.2).build()
}

fn unbuild(batch: &CheckedBatch) -> Vec<(u64, Plain)> {
    let records = batch.records().unwrap();
    let plain = records.iter().map(|record| {
        let record = record.unwrap();
        let headers = record.headers.iter();
        let plain = Plain {
            timestamp: record.timestamp.millis(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
        };
        (record.offset.get(), plain)
    });
    plain.collect()
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80))
}

fn plain() -> impl Strategy<Value = Plain> {
    let headers = proptest::collection::vec(("[a-z_é]{0,9}", bytes()), 0..4);
    (0..4_000_000_000_000_i64, bytes(), bytes(), headers).prop_map(
        |(timestamp, key, value, headers)| Plain {
            timestamp,
            key,
            value,
            headers,
        },
    )
}

proptest! {
    #[test]
    fn the_builder_agrees_with_the_plain_encoder(
        records in proptest::collection::vec(plain(), 1..20),
        producer in (any::<i64>(), any::<i16>(), any::<i32>()),
    ) {
        let built = build(Compression::None, &records, producer);
        prop_assert_eq!(&built.as_bytes()[..], &batch(&records, producer)[..]);
    }

    #[test]
    fn what_goes_in_comes_out_under_every_codec(
        records in proptest::collection::vec(plain(), 1..20),
        base in 0..1_u64 << 40,
        codec in 0..CODECS.len(),
    ) {
        let built = build(CODECS[codec], &records, (-1, -1, -1));
        let stamped = built.restamped(&Stamp {
            base_offset: Offset::new(base),
            leader_epoch: 3,
            time: StampTime::Keep,
        });
        let (parsed, rest) = CheckedBatch::parse(stamped.into_bytes()).unwrap();
        prop_assert!(rest.is_empty());
        let expected: Vec<_> = (base..).zip(records).collect();
        prop_assert_eq!(unbuild(&parsed), expected);
        prop_assert_eq!(parsed.leader_epoch(), 3);
        let summary = validate_records(&parsed).unwrap();
        prop_assert_eq!(summary.max_timestamp, parsed.max_timestamp());
    }

    #[test]
    fn batches_one_after_another_come_apart_again(counts in proptest::collection::vec(1..5_usize, 0..5)) {
        let mut joined = Vec::new();
        for count in &counts {
            let records = vec![Plain::value(1, "x"); *count];
            joined.extend_from_slice(build(Compression::None, &records, (-1, -1, -1)).as_bytes());
        }
        let joined = Bytes::from(joined);
        let found: Vec<_> = Batches::new(joined.clone())
            .map(|batch| batch.unwrap().record_count() as usize)
            .collect();
        prop_assert_eq!(&found, &counts);
        let parsed = parse_all(joined.clone(), 1 << 20).unwrap();
        prop_assert_eq!(parsed.len(), counts.len());
        // A fetch may cut the last batch; the whole ones come, and the rest is left.
        if !counts.is_empty() {
            let mut cut = Batches::new(joined.slice(..joined.len() - 1));
            prop_assert_eq!(cut.by_ref().count(), counts.len() - 1);
            prop_assert!(!cut.rest().is_empty());
            prop_assert!(parse_all(joined.slice(..joined.len() - 1), 1 << 20).is_err());
        }
    }
}

#[test]
fn an_uncompressed_batch_is_never_copied() {
    let built = build(Compression::None, &[Plain::value(1, "abc")], (-1, -1, -1));
    let (parsed, _) = CheckedBatch::parse(built.as_bytes().clone()).unwrap();
    assert_eq!(parsed.as_bytes().as_ptr(), built.as_bytes().as_ptr());
    let records = parsed.records().unwrap();
    let value = records.iter().next().unwrap().unwrap().value.unwrap();
    let range = parsed.as_bytes().as_ptr_range();
    assert!(range.contains(&value.as_ptr()));
}

#[test]
fn a_brokers_stamp_overrules_every_records_time_and_keeps_the_rest() {
    let records = [Plain::value(10, "a"), Plain::value(30, "b")];
    let stamped = build(Compression::Zstd, &records, (5, 1, 2)).restamped(&Stamp {
        base_offset: Offset::new(7),
        leader_epoch: 1,
        time: StampTime::LogAppend(Timestamp::from_millis(99)),
    });
    let (parsed, _) = CheckedBatch::parse(stamped.into_bytes()).unwrap();
    assert_eq!(parsed.timestamp_kind(), TimestampKind::LogAppend);
    assert_eq!(parsed.max_timestamp().millis(), 99);
    assert_eq!(parsed.first_timestamp().millis(), 10);
    assert_eq!(
        unbuild(&parsed),
        [(7, Plain::value(99, "a")), (8, Plain::value(99, "b"))]
    );
    assert_eq!(
        (
            parsed.producer_id(),
            parsed.producer_epoch(),
            parsed.base_sequence()
        ),
        (5, 1, 2)
    );
}

#[test]
fn a_wrong_largest_timestamp_is_put_right() {
    let body = [
        crate::plain::record(0, 10, &Plain::value(10, "a")),
        crate::plain::record(1, 10, &Plain::value(50, "b")),
    ];
    let bytes = crate::plain::batch_around(0, 2, (10, 10), (-1, -1, -1), &body.concat());
    let (parsed, _) = CheckedBatch::parse(Bytes::from(bytes)).unwrap();
    assert_eq!(parsed.max_timestamp().millis(), 10);
    let fixed = parsed.validated().unwrap();
    assert_eq!(fixed.max_timestamp().millis(), 50);
    CheckedBatch::parse(fixed.into_bytes()).unwrap();
}

#[test]
fn duplicate_headers_keep_their_order_and_the_last_one_is_got() {
    let mut record = Plain::value(1, "v");
    for value in ["1", "2"] {
        record
            .headers
            .push(("h".to_owned(), Some(value.as_bytes().to_vec())));
    }
    record.headers.push(("null".to_owned(), None));
    let built = build(Compression::None, &[record], (-1, -1, -1));
    let records = built.records().unwrap();
    let headers = records.iter().next().unwrap().unwrap().headers;
    assert_eq!(headers.count(), 3);
    assert_eq!(headers.get("h"), Some(Some(&b"2"[..])));
    assert_eq!(headers.get("null"), Some(None));
    assert_eq!(headers.get("none"), None);
    let values: Vec<_> = headers.iter().map(|(_, value)| value).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(&b"2"[..]), None]);
}

#[test]
fn snappy_is_read_raw_too_as_some_clients_write_it() {
    let body = crate::plain::record(0, 1, &Plain::value(1, "raw"));
    let raw = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let bytes = crate::plain::batch_around(2, 1, (1, 1), (-1, -1, -1), &raw);
    let (parsed, _) = CheckedBatch::parse(Bytes::from(bytes)).unwrap();
    assert_eq!(unbuild(&parsed), [(0, Plain::value(1, "raw"))]);
}

#[test]
fn a_time_before_1970_counts_as_none() {
    let mut builder = BatchBuilder::new(Compression::None);
    let times = [i64::MIN, 5, -2, -1, i64::MAX];
    for time in times {
        builder.push(Timestamp::from_millis(time), None, None, &[]);
    }
    let batch = parse_all(builder.build().as_bytes().clone(), 1 << 20)
        .unwrap()
        .remove(0);
    let records = batch.records().unwrap();
    let read = records
        .iter()
        .map(|record| record.unwrap().timestamp.millis());
    // Of the last the time from the first is told, and is 63 bits at most.
    assert_eq!(read.collect::<Vec<_>>(), [-1, 5, -1, -1, i64::MAX - 1]);
    assert_eq!(batch.first_timestamp().millis(), -1);
}
