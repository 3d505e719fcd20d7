//! How far the log was flushed, as far as that is known after a crash: a lower bound, never more.
//!
//! After every flush that succeeded its offset is written here, and never synced: the mark costs no
//! disk write of its own, survives a killed process exactly, and after a power cut is as old as the
//! kernel's last write-back. Because it is written after the flush, what it says is true whenever it
//! can be read at all. Recovery uses it to tell damage to acknowledged records (quarantined) from an
//! end that nobody was promised (cut).
//!
//! ```text
//!  slot 0 at byte 0, slot 1 at byte 512, each:  "LNFM" │ offset (u64) │ crc32c (u32)
//! ```
//! Slots are written in turn, so that a torn write leaves the other.

use std::io;
use std::path::{Path, PathBuf};

use env::{Disk, DynFile, Open};
use model::Offset;

use crate::wire::{self, Fields};

const MAGIC: [u8; 4] = *b"LNFM";
const SLOT_STRIDE: u64 = 512;
const SLOT_BYTES: usize = 16;

#[derive(Debug)]
pub(crate) struct FlushMark {
    file: DynFile,
    next_slot: u64,
    says: Offset,
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("flushed")
}

impl FlushMark {
    /// Opens the mark and answers what it says. A missing one is created; its name need not be
    /// durable.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<(Self, Option<Offset>)> {
        let file = disk.open(&path(dir), Open::Create)?;
        let mut newest: Option<(Offset, u64)> = None;
        for slot in 0..2 {
            let mut bytes = [0; SLOT_BYTES];
            if file.read_exact_at(&mut bytes, slot * SLOT_STRIDE).is_err() {
                continue;
            }
            if let Some(offset) = decode(&bytes)
                && newest.is_none_or(|(best, _)| offset > best)
            {
                newest = Some((offset, slot));
            }
        }
        let next_slot = newest.map_or(0, |(_, slot)| 1 - slot);
        let newest = newest.map(|(offset, _)| offset);
        let mark = Self {
            file,
            next_slot,
            says: newest.unwrap_or_default(),
        };
        Ok((mark, newest))
    }

    /// Notes that everything before `offset` is durable; never says less than before. A failure
    /// leaves the older mark, which is as true as before.
    pub(crate) fn set(&mut self, offset: Offset) {
        if offset <= self.says {
            return;
        }
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&offset.get().to_le_bytes());
        wire::seal(&mut bytes);
        if self
            .file
            .write_all_at(&bytes, self.next_slot * SLOT_STRIDE)
            .is_ok()
        {
            self.next_slot = 1 - self.next_slot;
            self.says = offset;
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let mut fields = Fields(wire::unseal(bytes)?);
    if fields.take() != Some(MAGIC) {
        return None;
    }
    fields.u64().map(Offset::new)
}
