//! The journal: what it promised is found again after anything, and nothing else is.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use commitlog::{Journal, JournalError, JournalFound, LogId, Write};
use env::{Disk, DynDisk, Entropy, Faults, Open, SeededEntropy, SimDisk, Survival};
use proptest::prelude::*;
use stdx::ByteSize;

use crate::kit::{offset, seeds};

const JOURNAL: &str = "/journal";
const SIZE: ByteSize = ByteSize::from_kib(4);
/// Epochs begin at half of it.
const SECRET: u64 = 2_000_000;

fn log_id(number: u8) -> LogId {
    LogId {
        topic: [number; 16],
        partition: u32::from(number),
    }
}

fn write(next: u64, text: &str) -> Write {
    Write {
        segment: offset(0),
        position: next * 10,
        next: offset(next),
        bytes: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn start(disk: &SimDisk) -> (Journal, JournalFound) {
    Journal::open(disk.shared(), Path::new(JOURNAL), SIZE, SECRET).unwrap()
}

/// A journal that forgot everything before.
fn fresh(disk: &SimDisk) -> Journal {
    let (mut journal, _) = start(disk);
    journal.begin(&[]).unwrap();
    journal
}

fn commit(journal: &mut Journal, log: u8, text: &str) -> u64 {
    journal.push(log_id(log), &write(1, text));
    journal.commit().unwrap().epoch
}

fn texts(found: &JournalFound) -> Vec<String> {
    let text = |(_, write): &(LogId, Write)| String::from_utf8(write.bytes.to_vec()).unwrap();
    found.writes.iter().map(text).collect()
}

/// Names in the journal's directory.
fn names(disk: &SimDisk) -> Vec<String> {
    let entries = disk.read_dir(Path::new(JOURNAL)).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn file(number: u32) -> PathBuf {
    Path::new(JOURNAL).join(format!("{number:04}.journal"))
}

#[test]
fn what_was_committed_is_found_in_order_and_what_was_not_is_not() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    assert!(
        names(&disk).is_empty(),
        "nothing is made before it is needed"
    );
    journal.push(log_id(1), &write(3, "a"));
    journal.push(log_id(2), &write(7, "b"));
    journal.commit().unwrap();
    commit(&mut journal, 1, "c");
    journal.push(log_id(1), &write(9, "never committed"));
    disk.crash_with(Survival::Nothing);
    let (_, found) = start(&disk);
    assert_eq!(texts(&found), ["a", "b", "c"]);
    assert_eq!(found.writes[1], (log_id(2), write(7, "b")));
    assert!(found.damaged.is_empty());
}

#[test]
fn a_file_is_used_again_only_after_its_release_and_its_old_frames_are_gone_then() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    let large = "x".repeat(2_500);
    let first = commit(&mut journal, 1, &large);
    assert_eq!(journal.take_full(), None);
    commit(&mut journal, 1, &large);
    assert_eq!(journal.take_full(), Some(first), "no room for the second");
    assert_eq!(journal.take_full(), None, "said once");
    commit(&mut journal, 1, &large);
    commit(&mut journal, 1, &large);
    journal.push(log_id(1), &write(1, &large));
    assert!(matches!(journal.commit(), Err(JournalError::NoRoom)));
    assert_eq!(names(&disk).len(), 4);
    journal.release(first);
    commit(&mut journal, 1, "short");
    disk.crash_with(Survival::Nothing);
    let (_, found) = start(&disk);
    let lengths: Vec<usize> = texts(&found).iter().map(String::len).collect();
    assert_eq!(lengths, [2_500, 2_500, 2_500, 5]);
    assert!(found.damaged.is_empty(), "a file used again is no damage");
}

#[test]
fn a_turn_that_ended_is_heard_of_though_the_commit_that_ended_it_failed() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    let first = commit(&mut journal, 1, &"x".repeat(2_500));
    disk.set_capacity(Some(disk.used()));
    journal.push(log_id(1), &write(1, &"y".repeat(2_500)));
    assert!(matches!(journal.commit(), Err(JournalError::Full { .. })));
    assert_eq!(journal.take_full(), Some(first));
    disk.set_capacity(None);
    commit(&mut journal, 1, "there is room again");
    disk.crash_with(Survival::Nothing);
    assert_eq!(start(&disk).1.writes.len(), 2);
}

#[test]
fn frames_that_do_not_fit_are_refused_and_change_nothing() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, "a");
    journal.push(log_id(1), &write(1, &"x".repeat(4_000)));
    assert!(journal.is_frame_full());
    assert!(matches!(
        journal.commit(),
        Err(JournalError::TooLarge { bytes: 4_096 })
    ));
    commit(&mut journal, 1, "b");
    disk.crash_with(Survival::Nothing);
    assert_eq!(texts(&start(&disk).1), ["a", "b"]);
}

#[test]
fn after_a_failed_sync_nothing_is_promised_and_what_was_stays_so() {
    for seed in 0..30 {
        let disk = SimDisk::new(seed);
        let mut journal = fresh(&disk);
        commit(&mut journal, 1, "a");
        disk.set_faults(Faults {
            sync: Some(0),
            ..Faults::default()
        });
        journal.push(log_id(1), &write(1, "b"));
        assert!(matches!(
            journal.commit(),
            Err(JournalError::Storage { action: "sync", .. })
        ));
        journal.push(log_id(1), &write(1, "c"));
        assert!(matches!(journal.commit(), Err(JournalError::Broken)));
        disk.crash();
        let (_, found) = start(&disk);
        assert_eq!(texts(&found)[0], "a");
        assert!(found.writes.len() <= 2 && found.damaged.is_empty());
    }
}

#[test]
fn power_cuts_at_any_moment_leave_all_that_was_promised() {
    for seed in seeds(300) {
        let disk = SimDisk::new(seed);
        let random = SeededEntropy::new(seed);
        let below = |bound: u64| random.next_u64() % bound;
        let mut journal = fresh(&disk);
        // The power fails at some change; until then turns are released as they end.
        disk.set_faults(Faults {
            power: Some(below(60)),
            ..Faults::default()
        });
        let mut promised = Vec::new();
        for n in 0..40 {
            let text = format!("{n}-{}", "x".repeat(below(1_500) as usize));
            journal.push(log_id(1), &write(n, &text));
            let committed = journal.commit();
            if let Some(epoch) = journal.take_full() {
                // Their logs are synced now, so they need not be found any more.
                promised.retain(|(turn, _)| *turn != epoch);
                journal.release(epoch);
            }
            match committed {
                Ok(committed) => promised.push((committed.epoch, text)),
                Err(_) => break,
            }
        }
        disk.crash();
        let (_, found) = start(&disk);
        assert!(found.damaged.is_empty(), "seed {seed}");
        let found = texts(&found);
        for (_, text) in &promised {
            assert!(found.contains(text), "seed {seed} lost {text}");
        }
        let numbers: Vec<u64> = found
            .iter()
            .map(|text| text.split('-').next().unwrap().parse().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "seed {seed}: {numbers:?}");
    }
}

#[test]
fn rot_in_the_middle_loses_its_frame_alone_and_is_told() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    for text in ["a", "b", "c"] {
        commit(&mut journal, 1, text);
    }
    drop(journal);
    disk.restart();
    // Each frame has a sector; headers have the first two.
    disk.flip_bit(&file(0), (3 * 512 + 40) * 8).unwrap();
    let (mut journal, found) = start(&disk);
    assert_eq!(texts(&found), ["a", "c"]);
    assert_eq!(found.damaged, [file(0)]);
    journal.begin(&[]).unwrap();
    let kept = names(&disk);
    assert!(
        kept.len() == 1 && kept[0].ends_with(".damaged"),
        "kept aside for a look: {kept:?}"
    );
    let (_, found) = start(&disk);
    assert!(found.writes.is_empty() && found.damaged.is_empty());
}

#[test]
fn rot_in_the_last_frame_of_a_full_file_is_told() {
    let large = "x".repeat(2_500);
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, &large);
    commit(&mut journal, 1, &large);
    drop(journal);
    disk.restart();
    disk.flip_bit(&file(0), (1_024 + 100) * 8).unwrap();
    let (_, found) = start(&disk);
    assert_eq!(found.writes.len(), 1);
    assert_eq!(found.damaged, [file(0)]);
}

#[test]
fn rot_in_one_header_loses_no_frame() {
    let large = "x".repeat(2_500);
    for turns in [1, 2] {
        for slot in [0, 1] {
            let disk = SimDisk::new(1);
            let mut journal = fresh(&disk);
            for turn in 0..2 * turns {
                let text = format!("{turn}{large}");
                commit(&mut journal, 1, &text);
                if let Some(epoch) = journal.take_full() {
                    journal.release(epoch);
                }
            }
            drop(journal);
            disk.restart();
            let before = texts(&start(&disk).1);
            disk.flip_bit(&file(1), (slot * 512 + 10) * 8).unwrap();
            let (_, found) = start(&disk);
            assert_eq!(texts(&found), before, "{turns} turns, slot {slot}");
            // The older header is not missed, and the first turn has two.
            let missed = turns == 2 && slot == 1;
            assert_eq!(
                !found.damaged.is_empty(),
                missed,
                "{turns} turns, slot {slot}"
            );
        }
    }
}

#[test]
fn frames_without_a_header_are_told() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, "a");
    drop(journal);
    disk.restart();
    disk.flip_bit(&file(0), 10 * 8).unwrap();
    disk.flip_bit(&file(0), (512 + 10) * 8).unwrap();
    let (_, found) = start(&disk);
    assert!(found.writes.is_empty());
    assert_eq!(found.damaged, [file(0)]);
}

/// A frame as somebody would make it who knows the format: for log 9, with this epoch.
fn forged(epoch: u64) -> Vec<u8> {
    let text = b"forged";
    let mut entry = Vec::new();
    entry.extend_from_slice(&[9; 16]);
    entry.extend_from_slice(&9_u32.to_le_bytes());
    for field in [0_u64, 0, 1] {
        entry.extend_from_slice(&field.to_le_bytes());
    }
    entry.extend_from_slice(&(text.len() as u32).to_le_bytes());
    entry.extend_from_slice(text);
    let mut frame = b"LNJR".to_vec();
    frame.extend_from_slice(&(entry.len() as u32).to_le_bytes());
    frame.extend_from_slice(&epoch.to_le_bytes());
    frame.extend_from_slice(&1_000_u64.to_le_bytes());
    frame.extend_from_slice(&1_u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame), &entry);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(&entry);
    frame.resize(512, 0);
    frame
}

/// What is found after a record full of forged frames was laid open by a shorter one over it.
fn found_beside_forgeries(secret: u64) -> JournalFound {
    let disk = SimDisk::new(1);
    let opened = Journal::open(disk.shared(), Path::new(JOURNAL), SIZE, secret);
    let (mut journal, _) = opened.unwrap();
    journal.begin(&[]).unwrap();
    // Up to the next sector: a frame's and an entry's header are 80 bytes.
    let mut value = vec![0; 512 - 80];
    for epoch in 1..=4 {
        value.extend_from_slice(&forged(epoch));
    }
    let mut turns = Vec::new();
    for bytes in [Bytes::from(value), Bytes::from(vec![0; 2_500])] {
        journal.push(
            log_id(1),
            &Write {
                bytes,
                ..write(1, "")
            },
        );
        turns.push(journal.commit().unwrap().epoch);
    }
    journal.release(turns[0]);
    commit(&mut journal, 1, "short");
    commit(&mut journal, 1, &"x".repeat(2_500));
    let _ = journal.take_full();
    start(&disk).1
}

#[test]
fn records_that_look_like_frames_are_none() {
    let found = found_beside_forgeries(SECRET);
    assert!(found.writes.iter().all(|(log, _)| *log == log_id(1)));
    assert!(found.damaged.is_empty());
    // With epochs that can be guessed they would pass, or the test proves nothing.
    let guessed = found_beside_forgeries(2);
    assert!(guessed.writes.iter().any(|(log, _)| *log == log_id(9)));
}

#[test]
fn a_full_disk_keeps_the_files_themselves_and_starts() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, "a");
    commit(&mut journal, 2, "b");
    disk.crash_with(Survival::Nothing);
    let (mut journal, found) = start(&disk);
    disk.set_capacity(Some(disk.used()));
    let kept = &found.writes[..1];
    journal.begin(kept).unwrap();
    disk.set_capacity(None);
    commit(&mut journal, 3, "goes on");
    disk.crash_with(Survival::Nothing);
    let mut again = texts(&start(&disk).1);
    again.sort();
    assert_eq!(again, ["a", "b", "goes on"]);
}

#[test]
fn entries_of_a_log_that_cannot_be_opened_are_kept_from_start_to_start() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, "a");
    commit(&mut journal, 2, "b");
    disk.crash_with(Survival::Nothing);
    for life in 0..3 {
        let (mut journal, found) = start(&disk);
        let kept: Vec<_> = found
            .writes
            .into_iter()
            .filter(|(log, _)| *log == log_id(1))
            .collect();
        journal.begin(&kept).unwrap();
        // Whatever this run does with its turns, what is kept stays.
        for _ in 0..8 {
            commit(&mut journal, 3, &"x".repeat(2_500));
            if let Some(epoch) = journal.take_full() {
                journal.release(epoch);
            }
        }
        if life == 1 {
            journal.close().unwrap();
            assert_eq!(texts(&start(&disk).1), ["a"]);
        }
        disk.crash_with(Survival::Nothing);
        assert!(texts(&start(&disk).1).contains(&"a".to_owned()));
    }
}

#[test]
fn an_orderly_end_leaves_nothing() {
    let disk = SimDisk::new(1);
    let mut journal = fresh(&disk);
    commit(&mut journal, 1, "a");
    journal.close().unwrap();
    assert!(names(&disk).is_empty());
}

proptest! {
    /// Whatever is in the files, opening neither panics nor takes more memory than they have bytes.
    #[test]
    fn any_bytes_can_be_opened(
        bytes in prop::collection::vec(any::<u8>(), 0..3_000),
        flips in prop::collection::vec((0..4_096_u64, 0..8_u64), 0..6),
        real in any::<bool>(),
    ) {
        let disk = SimDisk::new(1);
        if real {
            let mut journal = fresh(&disk);
            for n in 0..5 {
                commit(&mut journal, n, "some text");
            }
            for (byte, bit) in flips {
                drop(disk.flip_bit(&file(0), byte * 8 + bit));
            }
        } else {
            disk.create_dir_all(Path::new(JOURNAL)).unwrap();
            let handle = disk.open(&file(0), Open::Create).unwrap();
            handle.write_all_at(&bytes, 0).unwrap();
        }
        let shared: DynDisk = disk.shared();
        let (mut journal, found) = Journal::open(shared, Path::new(JOURNAL), SIZE, SECRET).unwrap();
        for (_, write) in &found.writes {
            prop_assert_eq!(&write.bytes[..], b"some text");
        }
        journal.begin(&[]).unwrap();
        commit(&mut journal, 1, "goes on");
    }
}
