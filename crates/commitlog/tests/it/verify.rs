//! What verify says is what opening and reading the log then does, whatever became of its files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use commitlog::{
    Bad, Damage, IndexState, Log, SegmentFinding, Verified, redo, verify, verify_segment,
};
use env::{Disk, DynDisk, Entropy, Open, SeededEntropy, SimDisk};
use model::Offset;
use record::{BatchBuilder, Compression};
use stdx::ByteSize;

use crate::kit::{DIR, Replay, batch, dump, fill, now, offset, open, seeds, small, try_open};
use crate::rot::build;

fn look(disk: &SimDisk) -> Verified {
    let before = (disk.content(), disk.changes());
    // The clock of `kit::open`.
    let found = verify(&disk.shared(), Path::new(DIR), small(), now(1_000), |_| {}).unwrap();
    assert_eq!((disk.content(), disk.changes()), before, "it only reads");
    found
}

/// A file of the log's directory whose name ends so.
fn some_file(disk: &SimDisk, random: &SeededEntropy, end: &str) -> Option<(PathBuf, Vec<u8>)> {
    let mut files = disk.content();
    files.retain(|(path, _)| path.to_string_lossy().ends_with(end));
    let pick = random.next_u64() as usize % files.len().max(1);
    (pick < files.len()).then(|| files.swap_remove(pick))
}

/// Something that befalls the files of a log.
fn befall(disk: &SimDisk, random: &SeededEntropy) {
    match random.next_u64() % 8 {
        0..=2 => {
            if let Some((path, content)) = some_file(disk, random, ".log")
                && !content.is_empty()
            {
                let bit = random.next_u64() % (content.len() as u64 * 8);
                disk.flip_bit(&path, bit).unwrap();
            }
        }
        3 => drop(disk.remove_file(&Path::new(DIR).join("checkpoint"))),
        4 => drop(disk.remove_file(&Path::new(DIR).join("flushed"))),
        5 => {
            if let Some((path, content)) = some_file(disk, random, ".log") {
                let file = disk.open(&path, Open::Write).unwrap();
                let cut = random.next_u64() % (content.len() as u64 + 1);
                file.set_len(cut).unwrap();
            }
        }
        6 => {
            if let Some((path, content)) = some_file(disk, random, ".log") {
                let file = disk.open(&path, Open::Write).unwrap();
                let rubbish = vec![(random.next_u64() % 3) as u8; 200];
                file.write_all_at(&rubbish, content.len() as u64).unwrap();
            }
        }
        _ => {
            if let Some((path, _)) = some_file(disk, random, ".log") {
                disk.remove_file(&path).unwrap();
            }
        }
    }
}

/// Offsets that are lost, by what verify says.
fn foretold(found: &Verified) -> BTreeSet<u64> {
    let mut lost = BTreeSet::new();
    let mut note = |damage: &Damage| lost.extend(damage.from.get()..damage.until.get());
    found.opening.known_damage.iter().for_each(&mut note);
    found.opening.damage.iter().for_each(&mut note);
    for (_, segment) in &found.segments {
        for finding in &segment.findings {
            match finding {
                SegmentFinding::Damage { damage, .. } => note(damage),
                SegmentFinding::Records { .. } => panic!("{finding:?}"),
            }
        }
    }
    let start = found.opening.log_start.get();
    lost.retain(|at| (start..found.opening.log_end.get()).contains(at));
    lost
}

/// Offsets that are lost, by what a reader of all of it meets.
fn met(log: &Log) -> BTreeSet<u64> {
    let marks = log.marks();
    let mut lost: BTreeSet<u64> = (marks.log_start.get()..marks.log_end.get()).collect();
    for word in dump(&log.reader()).split(' ') {
        if let Some((offset, _)) = word.split_once('=') {
            lost.remove(&offset.parse().unwrap());
        }
    }
    lost
}

#[test]
fn what_is_said_is_what_opening_and_reading_do() {
    let (mut cut, mut noticed, mut unnoticed) = (0, 0, 0);
    for seed in seeds(400) {
        let _replay = Replay(seed);
        let random = SeededEntropy::new(seed ^ 0xface);
        let disk = SimDisk::new(seed);
        build(&disk, &random);
        disk.restart();
        if random.next_u64().is_multiple_of(2) {
            // An end that nobody was promised.
            let (mut log, _) = open(&disk, small());
            log.append(&[batch(9, &["unflushed", "end"])], now(9))
                .unwrap();
            disk.crash();
        }
        for _ in 0..random.next_u64() % 4 {
            befall(&disk, &random);
        }
        let found = look(&disk);
        let (log, report) = open(&disk, small());
        assert_eq!(found.opening, report);
        assert_eq!(foretold(&found), met(&log));
        cut += usize::from(report.cut.is_some());
        noticed += usize::from(!report.damage.is_empty());
        let findings = found.segments.iter().map(|(_, found)| found.findings.len());
        unnoticed += usize::from(findings.sum::<usize>() > 0);
        // Opened and looked at again, nothing is left to do, and nothing is forgotten.
        drop(log);
        disk.restart();
        let again = look(&disk);
        assert_eq!(again.opening.changed(), None);
        assert_eq!(foretold(&again), foretold(&found));
    }
    assert!(
        cut > 10 && noticed > 10 && unnoticed > 10,
        "{cut} cut, {noticed} noticed, {unnoticed} only seen by looking"
    );
}

#[test]
fn what_cannot_be_opened_is_said_in_the_words_of_the_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c"]);
    drop(log);
    disk.restart();
    // A segment that begins inside its predecessor.
    let stray = Path::new(DIR).join(format!("{:020}.log", 1));
    env::write_atomic(&disk, &stray, b"").unwrap();
    let said = verify(&disk.shared(), Path::new(DIR), small(), now(1), |_| {}).unwrap_err();
    let done = try_open(&disk.shared(), small()).unwrap_err();
    assert_eq!(said.to_string(), done.to_string());
}

#[test]
fn records_that_cannot_be_taken_apart_are_found_behind_a_right_checksum() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, small());
        fill(&mut log, &["a"]);
        let mut builder = BatchBuilder::new(compression);
        builder.push(now(5), Some(b"key"), Some(&[b'v'; 90]), &[]);
        let mut bytes = builder.build().into_bytes().to_vec();
        // The records, not the header; and the checksum of what they are now.
        for byte in &mut bytes[61..70] {
            *byte ^= 0x55;
        }
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let (forged, _) = record::CheckedBatch::parse(bytes.into()).unwrap();
        let at = log.append(&[forged], now(6)).unwrap();
        log.flush().unwrap();
        fill(&mut log, &["b"]);
        drop(log);
        disk.restart();
        let found = look(&disk);
        let [(_, segment)] = &found.segments[..] else {
            panic!("{found:?}")
        };
        assert_eq!((segment.batches, segment.records), (3, 3));
        let [
            SegmentFinding::Records {
                offset, position, ..
            },
        ] = &segment.findings[..]
        else {
            panic!("{compression:?}: {found:?}")
        };
        assert_eq!((*offset, *position > 0), (at.base_offset, true));
    }
}

#[test]
fn the_reason_is_said_in_words() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c"]);
    log.close().unwrap();
    disk.restart();
    let path = Path::new(DIR).join(format!("{:020}.log", 0));
    let file = disk.open(&path, Open::Write).unwrap();
    let size = file.length().unwrap() / 3;
    let why = |position, expected| {
        let why = commitlog::why_bad(&disk, &path, position, offset(expected)).unwrap();
        why.map(|why: Bad| why.to_string())
    };
    assert_eq!(why(0, 0), None);
    assert_eq!(
        why(size, 0).unwrap(),
        "the batch there begins at offset 1, and 0 comes next"
    );
    disk.flip_bit(&path, (size + 65) * 8).unwrap();
    assert!(why(size, 1).unwrap().starts_with("batch crc is 0x"));
    file.set_len(size * 2 + 65).unwrap();
    assert!(why(size * 2, 2).unwrap().contains("ends after 65"));
    file.write_all_at(&[0; 65], size * 2).unwrap();
    assert!(why(size * 2, 2).unwrap().contains("zeros"));
}

#[test]
fn an_index_is_held_against_the_log() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, small());
    let value = "x".repeat(300);
    for _ in 0..9 {
        fill(&mut log, &[&value]);
    }
    log.close().unwrap();
    disk.restart();
    let index = Path::new(DIR).join(format!("{:020}.index", 0));
    let state = || {
        let found = look(&disk);
        assert!(found.is_good(), "an index is no evidence");
        found.segments[0].1.index
    };
    assert_eq!(state(), IndexState::Good);
    let good = env::read_all(&disk, &index, 1 << 20).unwrap().unwrap();
    let put = |bytes: &[u8]| env::write_atomic(&disk, &index, bytes).unwrap();
    put(&good[..good.len() - 1]);
    assert_eq!(state(), IndexState::Broken);
    // Whole, of the same length, and of something else.
    let mut wrong = good[..good.len() - 4].to_vec();
    wrong[24] ^= 1;
    wrong.extend_from_slice(&crc32c::crc32c(&wrong).to_le_bytes());
    put(&wrong);
    assert_eq!(state(), IndexState::Wrong);
    let other = env::read_all(
        &disk,
        &Path::new(DIR).join(format!("{:020}.index", 2)),
        1 << 20,
    );
    put(&other.unwrap().unwrap_or_default());
    assert_eq!(state(), IndexState::Broken);
    disk.remove_file(&index).unwrap();
    assert_eq!(state(), IndexState::Missing);
}

#[test]
fn progress_adds_up_to_all_bytes_also_past_damage() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, small());
    fill(&mut log, &["a", "b", "c", "d"]);
    drop(log);
    disk.restart();
    let path = Path::new(DIR).join(format!("{:020}.log", 0));
    disk.flip_bit(&path, 1_000).unwrap();
    let mut passed = 0;
    let shared: DynDisk = disk.shared();
    verify(&shared, Path::new(DIR), small(), now(1), |bytes| {
        passed += bytes;
    })
    .unwrap();
    let length = disk.open(&path, Open::Read).unwrap().length().unwrap();
    assert_eq!(passed, length);
    let segments = commitlog::segment_files(&disk, Path::new(DIR), Some(offset(4))).unwrap();
    passed = 0;
    verify_segment(&disk, &disk, &segments[0], &[], &mut |bytes| {
        passed += bytes;
    })
    .unwrap();
    assert_eq!(passed, length);
}

#[test]
fn what_a_journal_brings_back_is_part_of_what_is_said() {
    let disk = SimDisk::new(5);
    let options = commitlog::Options {
        journal_bytes: ByteSize::from_kib(64),
        ..small()
    };
    let (mut log, _) = Log::open(disk.shared(), Path::new(DIR), options, now(1)).unwrap();
    log.append(&[batch(5, &["only the journal has it"])], now(1))
        .unwrap();
    let writes = log.pending().unwrap().to_vec();
    drop(log);
    disk.crash_with(env::Survival::Nothing);
    let before = disk.content();
    let dry = commitlog::dry_disk(disk.shared());
    redo(&dry, Path::new(DIR), &writes, ByteSize::from_mib(1)).unwrap();
    let found = verify(&dry.shared(), Path::new(DIR), small(), now(1_000), |_| {}).unwrap();
    assert_eq!(disk.content(), before);
    assert_eq!((found.opening.log_end, found.is_good()), (offset(1), true));
    redo(&disk, Path::new(DIR), &writes, ByteSize::from_mib(1)).unwrap();
    let (_, report) = open(&disk, small());
    assert_eq!(found.opening, report);
    assert_eq!(report.log_end, Offset::new(1));
}
