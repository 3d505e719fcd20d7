//! Zeros ahead of a log's end: they are there while it is written, and nobody ever takes them for records, damage or a cut.

use std::path::{Path, PathBuf};

use commitlog::{Error, Log, Options};
use env::{Disk, Open, SimDisk, Survival};
use stdx::ByteSize;

use crate::kit::{DIR, batch, dump, fill, now, offset, open};

fn ahead() -> Options {
    Options {
        segment_bytes: ByteSize::from_kib(64),
        preallocate_bytes: ByteSize::from_kib(32),
        ..Options::default()
    }
}

fn segment(base: u64) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

fn length(disk: &SimDisk, base: u64) -> u64 {
    let file = disk.open(&segment(base), Open::Read).unwrap();
    file.length().unwrap()
}

fn size(log: &Log) -> u64 {
    log.reader().size_bytes()
}

#[test]
fn most_flushes_find_the_file_as_long_as_it_was() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    let mut lengths = Vec::new();
    for _ in 0..200 {
        fill(&mut log, &["a"]);
        lengths.push(length(&disk, 0));
    }
    assert!(lengths.iter().all(|length| *length >= size(&log)));
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "{lengths:?}");
}

#[test]
fn a_large_round_makes_the_file_grow_by_itself_alone() {
    let disk = SimDisk::new(1);
    let roomy = Options {
        segment_bytes: ByteSize::from_mib(1),
        ..ahead()
    };
    let (mut log, _) = open(&disk, roomy);
    fill(&mut log, &["a"]);
    let large = "x".repeat(70_000);
    fill(&mut log, &[&large]);
    assert_eq!(length(&disk, 0), size(&log));
    fill(&mut log, &["b"]);
    assert!(length(&disk, 0) > size(&log));
}

#[test]
fn whatever_ends_a_run_the_zeros_are_neither_a_cut_nor_damage() {
    type End = (&'static str, fn(&SimDisk));
    let ends: [End; 4] = [
        ("killed", |disk| disk.restart()),
        ("power cut, all written", |disk| {
            disk.crash_with(Survival::Everything);
        }),
        ("power cut, nothing but what was synced", |disk| {
            disk.crash_with(Survival::Nothing);
        }),
        ("without its checkpoint", |disk| {
            disk.restart();
            let checkpoint = Path::new(DIR).join("checkpoint");
            disk.remove_file(&checkpoint).unwrap();
        }),
    ];
    for (how, end) in ends {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, ahead());
        fill(&mut log, &["a", "b"]);
        let written = size(&log);
        assert!(length(&disk, 0) > written);
        drop(log);
        end(&disk);
        let (mut log, report) = open(&disk, ahead());
        assert_eq!(report.changed(), None, "{how}");
        assert_eq!(length(&disk, 0), written, "{how}");
        fill(&mut log, &["c"]);
        assert_eq!(dump(&log.reader()), "0=a 1=b 2=c", "{how}");
    }
}

#[test]
fn segments_that_are_closed_have_nothing_behind_their_last_batch() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    let half = "x".repeat(40_000);
    fill(&mut log, &["a", &half]);
    fill(&mut log, &["b"]);
    let first = size(&log);
    assert!(length(&disk, 0) > first);
    fill(&mut log, &[&half]);
    assert_eq!(length(&disk, 0), first);
    let all = size(&log);
    log.close().unwrap();
    assert_eq!(length(&disk, 3), all - first);
}

#[test]
fn a_closed_segment_whose_cut_was_lost_is_cut_at_the_next_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    let half = "x".repeat(40_000);
    fill(&mut log, &["a", &half, &half]);
    drop(log);
    disk.restart();
    let closed = disk.open(&segment(0), Open::Write).unwrap();
    let written = closed.length().unwrap();
    closed.set_len(written + 9_000).unwrap();
    let (log, report) = open(&disk, ahead());
    assert_eq!(report.changed(), None);
    assert_eq!(length(&disk, 0), written);
    assert_eq!(log.marks().log_end, offset(3));
}

#[test]
fn promised_records_that_became_zeros_are_damage_all_the_same() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    fill(&mut log, &["a", "b"]);
    let half = size(&log) / 2;
    drop(log);
    disk.restart();
    let file = disk.open(&segment(0), Open::Write).unwrap();
    file.write_all_at(&vec![0; usize::try_from(half).unwrap()], half)
        .unwrap();
    let (log, report) = open(&disk, ahead());
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(dump(&log.reader()), "0=a 1..2!");
}

#[test]
fn a_torn_batch_in_front_of_zeros_is_cut() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    fill(&mut log, &["a"]);
    let written = size(&log);
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    drop(log);
    disk.restart();
    let file = disk.open(&segment(0), Open::Write).unwrap();
    // All but the first bytes of the second batch did not reach the disk.
    file.write_all_at(&[0; 60], written + 9).unwrap();
    let (log, report) = open(&disk, ahead());
    assert_eq!(report.cut.map(|cut| cut.position), Some(written));
    assert_eq!(dump(&log.reader()), "0=a");
}

#[test]
fn a_disk_without_room_for_zeros_takes_records_as_long_as_it_can() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, ahead());
    fill(&mut log, &["a"]);
    log.close().unwrap();
    let (mut log, _) = open(&disk, ahead());
    disk.set_capacity(Some(disk.used() + 1_000));
    let mut taken = 1;
    let refused = loop {
        match log.append(&[batch(5, &["b"])], now(1)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        log.flush().unwrap();
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert!(taken > 5, "{taken}");
    assert_eq!(length(&disk, 0), size(&log));
}
