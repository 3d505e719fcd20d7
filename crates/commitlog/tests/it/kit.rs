//! Short words for the tests: batches made of numbers, logs read back as lists.

use std::path::Path;

use bytes::Bytes;
use commitlog::{Error, Log, LogReader, Options, RecoveryReport};
use env::{DynDisk, SimDisk};
use model::{Offset, Timestamp};
use record::{BatchBuilder, Batches, CheckedBatch, Compression};
use stdx::ByteSize;

pub(crate) const DIR: &str = "/topic/0";

/// The seeds to run: `LANTERN_SIM_SEED` alone, or `LANTERN_SIM_SEEDS` many, or `default`.
pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("LANTERN_SIM_SEED") {
        return seed..seed + 1;
    }
    0..number("LANTERN_SIM_SEEDS").unwrap_or(default)
}

/// Prints the seed when the test that holds it panics.
pub(crate) struct Replay(pub(crate) u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with LANTERN_SIM_SEED={}", self.0);
        }
    }
}

pub(crate) fn now(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn offset(number: u64) -> Offset {
    Offset::new(number)
}

pub(crate) fn small() -> Options {
    Options {
        segment_bytes: ByteSize::from_bytes(1_000),
        checkpoint_bytes: ByteSize::from_bytes(2_000),
        tail_bytes: ByteSize::from_bytes(0),
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk, options: Options) -> (Log, RecoveryReport) {
    try_open(&disk.shared(), options).unwrap()
}

pub(crate) fn try_open(disk: &DynDisk, options: Options) -> Result<(Log, RecoveryReport), Error> {
    Log::open(DynDisk::clone(disk), Path::new(DIR), options, now(1_000))
}

/// One batch with these values, stamped with `time`.
pub(crate) fn batch(time: i64, values: &[&str]) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(now(time), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(crate) fn from_producer(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(now(5), None, Some(value.as_bytes()), &[]);
    }
    builder.producer(id, epoch, sequence).build()
}

/// Appends one batch per value and flushes.
pub(crate) fn fill(log: &mut Log, values: &[&str]) {
    for value in values {
        log.append(&[batch(5, &[value])], now(1_000)).unwrap();
    }
    log.flush().unwrap();
}

/// The records in batches, as offset and value.
pub(crate) fn list(bytes: Bytes) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for batch in Batches::new(bytes) {
        for record in &batch.unwrap().records().unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            found.push((record.offset.get(), value));
        }
    }
    found
}

/// Everything readable, in words: `offset=value`, and `offset..offset!` for damage.
pub(crate) fn dump(reader: &LogReader) -> String {
    let mut words = Vec::new();
    let marks = reader.marks();
    let mut at = marks.log_start;
    while at < marks.high_watermark {
        match reader.read(at, 300, true, Offset::new(u64::MAX >> 1)) {
            Ok(bytes) => {
                for (offset, value) in list(bytes) {
                    if offset >= at.get() {
                        words.push(format!("{offset}={value}"));
                        at = Offset::new(offset + 1);
                    }
                }
            }
            Err(Error::Corrupt { from, until, .. }) => {
                assert!(until > at, "damage ends somewhere");
                words.push(format!("{from}..{until}!"));
                at = until;
            }
            Err(error) => panic!("{error}"),
        }
    }
    words.join(" ")
}

/// Names in the log's directory.
pub(crate) fn names(disk: &SimDisk) -> Vec<String> {
    let entries = env::Disk::read_dir(disk, Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}
