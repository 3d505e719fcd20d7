//! The simulated disk's bad days.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use env::{Disk, Faults, Open, SimDisk, Survival, read_all, write_atomic};

const DIR: &str = "/data";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk
}

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    read_all(disk, &path(name), 1 << 20).unwrap()
}

#[test]
fn what_was_synced_survives_every_crash_and_nothing_else_is_sure() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = disk(seed);
        let file = disk.open(&path("a"), Open::CreateNew).unwrap();
        file.write_all_at(&[1; 2_000], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_all_at(&[2; 3_000], 1_000).unwrap();
        file.write_all_at(&[3; 1_000], 4_000).unwrap();
        disk.crash();
        let bytes = content(&disk, "a").unwrap();
        assert!(bytes.len() >= 2_000);
        assert!(bytes[..1_000].iter().all(|byte| *byte == 1));
        // Sectors are old, new, or where the file grew zero; never torn inside.
        for sector in bytes.chunks(512) {
            let kinds: BTreeSet<_> = sector.iter().collect();
            assert!(kinds.len() <= 3);
        }
        seen.insert(bytes);
    }
    assert!(seen.len() > 30, "only {} outcomes", seen.len());
}

#[test]
fn names_are_durable_only_after_their_directory_was_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk(seed);
        let old = disk.open(&path("old"), Open::CreateNew).unwrap();
        old.write_all_at(b"x", 0).unwrap();
        old.sync_data().unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk.rename(&path("old"), &path("new")).unwrap();
        drop(disk.open(&path("made"), Open::CreateNew).unwrap());
        disk.crash();
        let names: Vec<_> = disk
            .read_dir(Path::new(DIR))
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let there = |name: &str| names.iter().any(|other| other == name);
        assert!(there("old") != there("new"), "a rename is whole: {names:?}");
        outcomes.insert(names);
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[test]
fn replacing_a_file_leaves_the_old_or_the_new_wherever_the_power_fails() {
    for seed in 0..20 {
        let mut power = 0;
        loop {
            let disk = disk(seed);
            write_atomic(&disk, &path("meta"), b"old content").unwrap();
            disk.set_faults(Faults {
                power: Some(power),
                ..Faults::default()
            });
            let done = write_atomic(&disk, &path("meta"), b"new");
            disk.crash();
            let found = content(&disk, "meta").unwrap();
            match done {
                Ok(()) => {
                    assert_eq!(found, b"new");
                    break;
                }
                Err(_) => assert!(found == b"new" || found == b"old content", "{found:?}"),
            }
            power += 1;
        }
        assert!(power >= 5, "every step was tried");
    }
}

#[test]
fn a_failed_sync_loses_the_pages_and_the_next_one_lies() {
    let disk = disk(9);
    let file = disk.open(&path("a"), Open::CreateNew).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    file.write_all_at(&vec![7; 100_000], 0).unwrap();
    disk.set_faults(Faults {
        sync: Some(0),
        ..Faults::default()
    });
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(
        content(&disk, "a").unwrap(),
        vec![7; 100_000],
        "the cache still has it"
    );
    disk.drop_caches();
    assert_ne!(
        content(&disk, "a").unwrap(),
        vec![7; 100_000],
        "the disk has not"
    );
}

#[test]
fn a_full_disk_writes_what_fits() {
    let disk = disk(1);
    let file = disk.open(&path("a"), Open::CreateNew).unwrap();
    disk.set_capacity(Some(10));
    assert_eq!(disk.space(Path::new("/")).unwrap().available, 10);
    let error = file.write_all_at(b"twelve bytes", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, "a").unwrap(), b"twelve byt");
    file.write_all_at(b"TWELVE", 0).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(b"ok", 0).unwrap();
}

#[test]
fn a_killed_process_loses_its_handles_and_locks_but_no_bytes() {
    let disk = disk(1);
    let file = disk.open(&path("a"), Open::CreateNew).unwrap();
    file.write_all_at(b"kept", 0).unwrap();
    let lock = disk.lock(&path("lock")).unwrap();
    disk.restart();
    assert!(file.write_all_at(b"x", 0).is_err());
    assert!(file.sync_data().is_err());
    let again = disk.lock(&path("lock")).unwrap();
    drop(lock);
    assert!(
        disk.lock(&path("lock")).is_err(),
        "the dead process's lock is not ours"
    );
    drop(again);
    assert_eq!(content(&disk, "a").unwrap(), b"kept");
}

#[test]
fn faults_strike_once_and_where_they_were_told() {
    let disk = disk(1);
    let file = disk.open(&path("a"), Open::CreateNew).unwrap();
    disk.set_faults(Faults {
        write: Some(1),
        read: Some(1),
        ..Faults::default()
    });
    file.write_all_at(b"one", 0).unwrap();
    assert!(file.write_all_at(b"two", 0).is_err());
    file.write_all_at(b"three", 0).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap();
    assert!(file.read_at(&mut byte, 0).is_err());
    file.read_at(&mut byte, 0).unwrap();
    assert_eq!(disk.faults(), Faults::default());
    disk.flip_bit(&path("a"), 1).unwrap();
    file.read_at(&mut byte, 0).unwrap();
    assert_eq!(byte[0], b't' ^ 2);
}

#[test]
fn a_seed_repeats_its_crashes() {
    let run = |seed| {
        let disk = disk(seed);
        for number in 0..20_u8 {
            let file = disk
                .open(&path(&format!("{}", number % 3)), Open::Create)
                .unwrap();
            file.write_all_at(&[number; 700], u64::from(number) * 300)
                .unwrap();
            if number % 7 == 0 {
                disk.crash_with(Survival::Any);
            }
        }
        disk.crash();
        disk.content()
    };
    assert_eq!(run(5), run(5));
    assert!((0..20).any(|seed| run(seed) != run(5)));
}
