//! Bytes of the journal: the header of a file, and frames. `docs/format/journal.md` has the map.

use bytes::Bytes;
use model::Offset;

use super::LogId;
use crate::Write;
use crate::wire::{self, Fields, to_u64, to_usize};

/// A disk writes whole sectors: what begins on one never touches what was promised before.
pub(super) const SECTOR: u64 = 512;

/// Where frames begin: behind the two header slots.
pub(super) const FRAMES_AT: u64 = 2 * SECTOR;

const FILE_MAGIC: [u8; 4] = *b"LNJF";
const FRAME_MAGIC: [u8; 4] = *b"LNJR";
const VERSION: u32 = 1;
const FILE_HEADER_BYTES: usize = 28;
const FIELDS_BYTES: usize = 28;
pub(super) const FRAME_HEADER_BYTES: usize = FIELDS_BYTES + 4;
const ENTRY_HEADER_BYTES: usize = 48;

/// One turn of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Larger than that of every turn before, of any file.
    pub(super) epoch: u64,
    /// Sequence of its first frame.
    pub(super) first: u64,
}

impl Turn {
    /// A header slot.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(to_usize(SECTOR));
        bytes.extend_from_slice(&FILE_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        wire::seal(&mut bytes);
        bytes.resize(to_usize(SECTOR), 0);
        bytes
    }

    /// The newest turn that a file's header slots tell of.
    pub(super) fn newest(file: &[u8]) -> Option<Self> {
        let slots = file.chunks(to_usize(SECTOR)).take(2);
        slots.filter_map(Self::decode).max_by_key(|turn| turn.epoch)
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let mut fields = Fields(wire::unseal(slot.get(..FILE_HEADER_BYTES)?)?);
        let known = fields.take() == Some(FILE_MAGIC) && fields.u32() == Some(VERSION);
        known.then_some(())?;
        Some(Self {
            epoch: fields.u64()?,
            first: fields.u64()?,
        })
    }
}

/// A frame being filled. Reused from commit to commit.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    entries: u32,
}

impl Draft {
    pub(super) fn new() -> Self {
        let mut draft = Self {
            bytes: Vec::new(),
            entries: 0,
        };
        draft.clear();
        draft
    }

    /// What the frame will take of a file.
    pub(super) fn size(&self) -> u64 {
        to_u64(self.bytes.len()).next_multiple_of(SECTOR)
    }

    pub(super) fn push(&mut self, log: LogId, write: &Write) {
        let out = &mut self.bytes;
        out.extend_from_slice(&log.topic);
        out.extend_from_slice(&log.partition.to_le_bytes());
        out.extend_from_slice(&write.segment.get().to_le_bytes());
        out.extend_from_slice(&write.position.to_le_bytes());
        out.extend_from_slice(&write.next.get().to_le_bytes());
        let length = u32::try_from(write.bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&write.bytes);
        self.entries += 1;
    }

    /// The frame as it is written, with zeros up to its last sector's end.
    pub(super) fn seal(&mut self, epoch: u64, sequence: u64) -> &[u8] {
        let length = self.bytes.len() - FRAME_HEADER_BYTES;
        let fields = fields(length, epoch, sequence, self.entries);
        let (place, entries) = self.bytes.split_at_mut(FRAME_HEADER_BYTES);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&fields), entries);
        let (place, crc_place) = place.split_at_mut(FIELDS_BYTES);
        place.copy_from_slice(&fields);
        crc_place.copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(to_usize(self.size()), 0);
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
        self.entries = 0;
    }
}

/// A frame's header up to its checksum.
fn fields(length: usize, epoch: u64, sequence: u64, entries: u32) -> [u8; FIELDS_BYTES] {
    let mut bytes = [0; FIELDS_BYTES];
    let fields: [&[u8]; 5] = [
        &FRAME_MAGIC,
        &u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes(),
        &epoch.to_le_bytes(),
        &sequence.to_le_bytes(),
        &entries.to_le_bytes(),
    ];
    let mut rest = bytes.as_mut_slice();
    for field in fields {
        let (place, after) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = after;
    }
    bytes
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    /// Bytes of entries.
    pub(super) length: usize,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    entries: u32,
    crc: u32,
}

impl FrameHeader {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.take() == Some(FRAME_MAGIC)).then_some(())?;
        Some(Self {
            length: to_usize(u64::from(fields.u32()?)),
            epoch: fields.u64()?,
            sequence: fields.u64()?,
            entries: fields.u32()?,
            crc: fields.u32()?,
        })
    }

    /// Bytes from this frame to the next one.
    pub(super) fn stride(&self) -> u64 {
        to_u64(FRAME_HEADER_BYTES + self.length).next_multiple_of(SECTOR)
    }

    /// The entries, if the checksum of the header and of them is right.
    pub(super) fn entries(&self, bytes: &Bytes) -> Option<Vec<(LogId, Write)>> {
        let fields = fields(self.length, self.epoch, self.sequence, self.entries);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&fields), bytes);
        (crc == self.crc).then_some(())?;
        let mut rest = bytes.clone();
        let mut entries = Vec::new();
        for _ in 0..self.entries {
            entries.push(entry(&mut rest)?);
        }
        rest.is_empty().then_some(entries)
    }
}

fn entry(rest: &mut Bytes) -> Option<(LogId, Write)> {
    (rest.len() >= ENTRY_HEADER_BYTES).then_some(())?;
    let header = rest.split_to(ENTRY_HEADER_BYTES);
    let mut fields = Fields(&header);
    let log = LogId {
        topic: fields.take()?,
        partition: fields.u32()?,
    };
    let segment = Offset::new(fields.u64()?);
    let position = fields.u64()?;
    let next = Offset::new(fields.u64()?);
    let length = to_usize(u64::from(fields.u32()?));
    (length <= rest.len()).then(|| {
        let bytes = rest.split_to(length);
        let write = Write {
            segment,
            position,
            next,
            bytes,
        };
        (log, write)
    })
}
