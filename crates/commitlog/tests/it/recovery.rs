//! What opening does with ends that are torn, names that are lost, files that are missing.

use std::path::{Path, PathBuf};

use commitlog::{CheckpointState, Error};
use env::{Disk, Open, SimDisk, Survival};
use model::Offset;

use crate::kit::{DIR, batch, dump, fill, names, now, offset, open, small, try_open};

fn segment(base: u64) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

fn file(disk: &SimDisk, base: u64) -> env::DynFile {
    disk.open(&segment(base), Open::Write).unwrap()
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    drop(log);
    disk.restart();
    let torn = file(&disk, 0);
    let length = torn.length().unwrap();
    torn.set_len(length - 3).unwrap();
    let (mut log, report) = open(&disk, small());
    let cut = report.cut.clone().unwrap();
    assert_eq!(
        (cut.at, cut.bytes, cut.kept),
        (offset(1), length / 2 - 3, None)
    );
    assert!(report.changed().unwrap().contains("cut"));
    fill(&mut log, &["c"]);
    drop(log);
    disk.crash_with(Survival::Nothing);
    let (log, report) = open(&disk, small());
    assert_eq!(dump(&log.reader()), "0=a 1=c");
    assert_eq!(report.changed(), None);
}

#[test]
fn an_unpromised_end_torn_in_its_middle_is_cut_and_kept_aside() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a"]);
    log.append(&[batch(5, &["b"])], now(1)).unwrap();
    log.append(&[batch(5, &["c"])], now(1)).unwrap();
    drop(log);
    disk.restart();
    let torn = file(&disk, 0);
    let size = torn.length().unwrap() / 3;
    torn.write_all_at(&[0; 40], size + 20).unwrap();
    let (log, report) = open(&disk, small());
    assert_eq!(dump(&log.reader()), "0=a");
    assert!(report.damage.is_empty());
    let kept = report.cut.unwrap().kept.unwrap();
    let kept = env::read_all(&disk, &kept, 1 << 20).unwrap().unwrap();
    assert_eq!(kept.len() as u64, 2 * size);
}

#[test]
fn a_promised_end_that_is_gone_is_damage_and_its_offsets_are_not_given_again() {
    for keep_checkpoint in [true, false] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, small());
        fill(&mut log, &["a", "b", "c"]);
        drop(log);
        disk.restart();
        let gone = file(&disk, 0);
        gone.set_len(gone.length().unwrap() / 3 + 5).unwrap();
        let (mut log, report) = open(&disk, small());
        assert_eq!(report.damage.len(), 1, "{report:?}");
        fill(&mut log, &["d"]);
        assert_eq!(dump(&log.reader()), "0=a 1..3! 3=d");
        drop(log);
        if !keep_checkpoint {
            disk.remove_file(&Path::new(DIR).join("checkpoint"))
                .unwrap();
        }
        disk.restart();
        let (log, report) = open(&disk, small());
        assert_eq!(dump(&log.reader()), "0=a 1..3! 3=d");
        assert_eq!(report.damage.is_empty(), keep_checkpoint);
    }
}

#[test]
fn a_segment_whose_creation_was_lost_was_never_promised() {
    // Every place where the power can fail around a roll, with everything unsynced lost.
    let value = "x".repeat(600);
    let run = |power: Option<u64>| {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, small());
        fill(&mut log, &["a"]);
        let before = disk.changes();
        disk.set_faults(env::Faults {
            power,
            ..env::Faults::default()
        });
        let mut promised = 1;
        for _ in 0..3 {
            let done = log.append(&[batch(5, &[&value])], now(1));
            if done.is_ok() && log.flush().is_ok() {
                promised = log.marks().durable.get();
            }
        }
        let changes = disk.changes() - before;
        drop(log);
        disk.crash_with(Survival::Nothing);
        let (log, report) = open(&disk, small());
        assert!(report.damage.is_empty(), "power {power:?}: {report:?}");
        assert!(log.marks().log_end.get() >= promised, "power {power:?}");
        changes
    };
    let changes = run(None);
    assert!(changes > 10);
    for power in 0..changes {
        run(Some(power));
    }
}

#[test]
fn a_checkpoint_that_is_lost_or_rotten_costs_a_scan_and_nothing_else() {
    let value = "x".repeat(300);
    for damage in ["missing", "flipped", "empty"] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, small());
        for _ in 0..10 {
            fill(&mut log, &[&value]);
        }
        let before = dump(&log.reader());
        log.close().unwrap();
        let path = Path::new(DIR).join("checkpoint");
        match damage {
            "missing" => disk.remove_file(&path).unwrap(),
            "flipped" => disk.flip_bit(&path, 100).unwrap(),
            _ => disk.open(&path, Open::Write).unwrap().set_len(0).unwrap(),
        }
        disk.restart();
        let (log, report) = open(&disk, small());
        assert_eq!(report.checkpoint, CheckpointState::Doubtful);
        assert_eq!(report.scanned_bytes, log.reader().size_bytes());
        assert_eq!(report.changed(), None);
        assert_eq!(dump(&log.reader()), before);
    }
}

#[test]
fn an_index_is_never_evidence() {
    let value = "x".repeat(300);
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    for _ in 0..10 {
        fill(&mut log, &[&value]);
    }
    let before = dump(&log.reader());
    log.close().unwrap();
    let indexes: Vec<_> = names(&disk)
        .into_iter()
        .filter(|name| name.ends_with(".index"))
        .collect();
    assert!(indexes.len() > 2);
    for (number, name) in indexes.iter().enumerate() {
        let path = Path::new(DIR).join(name);
        match number % 2 {
            0 => disk.remove_file(&path).unwrap(),
            _ => disk.flip_bit(&path, 300).unwrap(),
        }
    }
    disk.restart();
    let (log, report) = open(&disk, small());
    assert_eq!(dump(&log.reader()), before);
    assert_eq!(report.changed(), None);
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value, &value]);
    log.close().unwrap();
    disk.remove_file(&segment(1)).unwrap();
    disk.restart();
    let (log, report) = open(&disk, small());
    assert_eq!(report.damage.len(), 1);
    assert!(dump(&log.reader()).contains(" 1..2! 2=x"));
}

#[test]
fn the_newest_segment_missing_is_damage_too() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value, &value]);
    log.close().unwrap();
    disk.remove_file(&segment(2)).unwrap();
    disk.restart();
    let (mut log, report) = open(&disk, small());
    assert_eq!(report.damage.len(), 1, "{report:?}");
    fill(&mut log, &["d"]);
    assert!(dump(&log.reader()).ends_with("2..3! 3=d"));
}

#[test]
fn all_segments_missing_is_damage_once() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c"]);
    log.close().unwrap();
    disk.remove_file(&segment(0)).unwrap();
    disk.restart();
    let (log, report) = open(&disk, small());
    assert_eq!(report.damage.len(), 1, "{report:?}");
    assert_eq!(dump(&log.reader()), "0..3!");
    drop(log);
    disk.restart();
    let (mut log, report) = open(&disk, small());
    assert_eq!(report.changed(), None);
    fill(&mut log, &["d"]);
    assert_eq!(dump(&log.reader()), "0..3! 3=d");
}

#[test]
fn files_of_another_log_are_refused() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c"]);
    log.close().unwrap();
    drop(disk.open(&segment(1), Open::Create).unwrap());
    disk.remove_file(&Path::new(DIR).join("checkpoint"))
        .unwrap();
    let error = try_open(&disk.shared(), small()).unwrap_err();
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
}

#[test]
fn segments_below_the_start_are_removed_by_the_next_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value, &value]);
    let old = env::read_all(&disk, &segment(0), 1 << 20).unwrap().unwrap();
    log.delete_before(offset(1)).unwrap();
    log.close().unwrap();
    let left_over = disk.open(&segment(0), Open::CreateNew).unwrap();
    left_over.write_all_at(&old, 0).unwrap();
    disk.restart();
    let (log, report) = open(&disk, small());
    assert_eq!((report.log_start, report.segments), (offset(1), 2));
    assert!(!names(&disk).contains(&"00000000000000000000.log".to_owned()));
    assert_eq!(log.marks().log_end, Offset::new(3));
}

#[test]
fn what_a_short_write_left_behind_a_closed_segment_is_no_damage() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value]);
    drop(log);
    // The disk was full, the batch went into the next segment, and the cut of this one was lost.
    let closed = file(&disk, 0);
    let size = closed.length().unwrap();
    let mut cut_short = vec![0; 40];
    closed.read_exact_at(&mut cut_short, 0).unwrap();
    closed.write_all_at(&cut_short, size).unwrap();
    disk.remove_file(&Path::new(DIR).join("checkpoint"))
        .unwrap();
    disk.restart();
    let (log, report) = open(&disk, small());
    assert_eq!(report.damage, [], "{report:?}");
    assert_eq!(file(&disk, 0).length().unwrap(), size);
    assert_eq!(log.marks().log_end, offset(2));
}

#[test]
fn a_leftover_that_cannot_be_removed_keeps_its_records_for_the_next_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(600);
    fill(&mut log, &[&value, &value, &value]);
    let old = env::read_all(&disk, &segment(0), 1 << 20).unwrap().unwrap();
    log.delete_before(offset(1)).unwrap();
    log.close().unwrap();
    let left_over = disk.open(&segment(0), Open::CreateNew).unwrap();
    left_over.write_all_at(&old, 0).unwrap();
    // A directory where its index should be.
    disk.create_dir_all(&segment(0).with_extension("index").join("below"))
        .unwrap();
    for _ in 0..2 {
        let error = try_open(&disk.shared(), small()).unwrap_err();
        assert!(error.to_string().contains(".index"), "{error}");
        assert!(names(&disk).contains(&"00000000000000000000.log".to_owned()));
    }
}

#[test]
fn recovery_scans_only_past_the_last_checkpoint() {
    let disk = SimDisk::new(1);
    let options = commitlog::Options {
        segment_bytes: stdx::ByteSize::from_kib(64),
        checkpoint_bytes: stdx::ByteSize::from_kib(4),
        ..small()
    };
    let (mut log, _) = open(&disk, options.clone());
    let value = "x".repeat(500);
    for _ in 0..400 {
        fill(&mut log, &[&value]);
    }
    drop(log);
    disk.restart();
    let (log, report) = open(&disk, options);
    assert_eq!(report.checkpoint, CheckpointState::Used);
    assert_eq!(report.log_end, offset(400));
    assert!(report.scanned_bytes < 6_000, "{}", report.scanned_bytes);
    assert_eq!(
        report.rewritten_bytes, 0,
        "the mark of a killed process is exact"
    );
    assert_eq!(dump(&log.reader()).split(' ').count(), 400);
}
