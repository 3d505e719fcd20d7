//! The store on disk, so that a start replays minutes of the log and not hours.
//!
//! Problem. Six hours of one host are 25 million samples; unpacking them from the log takes seconds, and a start
//! is to take less than one.
//!
//! Answer. Once enough was replayed or came since the last time, the store is written to one file with the
//! position from which the log is to be read on. It is a cache: the log alone says what is true.
//!
//! - The position is taken before the store is read, so the file holds at least all before it; what it holds
//!   of later records is met again as duplicates.
//! - A file that is broken, of another log, ahead of the log (which lost its end), or of a shorter retention (the log
//!   may have more) is passed over with a warning and all is replayed, as if it were missing.
//! - The bits of chunks are written as they are: whoever changes them in `series::chunk` raises `VERSION`.
//! - The file is replaced whole; a crash leaves the old one or the new one.
//!
//! ```text
//! u32 magic "LTSS", u32 version 1, u32 crc (CRC-32C of all bytes from 12 on), u32 retention in seconds,
//! [16] topic id, u128 position, the store (series::Store::save)
//! ```

use std::io;
use std::path::{Path, PathBuf};

use env::{DynDisk, DynFile, Open, TEMPORARY_SUFFIX};
use model::{Position, TopicId};
use series::Store;

const MAGIC: u32 = u32::from_le_bytes(*b"LTSS");
const VERSION: u32 = 1;
/// Bytes before the ones the checksum covers, and before the store.
const UNCHECKED_BYTES: usize = 12;
const HEADER_BYTES: usize = 48;
/// Bytes read at once where not all are needed together.
const READ_BYTES: usize = 1 << 20;
/// More than a store of ordinary size takes; larger ones are replayed.
const BYTES_MAX: usize = 16 << 30;

/// Where the store is kept between two runs.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    disk: DynDisk,
    path: PathBuf,
}

/// Why a snapshot is passed over.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotUnusable {
    /// The system does not give it.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error("it is broken")]
    Broken,
    /// Another Lantern wrote it.
    #[error("it is of version {0}, and this Lantern reads version {VERSION}")]
    Version(u32),
    /// The topic was deleted and made again since.
    #[error("it belongs to another log")]
    OtherLog,
    /// The log ends before the position it was written at.
    #[error("it is ahead of the log, which lost its end")]
    Ahead,
    /// The log may have more samples than it.
    #[error("it holds {0} s, and samples are now kept longer")]
    Shorter(u32),
    /// The store does not take it.
    #[error("{0}")]
    Refused(#[from] series::SnapshotError),
}

/// The fields before the store.
struct Header {
    crc: u32,
    retention: u32,
    topic: [u8; 16],
    position: Position,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, SnapshotUnusable> {
        let number = |at: usize| -> Result<u32, SnapshotUnusable> {
            let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
            Ok(u32::from_le_bytes(*bytes.ok_or(SnapshotUnusable::Broken)?))
        };
        if number(0)? != MAGIC || bytes.len() < HEADER_BYTES {
            return Err(SnapshotUnusable::Broken);
        }
        let version = number(4)?;
        if version != VERSION {
            return Err(SnapshotUnusable::Version(version));
        }
        let topic = bytes[16..].first_chunk().ok_or(SnapshotUnusable::Broken)?;
        let position = bytes[32..].first_chunk().ok_or(SnapshotUnusable::Broken)?;
        Ok(Self {
            crc: number(8)?,
            retention: number(12)?,
            topic: *topic,
            position: Position::from_bits(u128::from_le_bytes(*position)),
        })
    }

    /// Whether it is of this log, which ends at `end`.
    fn check_log(&self, topic: TopicId, end: Position) -> Result<(), SnapshotUnusable> {
        if self.topic != topic.bytes() {
            return Err(SnapshotUnusable::OtherLog);
        }
        if self.position > end {
            return Err(SnapshotUnusable::Ahead);
        }
        Ok(())
    }
}

impl SnapshotFile {
    /// The file at `path`, whose directory exists.
    pub fn new(disk: DynDisk, path: impl Into<PathBuf>) -> Self {
        Self {
            disk,
            path: path.into(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `store`, which holds all records of `topic` before `position`, durable when this returns.
    pub(crate) fn save(&self, store: &Store, topic: TopicId, position: Position) -> io::Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let file = self.disk.open(&temporary, Open::Create)?;
        let written = write(&file, store, topic, position);
        drop(file);
        if let Err(error) = written {
            // What matters is the error above; a temporary that stays behind is written over.
            drop(self.disk.remove_file(&temporary));
            return Err(error);
        }
        self.disk.rename(&temporary, &self.path)?;
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.disk.sync_dir(directory)
    }

    /// Checks the file without loading it: its checksum, and whether it is of the log of `topic`, which ends at
    /// `end`. Answers its bytes; `None` if there is no file.
    ///
    /// # Errors
    /// Why a start would pass it over.
    pub fn check(&self, topic: TopicId, end: Position) -> Result<Option<u64>, SnapshotUnusable> {
        let file = match self.disk.open(&self.path, Open::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = file.length()?;
        let mut bytes = vec![0; READ_BYTES];
        let (mut at, mut crc, mut header) = (0, 0, None);
        while at < length {
            let left = usize::try_from(length - at).unwrap_or(READ_BYTES);
            let part = &mut bytes[..left.min(READ_BYTES)];
            file.read_exact_at(part, at)?;
            let unchecked = if at == 0 { UNCHECKED_BYTES } else { 0 };
            if at == 0 {
                header = Some(Header::read(part)?);
            }
            crc = crc32c::crc32c_append(crc, part.get(unchecked..).unwrap_or_default());
            at += part.len() as u64;
        }
        let header = header.ok_or(SnapshotUnusable::Broken)?;
        if header.crc != crc {
            return Err(SnapshotUnusable::Broken);
        }
        header.check_log(topic, end)?;
        Ok(Some(length))
    }

    /// Fills `store`, which is empty, and answers from where to read on; `None` if there is no file. `end` is the
    /// end of the log of `topic`.
    pub(crate) fn load(
        &self,
        store: &Store,
        topic: TopicId,
        end: Position,
    ) -> Result<Option<Position>, SnapshotUnusable> {
        let Some(bytes) = env::read_all(&*self.disk, &self.path, BYTES_MAX)? else {
            return Ok(None);
        };
        let header = Header::read(&bytes)?;
        if header.crc != crc32c::crc32c(&bytes[UNCHECKED_BYTES..]) {
            return Err(SnapshotUnusable::Broken);
        }
        header.check_log(topic, end)?;
        if header.retention < retention_seconds(store) {
            return Err(SnapshotUnusable::Shorter(header.retention));
        }
        store.load(&bytes[HEADER_BYTES..])?;
        Ok(Some(header.position))
    }
}

fn retention_seconds(store: &Store) -> u32 {
    u32::try_from(store.options().retention.as_secs()).unwrap_or(u32::MAX)
}

fn write(file: &DynFile, store: &Store, topic: TopicId, position: Position) -> io::Result<()> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC.to_le_bytes());
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&retention_seconds(store).to_le_bytes());
    header.extend_from_slice(&topic.bytes());
    header.extend_from_slice(&position.bits().to_le_bytes());
    let mut crc = crc32c::crc32c(&header[UNCHECKED_BYTES..]);
    let mut at = HEADER_BYTES as u64;
    file.set_len(0)?;
    store.save(|piece| {
        crc = crc32c::crc32c_append(crc, piece);
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
        io::Result::Ok(())
    })?;
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&header, 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use env::{Disk, Faults, SimDisk};
    use model::Timestamp;
    use series::{Labels, StoreOptions};

    use super::*;

    const TOPIC: TopicId = TopicId::from_bytes([7; 16]);
    const FILE: &str = "/data/samples";

    fn store_of(samples: i64) -> Store {
        let store = Store::new(StoreOptions::default());
        for at in 0..samples {
            let labels = Labels::of(&[("__name__", "x"), ("n", &format!("{}", at % 3))]);
            let at = Timestamp::from_millis(at * 1_000);
            store.append(&labels, at, 1.5).unwrap();
        }
        store
    }

    fn disk() -> (SimDisk, SnapshotFile) {
        let disk = SimDisk::new(11);
        disk.create_dir_all(Path::new("/data")).unwrap();
        let file = SnapshotFile::new(disk.shared(), FILE);
        (disk, file)
    }

    /// Loads the file, and checks that looking at it says the same.
    fn load(file: &SnapshotFile, topic: TopicId, end: u128) -> Result<Option<(u128, u64)>, String> {
        let store = Store::new(StoreOptions::default());
        let loaded = file.load(&store, topic, Position::from_bits(end));
        let loaded = loaded.map_err(|reason| reason.to_string());
        let checked = file.check(topic, Position::from_bits(end));
        let checked = checked.map_err(|reason| reason.to_string());
        assert_eq!(
            checked.map(|bytes| bytes.is_some()),
            loaded.clone().map(|position| position.is_some())
        );
        let loaded = loaded?;
        Ok(loaded.map(|position| (position.bits(), store.stats().samples)))
    }

    #[test]
    fn what_was_saved_is_loaded_with_its_position() {
        let (_disk, file) = disk();
        assert_eq!(load(&file, TOPIC, 9), Ok(None));
        file.save(&store_of(1_000), TOPIC, Position::from_bits(9))
            .unwrap();
        assert_eq!(load(&file, TOPIC, 9), Ok(Some((9, 1_000))));
        file.save(&store_of(2_000), TOPIC, Position::from_bits(20))
            .unwrap();
        assert_eq!(load(&file, TOPIC, 21), Ok(Some((20, 2_000))));
    }

    #[test]
    fn what_does_not_fit_the_log_is_passed_over() {
        let (_disk, file) = disk();
        file.save(&store_of(10), TOPIC, Position::from_bits(9))
            .unwrap();
        let other = TopicId::from_bytes([8; 16]);
        assert_eq!(
            load(&file, other, 9),
            Err("it belongs to another log".into())
        );
        assert_eq!(
            load(&file, TOPIC, 8),
            Err("it is ahead of the log, which lost its end".into())
        );
    }

    #[test]
    fn a_longer_retention_asks_the_log() {
        let (_disk, file) = disk();
        file.save(&store_of(10), TOPIC, Position::from_bits(9))
            .unwrap();
        let longer = Store::new(StoreOptions {
            retention: std::time::Duration::from_hours(7),
            ..StoreOptions::default()
        });
        assert!(file.load(&longer, TOPIC, Position::from_bits(9)).is_err());
        assert_eq!(longer.stats().samples, 0);
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_noticed_wherever_it_is() {
        let (disk, file) = disk();
        file.save(&store_of(200), TOPIC, Position::from_bits(9))
            .unwrap();
        let path = Path::new(FILE);
        let good = env::read_all(&disk, path, BYTES_MAX).unwrap().unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            env::write_atomic(&disk, path, &bad).unwrap();
            assert!(load(&file, TOPIC, 9).is_err(), "byte {at}");
            env::write_atomic(&disk, path, &good[..at]).unwrap();
            assert!(load(&file, TOPIC, 9).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_crash_leaves_the_old_one_or_the_new_one() {
        let mut seen = [false; 2];
        for changes in 0..40 {
            let (disk, file) = disk();
            file.save(&store_of(10), TOPIC, Position::from_bits(1))
                .unwrap();
            disk.set_faults(Faults {
                power: Some(changes),
                ..Faults::default()
            });
            let done = file
                .save(&store_of(20), TOPIC, Position::from_bits(2))
                .is_ok();
            disk.crash();
            let loaded = load(&file, TOPIC, 9);
            let new = loaded == Ok(Some((2, 20)));
            seen[usize::from(new)] = true;
            assert!(
                new || (!done && loaded == Ok(Some((1, 10)))),
                "{changes}: {loaded:?}"
            );
        }
        assert_eq!(seen, [true, true], "both happen");
    }
}
