//! One suite for every [`Disk`], run on each.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use env::{Disk, DiskFile, LockError, Open, Overlay, RealDisk, SimDisk, read_all, write_atomic};

type Case = fn(&dyn Disk, &Path);

/// Runs every case in a directory of its own.
fn suite(disk: &dyn Disk, root: &Path) {
    let cases: [(&str, Case); 12] = [
        ("read-back", what_is_written_is_read),
        ("page-cache", what_leaves_the_page_cache_is_read_as_before),
        ("vectored", slices_are_written_one_after_another),
        ("many-slices", more_slices_than_one_call_takes),
        ("open", opening_treats_missing_and_present_files_as_asked),
        ("length", a_file_is_cut_and_extended_with_zeros),
        ("names", names_are_listed_in_order_renamed_and_removed),
        ("unlinked", a_removed_file_is_readable_through_its_handle),
        ("directories", directories_are_made_and_removed_whole),
        ("atomic", small_files_are_replaced_whole),
        ("lock", a_lock_is_held_once),
        (
            "shared-lock",
            a_shared_lock_keeps_others_out_and_changes_nothing,
        ),
    ];
    for (name, case) in cases {
        let dir = root.join(name);
        disk.create_dir_all(&dir).unwrap();
        case(disk, &dir);
    }
}

#[test]
fn the_real_disk() {
    let root = tempfile::tempdir().unwrap();
    suite(&RealDisk::new(), root.path());
}

#[test]
fn the_simulated_disk() {
    suite(&SimDisk::new(1), Path::new("/data"));
}

#[test]
fn an_overlay() {
    let below = SimDisk::new(1);
    below.create_dir_all(Path::new("/data")).unwrap();
    let before = below.changes();
    suite(&Overlay::new(below.shared()), Path::new("/data"));
    assert_eq!(below.changes(), before);
    let root = tempfile::tempdir().unwrap();
    suite(&Overlay::new(RealDisk::shared()), root.path());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_holder_that_ended_is_not_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let disk = RealDisk::new();
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    std::fs::write(&path, format!("{}\n", ended.id())).unwrap();
    ended.wait().unwrap();
    let _shared = disk.lock_shared(&path).unwrap().unwrap();
    let held = disk.lock(&path).unwrap_err();
    assert!(matches!(held, LockError::Held { holder: None, .. }));
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let length = usize::try_from(file.length().unwrap()).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn what_is_written_is_read(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_all_at(b"hello world", 0).unwrap();
    file.write_all_at(b"W", 6).unwrap();
    file.write_all_at(b"!", 13).unwrap();
    assert_eq!(content(&*file), b"hello World\0\0!");
    // Another handle sees it at once.
    let reader = disk.open(&dir.join("a"), Open::Read).unwrap();
    let mut bytes = [0; 5];
    assert_eq!(reader.read_at(&mut bytes, 6).unwrap(), 5);
    assert_eq!(&bytes, b"World");
    assert_eq!(reader.read_at(&mut bytes, 12).unwrap(), 2);
    assert_eq!(reader.read_at(&mut bytes, 14).unwrap(), 0);
    assert_eq!(reader.read_at(&mut bytes, 99).unwrap(), 0);
    let error = reader.read_exact_at(&mut bytes, 12).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(reader.write_all_at(b"x", 0).is_err(), "opened for reading");
    file.sync_data().unwrap();
    disk.sync_dir(dir).unwrap();
}

fn what_leaves_the_page_cache_is_read_as_before(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("uncached"), Open::CreateNew).unwrap();
    let mut expected = vec![7; 300_000];
    file.write_all_at(&expected, 0).unwrap();
    file.sync_data().unwrap();
    // Not flushed: it stays, whatever is advised.
    file.write_all_at(b"newer", 100_000).unwrap();
    expected[100_000..100_005].copy_from_slice(b"newer");
    for bytes in [0..300_000, 5..9, 299_999..1 << 40, 8..8] {
        file.uncache(bytes);
        assert!(content(&*file) == expected);
    }
}

fn slices_are_written_one_after_another(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    let mut slices = [
        IoSlice::new(b"one "),
        IoSlice::new(b""),
        IoSlice::new(b"two "),
        IoSlice::new(b"three"),
    ];
    file.write_all_vectored_at(&mut slices, 2).unwrap();
    assert_eq!(content(&*file), b"\0\0one two three");
    file.write_all_vectored_at(&mut [], 0).unwrap();
    file.write_all_at(b"", 0).unwrap();
    assert_eq!(file.length().unwrap(), 15);
}

fn more_slices_than_one_call_takes(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    let mut slices = vec![IoSlice::new(b"ab"); 3_000];
    file.write_all_vectored_at(&mut slices, 0).unwrap();
    assert_eq!(content(&*file), b"ab".repeat(3_000));
}

fn opening_treats_missing_and_present_files_as_asked(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("a");
    for how in [Open::Read, Open::Write] {
        let error = disk.open(&path, how).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    disk.open(&path, Open::Create)
        .unwrap()
        .write_all_at(b"x", 0)
        .unwrap();
    let error = disk.open(&path, Open::CreateNew).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    for how in [Open::Read, Open::Write, Open::Create] {
        assert_eq!(content(&*disk.open(&path, how).unwrap()), b"x");
    }
    assert!(disk.open(&dir.join("none/a"), Open::Create).is_err());
}

fn a_file_is_cut_and_extended_with_zeros(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_all_at(b"abcdef", 0).unwrap();
    file.set_len(3).unwrap();
    file.set_len(5).unwrap();
    assert_eq!(content(&*file), b"abc\0\0");
}

fn names_are_listed_in_order_renamed_and_removed(disk: &dyn Disk, dir: &Path) {
    for name in ["b", "a", "c"] {
        let file = disk.open(&dir.join(name), Open::CreateNew).unwrap();
        file.write_all_at(name.as_bytes(), 0).unwrap();
    }
    disk.create_dir_all(&dir.join("d")).unwrap();
    let list = || {
        let entries = disk.read_dir(dir).unwrap();
        let names: Vec<_> = entries
            .iter()
            .map(|entry| format!("{}{}", entry.name, if entry.is_dir { "/" } else { "" }))
            .collect();
        names.join(" ")
    };
    assert_eq!(list(), "a b c d/");
    disk.rename(&dir.join("a"), &dir.join("c")).unwrap();
    assert_eq!(list(), "b c d/");
    let replaced = disk.open(&dir.join("c"), Open::Read).unwrap();
    assert_eq!(content(&*replaced), b"a");
    disk.remove_file(&dir.join("b")).unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(list(), "c d/");
    assert!(!disk.exists(&dir.join("b")).unwrap());
    assert!(disk.exists(&dir.join("d")).unwrap());
    let error = disk.remove_file(&dir.join("b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(disk.rename(&dir.join("b"), &dir.join("e")).is_err());
    assert!(disk.remove_file(&dir.join("d")).is_err());
    assert!(disk.read_dir(&dir.join("none")).is_err());
}

fn a_removed_file_is_readable_through_its_handle(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("a"), Open::CreateNew).unwrap();
    file.write_all_at(b"still here", 0).unwrap();
    disk.remove_file(&dir.join("a")).unwrap();
    assert_eq!(content(&*file), b"still here");
}

fn directories_are_made_and_removed_whole(disk: &dyn Disk, dir: &Path) {
    let deep = dir.join("x/y/z");
    disk.create_dir_all(&deep).unwrap();
    disk.create_dir_all(&deep).unwrap();
    drop(disk.open(&deep.join("a"), Open::CreateNew).unwrap());
    assert!(disk.create_dir_all(&deep.join("a")).is_err());
    disk.remove_dir_all(&dir.join("x")).unwrap();
    disk.remove_dir_all(&dir.join("x")).unwrap();
    assert!(!disk.exists(&deep).unwrap());
    let space = disk.space(dir).unwrap();
    assert!(space.available <= space.total && space.total > 0);
}

fn small_files_are_replaced_whole(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("meta");
    assert_eq!(read_all(disk, &path, 100).unwrap(), None);
    for text in ["first and long", "second"] {
        write_atomic(disk, &path, text.as_bytes()).unwrap();
        assert_eq!(
            read_all(disk, &path, 100).unwrap().unwrap(),
            text.as_bytes()
        );
    }
    assert_eq!(disk.read_dir(dir).unwrap().len(), 1, "no temporary is left");
    let error = read_all(disk, &path, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
}

fn a_lock_is_held_once(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("lock");
    let lock = disk.lock(&path).unwrap();
    let error = disk.lock(&path).unwrap_err();
    let LockError::Held { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*holder, Some(std::process::id()));
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(lock);
    drop(disk.lock(&path).unwrap());
    let missing = disk.lock(&dir.join("none/lock")).unwrap_err();
    assert!(matches!(missing, LockError::Io { .. }));
}

fn a_shared_lock_keeps_others_out_and_changes_nothing(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("lock");
    assert!(
        disk.lock_shared(&path).unwrap().is_none(),
        "nothing to lock"
    );
    assert!(!disk.exists(&path).unwrap());
    let lock = disk.lock(&path).unwrap();
    let written = read_all(disk, &path, 100).unwrap();
    let held = disk.lock_shared(&path).unwrap_err();
    assert!(matches!(
        held,
        LockError::Held {
            holder: Some(_),
            ..
        }
    ));
    drop(lock);
    let shared = disk.lock_shared(&path).unwrap().unwrap();
    assert!(matches!(disk.lock(&path), Err(LockError::Held { .. })));
    drop(shared);
    assert_eq!(read_all(disk, &path, 100).unwrap(), written);
    drop(disk.lock(&path).unwrap());
}
