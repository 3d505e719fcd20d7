//! Reading what a journal promised, at a start.
//!
//! A file's frames end at the first that is not one: that is the frame that was being written. If
//! whole frames of the same turn come after it, it was promised and has rotted; what is behind it
//! still counts.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use env::{DynFile, Open};
use stdx::ByteSize;

use super::frame::{FRAME_HEADER_BYTES, FRAMES_AT, FrameHeader, SECTOR, Turn};
use super::{File, Journal, JournalError, LogId, State, parse_name, path};
use crate::Write;
use crate::wire::{to_u64, to_usize};

/// What a journal had when it was opened.
#[derive(Debug, Default)]
pub struct Found {
    /// What it promised, in order.
    pub writes: Vec<(LogId, Write)>,
    /// Files that lost promised frames, or may have.
    pub damaged: Vec<PathBuf>,
    /// Bytes of frames read.
    pub bytes: u64,
    /// What its files hold together, whatever size later ones are to have.
    pub file_bytes: ByteSize,
}

/// Turns of one run, at most: at a thousand a second they last for ten days.
const TURNS_MAX: u64 = 1 << 30;

/// What one file says.
struct Told {
    number: u32,
    turn: Turn,
    /// The sequence after its last frame.
    next: u64,
    /// Frames are missing before that.
    gap: bool,
    writes: Vec<(LogId, Write)>,
    bytes: u64,
}

impl Journal {
    pub(super) fn read(&mut self) -> Result<Found, JournalError> {
        let dir = self.dir.clone();
        let names = match self.disk.read_dir(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
            Err(source) => return Err(self.failed("list", dir, source)),
        };
        let mut told: Vec<Told> = Vec::new();
        let mut file_bytes = 0_u64;
        for number in names.iter().filter_map(|entry| parse_name(&entry.name)) {
            let path = path(&dir, number);
            let read = self.disk.open(&path, Open::Write).and_then(|file| {
                let bytes = read_whole(&file)?;
                Ok((file, bytes))
            });
            let (handle, bytes) = read.map_err(|source| self.failed("read", path, source))?;
            file_bytes = file_bytes.saturating_add(to_u64(bytes.len()));
            // Whatever it says, it is not written to before `begin` is done with it.
            self.files.push(File {
                number,
                handle,
                slot: 0,
                slots_written: true,
                state: State::Kept,
            });
            match Turn::newest(&bytes) {
                Some(turn) => told.push(walk(number, turn, &bytes)),
                // A header is durable before there is a frame behind it.
                None if any_frame(&bytes) => self.damaged.push(number),
                None => {}
            }
        }
        told.sort_by_key(|file| file.turn.epoch);
        let mut found = Found {
            file_bytes: ByteSize::from_bytes(file_bytes),
            ..Found::default()
        };
        for file in &mut told {
            self.next_epoch = self.next_epoch.max(file.turn.epoch.saturating_add(1));
            self.next_sequence = self.next_sequence.max(file.next);
            if file.gap {
                self.damaged.push(file.number);
            }
            found.bytes += file.bytes;
            found.writes.append(&mut file.writes);
        }
        for (file, later) in told.iter().zip(told.iter().skip(1)) {
            // The turn after it knows how far it went.
            if later.turn.epoch == file.turn.epoch.saturating_add(1) && later.turn.first > file.next
            {
                self.damaged.push(file.number);
            }
        }
        self.damaged.sort_unstable();
        self.damaged.dedup();
        let damaged = self.damaged.iter().map(|number| path(&dir, *number));
        found.damaged = damaged.collect();
        Ok(found)
    }
}

fn read_whole(file: &DynFile) -> io::Result<Bytes> {
    let mut bytes = vec![0; to_usize(file.length()?)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.into())
}

fn walk(number: u32, turn: Turn, bytes: &Bytes) -> Told {
    let mut told = Told {
        number,
        turn,
        next: turn.first,
        gap: false,
        writes: Vec::new(),
        bytes: 0,
    };
    let mut position = FRAMES_AT;
    while let Some((at, header, mut entries)) = next_frame(bytes, position, &told) {
        told.gap |= at != position || header.sequence != told.next;
        if header.epoch != told.turn.epoch {
            // Of a later turn, whose header is gone: the turn before it was released.
            told.gap = true;
            told.turn.epoch = header.epoch;
            told.writes.clear();
        }
        told.next = header.sequence + 1;
        told.bytes += header.stride();
        told.writes.append(&mut entries);
        position = at + header.stride();
    }
    told
}

type Frame = (u64, FrameHeader, Vec<(LogId, Write)>);

/// The first frame at or behind `position` that follows what `told` has: of its turn, or of a later one
/// that may have been. Records that only look like frames cannot know these numbers.
fn next_frame(bytes: &Bytes, position: u64, told: &Told) -> Option<Frame> {
    let epoch = told.turn.epoch;

    let mut at = position;
    while at + to_u64(FRAME_HEADER_BYTES) <= to_u64(bytes.len()) {
        if let Some((header, entries)) = frame_at(bytes, at)
            && (epoch..=epoch.saturating_add(TURNS_MAX)).contains(&header.epoch)
            && header.sequence >= told.next
        {
            return Some((at, header, entries));
        }
        at += SECTOR;
    }
    None
}

fn frame_at(bytes: &Bytes, at: u64) -> Option<(FrameHeader, Vec<(LogId, Write)>)> {
    let begin = to_usize(at);
    let header = FrameHeader::decode(bytes.get(begin..)?)?;
    let from = begin + FRAME_HEADER_BYTES;
    let until = from.checked_add(header.length)?;
    (until <= bytes.len()).then_some(())?;
    let entries = header.entries(&bytes.slice(from..until))?;
    Some((header, entries))
}

fn any_frame(bytes: &Bytes) -> bool {
    let mut at = FRAMES_AT;
    while at < to_u64(bytes.len()) {
        if frame_at(bytes, at).is_some() {
            return true;
        }
        at += SECTOR;
    }
    false
}
