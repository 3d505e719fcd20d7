//! A log and the journal that vouches for it: what is redone, settled and told as lost.

use std::path::Path;

use commitlog::{Error, Options, Publish, Write, redo};
use env::{Disk, Faults, Open, SimDisk, Survival};
use stdx::ByteSize;

use crate::kit::{DIR, batch, dump, from_producer, now, offset, open, small};

const SIZE: ByteSize = ByteSize::from_kib(4);

/// What the four files of a journal hold.
const HELD: ByteSize = ByteSize::from_bytes(4 * SIZE.bytes());

/// A log whose appends a journal vouches for.
fn vouched() -> Options {
    Options {
        journal_bytes: ByteSize::from_kib(64),
        segment_bytes: ByteSize::from_kib(64),
        checkpoint_bytes: ByteSize::from_kib(64),
        ..small()
    }
}

#[test]
fn what_only_the_journal_has_is_readable_and_redone_after_a_power_cut() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    log.flush().unwrap();
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    log.append(&[batch(5, &["c"])], now(1)).unwrap();
    assert_eq!(dump(&log.reader()), "0=a");
    let writes = log.pending().unwrap().to_vec();
    assert_eq!(writes.len(), 2);
    log.vouch();
    assert_eq!(dump(&log.reader()), "0=a 1=b 2=c");
    assert!(log.pending().unwrap().is_empty());
    disk.crash_with(Survival::Nothing);
    for _ in 0..2 {
        redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
        let (log, report) = open(&disk, vouched());
        assert_eq!(dump(&log.reader()), "0=a 1=b 2=c");
        assert!(report.changed().is_none(), "{report:?}");
        drop(log);
        disk.crash_with(Survival::Nothing);
    }
}

#[test]
fn what_was_redone_or_settled_was_promised_so_rot_in_it_is_damage_and_not_cut() {
    for settle in [true, false] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, vouched());
        let mut writes = Vec::new();
        for value in ["a", "b"] {
            log.append(&[batch(5, &[value])], now(1)).unwrap();
        }
        writes.extend_from_slice(log.pending().unwrap());
        log.vouch();
        if settle {
            let unsettled = log.unsettled().unwrap().unwrap();
            let synced = unsettled.sync();
            log.settled(&unsettled, synced).unwrap();
        }
        drop(log);
        disk.restart();
        if !settle {
            redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
        }
        let path = Path::new(DIR).join("00000000000000000000.log");
        let length = disk.open(&path, Open::Read).unwrap().length().unwrap();
        disk.flip_bit(&path, (length - 3) * 8).unwrap();
        let (log, report) = open(&disk, vouched());
        assert!(report.cut.is_none(), "{report:?}");
        assert_eq!(dump(&log.reader()), "0=a 1..2!");
    }
}

#[test]
fn a_failed_settling_freezes_the_log() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    log.vouch();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    let unsettled = log.unsettled().unwrap().unwrap();
    let synced = unsettled.sync();
    log.settled(&unsettled, synced).unwrap_err();
    assert!(log.frozen().is_some());
    assert!(log.pending().is_none() && log.unsettled().is_err());
    assert_eq!(dump(&log.reader()), "0=a", "the journal still has it");
}

#[test]
fn a_flush_hears_of_a_settling_that_failed_beside_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    log.vouch();
    let unsettled = log.unsettled().unwrap().unwrap();
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    // The disk says it once, and to this one; a second sync would succeed and prove nothing.
    unsettled.sync().unwrap_err();
    log.flush().unwrap_err();
    assert!(log.frozen().is_some());
    assert_eq!(dump(&log.reader()), "0=a");
}

#[test]
fn a_log_with_much_to_flush_or_a_checkpoint_due_leaves_nothing_to_the_journal() {
    let disk = SimDisk::new(1);
    let options = Options {
        journal_bytes: ByteSize::from_bytes(200),
        checkpoint_bytes: ByteSize::from_bytes(500),
        ..vouched()
    };
    let (mut log, _) = open(&disk, options);
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    assert_eq!(log.pending().unwrap().len(), 1);
    log.append(&[batch(5, &[&"x".repeat(200)])], now(1))
        .unwrap();
    assert!(log.pending().is_none(), "too much");
    log.flush().unwrap();
    assert!(log.pending().unwrap().is_empty());
    for n in 0..3 {
        log.append(&[batch(5, &["b"])], now(1)).unwrap();
        let due = n == 2;
        assert_eq!(log.pending().is_none(), due, "round {n}");
        log.vouch();
    }
}

#[test]
fn segments_that_retention_removed_are_passed_over() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    let writes = log.pending().unwrap().to_vec();
    log.flush().unwrap();
    drop(log);
    disk.remove_file(&Path::new(DIR).join("00000000000000000000.log"))
        .unwrap();
    redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
    redo(&disk, Path::new("/a/topic/that/is/gone"), &writes, HELD).unwrap();
}

#[test]
fn more_than_one_file_of_the_journal_holds_is_brought_back_to_a_segment_that_lost_all_of_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    let mut writes = Vec::new();
    let value = "x".repeat(1_000);
    for _ in 0..12 {
        log.append(&[batch(5, &[&value])], now(1)).unwrap();
        writes.extend_from_slice(log.pending().unwrap());
        log.vouch();
    }
    drop(log);
    disk.crash_with(Survival::Nothing);
    assert!(writes.last().unwrap().position > 2 * SIZE.bytes());
    redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
    let (log, report) = open(&disk, vouched());
    assert_eq!(log.marks().log_end, offset(12));
    assert!(report.changed().is_none(), "{report:?}");
}

#[test]
fn a_write_where_none_can_have_been_is_passed_over_and_told_as_lost() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    log.flush().unwrap();
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    let mut writes = log.pending().unwrap().to_vec();
    drop(log);
    disk.crash_with(Survival::Nothing);
    let path = Path::new(DIR).join("00000000000000000000.log");
    let length = || disk.open(&path, Open::Read).unwrap().length().unwrap();
    // A place that is wrong under a right checksum.
    let before = length();
    let longest = ByteSize::from_mib(4).max(HELD).bytes();
    for position in [before + longest + 1, 1 << 60, u64::MAX] {
        writes[0].position = position;
        let passed_over = redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
        assert_eq!(passed_over, 1);
        assert_eq!(length(), before, "{position}");
    }
    let (log, report) = open(&disk, vouched());
    assert_eq!(dump(&log.reader()), "0=a 1..2!");
    assert_eq!(report.damage.len(), 1, "{report:?}");
}

/// As for records that nobody waits for.
fn lazily() -> Options {
    Options {
        checkpoint_bytes: ByteSize::from_bytes(100),
        segment_bytes: ByteSize::from_kib(64),
        publish: Publish::Written,
        ..small()
    }
}

#[test]
fn what_is_passed_over_is_so_at_the_next_start_too() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, vouched());
    log.append(&[batch(5, &["a"])], now(1)).unwrap();
    let write = log.pending().unwrap()[0].clone();
    drop(log);
    disk.crash_with(Survival::Nothing);
    let mib = 1 << 20;
    // Out of order, and each within reach of the one before it only.
    let places = [9 * mib, 0, 3 * mib, 6 * mib, 20 * mib];
    let writes = places.map(|position| Write {
        position,
        ..write.clone()
    });
    for _ in 0..2 {
        let passed_over = redo(&disk, Path::new(DIR), &writes, HELD).unwrap();
        assert_eq!(passed_over, 1);
        let path = Path::new(DIR).join("00000000000000000000.log");
        let length = disk.open(&path, Open::Read).unwrap().length().unwrap();
        assert_eq!(length, 9 * mib + write.bytes.len() as u64);
    }
}

#[test]
fn a_write_cut_back_beside_a_settling_is_synced_before_the_next_segment() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk, vouched());
        log.append(&[batch(5, &["a"])], now(1)).unwrap();
        let unsettled = log.unsettled().unwrap().unwrap();
        let synced = unsettled.sync();
        // Whole batches fit, and some of another.
        let again = [batch(5, &["b"]), batch(5, &["c"]), batch(5, &["d"])];
        let size = again[0].size() as u64;
        disk.set_capacity(Some(disk.used() + 2 * size + 20));
        let full = log.append(&again, now(1));
        assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
        log.settled(&unsettled, synced).unwrap();
        disk.set_capacity(None);
        let large = "x".repeat(vouched().segment_bytes.as_usize());
        log.append(&[batch(5, &[&large])], now(1)).unwrap();
        log.flush().unwrap();
        assert_eq!(log.marks().log_end, offset(2));
        drop(log);
        disk.crash();
        let (log, report) = open(&disk, vouched());
        assert_eq!(report.damage, [], "seed {seed}");
        assert_eq!(log.marks().log_end, offset(2));
    }
}

#[test]
fn a_checkpoint_is_taken_down_before_the_sync_and_written_after_it_while_the_log_grows() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, lazily());
    let value = "v".repeat(50);
    for number in 0..10 {
        log.append(&[from_producer(7, 0, number, &[&value])], now(1))
            .unwrap();
    }
    assert!(log.unsynced_bytes() > 1_000);
    let unsettled = log.unsettled().unwrap().unwrap();
    assert_eq!(log.unsynced_bytes(), 0, "a sync of it is on its way");
    log.append(&[from_producer(7, 0, 10, &["behind"])], now(1))
        .unwrap();
    let synced = unsettled.sync();
    log.settled(&unsettled, synced).unwrap();
    unsettled.keep_checkpoint();
    drop(log);
    disk.restart();
    let (mut log, report) = open(&disk, lazily());
    assert_eq!(log.marks().log_end, offset(11));
    let behind = from_producer(7, 0, 10, &["behind"]).size() as u64;
    assert_eq!(
        report.scanned_bytes, behind,
        "no more than what came after it"
    );
    let again = from_producer(7, 0, 9, &[&value]);
    assert!(log.append(&[again], now(2)).unwrap().duplicate);
}

#[test]
fn a_checkpoint_that_is_late_is_not_written_over_a_newer_one() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, lazily());
    let values: Vec<String> = (0..10).map(|number| format!("{number:050}")).collect();
    for value in &values {
        log.append(&[batch(5, &[value])], now(1)).unwrap();
    }
    let unsettled = log.unsettled().unwrap().unwrap();
    let synced = unsettled.sync();
    log.settled(&unsettled, synced).unwrap();
    log.delete_before(offset(6)).unwrap();
    unsettled.keep_checkpoint();
    disk.crash();
    let (log, _) = open(&disk, lazily());
    assert_eq!(log.marks().log_start, offset(6), "removed records are back");
}
