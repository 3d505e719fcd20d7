//! Files of removed segments are used again, and what is left in them from before is never taken for the log.

use std::path::Path;
use std::time::Duration;

use commitlog::{Log, Options, Retention, verify};
use env::{Disk, Faults, SimDisk, Survival};
use model::Timestamp;
use stdx::ByteSize;

use crate::kit::{DIR, batch, dump, fill, names, now, open, try_open};

fn used_again() -> Options {
    Options {
        segment_bytes: ByteSize::from_bytes(1_000),
        checkpoint_bytes: ByteSize::from_bytes(2_000),
        tail_bytes: ByteSize::from_bytes(0),
        preallocate_bytes: ByteSize::from_kib(4),
        ..Options::default()
    }
}

/// Lets all go but about two segments.
fn retain(log: &mut Log, at: Timestamp) -> u64 {
    let policy = Retention {
        bytes: Some(ByteSize::from_bytes(1_500)),
        ..Retention::default()
    };
    log.retain(&policy, at).unwrap().log_start.get()
}

fn has_spare(disk: &SimDisk) -> bool {
    names(disk).iter().any(|name| name == "spare")
}

/// A log whose newest segment has a file that was used before, with one batch in it. Its end.
fn begun_again(disk: &SimDisk) -> (Log, u64) {
    let (mut log, _) = open(disk, used_again());
    let mut number = 0;
    let mut write = |log: &mut Log| {
        fill(log, &[&number.to_string()]);
        number += 1;
        number
    };
    for _ in 0..60 {
        write(&mut log);
    }
    retain(&mut log, now(1));
    assert!(has_spare(disk));
    while has_spare(disk) {
        write(&mut log);
    }
    let end = log.marks().log_end.get();
    (log, end)
}

fn expected(log: &Log) -> String {
    let marks = log.marks();
    let all = marks.log_start.get()..marks.log_end.get();
    all.map(|n| format!("{n}={n}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_next_segment_takes_the_file_of_the_last_that_was_removed() {
    let disk = SimDisk::new(1);
    let (mut log, end) = begun_again(&disk);
    let newest = Path::new(DIR).join(format!("{:020}.log", end - 1));
    let length = disk.open(&newest, env::Open::Read).unwrap().length();
    assert!(
        length.unwrap() > 500,
        "as long as the segment was that it came from"
    );
    assert_eq!(dump(&log.reader()), expected(&log));
    fill(&mut log, &[&end.to_string()]);
    log.close().unwrap();
    let (log, report) = open(&disk, used_again());
    assert_eq!(report.changed(), None);
    assert_eq!(dump(&log.reader()), expected(&log));
    assert!(
        verify(&disk.shared(), Path::new(DIR), used_again(), now(1), |_| ())
            .unwrap()
            .is_good()
    );
}

#[test]
fn whatever_ends_a_run_old_batches_are_neither_the_logs_nor_damage() {
    let ends: [fn(&SimDisk); 4] = [
        |disk| disk.restart(),
        |disk| disk.crash_with(Survival::Everything),
        |disk| disk.crash_with(Survival::Nothing),
        |disk| {
            disk.restart();
            disk.remove_file(&Path::new(DIR).join("checkpoint"))
                .unwrap();
        },
    ];
    for end in ends {
        let disk = SimDisk::new(1);
        let (log, log_end) = begun_again(&disk);
        drop(log);
        end(&disk);
        let (mut log, report) = open(&disk, used_again());
        assert_eq!(report.changed(), None);
        assert_eq!(log.marks().log_end.get(), log_end);
        fill(&mut log, &[&log_end.to_string()]);
        let found = dump(&log.reader());
        // Without the checkpoint the log begins where its oldest file does.
        assert!(found.ends_with(&expected(&log)), "{found}");
    }
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_and_brings_nothing_back() {
    let run = |power: Option<u64>, seed: u64| {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk, used_again());
        for number in 0..30 {
            fill(&mut log, &[&number.to_string()]);
        }
        let before = disk.changes();
        disk.set_faults(Faults {
            power,
            ..Faults::default()
        });
        let (mut number, mut promised, mut started) = (30, 30, 0);
        for step in 0..40 {
            if step % 13 == 5 {
                let policy = Retention {
                    bytes: Some(ByteSize::from_bytes(1_500)),
                    ..Retention::default()
                };
                if let Ok(retained) = log.retain(&policy, now(1)) {
                    started = retained.log_start.get();
                }
            }
            let value = number.to_string();
            if log.append(&[batch(5, &[&value])], now(1)).is_ok() {
                number += 1;
                if log.flush().is_ok() {
                    promised = number;
                }
            }
        }
        let changes = disk.changes() - before;
        drop(log);
        disk.crash();
        let (log, report) = open(&disk, used_again());
        let at = format!("power {power:?}, seed {seed}");
        assert!(report.damage.is_empty(), "{at}: {report:?}");
        assert!(log.marks().log_end.get() >= promised, "{at}");
        assert!(log.marks().log_start.get() >= started, "{at}");
        assert_eq!(dump(&log.reader()), expected(&log), "{at}");
        assert!(!has_spare(&disk), "{at}");
        changes
    };
    let changes = run(None, 1);
    assert!(changes > 80, "{changes}");
    for power in 0..changes {
        for seed in 0..4 {
            run(Some(power), seed);
        }
    }
}

#[test]
fn a_spare_file_goes_when_it_is_not_needed_for_long() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, used_again());
    for _ in 0..60 {
        fill(&mut log, &["a"]);
    }
    retain(&mut log, now(1));
    assert!(has_spare(&disk));
    let later = Duration::from_hours(1).as_millis();
    retain(&mut log, now(1 + i64::try_from(later).unwrap()));
    assert!(!has_spare(&disk));
}

#[test]
fn who_deletes_records_gets_the_room_and_so_does_a_disk_that_is_nearly_full() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, used_again());
    for _ in 0..60 {
        fill(&mut log, &["a"]);
    }
    log.delete_before(crate::kit::offset(30)).unwrap();
    assert!(!has_spare(&disk));
    disk.set_capacity(Some(disk.used() + 5_000));
    retain(&mut log, now(1));
    assert!(!has_spare(&disk));
}

#[test]
fn a_start_removes_a_spare_file() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, used_again());
    for number in 0..60 {
        fill(&mut log, &[&number.to_string()]);
    }
    retain(&mut log, now(1));
    assert!(has_spare(&disk));
    drop(log);
    disk.restart();
    let (log, report) = try_open(&disk.shared(), used_again()).unwrap();
    assert_eq!(report.changed(), None);
    assert!(!has_spare(&disk));
    assert_eq!(dump(&log.reader()), expected(&log));
}
