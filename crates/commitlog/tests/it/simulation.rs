//! A log lives through appends, flushes, reads, removals, faults, kills and power cuts in any order,
//! beside a model that says what must be there.
//!
//! The oracle, after every step and every start:
//! - what a flush vouched for is present and unchanged, at its offset, unless it was removed;
//! - what is above that is something that was really sent for that offset, or nothing;
//! - no offset that a reader saw vanishes, and none is missing in between;
//! - a retried batch that survived is answered with its original offset;
//! - searches by time answer what looking at every record would.
//!
//! A seed decides everything; see `kit::seeds`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use commitlog::{CheckpointState, Error, IndexState, Log, Options, Retention, Unsettled, verify};
use env::{Entropy, Faults, SeededEntropy, SimDisk};
use model::{Offset, Timestamp};
use record::{BatchBuilder, Batches, CheckedBatch, Compression};
use stdx::ByteSize;

use crate::kit::{DIR, Replay, now, offset, seeds};

const FAR: Offset = Offset::new(u64::MAX >> 1);

/// What one record is recognised by.
type Value = (i64, String);

#[derive(Debug, Clone)]
struct SentBatch {
    sequence: i32,
    count: i32,
    base: u64,
    batch: CheckedBatch,
}

struct World {
    disk: SimDisk,
    random: SeededEntropy,
    options: Options,
    log: Option<Log>,
    clock: i64,
    counter: u64,
    /// Records in the log as of now, by offset.
    written: BTreeMap<u64, Value>,
    /// Everything ever sent for an offset that is not durable.
    attempts: BTreeMap<u64, BTreeSet<Value>>,
    durable: u64,
    start: u64,
    /// Where a removal that failed half-way may have put the start.
    start_max: u64,
    /// The first offset that no reader saw.
    seen: u64,
    /// Something failed in this life of the process.
    faulty: bool,
    /// Per producer, batches in the log.
    producers: BTreeMap<i64, Vec<SentBatch>>,
    /// Batches of appends that failed: the next start may find them.
    refused: Vec<(i64, SentBatch)>,
    /// How far a settling beside the writer went.
    settling: Settling,
    /// Settled: it survives, also where the log does not call it durable yet.
    settled: u64,
}

/// A settling, each step of it between any others.
#[derive(Default)]
enum Settling {
    #[default]
    Idle,
    Begun(Unsettled, u64),
    Synced(Unsettled, u64, io::Result<()>),
    /// Its checkpoint may be written yet.
    Noted(Unsettled),
}

impl World {
    fn new(seed: u64) -> Self {
        let random = SeededEntropy::new(seed);
        let below = |bound: u64| random.next_u64() % bound;
        let options = Options {
            segment_bytes: ByteSize::from_bytes(1_024 + below(6_000)),
            checkpoint_bytes: ByteSize::from_bytes(500 + below(8_000)),
            tail_bytes: ByteSize::from_bytes(below(3) * 1_500),
            preallocate_bytes: ByteSize::from_kib(below(3) * 4),
            page_cache_bytes: ByteSize::from_bytes(below(3) * 1_000),
            ..Options::default()
        };
        let mut world = Self {
            disk: SimDisk::new(seed),
            options,
            random,
            log: None,
            clock: 1_000_000,
            counter: 0,
            written: BTreeMap::new(),
            attempts: BTreeMap::new(),
            durable: 0,
            start: 0,
            start_max: 0,
            seen: 0,
            faulty: false,
            producers: BTreeMap::new(),
            refused: Vec::new(),
            settling: Settling::Idle,
            settled: 0,
        };
        world.open();
        world
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn end(&self) -> u64 {
        self.written
            .keys()
            .next_back()
            .map_or(self.durable, |last| last + 1)
    }

    fn step(&mut self) {
        self.clock += self.below(50) as i64;
        match self.below(100) {
            0..=39 => self.append(),
            40..=54 => self.flush(),
            55..=64 => self.settle(),
            65..=79 => self.read(),
            80..=83 => self.find(),
            84..=86 => self.retry(),
            87 => self.delete(),
            88..=89 => self.retain(),
            90..=92 => self.plan_fault(),
            93..=94 => self.fill_up(),
            95..=96 => self.restart(false),
            97..=98 => self.restart(true),
            _ => self.close(),
        }
    }

    fn make(&mut self) -> (BatchBuilder, Vec<Value>) {
        let compression = match self.below(8) {
            0 => Compression::Lz4,
            1 => Compression::Snappy,
            _ => Compression::None,
        };
        let mut builder = BatchBuilder::new(compression);
        let mut values = Vec::new();
        for _ in 0..=self.below(4) {
            self.counter += 1;
            let filling = if self.below(20) == 0 { 2_000 } else { 120 };
            let value = format!(
                "{}:{}",
                self.counter,
                "z".repeat(self.below(filling) as usize)
            );
            let time = self.clock - self.below(200) as i64;
            builder.push(now(time), None, Some(value.as_bytes()), &[]);
            values.push((time, value));
        }
        (builder, values)
    }

    fn append(&mut self) {
        let Some(mut log) = self.log.take() else {
            return self.restart(false);
        };
        let mut batches = Vec::new();
        let mut all = Vec::new();
        let mut sent = Vec::new();
        let mut next = self.end();
        for _ in 0..=self.below(3) {
            let (mut builder, values) = self.make();
            let producer = self.below(6) as i64;
            if producer < 3 {
                // Each of three producers sends one batch per append at most.
                if sent.iter().any(|(id, _)| *id == producer) {
                    continue;
                }
                let known = self.producers.entry(producer).or_default();
                let sequence = known.last().map_or(0, |last| last.sequence + last.count);
                let batch = builder.producer(producer, 0, sequence).build();
                sent.push((
                    producer,
                    SentBatch {
                        sequence,
                        count: values.len() as i32,
                        base: next,
                        batch: batch.clone(),
                    },
                ));
                batches.push(batch);
            } else {
                batches.push(builder.build());
            }
            next += values.len() as u64;
            all.extend(values);
        }
        if batches.is_empty() {
            self.log = Some(log);
            return;
        }
        let base = self.end();
        for (at, value) in (base..).zip(&all) {
            self.attempts.entry(at).or_default().insert(value.clone());
        }
        let done = log.append(&batches, now(self.clock));
        // Rolling flushes, also when the append fails after it.
        self.durable = self.durable.max(log.marks().durable.get());
        match done {
            Ok(outcome) => {
                assert_eq!(outcome.base_offset, offset(base));
                assert_eq!(outcome.last_offset, offset(next - 1));
                assert!(!outcome.duplicate);
                self.written.extend((base..).zip(all));
                for (producer, batch) in sent {
                    self.producers.entry(producer).or_default().push(batch);
                }
            }
            Err(Error::Full { .. } | Error::Storage { .. } | Error::Frozen { .. }) => {
                self.faulty = true;
                self.refused.extend(sent);
            }
            Err(error) => panic!("append: {error}"),
        }
        self.log = Some(log);
        self.check_marks();
    }

    fn flush(&mut self) {
        let Some(log) = &mut self.log else { return };
        match log.flush() {
            Ok(()) => self.durable = self.end(),
            Err(Error::Storage { .. } | Error::Frozen { .. }) => self.faulty = true,
            Err(error) => panic!("flush: {error}"),
        }
        self.check_marks();
    }

    /// The next step of a settling.
    fn settle(&mut self) {
        let end = self.end();
        let Some(log) = &mut self.log else { return };
        self.settling = match std::mem::take(&mut self.settling) {
            Settling::Idle => match log.unsettled() {
                Ok(Some(unsettled)) => Settling::Begun(unsettled, end),
                Ok(None) => Settling::Idle,
                Err(error) => panic_unless(self.faulty, &error),
            },
            Settling::Begun(unsettled, end) => {
                let synced = unsettled.sync();
                self.faulty |= synced.is_err();
                Settling::Synced(unsettled, end, synced)
            }
            Settling::Synced(unsettled, end, synced) => match log.settled(&unsettled, synced) {
                Ok(()) => {
                    self.settled = self.settled.max(end);
                    self.durable = self.durable.max(log.marks().durable.get());
                    Settling::Noted(unsettled)
                }
                Err(error) => panic_unless(self.faulty, &error),
            },
            Settling::Noted(unsettled) => {
                unsettled.keep_checkpoint();
                Settling::Idle
            }
        };
        self.check_marks();
    }

    fn check_marks(&mut self) {
        let Some(log) = &self.log else { return };
        let marks = log.marks();
        assert_eq!(marks.log_end.get(), self.end());
        assert_eq!(marks.durable.get(), self.durable);
        assert!(marks.log_start <= marks.durable && marks.durable <= marks.log_end);
    }

    /// Reads some batches and compares them with the model.
    fn read(&mut self) {
        let Some(log) = &self.log else { return };
        let reader = log.reader();
        let start = log.marks().log_start.get();
        let from = start + self.below(self.durable.saturating_sub(start) + 1);
        let bytes = 50 + self.below(4_000) as usize;
        match reader.read(offset(from), bytes, true, FAR) {
            Ok(bytes) => self.compare(bytes, from),
            Err(Error::Io { .. }) => assert!(self.faulty),
            Err(error) => panic!("read {from}: {error}"),
        }
    }

    fn compare(&mut self, bytes: bytes::Bytes, from: u64) {
        assert_eq!(bytes.is_empty(), from == self.durable, "from {from}");
        let mut expected = None;
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            assert!(
                expected.is_none_or(|next| next == batch.base_offset()),
                "a gap"
            );
            assert!(expected.is_some() || batch.last_offset() >= offset(from));
            expected = Some(batch.next_offset());
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                let at = record.offset.get();
                assert!(
                    at < self.durable,
                    "a reader saw offset {at} before its flush"
                );
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                // Records of the first batch may lie before the start.
                if let Some(wanted) = self.written.get(&at) {
                    assert_eq!(&(record.timestamp.millis(), value), wanted, "offset {at}");
                }
                self.seen = self.seen.max(at + 1);
            }
        }
    }

    fn find(&mut self) {
        let Some(log) = &self.log else { return };
        let start = log.marks().log_start.get();
        let time = self.clock - self.below(3_000) as i64;
        let readable = || self.written.range(start..self.durable);
        let wanted = readable()
            .find(|(_, value)| value.0 >= time)
            .map(|(at, value)| (*at, value.0));
        let max = readable().map(|(_, value)| value.0).max();
        let wanted_max = readable()
            .find(|(_, value)| Some(value.0) == max)
            .map(|(at, value)| (*at, value.0));
        let pair = |found: commitlog::Found| (found.offset.get(), found.timestamp.millis());
        let reader = log.reader();
        for (found, wanted) in [
            (reader.find_time(Timestamp::from_millis(time)), wanted),
            (reader.max_timestamp(), wanted_max),
        ] {
            match found {
                Ok(found) => assert_eq!(found.map(pair), wanted),
                Err(Error::Io { .. }) => assert!(self.faulty),
                Err(error) => panic!("find: {error}"),
            }
        }
    }

    /// Sends one of a producer's last five batches again.
    fn retry(&mut self) {
        let producer = self.below(3) as i64;
        let Some(log) = &mut self.log else { return };
        let Some(sent) = self.producers.get(&producer) else {
            return;
        };
        let recent = &sent[sent.len().saturating_sub(5)..];
        if recent.is_empty() {
            return;
        }
        let pick = (self.random.next_u64() % recent.len() as u64) as usize;
        let sent = &recent[pick];
        match log.append(std::slice::from_ref(&sent.batch), now(self.clock)) {
            Ok(outcome) => {
                assert!(outcome.duplicate, "a retry was written again");
                assert_eq!(outcome.base_offset, offset(sent.base));
            }
            Err(Error::Frozen { .. }) => assert!(self.faulty),
            Err(error) => panic!("retry: {error}"),
        }
    }

    fn delete(&mut self) {
        let until = self.start + self.below(self.durable.saturating_sub(self.start) / 2 + 1);
        let Some(log) = &mut self.log else { return };
        let done = log.delete_before(offset(until));
        self.after_removal(done, until);
    }

    fn retain(&mut self) {
        let policy = Retention {
            age: (self.below(2) == 0).then_some(Duration::from_secs(3)),
            bytes: Some(ByteSize::from_bytes(8_000 + self.below(8_000))),
        };
        let end = self.end();
        let Some(log) = &mut self.log else { return };
        let done = log.retain(&policy, now(self.clock));
        self.after_removal(done, end);
    }

    fn after_removal(&mut self, done: Result<commitlog::Retained, Error>, until: u64) {
        match done {
            Ok(retained) => self.start = retained.log_start.get(),
            Err(
                Error::Io { .. }
                | Error::Storage { .. }
                | Error::Frozen { .. }
                | Error::Full { .. },
            ) => {
                self.faulty = true;
                self.start_max = self.start_max.max(until);
            }
            Err(error) => panic!("removal: {error}"),
        }
        let Some(log) = &self.log else { return };
        let marks = log.marks();
        self.durable = self.durable.max(marks.durable.get());
        self.start = self.start.max(marks.log_start.get());
        self.start_max = self.start_max.max(self.start);
        self.check_marks();
    }

    fn plan_fault(&mut self) {
        let at = Some(self.below(6));
        let mut faults = self.disk.faults();
        match self.below(6) {
            0 => faults.read = at,
            1 => faults.write = at,
            2 => faults.sync = at,
            3 => faults.sync_dir = at,
            _ => faults.power = Some(self.below(25)),
        }
        self.disk.set_faults(faults);
        self.faulty = true;
    }

    /// The disk gets full, or has room again.
    fn fill_up(&mut self) {
        let capacity = (self.below(2) == 0).then(|| self.disk.used() + self.below(3_000));
        self.disk.set_capacity(capacity);
        self.faulty |= capacity.is_some();
    }

    fn close(&mut self) {
        let Some(log) = self.log.take() else { return };
        let closed = log.close();
        if let Settling::Noted(unsettled) = std::mem::take(&mut self.settling) {
            // Too late: what the closing wrote stays.
            let before = self.disk.content();
            unsettled.keep_checkpoint();
            assert_eq!(self.disk.content(), before);
        }
        match closed {
            Ok(()) => self.durable = self.end(),
            Err(Error::Storage { .. } | Error::Frozen { .. } | Error::Io { .. }) => {
                self.faulty = true;
            }
            Err(error) => panic!("close: {error}"),
        }
        self.restart(false);
    }

    fn restart(&mut self, crash: bool) {
        drop(self.log.take());
        self.settling = Settling::Idle;
        let intact = !crash && !self.faulty;
        let end = self.end();
        if crash {
            self.disk.crash();
        } else {
            self.disk.restart();
        }
        // A start may meet the next power cut.
        if self.below(8) == 0 {
            self.disk.set_faults(Faults {
                power: Some(self.below(20)),
                ..Faults::default()
            });
            if let Ok((log, _)) = self.try_open() {
                drop(log);
            }
            self.disk.crash();
        }
        self.disk.set_capacity(None);
        self.open();
        if intact {
            assert!(self.end() >= self.durable);
            assert_eq!(self.durable, self.durable.max(end.min(self.durable)));
        }
    }

    fn try_open(&self) -> Result<(Log, commitlog::RecoveryReport), Error> {
        Log::open(
            self.disk.shared(),
            std::path::Path::new(DIR),
            self.options.clone(),
            now(self.clock),
        )
    }

    /// What opening the log will do, which changes nothing, and finds no more than a start would.
    fn verify(&self) -> commitlog::RecoveryReport {
        let before = (self.disk.content(), self.disk.changes());
        let dir = std::path::Path::new(DIR);
        let options = self.options.clone();
        let found = verify(&self.disk.shared(), dir, options, now(self.clock), |_| {}).unwrap();
        assert_eq!((self.disk.content(), self.disk.changes()), before);
        for (segment, found) in &found.segments {
            assert!(found.is_good(), "nothing rotted: {found:?}");
            assert_ne!(found.index, IndexState::Wrong, "{segment:?}");
        }
        found.opening
    }

    /// Opens the log and compares all of it with the model.
    fn open(&mut self) {
        let foretold = self.verify();
        let (log, report) = self.try_open().expect("a good disk opens");
        assert_eq!(report, foretold, "verify said something else");
        assert!(report.damage.is_empty(), "nothing rotted: {report:?}");
        let marks = log.marks();
        assert_eq!(
            marks.durable, marks.log_end,
            "recovery flushes what it keeps"
        );
        let end = marks.log_end.get();
        let start = marks.log_start.get();
        assert!(
            end >= self.durable,
            "lost {end}..{} after its flush",
            self.durable
        );
        assert!(
            end >= self.settled,
            "lost {end}..{} after it was settled",
            self.settled
        );
        assert!(
            end >= self.seen,
            "offset {end} vanished after a reader saw it"
        );
        assert!(start >= self.start, "removed records are back");
        assert!(
            start <= self.start_max.max(self.start),
            "{start} was never asked for"
        );
        self.start = start;
        self.start_max = start;
        self.written.retain(|at, _| *at < end);
        let mut at = start;
        let reader = log.reader();
        while at < end {
            let bytes = reader.read(offset(at), 1 << 20, true, FAR).unwrap();
            assert!(!bytes.is_empty());
            for batch in Batches::new(bytes) {
                for record in &batch.unwrap().records().unwrap() {
                    let record = record.unwrap();
                    if record.offset.get() < at {
                        continue;
                    }
                    assert_eq!(record.offset.get(), at, "a gap");
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    let value = (record.timestamp.millis(), value);
                    if at < self.durable {
                        assert_eq!(Some(&value), self.written.get(&at), "offset {at}");
                    } else {
                        let attempts = self.attempts.get(&at);
                        assert!(
                            attempts.is_some_and(|attempts| attempts.contains(&value)),
                            "nobody sent {value:?} for offset {at}"
                        );
                        self.written.insert(at, value);
                    }
                    at += 1;
                }
            }
        }
        self.durable = end;
        self.attempts.clear();
        self.faulty = false;
        self.learn_producers(&log, report.checkpoint);
        self.log = Some(log);
    }

    /// What each producer would still remember: its batches that are in the log.
    fn learn_producers(&mut self, log: &Log, checkpoint: CheckpointState) {
        let start = log.marks().log_start.get();
        let (written, durable) = (&self.written, self.durable);
        for (producer, sent) in self.refused.drain(..) {
            self.producers.entry(producer).or_default().push(sent);
        }
        for sent in self.producers.values_mut() {
            sent.retain(|sent| {
                let remembered = checkpoint != CheckpointState::Doubtful || sent.base >= start;
                let records = sent.batch.records().unwrap();
                let first = records.iter().next().unwrap().unwrap();
                let same = written
                    .get(&sent.base)
                    .is_some_and(|value| value.1.as_bytes() == first.value.unwrap());
                let kept = sent.base < start || same;
                remembered && kept && sent.base < durable
            });
            sent.sort_by_key(|sent| sent.base);
        }
    }
}

fn run(seed: u64) -> World {
    let _replay = Replay(seed);
    let mut world = World::new(seed);
    for _ in 0..120 {
        world.step();
    }
    world.restart(true);
    world
}

#[test]
fn nothing_promised_is_lost_or_changed() {
    for seed in seeds(200) {
        run(seed);
    }
}

#[test]
fn a_seed_repeats_its_run_byte_for_byte() {
    for seed in 0..5 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.disk.content(), second.disk.content());
        assert_eq!(first.disk.changes(), second.disk.changes());
    }
}

fn panic_unless(faulty: bool, error: &Error) -> Settling {
    assert!(faulty, "settling: {error}");
    Settling::Idle
}
