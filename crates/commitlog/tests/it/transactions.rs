//! Transactions in a log: what is open and what was aborted is the same after any end, with and
//! without what the checkpoint remembers.

use std::path::Path;

use commitlog::{AbortedRange, Error, Log, Options};
use env::{Disk, SimDisk, Survival};
use model::{Offset, Outcome, Producer};
use proptest::prelude::*;
use record::{BatchBuilder, CheckedBatch, Compression, marker};
use stdx::ByteSize;

use crate::kit::{DIR, batch, now, offset, open, small};

fn data(producer: Producer, sequence: i32) -> CheckedBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(now(5), None, Some(b"in a transaction"), &[]);
    builder.producer(producer.id, producer.epoch, sequence);
    builder.transactional().build()
}

fn end(producer: Producer, outcome: Outcome) -> CheckedBatch {
    marker(producer, outcome, 0, now(5))
}

fn append(log: &mut Log, batch: CheckedBatch) -> Result<Offset, Error> {
    log.append(&[batch], now(5))
        .map(|outcome| outcome.base_offset)
}

/// What a log knows of transactions.
fn knows(log: &Log) -> (Vec<(i64, u64)>, Vec<AbortedRange>, Option<Offset>) {
    let open = log.open_transactions();
    let open = open.iter().map(|open| (open.producer.id, open.first.get()));
    let end = log.marks().log_end;
    let aborted = log.reader().aborted(log.marks().log_start, end).unwrap();
    (open.collect(), aborted, log.unstable())
}

#[test]
fn a_zombie_is_fenced_by_the_marker_and_a_retry_finds_its_first() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let (old, new) = (Producer::new(7, 0), Producer::new(7, 1));
    log.enlisted().add(old);
    assert_eq!(append(&mut log, data(old, 0)).unwrap(), offset(0));
    // The coordinator fences by a marker of the next epoch.
    append(&mut log, end(new, Outcome::Abort)).unwrap();
    assert!(matches!(
        append(&mut log, data(old, 1)),
        Err(Error::ProducerFenced { current: 1, .. })
    ));
    assert!(matches!(
        append(&mut log, data(new, 0)),
        Err(Error::NotInTransaction { .. })
    ));
    log.enlisted().add(new);
    assert!(matches!(
        append(&mut log, data(new, 3)),
        Err(Error::OutOfOrderSequence { expected: 0, .. })
    ));
    assert_eq!(append(&mut log, data(new, 0)).unwrap(), offset(2));
    append(&mut log, end(new, Outcome::Commit)).unwrap();
    let again = log.append(&[data(new, 0)], now(5)).unwrap();
    assert!(
        again.duplicate,
        "sent again after the end, it is still where it was"
    );
    assert_eq!(again.base_offset, offset(2));
    assert!(matches!(
        append(&mut log, end(old, Outcome::Commit)),
        Err(Error::ProducerFenced { .. })
    ));
}

#[test]
fn inside_its_transaction_a_producer_writes_nothing_else() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let producer = Producer::new(7, 0);
    log.enlisted().add(producer);
    append(&mut log, data(producer, 0)).unwrap();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(now(5), None, Some(b"outside"), &[]);
    let outside = builder.producer(7, 0, 1).build();
    assert!(matches!(
        append(&mut log, outside),
        Err(Error::NotInTransaction { .. })
    ));
}

#[test]
fn what_retention_removes_is_forgotten() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    for id in 0..40 {
        let producer = Producer::new(id, 0);
        log.enlisted().add(producer);
        append(&mut log, data(producer, 0)).unwrap();
        append(&mut log, end(producer, Outcome::Abort)).unwrap();
    }
    log.flush().unwrap();
    log.delete_before(offset(41)).unwrap();
    let (_, aborted, _) = knows(&log);
    assert_eq!(aborted.len(), 20, "the one cut in half and those after it");
    assert_eq!(aborted[0].last, offset(41));
}

#[test]
fn the_oldest_ranges_are_found_although_memory_has_no_room_for_them() {
    const TRANSACTIONS: u64 = 16_384 + 40;
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: ByteSize::from_kib(256),
        ..small()
    };
    let (mut log, _) = open(&disk, options.clone());
    let long = Producer::new(9_999_999, 0);
    log.enlisted().add(long);
    append(&mut log, data(long, 0)).unwrap();
    for id in 0..TRANSACTIONS {
        let producer = Producer::new(id.cast_signed(), 0);
        log.enlisted().add(producer);
        let outcome = if id % 1_000 == 999 {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        let batches = [data(producer, 0), end(producer, outcome)];
        log.append(&batches, now(5)).unwrap();
    }
    append(&mut log, end(long, Outcome::Abort)).unwrap();
    log.flush().unwrap();
    let check = |log: &Log| {
        let reader = log.reader();
        for from in [1, 3, 11, 41, 7] {
            let found = reader.aborted(offset(from), offset(from + 2)).unwrap();
            let ids: Vec<i64> = found.iter().map(|range| range.producer_id).collect();
            let id = (from.cast_signed() - 1) / 2;
            assert_eq!(ids, [id, long.id], "from {from}");
        }
        let late = 2 * TRANSACTIONS - 3;
        let found = reader.aborted(offset(late), offset(late + 2)).unwrap();
        assert_eq!(found.len(), 2);
    };
    check(&log);
    drop(log);
    disk.crash_with(Survival::Nothing);
    let (log, _) = open(&disk, options);
    check(&log);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(i64),
    Other,
    End(i64, bool),
    Flush,
    Crash,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_i64).prop_map(Step::Write),
        2 => Just(Step::Other),
        4 => (0..4_i64, any::<bool>()).prop_map(|(id, commits)| Step::End(id, commits)),
        3 => Just(Step::Flush),
        1 => Just(Step::Crash),
        1 => Just(Step::Forget),
    ]
}

/// The plain truth: what the batches in the log say, walked from its beginning.
fn truth(log: &Log) -> (Vec<(i64, u64)>, Vec<AbortedRange>) {
    let marks = log.marks();
    let bytes = log
        .reader()
        .read(marks.log_start, 1 << 20, true, marks.log_end);
    let mut open: Vec<(i64, u64)> = Vec::new();
    let mut aborted = Vec::new();
    for batch in record::Batches::new(read_all(log, &bytes.unwrap())) {
        let batch = batch.unwrap();
        let (id, base) = (batch.producer_id(), batch.base_offset());
        if !batch.is_transactional() {
            continue;
        }
        let at = open.iter().position(|(open, _)| *open == id);
        match (batch.outcome(), at) {
            (None, None) => open.push((id, base.get())),
            (None, Some(_)) | (Some(_), None) => (),
            (Some(outcome), Some(at)) => {
                let (_, first) = open.remove(at);
                if outcome == Outcome::Abort {
                    aborted.push(AbortedRange {
                        producer_id: id,
                        first: offset(first),
                        last: base,
                    });
                }
            }
        }
    }
    open.sort_unstable();
    (open, aborted)
}

fn read_all(log: &Log, first: &bytes::Bytes) -> bytes::Bytes {
    let mut all = first.to_vec();
    loop {
        let last = record::Batches::new(all.clone().into()).last();
        let next = last.map_or(log.marks().log_start, |last| last.unwrap().next_offset());
        let end = log.marks().log_end;
        let more = log.reader().read(next, 1 << 20, true, end).unwrap();
        if more.is_empty() {
            return all.into();
        }
        all.extend_from_slice(&more);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_index_is_the_replay_of_the_log(steps in prop::collection::vec(step(), 1..120), seed in 0..1_000_u64) {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk, small());
        let mut sequences = [0_i32; 4];
        for step in steps {
            match step {
                Step::Write(id) => {
                    let producer = Producer::new(id, 0);
                    log.enlisted().add(producer);
                    let index = usize::try_from(id).unwrap();
                    append(&mut log, data(producer, sequences[index])).unwrap();
                    sequences[index] += 1;
                }
                Step::Other => drop(append(&mut log, batch(5, &["plain"])).unwrap()),
                Step::End(id, commits) => {
                    let outcome = if commits { Outcome::Commit } else { Outcome::Abort };
                    append(&mut log, end(Producer::new(id, 0), outcome)).unwrap();
                }
                Step::Flush => {
                    log.flush().unwrap();
                    let durable = log.marks().durable;
                    log.settle_transactions(durable);
                }
                Step::Crash | Step::Forget => {
                    drop(log);
                    disk.crash();
                    if matches!(step, Step::Forget) {
                        drop(disk.remove_file(&Path::new(DIR).join("checkpoint")));
                    }
                    log = open(&disk, small()).0;
                    // What was not flushed may be gone, and with it its sequences.
                    let known = log.producers();
                    for (id, sequence) in (0..).zip(&mut sequences) {
                        let last = known.iter().find(|known| known.producer.id == id);
                        *sequence = last.and_then(|last| last.last_sequence).map_or(0, |last| last + 1);
                    }
                }
            }
            log.flush().unwrap();
            let (open, aborted) = truth(&log);
            let (found_open, found_aborted, unstable) = knows(&log);
            prop_assert_eq!(&found_open, &open);
            prop_assert_eq!(found_aborted, aborted);
            let first = open.iter().map(|(_, first)| *first).min();
            prop_assert!(unstable.map(Offset::get) <= first || first.is_none());
            let durable = log.marks().durable;
            log.settle_transactions(durable);
            prop_assert_eq!(log.unstable().map(Offset::get), first);
        }
    }
}
