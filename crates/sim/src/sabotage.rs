//! A disk that breaks its promises, to see that the checks would notice a broker that breaks its own.
//!
//! A sync that does nothing is for everybody above the same as a broker that forgot to wait for it.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use env::{Disk, DiskFile, DiskLock, DynDisk, DynFile, Entry, LockError, Open, SimDisk, Space};

/// What a disk says and does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Syncs of files.
    Files,
    /// Syncs of directories.
    Directories,
    /// One write in two hundred.
    Writes,
}

/// `disk`, sabotaged in one way.
pub(crate) fn sabotaged(disk: &SimDisk, how: Sabotage) -> DynDisk {
    Arc::new(Lying {
        disk: disk.clone(),
        how,
    })
}

#[derive(Debug)]
struct Lying {
    disk: SimDisk,
    how: Sabotage,
}

#[derive(Debug)]
struct LyingFile {
    file: DynFile,
    disk: SimDisk,
    how: Sabotage,
}

impl Disk for Lying {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        Ok(Arc::new(LyingFile {
            file: self.disk.open(path, how)?,
            disk: self.disk.clone(),
            how: self.how,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.how {
            Sabotage::Directories => Ok(()),
            Sabotage::Files | Sabotage::Writes => self.disk.sync_dir(path),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError> {
        self.disk.lock_shared(path)
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if self.how == Sabotage::Writes && self.disk.changes() % 200 == 199 {
            return Ok(slices.iter().map(|slice| slice.len()).sum());
        }
        self.file.write_vectored_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.how {
            Sabotage::Files => Ok(()),
            Sabotage::Directories | Sabotage::Writes => self.file.sync_data(),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn uncache(&self, bytes: Range<u64>) {
        self.file.uncache(bytes);
    }
}
