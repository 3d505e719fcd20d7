//! Compaction, case by case: what is on the disk after it, what is left alone, and every moment at which the
//! power may go.

use std::path::Path;
use std::time::Duration;

use commitlog::{CleanOptions, Error, IndexState, Log, Options, clean, verify};
use env::{Disk, Faults, SimDisk, Survival};
use model::{Offset, Outcome, Producer};
use parking_lot::Mutex;
use record::{BatchBuilder, Batches, CheckedBatch, Compression, marker};
use stdx::ByteSize;

use crate::kit::{DIR, names, now, open, small};

const FAR: Offset = Offset::new(u64::MAX >> 1);

/// A batch of `KEY=VALUE` words; `KEY` alone is a tombstone.
fn words(text: &str) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    for word in text.split(' ') {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.as_bytes())),
            None => (word, None),
        };
        builder.push(now(1_000), Some(key.as_bytes()), value, &[]);
    }
    builder
}

fn append(log: &mut Log, batch: CheckedBatch) {
    log.append(&[batch], now(1_000)).unwrap();
    log.flush().unwrap();
}

/// A log with a segment for each of `batches`, and an empty newest one at the end.
fn segments(disk: &SimDisk, batches: &[&str]) -> Mutex<Log> {
    let (mut log, _) = open(disk, one_batch_a_segment());
    for batch in batches {
        append(&mut log, words(batch).build());
    }
    close_newest(&mut log);
    Mutex::new(log)
}

fn one_batch_a_segment() -> Options {
    Options {
        segment_bytes: ByteSize::from_bytes(1),
        ..small()
    }
}

/// What was appended is in closed segments.
fn close_newest(log: &mut Log) {
    append(log, words("newest=1").build());
}

fn run(log: &Mutex<Log>, at: i64) -> Result<commitlog::CleanReport, Error> {
    let options = CleanOptions {
        delete_retention: Duration::from_millis(500),
        ..CleanOptions::default()
    };
    clean(log, &options, now(at), &mut |_| true)
}

/// Room for everything in one segment.
fn join(log: &Mutex<Log>) {
    log.lock().set_options(small());
}

/// Each batch: offsets, records and what is special about it.
fn dump(log: &Mutex<Log>) -> Vec<String> {
    let reader = log.lock().reader();
    let marks = reader.marks();
    let (mut at, mut lines) = (marks.log_start, Vec::new());
    while at < marks.high_watermark {
        let bytes = reader.read(at, 1 << 20, true, FAR).unwrap();
        for batch in Batches::new(bytes).map(Result::unwrap) {
            let mut line = vec![format!("{}..{}", batch.base_offset(), batch.next_offset())];
            if batch.producer_id() >= 0 {
                line.push(format!("of {}", batch.producer_id()));
            }
            if batch.is_control() {
                line.push("marker".to_owned());
            }
            if let Some(horizon) = batch.delete_horizon() {
                line.push(format!("until {}", horizon.millis()));
            }
            for record in batch
                .records()
                .unwrap()
                .iter()
                .filter(|_| !batch.is_control())
            {
                let record = record.unwrap();
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let value = record.value.map_or("-".to_owned(), text);
                line.push(format!(
                    "{}:{}={value}",
                    record.offset,
                    text(record.key.unwrap())
                ));
            }
            at = batch.next_offset();
            lines.push(line.join(" "));
        }
    }
    lines
}

#[test]
fn what_is_on_the_disk() {
    let disk = SimDisk::new(1);
    let log = segments(&disk, &["a=1 b=1", "a=2 c=1", "a=3", "b d=1"]);
    let report = run(&log, 10_000).unwrap();
    assert_eq!((report.passes, report.removed_records), (1, 3));
    assert_eq!(report.until, Offset::new(7));
    assert_eq!(
        dump(&log),
        [
            "0..2",
            "2..4 3:c=1",
            "4..5 4:a=3",
            "5..7 until 10500 5:b=- 6:d=1",
            "7..8 7:newest=1"
        ]
    );
    let logs = |disk: &SimDisk| {
        let mut names = names(disk);
        names.retain(|name| name.ends_with(".log"));
        names
    };
    assert_eq!(
        logs(&disk),
        [
            "00000000000000000000-00000000000000000002-0000000001.log",
            "00000000000000000002-00000000000000000004-0000000002.log",
            // Nothing in it changed.
            "00000000000000000004.log",
            "00000000000000000005-00000000000000000007-0000000004.log",
            "00000000000000000007.log",
        ]
    );
    // Joined, and the tombstone gone in its time.
    join(&log);
    run(&log, 10_499).unwrap();
    assert_eq!(dump(&log)[3], "5..7 until 10500 5:b=- 6:d=1");
    assert_eq!(logs(&disk).len(), 2);
    assert!(
        log.lock()
            .dirtiness(&CleanOptions::default(), now(10_500))
            .overdue
    );
    run(&log, 10_500).unwrap();
    assert!(
        !log.lock()
            .dirtiness(&CleanOptions::default(), now(99_999))
            .overdue
    );
    assert_eq!(
        dump(&log),
        [
            "0..2",
            "2..4 3:c=1",
            "4..5 4:a=3",
            "5..7 until 10500 6:d=1",
            "7..8 7:newest=1"
        ]
    );
}

/// The files of a cleaned log, in hexadecimal digits.
const GOLDEN: [(&str, &str); 3] = [
    (
        "00000000000000000000-00000000000000000001-0000000001.log",
        "00000000000000000000003100000000023830a8fa000000000000ffffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffff00000000",
    ),
    (
        "00000000000000000001-00000000000000000003-0000000002.log",
        "00000000000000010000004c0000000002d6de98ec0040000000010000018bcfe569f40000000000\
         0003e8ffffffffffffffffffffffffffff000000021a009798abfef96200026102320018009798abfef9620202620100",
    ),
    (
        "cleaned",
        "4c4e434d010000000300000000000000f469e5cf8b0100007a9176d0",
    ),
];

#[test]
fn bytes_of_a_cleaned_log_stay_what_they_are() {
    let disk = SimDisk::new(1);
    let log = segments(&disk, &["a=1", "a=2 b"]);
    run(&log, 1_700_000_000_000).unwrap();
    for (name, digits) in GOLDEN {
        let path = Path::new(DIR).join(name);
        let content = env::read_all(&disk, &path, 1 << 20).unwrap().unwrap();
        let found: Vec<_> = content.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found.join(""), digits, "{name}");
    }
}

#[test]
fn a_cleaned_log_of_an_earlier_version_opens() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    for (name, digits) in GOLDEN {
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let content: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        env::write_atomic(&disk, &Path::new(DIR).join(name), &content).unwrap();
    }
    let (log, report) = open(&disk, small());
    assert_eq!(report.changed(), None);
    let log = Mutex::new(log);
    let expected = ["0..1", "1..3 until 1700000000500 1:a=2 2:b=-"];
    assert_eq!(dump(&log), expected);
    // It goes on in a segment of its own.
    append(&mut log.lock(), words("a=3").build());
    assert_eq!(dump(&log)[2..], ["3..4 3:a=3"]);
    assert!(names(&disk).contains(&"00000000000000000003.log".to_owned()));
}

#[test]
fn a_damaged_log_stays_as_it_is() {
    for place in [30, 69] {
        let disk = SimDisk::new(1);
        let log = segments(&disk, &["a=1", "a=2", "a=3"]);
        let path = Path::new(DIR).join("00000000000000000001.log");
        disk.flip_bit(&path, place * 8).unwrap();
        let before = disk.content();
        let error = run(&log, 10_000).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert_eq!(disk.content(), before);
    }
}

#[test]
fn what_is_young_unstable_or_newest_is_left_alone() {
    let disk = SimDisk::new(1);
    let log = segments(&disk, &["a=1", "a=2", "a=3"]);
    let young = CleanOptions {
        min_lag: Duration::from_millis(500),
        ..CleanOptions::default()
    };
    let before = dump(&log);
    let report = clean(&log, &young, now(1_499), &mut |_| true).unwrap();
    assert_eq!((report.removed_records, dump(&log)), (0, before));
    let producer = Producer::new(7, 0);
    let mut held = log.lock();
    held.enlisted().add(producer);
    let mut batch = words("a=4");
    append(&mut held, batch.producer(7, 0, 0).transactional().build());
    append(&mut held, words("a=5").build());
    close_newest(&mut held);
    drop(held);
    run(&log, 10_000).unwrap();
    let stable = ["0..3", "3..4 3:newest=1", "4..5 of 7 4:a=4", "5..6 5:a=5"];
    let found = dump(&log);
    assert_eq!(found[found.len() - 3..found.len() - 1], stable[2..]);
    assert!(!found.iter().any(|line| line.contains("a=1")));
    assert!(
        found.iter().any(|line| line.contains("a=3")),
        "a=4 may be aborted"
    );
    // It is, and outdates nothing then; its producer is known by its empty batch.
    let mut held = log.lock();
    append(&mut held, marker(producer, Outcome::Abort, 0, now(1_000)));
    held.settle_transactions(FAR);
    close_newest(&mut held);
    drop(held);
    run(&log, 10_000).unwrap();
    let found = dump(&log);
    assert!(found.contains(&"4..5 of 7".to_owned()), "{found:?}");
    assert!(
        found.contains(&"7..8 of 7 marker until 10500".to_owned()),
        "{found:?}"
    );
    assert!(found.contains(&"5..6 5:a=5".to_owned()), "{found:?}");
}

#[test]
fn a_producer_goes_on_where_it_was_though_nothing_of_it_stayed() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, one_batch_a_segment());
    for number in 0..4 {
        append(
            &mut log,
            words("a=1 b=1").producer(9, 1, number * 2).build(),
        );
    }
    let last = words("a=1 b=1").producer(9, 1, 6).build();
    append(&mut log, words("a=2 b=2").build());
    close_newest(&mut log);
    let log = Mutex::new(log);
    run(&log, 10_000).unwrap();
    assert_eq!(dump(&log)[..4], ["0..2", "2..4", "4..6", "6..8 of 9"]);
    drop(log);
    // The checkpoint remembers it; without that the log alone does.
    disk.remove_file(&Path::new(DIR).join("checkpoint"))
        .unwrap();
    let (mut log, _) = open(&disk, small());
    let again = log.append(&[last], now(1_000)).unwrap();
    assert!(again.duplicate);
    assert_eq!(again.base_offset, Offset::new(6));
    let next = words("c=1").producer(9, 1, 8).build();
    assert!(!log.append(&[next], now(1_000)).unwrap().duplicate);
    let gap = words("c=1").producer(9, 1, 10).build();
    let refused = log.append(&[gap], now(1_000)).unwrap_err();
    assert!(matches!(
        refused,
        Error::OutOfOrderSequence { expected: 9, .. }
    ));
}

/// Two passes over a log with something of everything; stops where the disk does.
fn story(disk: &SimDisk) -> Mutex<Log> {
    let log = segments(disk, &["a=1 b=1", "a=2 c=1", "b", "a=3 d=1", "d"]);
    let mut held = log.lock();
    held.enlisted().add(Producer::new(7, 0));
    let mut batch = words("a=9 c=9");
    append(&mut held, batch.producer(7, 0, 0).transactional().build());
    append(
        &mut held,
        marker(Producer::new(7, 0), Outcome::Abort, 0, now(1)),
    );
    held.settle_transactions(FAR);
    let mut batch = words("e=1");
    batch.producer(7, 0, 2);
    append(&mut held, batch.build());
    close_newest(&mut held);
    drop(held);
    log
}

fn clean_twice(log: &Mutex<Log>) -> Result<(), Error> {
    run(log, 10_000)?;
    join(log);
    run(log, 20_000)?;
    Ok(())
}

#[test]
fn at_whatever_moment_the_power_goes_a_reader_finds_the_last_values() {
    let undisturbed = SimDisk::new(3);
    let log = story(&undisturbed);
    let begun = undisturbed.changes();
    clean_twice(&log).unwrap();
    let changes = undisturbed.changes() - begun;
    assert!(changes > 20, "there is something to be disturbed");
    let goal = values(&log);
    for at in 0..changes {
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Prefix,
            Survival::Scattered,
        ] {
            let disk = SimDisk::new(3 + at);
            let log = story(&disk);
            disk.set_faults(Faults {
                power: Some(at),
                ..Faults::default()
            });
            // Caches that could not be written are no failure.
            drop(clean_twice(&log));
            drop(log);
            disk.crash_with(survival);
            let before = disk.content();
            let dry = verify(&disk.shared(), Path::new(DIR), small(), now(1_000), |_| {}).unwrap();
            assert!(dry.is_good(), "{at} {survival:?}");
            assert!(
                dry.segments
                    .iter()
                    .all(|(_, found)| found.index != IndexState::Wrong)
            );
            assert_eq!(disk.content(), before);
            let (log, report) = open(&disk, small());
            assert_eq!(report.changed(), None, "{at} {survival:?}");
            let log = Mutex::new(log);
            assert_eq!(values(&log), goal, "{at} {survival:?}");
            assert!(!names(&disk).iter().any(|name| name.ends_with(".log.tmp")));
            // And goes on from there.
            run(&log, 20_000).unwrap();
            run(&log, 30_000).unwrap();
            assert_eq!(values(&log), goal, "{at} {survival:?}");
        }
    }
}

/// The last value of each key, for readers of what is committed.
fn values(log: &Mutex<Log>) -> Vec<(String, Vec<u8>)> {
    let reader = log.lock().reader();
    let aborted = reader.aborted(Offset::ZERO, FAR).unwrap();
    let mut values = std::collections::BTreeMap::new();
    let mut at = Offset::ZERO;
    while at < reader.marks().high_watermark {
        let bytes = reader.read(at, 1 << 20, true, FAR).unwrap();
        for batch in Batches::new(bytes).map(Result::unwrap) {
            at = batch.next_offset();
            let left_out = aborted.iter().any(|range| {
                range.producer_id == batch.producer_id()
                    && (range.first..range.last).contains(&batch.base_offset())
            });
            if batch.is_control() || (batch.is_transactional() && left_out) {
                continue;
            }
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                let key = String::from_utf8_lossy(record.key.unwrap()).into_owned();
                match record.value {
                    Some(value) => drop(values.insert(key, value.to_vec())),
                    None => drop(values.remove(&key)),
                }
            }
        }
    }
    values.into_iter().collect()
}

#[test]
fn the_writer_goes_on_and_retention_may_come_first() {
    let disk = SimDisk::new(1);
    let log = segments(&disk, &["a=1", "a=2", "a=3", "a=4"]);
    join(&log);
    let mut calls = 0;
    let mut pace = |_: u64| {
        calls += 1;
        if calls == 1 {
            let mut held = log.lock();
            append(&mut held, words("b=1").build());
        }
        true
    };
    let options = CleanOptions::default();
    let report = clean(&log, &options, now(10_000), &mut pace).unwrap();
    assert!(!report.stopped && calls > 0);
    assert_eq!(
        dump(&log),
        ["0..3", "3..4 3:a=4", "4..5 4:newest=1", "5..6 5:b=1"]
    );
    // Told to stop, it leaves nothing half done.
    let log = segments(&SimDisk::new(2), &["a=1", "a=2"]);
    let report = clean(&log, &options, now(10_000), &mut |_| false).unwrap();
    assert!(report.stopped);
}

#[test]
fn a_full_disk_leaves_the_old_segments_and_the_next_try_succeeds() {
    let disk = SimDisk::new(1);
    let log = segments(&disk, &["a=1 b=1", "a=2", "c=1 b=2"]);
    join(&log);
    let before = dump(&log);
    disk.set_capacity(Some(disk.used() + 10));
    let error = run(&log, 10_000).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(dump(&log), before);
    assert!(!names(&disk).iter().any(|name| name.contains('-')));
    disk.set_capacity(None);
    for fault in [
        Faults {
            sync: Some(0),
            ..Faults::default()
        },
        Faults {
            sync_dir: Some(0),
            ..Faults::default()
        },
    ] {
        disk.set_faults(fault);
        let error = run(&log, 10_000).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(dump(&log), before);
        assert!(!names(&disk).iter().any(|name| name.contains('-')));
    }
    run(&log, 10_000).unwrap();
    assert_eq!(dump(&log).len(), 4);
}
