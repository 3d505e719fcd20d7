//! What the last run knew for sure: where the log starts, which bytes need not be scanned again.
//!
//! Written as a whole (temporary, sync, rename, sync of the directory) when a segment is closed, after
//! every `checkpoint_bytes`, before anything is removed, and at the end. It only ever names offsets
//! that were flushed: where a sync runs beside the writer, what is known is taken down before it and written after it,
//! unless a later checkpoint was written meanwhile. One that is missing or not legible costs a scan of the whole log and brings
//! back records deleted from inside the oldest segment, nothing else.
//!
//! ```text
//!  "LNCP" │ version 3 (u32) │ clean (u8) │ log start (u64) │ recovery offset (u64)
//!  │ segments (u32) { base │ next │ size (u64 each) │ max timestamp (i64) │ its batch (u64) │ last append (i64)
//!      │ cleaned as generation, or 0 │ cleaned until, or 0 (u64 each) }*
//!  │ damages (u32) { segment │ position │ position end │ from │ until (u64 each) }*
//!  │ producers (see `producers`)
//!  │ open transactions (u32) { producer (i64) │ epoch (i16) │ first (u64) }*
//!  │ aborted: complete from (u64) │ ranges (u32) { producer (i64) │ first │ marker (u64 each) }*
//!  │ crc32c (u32)
//! ```
//! Version 2 has no cleaned segments, version 1 ends with the producers; both are read as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Disk;
use model::{Offset, Timestamp};
use parking_lot::Mutex;

use crate::aborted::AbortedIndex;
use crate::names::{Cleaned, SegmentName};
use crate::producers::Producers;
use crate::segment::Summary;
use crate::transactions::Transactions;
use crate::wire::{self, Fields};
use crate::{Damage, Error};

const MAGIC: [u8; 4] = *b"LNCP";
const VERSION: u32 = 3;

/// Before segments were cleaned.
const VERSION_WITHOUT_CLEANING: u32 = 2;

/// Before there were transactions.
const VERSION_WITHOUT_TRANSACTIONS: u32 = 1;

/// Larger than any real one; a file beyond it is not read.
const BYTES_MAX: usize = 256 << 20;

#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The log was closed in order: nothing comes after this.
    pub(crate) clean: bool,
    pub(crate) log_start: Offset,
    /// Everything before this offset is described here.
    pub(crate) recovery: Offset,
    /// In order; the last was open for appends.
    pub(crate) segments: Vec<(SegmentName, Summary)>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) producers: Producers,
    pub(crate) transactions: Transactions,
    pub(crate) aborted: AbortedIndex,
}

/// Lets one checkpoint be written at a time, none over one that was taken down after it, and none after the log is gone.
#[derive(Debug, Default)]
pub(crate) struct CheckpointGate {
    taken: u64,
    /// The newest that was written, or tried.
    written: Arc<Mutex<u64>>,
}

impl CheckpointGate {
    pub(crate) fn take(&mut self, path: PathBuf, bytes: Vec<u8>) -> Taken {
        self.taken += 1;
        Taken {
            number: self.taken,
            written: Arc::clone(&self.written),
            path,
            bytes,
        }
    }

    /// Has no checkpoint written that was taken down before, nor anything with it.
    pub(crate) fn supersede(&mut self) {
        self.taken += 1;
        *self.written.lock() = self.taken;
    }
}

impl Drop for CheckpointGate {
    fn drop(&mut self) {
        *self.written.lock() = u64::MAX;
    }
}

/// A checkpoint that is not written yet.
#[derive(Debug)]
pub(crate) struct Taken {
    number: u64,
    written: Arc<Mutex<u64>>,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Taken {
    /// Writes it with `replace`, unless a later one was written.
    pub(crate) fn write(
        self,
        replace: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut written = self.written.lock();
        if *written > self.number {
            return Ok(());
        }
        *written = self.number;
        replace(&self.path, &self.bytes).map_err(|source| Error::Io {
            action: "write",
            path: self.path,
            source,
        })
    }
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// Encodes without taking the producers' memory.
pub(crate) fn encode(
    clean: bool,
    (log_start, recovery): (Offset, Offset),
    segments: &[(SegmentName, Summary)],
    damage: &[Damage],
    producers: &Producers,
    (transactions, aborted): (&Transactions, &AbortedIndex),
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + segments.len() * 64);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(u8::from(clean));
    bytes.extend_from_slice(&log_start.get().to_le_bytes());
    bytes.extend_from_slice(&recovery.get().to_le_bytes());
    put_count(&mut bytes, segments.len());
    for (name, summary) in segments {
        bytes.extend_from_slice(&name.base.get().to_le_bytes());
        bytes.extend_from_slice(&summary.next.get().to_le_bytes());
        bytes.extend_from_slice(&summary.size.to_le_bytes());
        bytes.extend_from_slice(&summary.max_timestamp.millis().to_le_bytes());
        bytes.extend_from_slice(&summary.max_batch.get().to_le_bytes());
        bytes.extend_from_slice(&summary.last_append.millis().to_le_bytes());
        let cleaned = name.cleaned.map_or(0, |cleaned| cleaned.next.get());
        bytes.extend_from_slice(&name.generation().to_le_bytes());
        bytes.extend_from_slice(&cleaned.to_le_bytes());
    }
    put_count(&mut bytes, damage.len());
    for damage in damage {
        bytes.extend_from_slice(&damage.segment.get().to_le_bytes());
        bytes.extend_from_slice(&damage.position.to_le_bytes());
        bytes.extend_from_slice(&damage.position_end.to_le_bytes());
        bytes.extend_from_slice(&damage.from.get().to_le_bytes());
        bytes.extend_from_slice(&damage.until.get().to_le_bytes());
    }
    producers.encode(&mut bytes);
    transactions.encode(&mut bytes);
    aborted.encode(&mut bytes);
    wire::seal(&mut bytes);
    debug_assert!(decode(&bytes).is_some(), "the next start believes it");
    bytes
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_le_bytes());
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let mut fields = Fields(wire::unseal(bytes)?);
    if fields.take() != Some(MAGIC) {
        return None;
    }
    let version = fields.u32()?;
    if !(VERSION_WITHOUT_TRANSACTIONS..=VERSION).contains(&version) {
        return None;
    }
    let [clean] = fields.take()?;
    let log_start = Offset::new(fields.u64()?);
    let recovery = Offset::new(fields.u64()?);
    let mut segments = Vec::new();
    for _ in 0..fields.u32()? {
        let base = Offset::new(fields.u64()?);
        let summary = Summary {
            next: Offset::new(fields.u64()?),
            size: fields.u64()?,
            max_timestamp: Timestamp::from_millis(fields.i64()?),
            max_batch: Offset::new(fields.u64()?),
            last_append: Timestamp::from_millis(fields.i64()?),
        };
        let cleaned = if version > VERSION_WITHOUT_CLEANING {
            let (generation, next) = (fields.u64()?, Offset::new(fields.u64()?));
            (generation > 0).then_some(Cleaned { next, generation })
        } else {
            None
        };
        segments.push((SegmentName { base, cleaned }, summary));
    }
    let mut damage = Vec::new();
    for _ in 0..fields.u32()? {
        damage.push(Damage {
            segment: Offset::new(fields.u64()?),
            position: fields.u64()?,
            position_end: fields.u64()?,
            from: Offset::new(fields.u64()?),
            until: Offset::new(fields.u64()?),
        });
    }
    let producers = Producers::decode(&mut fields)?;
    let (transactions, aborted) = if version == VERSION_WITHOUT_TRANSACTIONS {
        Default::default()
    } else {
        (
            Transactions::decode(&mut fields)?,
            AbortedIndex::decode(&mut fields)?,
        )
    };
    let checkpoint = Checkpoint {
        clean: clean != 0,
        log_start,
        recovery,
        segments,
        damage,
        producers,
        transactions,
        aborted,
    };
    (fields.0.is_empty() && checkpoint.can_be()).then_some(checkpoint)
}

impl Checkpoint {
    /// Whether a log can have been like this. A checksum is right for whatever was written under it; a log start behind the log's
    /// end, taken at its word, would remove records.
    fn can_be(&self) -> bool {
        let segments = self.segments.iter();
        let mut at = Offset::ZERO;
        let in_order = segments
            .map(|(name, summary)| (name.base, summary.next))
            .all(|(base, next)| {
                let follows = at <= base && base <= next;
                at = next;
                follows
            });
        in_order
            && self.log_start <= self.recovery
            && at <= self.recovery
            && self.damage.iter().all(|damage| damage.from <= damage.until)
    }
}

/// What a look for the checkpoint found.
#[derive(Debug)]
pub(crate) enum Loaded {
    Missing,
    Doubtful,
    Good(Box<Checkpoint>),
}

pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Loaded> {
    match env::read_all(disk, &path(dir), BYTES_MAX) {
        Ok(None) => Ok(Loaded::Missing),
        Ok(Some(bytes)) => {
            Ok(decode(&bytes).map_or(Loaded::Doubtful, |good| Loaded::Good(Box::new(good))))
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Loaded::Doubtful),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Vec<(SegmentName, Summary)> {
        let summary = |next| Summary {
            next: Offset::new(next),
            size: 100,
            max_timestamp: Timestamp::from_millis(7),
            max_batch: Offset::new(1),
            last_append: Timestamp::from_millis(8),
        };
        let cleaned = SegmentName {
            base: Offset::ZERO,
            cleaned: Some(Cleaned {
                next: Offset::new(5),
                generation: 3,
            }),
        };
        let appended = SegmentName::appended(Offset::new(5));
        vec![(cleaned, summary(5)), (appended, summary(9))]
    }

    fn written() -> Vec<u8> {
        encode(
            true,
            (Offset::new(2), Offset::new(9)),
            &segments(),
            &[],
            &Producers::default(),
            (&Transactions::default(), &AbortedIndex::default()),
        )
    }

    #[test]
    fn a_checkpoint_says_what_was_cleaned() {
        let read = decode(&written()).unwrap();
        assert_eq!(read.segments, segments());
        assert_eq!(
            (read.log_start, read.recovery),
            (Offset::new(2), Offset::new(9))
        );
    }

    #[test]
    fn what_no_log_can_have_been_is_not_believed() {
        // Behind magic, version and clean: the log start, the recovery offset, the count, the first segment.
        for (at, value) in [(9, 10_u64), (17, 8), (29, 6), (37, 6)] {
            let mut other = wire::unseal(&written()).unwrap().to_vec();
            other[at..at + 8].copy_from_slice(&value.to_le_bytes());
            wire::seal(&mut other);
            assert!(decode(&other).is_none(), "{value} at {at}");
        }
    }

    #[test]
    fn checkpoints_from_before_segments_were_cleaned_are_read() {
        let mut old = wire::unseal(&written()).unwrap().to_vec();
        old[4..8].copy_from_slice(&VERSION_WITHOUT_CLEANING.to_le_bytes());
        // Behind magic, version, clean, two offsets and the count; each had 48 bytes.
        let first = 4 + 4 + 1 + 16 + 4;
        old.drain(first + 112..first + 128);
        old.drain(first + 48..first + 64);
        wire::seal(&mut old);
        let read = decode(&old).unwrap();
        let mut expected = segments();
        expected[0].0 = SegmentName::appended(Offset::ZERO);
        assert_eq!(read.segments, expected);
    }
}
