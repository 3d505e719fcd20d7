//! Room that is kept for a full disk: it is enough, and no crash in between leaves anything but the old or the new.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use env::{Disk, Faults, Open, Reserve, SimDisk, Survival, is_full, read_all, write_atomic};

const BYTES: u64 = 100_000;
const OLD: &[u8] = b"what was there";
const NEW: &[u8] = &[7; 5_000];

fn path(name: &str) -> PathBuf {
    Path::new("/data").join(name)
}

fn reserve(disk: &SimDisk) -> Reserve {
    Reserve::new(disk.shared(), path("reserve"), BYTES)
}

fn content(disk: &SimDisk, path: &Path) -> Option<Vec<u8>> {
    read_all(disk, path, 1 << 20).unwrap()
}

/// A full disk with old content at `path` and a whole reserve.
fn full(seed: u64, at: &Path) -> (SimDisk, Reserve) {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(&path("deeper")).unwrap();
    write_atomic(&disk, at, OLD).unwrap();
    let reserve = reserve(&disk);
    reserve.fill().unwrap();
    disk.set_capacity(Some(disk.used()));
    (disk, reserve)
}

#[test]
fn what_cannot_be_replaced_for_want_of_room_is_replaced_in_the_reserve() {
    for at in [path("catalog"), path("deeper/checkpoint")] {
        let (disk, reserve) = full(1, &at);
        let refused = write_atomic(&disk, &at, NEW).unwrap_err();
        assert!(is_full(&refused), "{refused}");
        assert_eq!(content(&disk, &at).unwrap(), OLD);

        reserve.replace(&at, NEW).unwrap();
        disk.crash_with(Survival::Nothing);
        assert_eq!(content(&disk, &at).unwrap(), NEW, "it is durable");
        assert_eq!(content(&disk, &path("reserve")), None, "it was given up");

        // What it does not need is free again, and is taken back before somebody else has it.
        let reserve = self::reserve(&disk);
        assert!(is_full(&reserve.fill().unwrap_err()), "not all of it");
        reserve.replace(&at, OLD).unwrap();
        disk.set_capacity(None);
        reserve.fill().unwrap();
        let held = content(&disk, &path("reserve")).unwrap();
        assert_eq!(held.len() as u64, BYTES);
        assert!(held.starts_with(b"Lantern's reserve"), "it says what it is");
        assert_eq!(content(&disk, &at).unwrap(), OLD);
    }
}

#[test]
fn with_room_it_is_not_touched() {
    let (disk, reserve) = full(1, &path("catalog"));
    disk.set_capacity(None);
    let before = content(&disk, &path("reserve"));
    reserve.replace(&path("catalog"), NEW).unwrap();
    assert_eq!(content(&disk, &path("reserve")), before);
    let changes = disk.changes();
    reserve.fill().unwrap();
    assert_eq!(disk.changes(), changes, "nothing is missing");
    reserve.want(BYTES * 2);
    reserve.fill().unwrap();
    let held = content(&disk, &path("reserve")).unwrap();
    assert_eq!(held.len() as u64, BYTES * 2);
}

#[test]
fn without_a_reserve_or_beyond_it_a_full_disk_is_a_full_disk() {
    let (disk, reserve) = full(1, &path("catalog"));
    let large = vec![1; 2 * usize::try_from(BYTES).unwrap()];
    let refused = reserve.replace(&path("catalog"), &large).unwrap_err();
    assert!(is_full(&refused), "{refused}");
    assert_eq!(content(&disk, &path("catalog")).unwrap(), OLD);
    disk.set_capacity(Some(0));
    let refused = reserve.replace(&path("other"), NEW).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, &path("other")), None);
}

/// Cuts the power at every change of the disk, fills the reserve anew, and looks whether that wrote into anything.
#[test]
fn a_crash_anywhere_leaves_the_old_or_the_new_and_the_next_reserve_leaves_both_alone() {
    for at in [path("catalog"), path("deeper/checkpoint")] {
        for seed in 0..40 {
            let mut cut = 0;
            loop {
                let (disk, reserve) = full(seed, &at);
                disk.set_faults(Faults {
                    power: Some(cut),
                    ..Faults::default()
                });
                let replaced = reserve.replace(&at, NEW);
                let filled = replaced.is_ok() && reserve.fill().is_ok();
                let survived = disk.faults().power.is_some();
                disk.crash();
                let found = content(&disk, &at).unwrap();
                assert!(found == OLD || found == NEW, "seed {seed}, cut at {cut}");
                assert!(
                    replaced.is_err() || found == NEW,
                    "seed {seed}, cut at {cut}"
                );

                // Still full: whatever is left of the reserve is used, or is not enough.
                let next = self::reserve(&disk);
                let again = next.replace(&at, OLD);
                let expected = if again.is_ok() { OLD } else { &*found };
                assert_eq!(content(&disk, &at).unwrap(), expected);
                disk.set_capacity(None);
                next.fill().unwrap();
                assert_eq!(
                    content(&disk, &at).unwrap(),
                    expected,
                    "seed {seed}, cut at {cut}: the reserve is another file"
                );
                if survived {
                    assert!(!filled, "there was no room for all of it");
                    break;
                }
                cut += 1;
            }
            assert!(cut > 8, "the power was cut inside");
        }
    }
}

#[test]
fn a_file_that_only_has_its_name_is_not_written_to() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("/data")).unwrap();
    write_atomic(&disk, &path("reserve"), NEW).unwrap();
    let other = disk.open(&path("reserve"), Open::Read).unwrap();
    reserve(&disk).fill().unwrap();
    let mut bytes = vec![0; NEW.len()];
    other.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, NEW, "it was removed, not overwritten");
    let held = content(&disk, &path("reserve")).unwrap();
    assert_eq!(held.len() as u64, BYTES);
}
