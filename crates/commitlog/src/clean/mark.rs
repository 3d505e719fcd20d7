//! How far a log is clean, and when the first of its tombstones may go: the file `cleaned`.
//!
//! ```text
//!  "LNCM" │ version 1 (u32) │ clean until (u64) │ next horizon, Unix ms, or i64::MAX (i64) │ crc32c (u32)
//! ```
//! A cache: written after the segments it speaks of are durable, so it never says too much. Without it
//! the next pass looks at the whole log again.

use std::io;
use std::path::{Path, PathBuf};

use env::Disk;
use model::{Offset, Timestamp};

use crate::wire::{self, Fields};

const MAGIC: [u8; 4] = *b"LNCM";
const VERSION: u32 = 1;

/// Larger than the file ever is.
const BYTES_MAX: usize = 1 << 10;

/// How far a log is clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CleanMark {
    /// Before this offset no key comes twice, and none has a record that comes again after it up to here.
    pub(crate) until: Offset,
    /// When the first delete horizon in there is reached.
    pub(crate) horizon: Option<Timestamp>,
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("cleaned")
}

pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> CleanMark {
    let bytes = env::read_all(disk, &path(dir), BYTES_MAX).ok().flatten();
    bytes.and_then(|bytes| decode(&bytes)).unwrap_or_default()
}

pub(crate) fn store(disk: &dyn Disk, dir: &Path, mark: CleanMark) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&mark.until.get().to_le_bytes());
    let horizon = mark.horizon.map_or(i64::MAX, Timestamp::millis);
    bytes.extend_from_slice(&horizon.to_le_bytes());
    wire::seal(&mut bytes);
    env::write_atomic(disk, &path(dir), &bytes)
}

fn decode(bytes: &[u8]) -> Option<CleanMark> {
    let mut fields = Fields(wire::unseal(bytes)?);
    if fields.take() != Some(MAGIC) || fields.u32() != Some(VERSION) {
        return None;
    }
    let until = Offset::new(fields.u64()?);
    let horizon = fields.i64().filter(|_| fields.0.is_empty())?;
    Some(CleanMark {
        until,
        horizon: (horizon != i64::MAX).then(|| Timestamp::from_millis(horizon)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_written_and_a_doubtful_one_says_nothing() {
        let disk = env::SimDisk::new(1);
        let dir = Path::new("/p");
        disk.create_dir_all(dir).unwrap();
        assert_eq!(load(&disk, dir), CleanMark::default());
        for horizon in [None, Some(Timestamp::from_millis(7))] {
            let until = Offset::new(300);
            store(&disk, dir, CleanMark { until, horizon }).unwrap();
            assert_eq!(load(&disk, dir), CleanMark { until, horizon });
        }
        disk.flip_bit(&path(dir), 70).unwrap();
        assert_eq!(load(&disk, dir), CleanMark::default());
    }
}
