//! Appending, reading, finding, removing, without anything going wrong.

use std::time::Duration;

use commitlog::{Error, Log, Options, Publish, Retention, StampKind, verify};
use env::{RealDisk, SimDisk};
use model::Offset;
use record::Batches;
use stdx::ByteSize;

use crate::kit::{batch, dump, fill, from_producer, list, names, now, offset, open, small};

const FAR: Offset = Offset::new(u64::MAX >> 1);

#[test]
fn readers_see_only_what_is_flushed() {
    let (mut log, _) = open(&SimDisk::new(1), Options::default());
    let reader = log.reader();
    log.append(&[batch(1, &["a", "b"])], now(1)).unwrap();
    assert_eq!(dump(&reader), "");
    assert!(reader.read(offset(0), 100, true, FAR).unwrap().is_empty());
    log.flush().unwrap();
    assert_eq!(dump(&reader), "0=a 1=b");
}

#[test]
fn a_log_that_publishes_written_records_shows_them_at_once() {
    let options = Options {
        publish: Publish::Written,
        ..Options::default()
    };
    let (mut log, _) = open(&SimDisk::new(1), options);
    log.append(&[batch(1, &["a"])], now(1)).unwrap();
    assert_eq!(dump(&log.reader()), "0=a");
    assert_eq!(log.marks().durable, Offset::ZERO);
}

#[test]
fn offsets_outside_the_log_are_refused() {
    let (mut log, _) = open(&SimDisk::new(1), small());
    fill(&mut log, &["a", "b"]);
    log.delete_before(offset(1)).unwrap();
    let reader = log.reader();
    for outside in [0, 3, 99] {
        let error = reader.read(offset(outside), 10, true, FAR).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    }
    assert!(reader.read(offset(2), 10, true, FAR).unwrap().is_empty());
}

#[test]
fn a_read_returns_whole_batches_from_the_one_that_holds_the_offset() {
    for tail in [0, 1 << 20] {
        let options = Options {
            tail_bytes: ByteSize::from_bytes(tail),
            ..Options::default()
        };
        let (mut log, _) = open(&SimDisk::new(1), options);
        log.append(&[batch(1, &["a", "b", "c"])], now(1)).unwrap();
        log.append(&[batch(1, &["d"]), batch(1, &["e"])], now(1))
            .unwrap();
        log.flush().unwrap();
        let reader = log.reader();
        let read = |from, bytes, one, until| {
            let bytes = reader
                .read(offset(from), bytes, one, offset(until))
                .unwrap();
            list(bytes)
                .iter()
                .map(|(_, value)| value.as_str())
                .collect::<String>()
        };
        assert_eq!(read(1, 1_000, true, 99), "abcde");
        assert_eq!(read(3, 1_000, true, 99), "de");
        assert_eq!(read(0, 1_000, true, 3), "abc");
        assert_eq!(read(0, 1, true, 99), "abc", "at least one");
        assert_eq!(read(0, 1, false, 99), "");
        assert_eq!(read(4, 69, false, 99), "e");
        assert_eq!(
            reader.read_memory(offset(0), 10, true, FAR).is_some(),
            tail > 0
        );
    }
}

#[test]
fn what_is_read_is_what_was_appended_byte_for_byte_except_offset_and_term() {
    let (mut log, _) = open(&SimDisk::new(1), small());
    let sent = batch(7, &["a", "b"]);
    log.append(&[batch(7, &["x"]), sent.clone()], now(1))
        .unwrap();
    log.flush().unwrap();
    let bytes = log.reader().read(offset(1), 1_000, true, FAR).unwrap();
    assert_eq!(bytes[16..], sent.as_bytes()[16..]);
    let got = Batches::new(bytes).next().unwrap().unwrap();
    assert_eq!(got.base_offset(), offset(1));
}

#[test]
fn a_log_that_stamps_puts_its_time_on_every_record() {
    let options = Options {
        stamp: StampKind::LogAppend,
        ..Options::default()
    };
    let (mut log, _) = open(&SimDisk::new(1), options);
    let outcome = log.append(&[batch(7, &["a", "b"])], now(1_234)).unwrap();
    assert_eq!(outcome.log_append_time, Some(now(1_234)));
    log.flush().unwrap();
    let bytes = log.reader().read(offset(0), 1_000, true, FAR).unwrap();
    let batch = Batches::new(bytes).next().unwrap().unwrap();
    let times: Vec<_> = batch
        .records()
        .unwrap()
        .iter()
        .map(|record| record.unwrap().timestamp)
        .collect();
    assert_eq!(times, [now(1_234); 2]);
    assert_eq!(
        log.reader()
            .find_time(now(1_000))
            .unwrap()
            .unwrap()
            .timestamp,
        now(1_234)
    );
}

#[test]
fn times_are_found_exactly_inside_batches_and_over_segments() {
    let (mut log, _) = open(&SimDisk::new(1), small());
    let big = "x".repeat(400);
    for time in [10, 30, 20, 40] {
        let mut builder = record::BatchBuilder::new(record::Compression::Zstd);
        for delta in 0..5 {
            builder.push(now(time + delta), None, Some(big.as_bytes()), &[]);
        }
        log.append(&[builder.build()], now(1)).unwrap();
        log.append(&[batch(0, &[&big, &big])], now(1)).unwrap();
    }
    log.flush().unwrap();
    assert!(log.reader().size_bytes() > 2_000);
    let reader = log.reader();
    let find = |time| {
        let found = reader.find_time(now(time)).unwrap();
        found.map(|found| (found.offset.get(), found.timestamp.millis()))
    };
    assert_eq!(find(-5), Some((0, 10)));
    assert_eq!(find(12), Some((2, 12)));
    assert_eq!(find(15), Some((7, 30)));
    assert_eq!(find(34), Some((11, 34)));
    assert_eq!(find(35), Some((21, 40)));
    assert_eq!(find(45), None);
    let max = reader.max_timestamp().unwrap().unwrap();
    assert_eq!((max.offset.get(), max.timestamp.millis()), (25, 44));
}

#[test]
fn the_largest_timestamp_counts_only_what_is_readable() {
    let (mut log, _) = open(&SimDisk::new(1), Options::default());
    assert_eq!(log.reader().max_timestamp().unwrap(), None);
    fill(&mut log, &["a"]);
    log.append(&[batch(99, &["b"])], now(1)).unwrap();
    let max = log.reader().max_timestamp().unwrap().unwrap();
    assert_eq!((max.offset, max.timestamp), (offset(0), now(5)));
}

#[test]
fn a_retried_batch_gets_its_original_offset() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let first = from_producer(7, 0, 0, &["a", "b"]);
    let second = from_producer(7, 0, 2, &["c"]);
    for (sent, base, duplicate) in [(&first, 0, false), (&second, 2, false), (&first, 0, true)] {
        let outcome = log.append(std::slice::from_ref(sent), now(1)).unwrap();
        assert_eq!(
            (outcome.base_offset, outcome.duplicate),
            (offset(base), duplicate)
        );
    }
    log.flush().unwrap();
    drop(log);
    disk.crash();
    let (mut log, _) = open(&disk, small());
    let outcome = log.append(&[second, first], now(1)).unwrap();
    assert!(outcome.duplicate);
    assert_eq!(
        (outcome.base_offset, outcome.last_offset),
        (offset(2), offset(2))
    );
    assert_eq!(log.marks().log_end, offset(3));
    let gap = log
        .append(&[from_producer(7, 0, 5, &["d"])], now(1))
        .unwrap_err();
    assert!(matches!(
        gap,
        Error::OutOfOrderSequence {
            expected: 3,
            found: 5,
            ..
        }
    ));
    log.append(&[from_producer(7, 1, 0, &["d"])], now(1))
        .unwrap();
    let fenced = log
        .append(&[from_producer(7, 0, 3, &["e"])], now(1))
        .unwrap_err();
    assert!(matches!(
        fenced,
        Error::ProducerFenced {
            found: 0,
            current: 1,
            ..
        }
    ));
}

#[test]
fn an_append_with_one_bad_batch_appends_none() {
    let (mut log, _) = open(&SimDisk::new(1), small());
    let refused = log.append(
        &[
            from_producer(7, 0, 0, &["a"]),
            from_producer(7, 0, 9, &["b"]),
        ],
        now(1),
    );
    assert!(refused.is_err());
    assert_eq!(log.marks().log_end, Offset::ZERO);
    let outcome = log
        .append(&[from_producer(7, 0, 0, &["a"])], now(1))
        .unwrap();
    assert!(!outcome.duplicate);
    let large = Options {
        batch_bytes: ByteSize::from_bytes(80),
        ..small()
    };
    log.set_options(large);
    let refused = log.append(&[batch(1, &[&"x".repeat(50)])], now(1));
    assert!(matches!(
        refused,
        Err(Error::BatchTooLarge { limit: 80, .. })
    ));
}

#[test]
fn retention_by_size_and_age_removes_whole_old_segments() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(400);
    for time in 0..8 {
        log.append(&[batch(time * 1_000, &[&value])], now(time * 1_000))
            .unwrap();
    }
    log.flush().unwrap();
    // Two batches of 470 bytes fit into a segment.
    let by_size = Retention {
        bytes: Some(ByteSize::from_bytes(2_500)),
        age: None,
    };
    let retained = log.retain(&by_size, now(8_000)).unwrap();
    assert_eq!((retained.segments, retained.log_start), (1, offset(2)));
    let by_age = Retention {
        bytes: None,
        age: Some(Duration::from_secs(3)),
    };
    let retained = log.retain(&by_age, now(8_000)).unwrap();
    assert_eq!((retained.segments, retained.log_start), (1, offset(4)));
    let logs: Vec<_> = names(&disk)
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
    assert_eq!(
        logs,
        ["00000000000000000004.log", "00000000000000000006.log"]
    );
    // All of it is old: the newest segment is closed and goes too.
    let retained = log.retain(&by_age, now(99_000)).unwrap();
    assert_eq!(retained.log_start, offset(8));
    assert_eq!(log.marks().log_end, offset(8));
    drop(log);
    disk.crash();
    let (log, _) = open(&disk, small());
    assert_eq!(
        (log.marks().log_start, log.marks().log_end),
        (offset(8), offset(8))
    );
}

#[test]
fn deleted_records_stay_deleted() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c"]);
    log.delete_before(offset(2)).unwrap();
    assert!(log.delete_before(offset(9)).is_err());
    assert_eq!(log.delete_before(offset(1)).unwrap().log_start, offset(2));
    drop(log);
    disk.crash();
    let (log, report) = open(&disk, small());
    assert_eq!(dump(&log.reader()), "2=c");
    assert_eq!(report.log_start, offset(2));
}

#[test]
fn a_log_on_the_real_disk_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("topic/0");
    let open = || Log::open(RealDisk::shared(), &dir, small(), now(1)).unwrap();
    let (mut log, _) = open();
    let value = "x".repeat(300);
    for _ in 0..9 {
        fill(&mut log, &[&value]);
    }
    log.close().unwrap();
    let (mut log, report) = open();
    assert_eq!(
        report.scanned_bytes, 0,
        "an orderly end leaves nothing to scan"
    );
    assert_eq!(report.log_end, offset(9));
    fill(&mut log, &["end"]);
    drop(log);
    let (log, report) = open();
    assert_eq!(report.log_end, offset(10));
    assert!(report.scanned_bytes < 1_000, "{report:?}");
    assert!(dump(&log.reader()).ends_with("9=end"));
    let verified = verify(&RealDisk::shared(), &dir, small(), now(1), |_| {}).unwrap();
    assert!(verified.is_good());
    let end = verified.opening.log_end;
    assert_eq!((verified.records(), end), (10, offset(10)));
}

#[test]
fn readers_keep_reading_while_the_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(RealDisk::shared(), dir.path(), small(), now(1)).unwrap();
    let reader = log.reader();
    let total = 300;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = reader.clone();
            scope.spawn(move || {
                let mut at = 0;
                while at < total {
                    for (offset, value) in list(reader.read(offset(at), 500, true, FAR).unwrap()) {
                        assert_eq!((offset, value), (at, format!("value {at}")));
                        at += 1;
                    }
                    std::thread::yield_now();
                }
            });
        }
        for number in 0..total {
            fill(&mut log, &[&format!("value {number}")]);
        }
    });
}
