//! One simulated file: what readers see, what is durable, and the writes in between; and the handle.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Survival;
use super::state::State;
use crate::disk::DiskFile;
use crate::entropy::SplitMix;

/// Disks write sectors whole; which size is drawn per crash.
const SECTORS: [usize; 2] = [512, 4_096];

/// One change of a file that is not durable yet.
#[derive(Debug, Clone)]
enum Pending {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Pending {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => write_to(to, *position, bytes),
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

fn write_to(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[position..end].copy_from_slice(bytes);
}

/// The content of one file.
#[derive(Debug, Default, Clone)]
pub(super) struct Content {
    pub(super) cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Content {
    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        write_to(&mut self.cached, position, bytes);
        self.pending.push(Pending::Write {
            position,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.cached.resize(length, 0);
        self.pending.push(Pending::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: some of it reached the disk, the rest never will, and all counts as clean.
    pub(super) fn fail_sync(&mut self, random: &mut SplitMix) {
        self.durable = self.survive(Survival::Scattered, random);
        self.pending.clear();
    }

    /// What a crash leaves becomes what is there.
    pub(super) fn crash(&mut self, survival: Survival, random: &mut SplitMix) {
        self.durable = self.survive(survival, random);
        self.cached = self.durable.clone();
        self.pending.clear();
    }

    /// Reads what is on the disk under the pages that are not clean.
    pub(super) fn drop_cache(&mut self) {
        let length = self.cached.len();
        self.cached = self.durable.clone();
        for change in &self.pending {
            change.apply(&mut self.cached);
        }
        self.cached.resize(length, 0);
    }

    /// The same for these bytes; whether all of them were clean.
    pub(super) fn uncache(&mut self, bytes: Range<usize>) -> bool {
        let mut there = self.clone();
        there.drop_cache();
        if let (Some(seen), Some(there)) = (
            self.cached.get_mut(bytes.clone()),
            there.cached.get(bytes.clone()),
        ) {
            seen.copy_from_slice(there);
        }
        self.pending.iter().all(|change| match change {
            Pending::Write {
                position,
                bytes: written,
            } => *position >= bytes.end || position + written.len() <= bytes.start,
            Pending::Length(length) => *length >= bytes.end,
        })
    }

    pub(super) fn flip(&mut self, bit: u64) -> io::Result<()> {
        let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        let mask = 1 << (bit % 8);
        *self
            .cached
            .get_mut(at)
            .ok_or(io::ErrorKind::UnexpectedEof)? ^= mask;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
        Ok(())
    }

    /// The durable content with some part of the pending changes.
    fn survive(&self, survival: Survival, random: &mut SplitMix) -> Vec<u8> {
        let mut content = self.durable.clone();
        let survival = match survival {
            Survival::Any => match random.below(4) {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                2 => Survival::Prefix,
                _ => Survival::Scattered,
            },
            chosen => chosen,
        };
        match survival {
            Survival::Nothing | Survival::Any => {}
            Survival::Everything => {
                for change in &self.pending {
                    change.apply(&mut content);
                }
            }
            Survival::Prefix => self.survive_prefix(&mut content, random),
            Survival::Scattered => self.survive_scattered(&mut content, random),
        }
        content
    }

    fn survive_prefix(&self, content: &mut Vec<u8>, random: &mut SplitMix) {
        let sector = SECTORS[random.pick(2)];
        let whole = random.pick(self.pending.len() + 1);
        for change in &self.pending[..whole] {
            change.apply(content);
        }
        if let Some(Pending::Write { position, bytes }) = self.pending.get(whole) {
            let sectors = sectors_of(*position, bytes.len(), sector).count();
            let kept = random.pick(sectors);
            for (from, to) in sectors_of(*position, bytes.len(), sector).take(kept) {
                write_to(content, position + from, &bytes[from..to]);
            }
        }
    }

    fn survive_scattered(&self, content: &mut Vec<u8>, random: &mut SplitMix) {
        let sector = SECTORS[random.pick(2)];
        let percent = random.below(101);
        for change in &self.pending {
            match change {
                Pending::Length(_) => {
                    if random.chance(percent) {
                        change.apply(content);
                    }
                }
                Pending::Write { position, bytes } => {
                    for (from, to) in sectors_of(*position, bytes.len(), sector) {
                        if random.chance(percent) {
                            write_to(content, position + from, &bytes[from..to]);
                        }
                    }
                }
            }
        }
        // The length may be known although the bytes are not: then zeros are read.
        if self.cached.len() > content.len() && random.chance(30) {
            content.resize(self.cached.len(), 0);
        }
    }
}

/// The parts of a write, as ranges within it, that lie in one sector each.
fn sectors_of(
    position: usize,
    length: usize,
    sector: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from >= length {
            return None;
        }
        let start = from;
        let to_boundary = sector - (position + start) % sector;
        from = (start + to_boundary).min(length);
        Some((start, from))
    })
}

/// A handle on a simulated file. It ends with the process or the machine that opened it.
#[derive(Debug)]
pub(super) struct SimFile {
    state: Arc<Mutex<State>>,
    file: usize,
    process: u64,
    writable: bool,
}

impl SimFile {
    pub(super) fn new(state: Arc<Mutex<State>>, file: usize, process: u64, writable: bool) -> Self {
        Self {
            state,
            file,
            process,
            writable,
        }
    }

    fn with<T>(
        &self,
        changes: bool,
        act: impl FnOnce(&mut State, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.process != self.process {
            return Err(io::Error::other(
                "the process that opened this file has ended",
            ));
        }
        if changes && !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        act(&mut state, self.file)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(false, |state, file| state.read(file, buffer, position))
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        self.with(true, |state, file| state.write(file, &bytes, position))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(false, State::sync)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(true, |state, file| state.set_len(file, length))
    }

    fn length(&self) -> io::Result<u64> {
        self.with(false, |state, file| {
            state.power()?;
            Ok(state.files[file].cached.len() as u64)
        })
    }

    fn uncache(&self, bytes: Range<u64>) {
        let advised = self.with(false, |state, file| {
            state.power()?;
            state.uncache(file, bytes);
            Ok(())
        });
        // After its life, or without power, there is no cache.
        drop(advised);
    }
}
