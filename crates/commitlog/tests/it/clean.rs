//! Compaction against a plain map: whatever is appended, cleaned, broken, cut off and started again, a
//! reader finds for each key its last value, every record that is there is the one that was written at its
//! offset, and nothing is found that was aborted.
//!
//! A seed decides everything; see `kit::seeds`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use commitlog::{CleanOptions, CleanReport, Error, Log, LogReader, Options, Retention, clean};
use env::{Disk, Entropy, Faults, SeededEntropy, SimDisk};
use model::{Offset, Outcome, Producer, Timestamp};
use parking_lot::Mutex;
use record::{BatchBuilder, Batches, CheckedBatch, Compression, marker};
use stdx::ByteSize;

use crate::kit::{DIR, Replay, now, seeds};

const FAR: Offset = Offset::new(u64::MAX >> 1);

type Bytes = Option<Vec<u8>>;

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    key: Bytes,
    value: Bytes,
    time: i64,
    headers: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Nobody,
    Open(i64),
    Aborted,
}

struct World {
    disk: SimDisk,
    random: SeededEntropy,
    options: Options,
    log: Option<Mutex<Log>>,
    clock: i64,
    counter: u64,
    written: BTreeMap<u64, (Written, Of)>,
    /// Per producer, the next sequence and its last batch with its offset.
    producers: BTreeMap<i64, (i32, Option<(CheckedBatch, u64)>)>,
    start: u64,
    keys: u64,
    passes: u32,
    removed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = SeededEntropy::new(seed);
        let below = |bound: u64| random.next_u64() % bound;
        let mut world = Self {
            keys: 12 + below(2) * 40,
            disk: SimDisk::new(seed),
            options: Options {
                segment_bytes: ByteSize::from_bytes(600 + below(3_000)),
                checkpoint_bytes: ByteSize::from_bytes(500 + below(8_000)),
                tail_bytes: ByteSize::from_bytes(below(2) * 1_500),
                producer_expiry: Duration::from_secs(1_000_000),
                ..Options::default()
            },
            random,
            log: None,
            clock: 1_000_000,
            counter: 0,
            written: BTreeMap::new(),
            producers: BTreeMap::new(),
            start: 0,
            passes: 0,
            removed: 0,
        };
        world.open();
        world
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn open(&mut self) {
        let opened = Log::open(
            self.disk.shared(),
            Path::new(DIR),
            self.options.clone(),
            now(self.clock),
        );
        let (log, report) = opened.unwrap();
        assert_eq!(
            report.changed(),
            None,
            "nothing was torn, nothing is damaged"
        );
        // Who is in a transaction is said again by its coordinator.
        for of in self.written.values().map(|(_, of)| *of) {
            if let Of::Open(id) = of {
                log.enlisted().add(Producer::new(id, 0));
            }
        }
        self.log = Some(Mutex::new(log));
    }

    fn log(&self) -> &Mutex<Log> {
        self.log.as_ref().unwrap()
    }

    fn step(&mut self) {
        self.clock += self.below(50) as i64;
        match self.below(100) {
            0..=54 => self.append(),
            55..=59 => self.end_transaction(),
            60..=77 => self.clean(),
            78..=83 => self.clean_with_faults(),
            84..=86 => self.retry(),
            87..=88 => self.delete(),
            89 => self.retain(),
            90..=93 => self.restart(false),
            94..=97 => self.restart(true),
            98 => self.lose_caches(),
            _ => self.close(),
        }
        self.check();
    }

    fn make(&mut self) -> (BatchBuilder, Vec<Written>) {
        let compression = match self.below(8) {
            0 => Compression::Lz4,
            1 => Compression::Snappy,
            2 => Compression::Gzip,
            3 => Compression::Zstd,
            _ => Compression::None,
        };
        let mut builder = BatchBuilder::new(compression);
        let mut records = Vec::new();
        for _ in 0..=self.below(5) {
            self.counter += 1;
            let key = match self.below(40) {
                0 => None,
                _ => Some(format!("key {}", self.below(self.keys)).into_bytes()),
            };
            let value = match self.below(5) {
                0 if key.is_some() => None,
                _ => {
                    let filling = "z".repeat(self.below(90) as usize);
                    Some(format!("{}:{filling}", self.counter).into_bytes())
                }
            };
            let time = self.clock - self.below(200) as i64;
            let headers: Vec<(String, Bytes)> = (0..self.below(3))
                .map(|number| ("h".to_owned(), (number > 0).then(|| vec![7])))
                .collect();
            let borrowed: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            builder.push(now(time), key.as_deref(), value.as_deref(), &borrowed);
            records.push(Written {
                key,
                value,
                time,
                headers,
            });
        }
        (builder, records)
    }

    fn append(&mut self) {
        let (mut builder, records) = self.make();
        // 0 is nobody, 1 and 2 are idempotent, 3 and 4 write in transactions.
        let id = self.below(5) as i64;
        let mut of = Of::Nobody;
        if id > 0 {
            let next = self.producers.entry(id).or_insert((0, None)).0;
            builder.producer(id, 0, next);
        }
        if id > 2 {
            builder.transactional();
            self.log().lock().enlisted().add(Producer::new(id, 0));
            of = Of::Open(id);
        }
        let batch = builder.build();
        let mut log = self.log().lock();
        let outcome = log.append(std::slice::from_ref(&batch), now(self.clock));
        let base = outcome.unwrap().base_offset.get();
        log.flush().unwrap();
        drop(log);
        let count = records.len() as i32;
        for (offset, record) in (base..).zip(records) {
            self.written.insert(offset, (record, of));
        }
        if let Some((next, last)) = self.producers.get_mut(&id) {
            *next += count;
            *last = Some((batch, base));
        }
    }

    fn end_transaction(&mut self) {
        let id = 3 + self.below(2) as i64;
        let abort = self.below(2) == 0;
        let outcome = if abort {
            Outcome::Abort
        } else {
            Outcome::Commit
        };
        let mut log = self.log().lock();
        // Its time is found by searches, too; out of the way of the records' here.
        let batch = marker(Producer::new(id, 0), outcome, 0, now(1));
        log.append(&[batch], now(self.clock)).unwrap();
        log.flush().unwrap();
        let end = log.marks().log_end;
        log.settle_transactions(end);
        drop(log);
        for (_, of) in self.written.values_mut() {
            if *of == Of::Open(id) {
                *of = if abort { Of::Aborted } else { Of::Nobody };
            }
        }
    }

    fn clean_options(&self) -> CleanOptions {
        CleanOptions {
            min_lag: Duration::from_millis(self.below(3) * self.below(300)),
            max_lag: None,
            delete_retention: Duration::from_millis(self.below(3) * self.below(500)),
            // From room for all keys down to a few.
            map_bytes: ByteSize::from_bytes(self.below(2) * 10_000),
        }
    }

    fn try_clean(&mut self, check: bool) -> Result<CleanReport, Error> {
        let options = self.clean_options();
        let log = self.log();
        let reader = log.lock().reader();
        let mut pace = |_| {
            if check {
                // In the midst of it as before and after.
                self.check_reader(&reader);
            }
            true
        };
        let report = clean(log, &options, now(self.clock), &mut pace)?;
        self.passes = self.passes.max(report.passes);
        self.removed += report.removed_records;
        Ok(report)
    }

    fn clean(&mut self) {
        let report = self.try_clean(true).unwrap();
        assert!(!report.stopped);
        // Before the end of what was cleaned no key comes twice, and nothing is left that was aborted.
        let mut keys = BTreeSet::new();
        for (offset, record, _) in read_all(&self.log().lock().reader()) {
            if offset >= report.until.get() || offset < self.start {
                continue;
            }
            let (_, of) = &self.written[&offset];
            assert_ne!(*of, Of::Aborted, "offset {offset}");
            if let Some(key) = record.key {
                assert!(keys.insert(key), "the key at offset {offset} came before");
            }
        }
    }

    /// Something fails, the disk is full, or the power goes in the midst of it.
    fn clean_with_faults(&mut self) {
        let at = self.below(30);
        let mut faults = Faults::default();
        match self.below(6) {
            0 => faults.read = Some(at),
            1 => faults.write = Some(at / 3),
            2 => faults.sync = Some(at / 3),
            3 => faults.sync_dir = Some(at / 3),
            4 => faults.power = Some(at),
            _ => self
                .disk
                .set_capacity(Some(self.disk.used() + self.below(3_000))),
        }
        self.disk.set_faults(faults);
        let cleaned = self.try_clean(false);
        if let Err(error) = &cleaned {
            assert!(
                !matches!(error, Error::Corrupt { .. } | Error::Batch { .. }),
                "{error}"
            );
        }
        self.disk.set_faults(Faults::default());
        self.disk.set_capacity(None);
        let frozen = self.log().lock().frozen().is_some();
        if faults.power.is_some() || frozen || self.below(2) == 0 {
            self.restart(true);
        }
    }

    fn retry(&mut self) {
        let id = 1 + self.below(2) as i64;
        let Some((_, Some((batch, base)))) = self.producers.get(&id) else {
            return;
        };
        let outcome = self
            .log()
            .lock()
            .append(std::slice::from_ref(batch), now(self.clock));
        let outcome = outcome.unwrap();
        assert!(outcome.duplicate);
        assert_eq!(outcome.base_offset.get(), *base);
    }

    fn delete(&mut self) {
        let mut log = self.log().lock();
        let marks = log.marks();
        let span = marks.log_end.since(marks.log_start);
        let at = marks.log_start.plus(self.below(span / 4 + 1));
        let kept = log.delete_before(at).unwrap();
        drop(log);
        self.start = kept.log_start.get();
    }

    fn retain(&mut self) {
        let policy = Retention {
            age: None,
            bytes: Some(ByteSize::from_bytes(6_000 + self.below(9_000))),
        };
        let kept = self.log().lock().retain(&policy, now(self.clock));
        self.start = kept.unwrap().log_start.get();
    }

    fn restart(&mut self, power_cut: bool) {
        self.log = None;
        if power_cut {
            self.disk.crash();
        } else {
            self.disk.restart();
        }
        self.open();
    }

    /// What is only a cache goes.
    fn lose_caches(&mut self) {
        // Without its checkpoint a log comes back from the start of its oldest segment on, with what was
        // deleted there.
        if self.start > 0 {
            return;
        }
        self.log = None;
        self.disk.restart();
        let names = self.disk.read_dir(Path::new(DIR)).unwrap();
        for name in names.into_iter().map(|entry| entry.name) {
            let cache = ["checkpoint", "cleaned"].contains(&name.as_str());
            if cache || name.ends_with(".index") {
                self.disk.remove_file(&Path::new(DIR).join(name)).unwrap();
            }
        }
        self.open();
    }

    fn close(&mut self) {
        let log = self.log.take().unwrap().into_inner();
        log.close().unwrap();
        self.open();
    }

    fn check(&self) {
        let reader = self.log().lock().reader();
        self.check_reader(&reader);
    }

    fn check_reader(&self, reader: &LogReader) {
        let mut found: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut keyless = 0;
        let mut last = None;
        let mut newest = None::<(i64, u64)>;
        for (offset, record, aborted) in read_all(reader) {
            assert!(last < Some(offset), "in order");
            last = Some(offset);
            let (written, of) = &self.written[&offset];
            assert_eq!(&record, written, "offset {offset}");
            if offset < self.start {
                continue;
            }
            assert_eq!(aborted, *of == Of::Aborted, "offset {offset}");
            if newest.is_none_or(|(time, _)| record.time > time) {
                newest = Some((record.time, offset));
            }
            if aborted {
                continue;
            }
            match (record.key, record.value) {
                (None, _) => keyless += 1,
                (Some(key), Some(value)) => drop(found.insert(key, value)),
                (Some(key), None) => drop(found.remove(&key)),
            }
        }
        let mut expected = BTreeMap::new();
        let mut expected_keyless = 0;
        for (written, of) in self.written.range(self.start..).map(|(_, written)| written) {
            match (&written.key, &written.value, of) {
                (_, _, Of::Aborted) => {}
                (None, _, _) => expected_keyless += 1,
                (Some(key), Some(value), _) => drop(expected.insert(key.clone(), value.clone())),
                (Some(key), None, _) => drop(expected.remove(key)),
            }
        }
        // Where the log was cut off, what is before may have had the last value of a key.
        let words = |map: BTreeMap<Vec<u8>, Vec<u8>>| {
            let text = |bytes| String::from_utf8(bytes).unwrap().replace('z', "");
            let words = map.into_iter().map(|(key, value)| (text(key), text(value)));
            words.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(words(found), words(expected));
        assert_eq!(keyless, expected_keyless);
        self.check_times(reader, newest);
    }

    /// Searches answer what looking at every record does.
    fn check_times(&self, reader: &LogReader, newest: Option<(i64, u64)>) {
        let found = reader.max_timestamp().unwrap();
        let found = found.filter(|found| found.timestamp > now(1));
        assert_eq!(newest.map(|(time, offset)| (now(time), offset)), of(found));
        let time = now(self.clock - self.below(400) as i64);
        let all = read_all(reader);
        let first = all
            .iter()
            .filter(|(offset, record, _)| *offset >= self.start && now(record.time) >= time)
            .map(|(offset, record, _)| (now(record.time), *offset))
            .next();
        assert_eq!(first, of(reader.find_time(time).unwrap()));
    }
}

fn of(found: Option<commitlog::Found>) -> Option<(Timestamp, u64)> {
    found.map(|found| (found.timestamp, found.offset.get()))
}

/// Every record for applications, with whether a reader of what is committed leaves it out; every
/// offset is covered by exactly one batch.
fn read_all(reader: &LogReader) -> Vec<(u64, Written, bool)> {
    let marks = reader.marks();
    let (mut at, mut all) = (marks.log_start, Vec::new());
    let mut expected = None;
    // As a client does it: ranges open at their first offset and end with their marker.
    let mut open = BTreeSet::new();
    while at < marks.high_watermark {
        let bytes = reader.read(at, 700, true, FAR).unwrap();
        let aborted = reader.aborted(at, FAR).unwrap();
        assert!(!bytes.is_empty(), "nothing at {at}");
        for batch in Batches::new(bytes).map(Result::unwrap) {
            assert!(expected.is_none_or(|expected| expected == batch.base_offset()));
            expected = Some(batch.next_offset());
            at = batch.next_offset();
            for range in &aborted {
                if range.first <= batch.last_offset() && range.last >= batch.base_offset() {
                    open.insert(range.producer_id);
                }
            }
            if batch.is_control() {
                open.remove(&batch.producer_id());
                continue;
            }
            let left_out = batch.is_transactional() && open.contains(&batch.producer_id());
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let headers = record.headers.iter();
                let written = Written {
                    key: owned(record.key),
                    value: owned(record.value),
                    time: record.timestamp.millis(),
                    headers: headers.map(|(n, v)| (n.to_owned(), owned(v))).collect(),
                };
                if record.offset >= marks.log_start {
                    all.push((record.offset.get(), written, left_out));
                }
            }
        }
    }
    all
}

#[test]
fn a_cleaned_log_is_a_map_of_last_values() {
    let (mut passes, mut removed) = (0, 0);
    for seed in seeds(6) {
        let _replay = Replay(seed);
        let mut world = World::new(seed);
        for _ in 0..100 {
            world.step();
        }
        passes = passes.max(world.passes);
        removed += world.removed;
    }
    assert!(passes > 1 && removed > 0, "it was about something");
}
