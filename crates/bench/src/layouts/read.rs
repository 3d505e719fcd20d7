//! Reading one partition back from the front to the end, nothing of it in memory.
//!
//! Both layouts were written round by round and synced after every 16 MiB, as turns of the journal are. Where the entries
//! of a partition are in the one log is known for nothing here; a log would have to keep an index of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::files::{Place, create_all, forget, noise};
use super::write::{ENTRY_HEADER_BYTES, OneLog, sync_each};
use super::{Case, case};
use crate::spread::short;

/// Small batches and large ones, in 16 partitions and in 1,000.
pub(super) const CASES: [Case; 4] = [
    case(16, 161, 64),
    case(16, 10 << 10, 256),
    case(1_000, 161, 64),
    case(1_000, 10 << 10, 256),
];

/// Bytes written between two syncs of everything.
const SYNC_BYTES: u64 = 16 << 20;

/// Bytes read at once where everything is read.
const READ_BYTES: usize = 1 << 20;

/// How a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Its own file, from the front.
    File,
    /// The one log, entry by entry.
    Index,
    /// The one log, all of it, for what is the partition's.
    Through,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::File, Self::Index, Self::Through];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::File => "its own file, 1 MiB at a time",
            Self::Index => "one log, entry by entry",
            Self::Through => "one log, all of it, 1 MiB at a time",
        }
    }
}

/// One reading of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) way: Way,
    /// Bytes of the partition.
    pub(super) bytes: u64,
    /// Seconds.
    pub(super) took: f64,
}

/// All ways in turns, `rounds` times, another partition each time.
pub(super) fn turns(place: &Place, case: Case, rounds: u32) -> Result<Vec<Read>> {
    println!("==> reading, {}", case.title());
    let run = place.run()?;
    let files = create_all(run.path(), case, |_| Ok(()))?;
    let batch = noise(case.append as usize, 2);
    let mut log = OneLog::new(super::files::create(&run.path().join("log"))?, case);
    let mut unsynced = 0;
    for number in 0..case.rounds_max() {
        for file in &files {
            file.write_all_at(&batch, number * batch.len() as u64)?;
        }
        log.write()?;
        unsynced += case.bytes();
        if unsynced >= SYNC_BYTES {
            sync_each(&files)?;
            log.sync()?;
            unsynced = 0;
        }
    }
    let length = log.position();
    let log = log.into_forgotten()?;
    let mut all = Vec::new();
    for number in 0..rounds {
        // Far from the ones before.
        let partition = (number * 7 + 3) % case.partitions;
        let own = &files[partition as usize];
        for way in Way::ALL {
            forget(if way == Way::File { own } else { &log })?;
            let started = Instant::now();
            let bytes = match way {
                Way::File => whole(own)?,
                Way::Index => by_index(&log, case, partition)?,
                Way::Through => through(&log, length, partition)?,
            };
            let took = started.elapsed().as_secs_f64();
            ensure!(
                bytes == case.file_bytes(),
                "{}: {bytes} bytes were read, {} were written",
                way.name(),
                case.file_bytes()
            );
            println!("    {}: {} ms", way.name(), short(took * 1e3));
            all.push(Read { way, bytes, took });
        }
    }
    Ok(all)
}

/// Reads a file from the front; answers its bytes.
fn whole(file: &File) -> Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut position = 0;
    loop {
        match file.read_at(&mut buffer, position)? {
            0 => return Ok(position),
            count => position += count as u64,
        }
    }
}

/// Reads the partition's entries where they are known to be; answers their bytes.
fn by_index(log: &File, case: Case, partition: u32) -> Result<u64> {
    let stride = u64::from(case.append) + ENTRY_HEADER_BYTES as u64;
    let mut buffer = vec![0; stride as usize];
    let mut bytes = 0;
    for number in 0..case.rounds_max() {
        let entry = number * u64::from(case.partitions) + u64::from(partition);
        log.read_exact_at(&mut buffer, entry * stride)?;
        let (of, length) = header(&buffer);
        ensure!(of == partition, "an entry of partition {of} at {entry}");
        bytes += length;
    }
    Ok(bytes)
}

/// Reads the whole log; answers the bytes that are the partition's.
fn through(log: &File, length: u64, partition: u32) -> Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut begin, mut bytes) = (0, 0);
    while begin < length {
        let count = log.read_at(&mut buffer, begin)?;
        ensure!(count > 0, io::Error::from(io::ErrorKind::UnexpectedEof));
        let mut at = 0;
        // An entry may reach into what is read next: then that begins with it.
        while let Some(entry) = buffer[..count].get(at..at + ENTRY_HEADER_BYTES) {
            let (of, size) = header(entry);
            let end = at + ENTRY_HEADER_BYTES + size as usize;
            if end > count {
                break;
            }
            if of == partition {
                bytes += size;
            }
            at = end;
        }
        ensure!(at > 0, "an entry is larger than what is read at once");
        begin += at as u64;
    }
    Ok(bytes)
}

fn header(entry: &[u8]) -> (u32, u64) {
    let word = |at: usize| {
        let bytes = entry.get(at..at + 4).and_then(|word| word.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    (word(0), u64::from(word(4)))
}
