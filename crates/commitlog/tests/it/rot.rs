//! A bit flips in records that were promised: only their batch is lost, and it is said which.

use std::path::Path;

use commitlog::{Error, Options, verify};
use env::{Disk, Entropy, Open, SeededEntropy, SimDisk};
use model::Offset;
use stdx::ByteSize;

use crate::kit::{DIR, Replay, batch, dump, fill, now, offset, open, seeds, small};

/// Batches of a few records in several segments; answers the first and next offset of each.
pub(crate) fn build(disk: &SimDisk, random: &SeededEntropy) -> Vec<(u64, u64)> {
    let options = Options {
        segment_bytes: ByteSize::from_bytes(600 + random.next_u64() % 2_000),
        checkpoint_bytes: ByteSize::from_bytes(500 + random.next_u64() % 3_000),
        ..small()
    };
    let (mut log, _) = open(disk, options);
    let mut batches = Vec::new();
    for number in 0..20 + random.next_u64() % 20 {
        let value = format!(
            "{number}:{}",
            "y".repeat((random.next_u64() % 120) as usize)
        );
        let values = vec![value.as_str(); 1 + (random.next_u64() % 3) as usize];
        let at = log.append(&[batch(5, &values)], now(1)).unwrap();
        batches.push((at.base_offset.get(), at.last_offset.get() + 1));
        log.flush().unwrap();
    }
    if random.next_u64().is_multiple_of(2) {
        log.close().unwrap();
    }
    batches
}

/// Flips a bit of some batch's bytes; answers the batch.
fn flip(disk: &SimDisk, random: &SeededEntropy, batches: &[(u64, u64)]) -> (u64, u64) {
    let (path, content) = {
        let logs: Vec<_> = disk
            .content()
            .into_iter()
            .filter(|(path, bytes)| {
                path.extension().is_some_and(|end| end == "log") && !bytes.is_empty()
            })
            .collect();
        logs[(random.next_u64() % logs.len() as u64) as usize].clone()
    };
    let bit = random.next_u64() % (content.len() as u64 * 8);
    // Walk to the batch that holds the bit.
    let mut at = 0;
    let damaged = loop {
        let (header, size) = record::check(&content[at..]).unwrap();
        if bit < (at + size) as u64 * 8 {
            // Bits of the leader's term are not part of anything that is promised.
            if (12..16).contains(&(bit as usize / 8 - at)) {
                return (0, 0);
            }
            break header.base_offset as u64;
        }
        at += size;
    };
    disk.flip_bit(&path, bit).unwrap();
    *batches.iter().find(|(base, _)| *base == damaged).unwrap()
}

/// What [`dump`] shows of the offsets around a damaged batch.
fn check(shown: &str, batches: &[(u64, u64)], damaged: (u64, u64), seed: u64) {
    let mut expected = Vec::new();
    for (base, next) in batches {
        if (*base, *next) == damaged {
            expected.push(format!("{base}..{next}!"));
        } else {
            expected.extend((*base..*next).map(|offset| offset.to_string()));
        }
    }
    let shown: Vec<_> = shown
        .split(' ')
        .map(|word| word.split('=').next().unwrap().to_owned())
        .collect();
    assert_eq!(shown, expected, "seed {seed}");
}

#[test]
fn a_flipped_bit_found_by_a_start_loses_one_batch_and_says_which() {
    for seed in seeds(150) {
        let _replay = Replay(seed);
        let random = SeededEntropy::new(seed);
        let disk = SimDisk::new(seed);
        let batches = build(&disk, &random);
        let damaged = flip(&disk, &random, &batches);
        disk.restart();
        // Without the checkpoint every byte is looked at.
        disk.remove_file(&Path::new(DIR).join("checkpoint"))
            .unwrap();
        let (mut log, report) = open(&disk, small());
        assert_eq!(report.cut, None);
        if damaged == (0, 0) {
            assert_eq!(report.changed(), None);
            continue;
        }
        assert!(!report.damage.is_empty() && !report.kept.is_empty());
        check(&dump(&log.reader()), &batches, damaged, seed);
        // It takes appends, and the next start knows.
        let end = log.marks().log_end;
        fill(&mut log, &["more"]);
        assert_eq!(log.marks().log_end, end.next());
        drop(log);
        disk.crash();
        let (log, report) = open(&disk, small());
        assert!(report.damage.is_empty() && !report.known_damage.is_empty());
        let shown = dump(&log.reader());
        let shown = shown.rsplit_once(' ').unwrap().0;
        check(shown, &batches, damaged, seed);
    }
}

#[test]
fn a_flipped_bit_found_by_a_reader_loses_one_batch_and_says_which() {
    for seed in seeds(150) {
        let _replay = Replay(seed);
        let random = SeededEntropy::new(seed ^ 0xabcd);
        let disk = SimDisk::new(seed);
        let batches = build(&disk, &random);
        disk.restart();
        let (log, _) = open(&disk, small());
        let damaged = flip(&disk, &random, &batches);
        if damaged == (0, 0) {
            continue;
        }
        let reader = log.reader();
        // Whoever asks for the batch after it first is not kept from it.
        let last = batches.last().unwrap();
        if *last != damaged {
            let read = reader.read(offset(last.0), 1_000, true, Offset::new(1 << 40));
            assert!(!read.unwrap().is_empty());
        }
        check(&dump(&reader), &batches, damaged, seed);
        let again = reader.read(offset(damaged.0), 1_000, true, Offset::new(1 << 40));
        assert!(matches!(again, Err(Error::Corrupt { .. })));
        // Searches pass it over.
        assert!(reader.find_time(now(5)).unwrap().is_some());
        assert!(reader.max_timestamp().unwrap().is_some());
        let verified = verify(&disk.shared(), Path::new(DIR), small(), now(1), |_| {}).unwrap();
        assert!(!verified.is_good());
    }
}

#[test]
fn an_index_that_leads_astray_keeps_nobody_from_any_record() {
    const ENTRIES_FROM: usize = 36;
    const ENTRY: usize = 16;
    let options = || Options {
        segment_bytes: ByteSize::from_bytes(30_000),
        ..small()
    };
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk, options());
    for number in 0..60_i64 {
        let value = format!("{number}:{}", "z".repeat(1_000));
        log.append(&[batch(number, &[&value, "and"])], now(1))
            .unwrap();
    }
    log.flush().unwrap();
    let whole = dump(&log.reader());
    log.close().unwrap();
    disk.restart();
    let path = Path::new(DIR).join("00000000000000000000.index");
    let mut kept = disk.content().into_iter();
    let (_, good) = kept.find(|(name, _)| *name == path).unwrap();
    let entries = (good.len() - ENTRIES_FROM - 4) / ENTRY;
    assert!(entries > 4, "there is something to lead astray");
    // Offset and position of each entry: into the middle of a batch, to another batch, out of the file.
    for (entry, field, by) in (0..entries).flat_map(|entry| {
        [(0, 1), (0, 2), (4, 5), (4, 1_092), (4, 1 << 20)].map(|(at, by)| (entry, at, by))
    }) {
        let at = ENTRIES_FROM + entry * ENTRY + field;
        let mut bytes = good[..good.len() - 4].to_vec();
        let number = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&(number + by).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let file = disk.open(&path, Open::Create).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let (log, report) = open(&disk, options());
        assert_eq!(report.changed(), None);
        let reader = log.reader();
        assert!(dump(&reader) == whole, "{entry} {field} {by}");
        for number in 0..60 {
            let found = reader.find_time(now(number)).unwrap().unwrap();
            assert_eq!(
                found.offset,
                offset(number as u64 * 2),
                "{entry} {field} {by}"
            );
        }
        assert_eq!(reader.damage(), []);
        drop(log);
        disk.restart();
    }
}
