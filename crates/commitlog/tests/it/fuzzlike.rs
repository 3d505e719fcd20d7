//! Bytes that nobody wrote: opening and reading them must end, in an answer or an error.

use std::path::Path;

use env::{Disk, Entropy, Open, SeededEntropy, SimDisk};

use crate::kit::{DIR, Replay, batch, dump, fill, open, seeds, small, try_open};

#[test]
fn any_bytes_as_a_segment_are_survived() {
    for seed in seeds(200) {
        let _replay = Replay(seed);
        let random = SeededEntropy::new(seed);
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new(DIR)).unwrap();
        let path = Path::new(DIR).join("00000000000000000000.log");
        let file = disk.open(&path, Open::Create).unwrap();
        // Good batches, pieces of batches and noise in any order.
        let mut bytes = Vec::new();
        for _ in 0..random.next_u64() % 12 {
            let whole = batch(5, &["abc", "def"]).into_bytes();
            let from = (random.next_u64() % whole.len() as u64) as usize;
            match random.next_u64() % 4 {
                0 => bytes.extend_from_slice(&whole),
                1 => bytes.extend_from_slice(&whole[from..]),
                2 => bytes.extend_from_slice(&whole[..from]),
                _ => {
                    let mut noise = vec![0; from];
                    random.fill(&mut noise);
                    bytes.extend_from_slice(&noise);
                }
            }
        }
        file.write_all_at(&bytes, 0).unwrap();
        drop(commitlog::open_bytes(&bytes));
        let Ok((mut log, _)) = try_open(&disk.shared(), small()) else {
            continue;
        };
        drop(dump(&log.reader()));
        fill(&mut log, &["x"]);
        log.close().unwrap();
    }
}

#[test]
fn any_bytes_as_small_files_are_survived() {
    for seed in seeds(200) {
        let _replay = Replay(seed);
        let random = SeededEntropy::new(seed);
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk, small());
        let value = "x".repeat(300);
        fill(&mut log, &[&value, &value, &value, &value]);
        let before = dump(&log.reader());
        log.close().unwrap();
        for (path, content) in disk.content() {
            if path.extension().is_some_and(|end| end == "log") {
                continue;
            }
            for _ in 0..random.next_u64() % 4 {
                if !content.is_empty() {
                    let bit = random.next_u64() % (content.len() as u64 * 8);
                    disk.flip_bit(&path, bit).unwrap();
                }
            }
        }
        disk.restart();
        let (log, report) = open(&disk, small());
        assert_eq!(report.changed(), None, "seed {seed}");
        assert_eq!(dump(&log.reader()), before, "seed {seed}");
    }
}
