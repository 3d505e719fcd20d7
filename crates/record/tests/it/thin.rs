//! Batches that compaction thinned out: what stays is what was there, at its place.

use model::{Offset, Timestamp};
use proptest::prelude::*;
use record::{
    BatchBuilder, CheckedBatch, Compression, Error, Stamp, StampTime, Thinned, gap,
    validate_records,
};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Everything of a record that its readers see.
type Seen = (u64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<String>);

fn seen(batch: &CheckedBatch) -> Vec<Seen> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = batch.records().unwrap();
    let all = records.iter().map(|record| {
        let record = record.unwrap();
        let headers = record.headers.iter();
        (
            record.offset.get(),
            record.timestamp.millis(),
            owned(record.key),
            owned(record.value),
            headers.map(|header| format!("{header:?}")).collect(),
        )
    });
    all.collect()
}

fn sample(codec: Compression, count: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new(codec);
    for number in 0..count {
        let key = format!("k{}", number % 3);
        let value = "v".repeat(number * 7);
        let value = (number % 4 != 3).then_some(value.as_bytes());
        let headers = [("h", Some(&b"1"[..])), ("h", None), ("", Some(&b""[..]))];
        // Not in order: timestamps are the producers'.
        let time = Timestamp::from_millis(1_000 + (number as i64 * 37) % 100);
        builder.push(
            time,
            Some(key.as_bytes()),
            value,
            &headers[..number % headers.len()],
        );
    }
    builder.producer(9, 2, 70).build().restamped(&Stamp {
        base_offset: Offset::new(500),
        leader_epoch: 4,
        time: StampTime::Keep,
    })
}

fn reread(batch: &CheckedBatch) -> CheckedBatch {
    let (again, rest) = CheckedBatch::parse(batch.as_bytes().clone()).unwrap();
    assert!(rest.is_empty());
    validate_records(&again).unwrap();
    again
}

proptest! {
    #[test]
    fn what_stays_is_what_was_there(
        codec in 0..CODECS.len(),
        wanted in proptest::collection::vec(any::<bool>(), 1..12),
        horizon in proptest::option::of(0..4_000_000_000_000_i64),
        stamped: bool,
    ) {
        let mut batch = sample(CODECS[codec], wanted.len());
        if stamped {
            let time = StampTime::LogAppend(Timestamp::from_millis(5_555));
            batch = batch.restamped(&Stamp { base_offset: Offset::new(500), leader_epoch: 4, time });
        }
        let keep = |record: &record::Record<'_>| wanted[(record.offset.get() - 500) as usize];
        let expected: Vec<Seen> = seen(&batch)
            .into_iter()
            .filter(|(offset, ..)| wanted[(offset - 500) as usize])
            .collect();
        let thinned = batch.thinned(&batch.records().unwrap(), keep, horizon.map(Timestamp::from_millis)).unwrap();
        let found = match thinned {
            Thinned::Same => {
                prop_assert!(wanted.iter().all(|wanted| *wanted) && horizon.is_none());
                return Ok(());
            }
            Thinned::Empty => {
                prop_assert!(expected.is_empty());
                reread(&batch.emptied())
            }
            Thinned::Batch(thinned) => reread(&thinned),
        };
        prop_assert_eq!(&seen(&found), &expected);
        prop_assert_eq!(found.base_offset(), batch.base_offset());
        prop_assert_eq!(found.next_offset(), batch.next_offset());
        prop_assert_eq!((found.producer_id(), found.producer_epoch(), found.base_sequence()), (9, 2, 70));
        prop_assert_eq!(found.leader_epoch(), 4);
        if !expected.is_empty() {
            prop_assert_eq!(found.compression(), batch.compression());
            prop_assert_eq!(found.delete_horizon().map(Timestamp::millis), horizon);
            let max = expected.iter().map(|(_, time, ..)| *time).max().unwrap();
            prop_assert_eq!(found.max_timestamp().millis(), max);
            // Thinning again does not move what is there.
            let once_more = found.thinned(&found.records().unwrap(), |_| true, Some(Timestamp::from_millis(77))).unwrap();
            let Thinned::Batch(once_more) = once_more else { panic!("it got a horizon") };
            prop_assert_eq!(seen(&reread(&once_more)), expected);
        }
    }
}

#[test]
fn a_gap_stands_for_its_offsets_and_nothing_else() {
    for offsets in [1, 2, record::OFFSETS_MAX] {
        let gap = reread(&gap(Offset::new(7), offsets, 3));
        assert_eq!(gap.next_offset(), Offset::new(7 + offsets));
        assert_eq!((gap.record_count(), gap.size()), (0, 61));
        assert_eq!((gap.producer_id(), gap.max_timestamp().millis()), (-1, -1));
        assert!(seen(&gap).is_empty());
    }
}

#[test]
fn producers_may_not_send_what_only_compaction_makes() {
    let batch = sample(Compression::None, 4);
    batch.clone().validated().unwrap();
    let Ok(Thinned::Batch(sparse)) = batch.thinned(
        &batch.records().unwrap(),
        |record| record.offset.get() != 501,
        None,
    ) else {
        panic!("a record went");
    };
    let refused = sparse.validated().unwrap_err();
    assert!(matches!(refused, Error::Count { .. }), "{refused}");
    let refused = gap(Offset::ZERO, 3, 0).validated().unwrap_err();
    assert!(matches!(refused, Error::Count { .. }), "{refused}");
    let horizon = Some(Timestamp::from_millis(1));
    let Ok(Thinned::Batch(marked)) = batch.thinned(&batch.records().unwrap(), |_| true, horizon)
    else {
        panic!("it got a horizon");
    };
    let refused = marked.validated().unwrap_err();
    assert!(matches!(refused, Error::Horizon), "{refused}");
}

#[test]
fn bytes_that_tell_two_stories_are_refused() {
    // Records without a count, and a count without records.
    let mut bytes = sample(Compression::Lz4, 3).into_bytes().to_vec();
    bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    let refused = CheckedBatch::parse(bytes.into()).unwrap_err();
    assert!(matches!(refused, Error::Count { .. }), "{refused}");
    // More records than offsets.
    let mut bytes = sample(Compression::None, 3).into_bytes().to_vec();
    bytes[23..27].copy_from_slice(&1_i32.to_be_bytes());
    let refused = CheckedBatch::parse(bytes.into()).unwrap_err();
    assert!(matches!(refused, Error::Count { .. }), "{refused}");
}
