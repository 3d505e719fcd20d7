//! An overlay shows what a disk that really changed would show, and the disk below stays as it was.

use std::path::{Path, PathBuf};

use env::{Disk, Entropy, Open, Overlay, SeededEntropy, SimDisk};

const NAMES: [&str; 5] = ["/d/a", "/d/b", "/d/c", "/d/e/a", "/d/e/b"];

struct Random(SeededEntropy);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn name(&self) -> &'static Path {
        Path::new(NAMES[usize::try_from(self.below(5)).unwrap()])
    }

    /// Places at pages' edges and elsewhere.
    fn place(&self) -> u64 {
        (self.below(4) * 4_096 + self.below(5)).saturating_sub(2)
    }

    fn bytes(&self) -> Vec<u8> {
        let length = [1, 5, 4_096, 9_000][usize::try_from(self.below(4)).unwrap()];
        // Often what is there already.
        vec![u8::try_from(self.below(3)).unwrap(); length]
    }
}

/// One change, chosen by `random`; what it answered, in words.
fn change(disk: &dyn Disk, random: &Random) -> String {
    let (name, other) = (random.name(), random.name());
    let how =
        [Open::Write, Open::Create, Open::CreateNew][usize::try_from(random.below(3)).unwrap()];
    let (at, bytes) = (random.place(), random.bytes());
    let what = match random.below(12) {
        0..=5 => disk
            .open(name, how)
            .and_then(|file| file.write_all_at(&bytes, at)),
        6..=7 => disk.open(name, how).and_then(|file| file.set_len(at)),
        8 => disk.remove_file(name),
        9 => disk.rename(name, other),
        10 if at < 2 => disk.remove_dir_all(Path::new("/d/e")),
        _ => disk.create_dir_all(Path::new("/d/e")),
    };
    format!("{:?}", what.map_err(|error| error.kind()))
}

/// Everything there is below `/d`.
fn content(disk: &dyn Disk) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/d")];
    while let Some(dir) = waiting.pop() {
        for entry in disk.read_dir(&dir).unwrap() {
            let path = dir.join(entry.name);
            if entry.is_dir {
                waiting.push(path);
            } else {
                let bytes = env::read_all(disk, &path, 1 << 20).unwrap().unwrap();
                found.push((path, bytes));
            }
        }
    }
    found
}

#[test]
fn it_shows_what_a_changed_disk_would_show() {
    for seed in 0..300 {
        let random = || Random(SeededEntropy::new(seed));
        let build = |random: &Random| {
            let disk = SimDisk::new(seed);
            disk.create_dir_all(Path::new("/d")).unwrap();
            for _ in 0..random.below(20) {
                change(&disk, random);
            }
            disk
        };
        let (ours, theirs) = (random(), random());
        let (below, really) = (build(&ours), build(&theirs));
        let before = (below.content(), below.changes());
        let overlay = Overlay::new(below.shared());
        for step in 0..40 {
            let (tried, done) = (change(&overlay, &ours), change(&really, &theirs));
            assert_eq!(tried, done, "seed {seed}, step {step}");
            assert_eq!(
                content(&overlay),
                content(&really),
                "seed {seed}, step {step}"
            );
        }
        assert_eq!((below.content(), below.changes()), before);
    }
}

#[test]
fn handles_of_one_file_see_one_content_whatever_becomes_of_its_name() {
    let below = SimDisk::new(1);
    let path = Path::new("/a");
    env::write_atomic(&below, path, b"below").unwrap();
    let overlay = Overlay::new(below.shared());
    let reader = overlay.open(path, Open::Read).unwrap();
    let writer = overlay.open(path, Open::Write).unwrap();
    writer.write_all_at(b"B", 0).unwrap();
    let mut bytes = [0; 5];
    reader.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"Below");
    overlay.remove_file(path).unwrap();
    writer.write_all_at(b"E", 1).unwrap();
    reader.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"BElow");
    assert!(!overlay.exists(path).unwrap());
    assert_eq!(below.content()[0].1, b"below");
}

#[test]
fn what_is_written_as_it_is_takes_no_memory_and_what_is_forgotten_neither() {
    let below = SimDisk::new(1);
    let path = Path::new("/a.log");
    env::write_atomic(&below, path, &vec![7; 20_000]).unwrap();
    let overlay = Overlay::forgetting(below.shared(), |path| path.ends_with("b.index"));
    let file = overlay.open(path, Open::Write).unwrap();
    file.write_all_at(&vec![7; 20_000], 0).unwrap();
    let forgotten = overlay.open(Path::new("/b.index"), Open::Create).unwrap();
    forgotten.write_all_at(&[1; 9_000], 100).unwrap();
    assert_eq!(overlay.changed_bytes(), 0);
    assert_eq!(forgotten.length().unwrap(), 9_100);
    assert_eq!(overlay.read_bytes(), 20_000);
    file.write_all_at(&[8], 5_000).unwrap();
    assert_eq!(overlay.changed_bytes(), 4_096);
}
