//! The whole simulated disk behind one lock: contents, names, faults, and what a crash does to them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::file::Content;
use super::names::{Names, Node};
use super::{Faults, Survival, Uncached};
use crate::disk::{Entry, Open};
use crate::entropy::SplitMix;

#[derive(Debug)]
pub(super) struct State {
    pub(super) files: Vec<Content>,
    pub(super) names: Names,
    pub(super) faults: Faults,
    pub(super) capacity: Option<u64>,
    /// Nothing below it can be changed.
    pub(super) read_only: Option<PathBuf>,
    /// Who holds a lock: 0 is one holder alone, other numbers are so many who share it.
    pub(super) locks: BTreeMap<PathBuf, u32>,
    /// Which life of the process this is: handles of earlier ones are dead.
    pub(super) process: u64,
    pub(super) changes: u64,
    pub(super) uncached: Uncached,
    powerless: bool,
    random: SplitMix,
}

/// Counts a fault down; true when it strikes.
fn strikes(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            files: Vec::new(),
            names: Names::new(),
            faults: Faults::default(),
            capacity: None,
            read_only: None,
            locks: BTreeMap::new(),
            process: 0,
            changes: 0,
            uncached: Uncached::default(),
            powerless: false,
            random: SplitMix::new(seed),
        }
    }

    /// Fails when the power is off.
    pub(super) fn power(&self) -> io::Result<()> {
        if self.powerless {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    /// Fails where nothing can be changed.
    pub(super) fn writable(&self, path: &Path) -> io::Result<()> {
        let within = |dir: &PathBuf| path.starts_with(dir);
        if self.read_only.as_ref().is_some_and(within) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    /// Counts a change of the disk, and turns the power off if this is the one.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.power()?;
        self.changes += 1;
        self.powerless = strikes(&mut self.faults.power);
        self.power()
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .files()
            .map(|(_, file)| self.files[file].cached.len() as u64)
            .sum()
    }

    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<usize> {
        self.power()?;
        if how != Open::Read {
            self.writable(path)?;
        }
        match self.names.find(path) {
            Ok(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            Ok(Node::File(_)) if how == Open::CreateNew => Err(io::ErrorKind::AlreadyExists.into()),
            Ok(Node::File(file)) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if matches!(how, Open::Read | Open::Write) {
                    return Err(error);
                }
                self.change()?;
                let file = self.files.len();
                self.names.add_file(path, file)?;
                self.files.push(Content::default());
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a lock; whether it was free.
    pub(super) fn lock(&mut self, path: &Path, shared: bool) -> bool {
        match (self.locks.get_mut(path), shared) {
            (None, _) => {
                self.locks.insert(path.to_owned(), u32::from(shared));
                true
            }
            (Some(holders @ 1..), true) => {
                *holders += 1;
                true
            }
            (Some(_), _) => false,
        }
    }

    pub(super) fn unlock(&mut self, path: &Path) {
        match self.locks.get_mut(path) {
            Some(holders @ 2..) => *holders -= 1,
            _ => drop(self.locks.remove(path)),
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        if matches!(self.names.find(path), Ok(Node::Directory(_))) {
            return self.power();
        }
        self.writable(path)?;
        self.change()?;
        self.names.create_dir_all(path)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.writable(path)?;
        self.change()?;
        if strikes(&mut self.faults.remove) {
            return Err(input_output_error());
        }
        self.names.remove_file(path)
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.power()?;
        self.names.list(path)
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.change()?;
        if strikes(&mut self.faults.sync_dir) {
            return Err(input_output_error());
        }
        self.names.sync(path)
    }

    pub(super) fn read(
        &mut self,
        file: usize,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<usize> {
        self.power()?;
        if strikes(&mut self.faults.read) {
            return Err(input_output_error());
        }
        let content = &self.files[file].cached;
        let from = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    pub(super) fn write(&mut self, file: usize, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.power()?;
        let position = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Err(powerless) = self.change() {
            // The power failed within this write: any part of it may have reached the cache.
            let part = self.random.pick(bytes.len() + 1);
            self.files[file].write(position, &bytes[..part]);
            return Err(powerless);
        }
        if strikes(&mut self.faults.write) {
            let part = self.random.pick(bytes.len() + 1);
            self.files[file].write(position, &bytes[..part]);
            return Err(input_output_error());
        }
        let fits = self.fitting(file, bytes.len(), position);
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files[file].write(position, &bytes[..fits]);
        Ok(fits)
    }

    /// How many of `length` bytes at `position` the disk has room for.
    fn fitting(&self, file: usize, length: usize, position: usize) -> usize {
        let Some(capacity) = self.capacity else {
            return length;
        };
        let free = usize::try_from(capacity.saturating_sub(self.used())).unwrap_or(usize::MAX);
        let end = self.files[file].cached.len();
        let beyond = (position + length).saturating_sub(end.max(position));
        length - beyond.saturating_sub(free)
    }

    pub(super) fn set_len(&mut self, file: usize, length: u64) -> io::Result<()> {
        self.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.files[file].set_len(length);
        Ok(())
    }

    pub(super) fn sync(&mut self, file: usize) -> io::Result<()> {
        self.change()?;
        if strikes(&mut self.faults.sync) {
            self.files[file].fail_sync(&mut self.random);
            return Err(input_output_error());
        }
        self.files[file].sync();
        Ok(())
    }

    pub(super) fn crash(&mut self, survival: Survival) {
        self.end_process();
        self.names.crash(survival, &mut self.random);
        for file in &mut self.files {
            file.crash(survival, &mut self.random);
        }
    }

    pub(super) fn end_process(&mut self) {
        self.process += 1;
        self.locks.clear();
        self.faults = Faults::default();
        self.powerless = false;
    }

    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> io::Result<()> {
        match self.names.find(path)? {
            Node::File(file) => self.files[file].flip(bit),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn drop_caches(&mut self) {
        for file in &mut self.files {
            file.drop_cache();
        }
    }

    pub(super) fn uncache(&mut self, file: usize, bytes: Range<u64>) {
        let at = |position| usize::try_from(position).unwrap_or(usize::MAX);
        if !self.files[file].uncache(at(bytes.start)..at(bytes.end)) {
            self.uncached.not_flushed += 1;
        }
        self.uncached.bytes += bytes.end - bytes.start;
    }

    pub(super) fn write_back(&mut self) {
        self.names.write_back();
        for file in &mut self.files {
            file.sync();
        }
    }

    pub(super) fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.names
            .files()
            .map(|(path, file)| (path, self.files[file].cached.clone()))
            .collect()
    }
}
