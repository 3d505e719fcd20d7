//! Disks that fail or fill up under a running log.

use commitlog::{Error, Recovery};
use env::{Faults, SimDisk, Survival};
use model::Offset;

use crate::kit::{batch, dump, fill, from_producer, now, offset, open, small, try_open};

#[test]
fn a_failed_fsync_freezes_the_log_and_is_never_retried() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    let error = log.flush().unwrap_err();
    assert!(
        matches!(error, Error::Storage { action: "sync", .. }),
        "{error}"
    );
    assert_eq!(error.recovery(), Recovery::StopPartition);
    // The disk would answer "fine" now, and lie.
    let changes = disk.changes();
    assert!(matches!(log.flush(), Err(Error::Frozen { .. })));
    assert!(matches!(
        log.append(&[batch(5, &["c"])], now(1)),
        Err(Error::Frozen { .. })
    ));
    assert!(matches!(
        log.delete_before(offset(1)),
        Err(Error::Frozen { .. })
    ));
    assert_eq!(disk.changes(), changes, "nothing touches the disk any more");
    assert_eq!(dump(&log.reader()), "0=a");
}

#[test]
fn after_a_failed_fsync_what_a_restart_serves_survives_a_power_cut() {
    // The page cache shows "b", the disk has it in part at most, and the kernel calls it clean.
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk, small());
        fill(&mut log, &["a"]);
        log.append(&[batch(5, &["b"])], now(1)).unwrap();
        disk.set_faults(Faults {
            sync: Some(0),
            ..Faults::default()
        });
        log.flush().unwrap_err();
        drop(log);
        disk.restart();
        let (log, report) = open(&disk, small());
        assert_eq!(dump(&log.reader()), "0=a 1=b");
        assert!(report.rewritten_bytes > 0);
        drop(log);
        disk.crash_with(Survival::Nothing);
        let (log, _) = open(&disk, small());
        assert_eq!(dump(&log.reader()), "0=a 1=b", "seed {seed}");
    }
}

#[test]
fn behind_a_first_batch_that_found_no_room_nothing_of_its_producer_gets_in() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    let (first, second) = (
        from_producer(7, 0, 0, &["a long value"]),
        from_producer(7, 0, 1, &["b"]),
    );
    disk.set_capacity(Some(disk.used() + u64::try_from(second.size()).unwrap()));
    let refused = log.append(std::slice::from_ref(&first), now(1));
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    // It would fit, and stand before the one that was sent before it.
    let early = log.append(std::slice::from_ref(&second), now(1));
    let expected = matches!(
        early,
        Err(Error::OutOfOrderSequence {
            expected: 0,
            found: 1,
            ..
        })
    );
    assert!(expected, "{early:?}");
    disk.set_capacity(None);
    log.append(&[first], now(1)).unwrap();
    log.append(&[second], now(1)).unwrap();
    // A newer epoch owes nothing; nor does who was refused and began anew.
    disk.set_capacity(Some(disk.used()));
    log.append(&[from_producer(8, 0, 0, &["c"])], now(1))
        .unwrap_err();
    disk.set_capacity(None);
    log.append(&[from_producer(8, 1, 0, &["d"])], now(1))
        .unwrap();
    log.flush().unwrap();
    assert_eq!(dump(&log.reader()), "0=a long value 1=b 2=d");
}

#[test]
fn a_full_disk_refuses_an_append_and_leaves_no_trace() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    disk.set_capacity(Some(disk.used() + 50));
    let error = log.append(&[batch(5, &["b"])], now(1)).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(error.recovery(), Recovery::Retry);
    assert_eq!(log.marks().log_end, offset(1));
    disk.set_capacity(None);
    fill(&mut log, &["c"]);
    assert_eq!(dump(&log.reader()), "0=a 1=c");
    drop(log);
    disk.crash();
    let (log, report) = open(&disk, small());
    assert_eq!(report.changed(), None);
    assert_eq!(dump(&log.reader()), "0=a 1=c");
}

#[test]
fn a_write_error_freezes_the_log_and_the_end_is_as_before() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    disk.set_faults(Faults {
        write: Some(0),
        ..Faults::default()
    });
    let error = log.append(&[batch(5, &["b"])], now(1)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Storage {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(log.marks().log_end, offset(1));
    assert!(log.frozen().is_some());
    drop(log);
    disk.restart();
    let (mut log, report) = open(&disk, small());
    assert_eq!(
        report.changed(),
        None,
        "the partial write was cut back at once"
    );
    fill(&mut log, &["c"]);
    assert_eq!(dump(&log.reader()), "0=a 1=c");
}

#[test]
fn a_read_error_is_the_readers_alone() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    disk.set_faults(Faults {
        read: Some(0),
        ..Faults::default()
    });
    let reader = log.reader();
    let read = || reader.read(Offset::ZERO, 1_000, true, offset(1));
    assert!(matches!(read(), Err(Error::Io { .. })));
    assert!(!read().unwrap().is_empty());
    fill(&mut log, &["b"]);
}

#[test]
fn a_start_that_cannot_be_made_durable_removes_nothing() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value, "c"]);
    let before = crate::kit::names(&disk);
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    log.delete_before(offset(2)).unwrap_err();
    assert_eq!(log.marks().log_start, offset(0));
    assert_eq!(crate::kit::names(&disk), before);
    log.delete_before(offset(2)).unwrap();
    assert_eq!(dump(&log.reader()), "2=c");
}

#[test]
fn a_log_does_not_open_on_a_disk_that_fails_and_opens_when_it_works() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b"]);
    drop(log);
    for nth in 0..3 {
        disk.restart();
        disk.set_faults(Faults {
            read: Some(nth),
            sync: Some(nth),
            ..Faults::default()
        });
        drop(try_open(&disk.shared(), small()));
    }
    disk.restart();
    let (log, _) = open(&disk, small());
    assert_eq!(dump(&log.reader()), "0=a 1=b");
}
