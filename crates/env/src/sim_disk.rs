//! A disk in memory that does what real ones do when the power fails, and worse.
//!
//! Problem: code that stores data is right only if it is right after every crash, and a real disk
//! shows its bad days once a year. This one shows them on demand, and a seed repeats them.
//!
//! Model: every file has the content readers see (`cached`) and the content that would be there
//! after a power cut (`durable`), with the writes in between kept as a list. A sync applies the list.
//! A crash applies any part of it, in sectors, in any order, and may leave zeros where a file grew.
//! Directories are the same with names in place of bytes. Handles end with the crash.
//!
//! - [`SimDisk::crash`]: the machine stops; [`Survival`] says how much of the unsynced part may stay.
//! - [`SimDisk::restart`]: only the process stops (kill -9): the page cache stays as it is.
//! - [`Faults`]: the n-th read, write or sync fails; a failed sync drops what it should have written
//!   and marks it clean, so the next one succeeds and proves nothing, as Linux does.
//! - [`SimDisk::set_capacity`]: full disks write the part that fits, then say `StorageFull`.
//! - [`SimDisk::flip_bit`], [`SimDisk::drop_caches`]: rot, and reading what is really there.
//!
//! Not here: timing; hard links, permissions, memory maps.

mod file;
mod names;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskLock, DynFile, Entry, LockError, Open, Space};
use file::SimFile;
use state::State;

/// Advice about the page cache that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uncached {
    /// Bytes that will not be read soon, each as often as it was said.
    pub bytes: u64,
    /// How often some of them were not flushed.
    pub not_flushed: u64,
}

/// How much of what was not synced a crash may leave on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Drawn anew for each file and directory from the other ways.
    Any,
    /// Nothing that was not synced.
    Nothing,
    /// Everything.
    Everything,
    /// Writes up to some moment; the last of them torn at a sector.
    Prefix,
    /// Any sectors, in no order.
    Scattered,
}

/// Which calls fail from now on: 0 is the next one, 1 the one after it, and so on; `None` is never.
/// A fault that struck is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// This read fails with an I/O error.
    pub read: Option<u64>,
    /// This write fails with an I/O error, after a part of it was written.
    pub write: Option<u64>,
    /// This sync of a file fails; what it should have written is lost and marked clean.
    pub sync: Option<u64>,
    /// This sync of a directory fails; the names stay unsynced.
    pub sync_dir: Option<u64>,
    /// This removal of a file fails with an I/O error; the file stays.
    pub remove: Option<u64>,
    /// The power fails at this change of the disk (write, sync, create, rename, remove): it and
    /// everything after it fails until [`SimDisk::crash`].
    pub power: Option<u64>,
}

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk without faults; `seed` decides what its crashes leave.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
        }
    }

    /// As [`crate::DynDisk`].
    pub fn shared(&self) -> crate::DynDisk {
        Arc::new(self.clone())
    }

    /// The machine stops and starts again: what was not synced survives in any part, handles and
    /// locks are gone, faults are cleared.
    pub fn crash(&self) {
        self.crash_with(Survival::Any);
    }

    /// As [`SimDisk::crash`], with what survives chosen by the caller.
    pub fn crash_with(&self, survival: Survival) {
        self.state.lock().crash(survival);
    }

    /// The process stops and starts again: handles and locks are gone, faults are cleared, the page
    /// cache stays.
    pub fn restart(&self) {
        self.state.lock().end_process();
    }

    /// Which calls fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// The faults that did not strike yet.
    pub fn faults(&self) -> Faults {
        self.state.lock().faults
    }

    /// Bytes the disk holds; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// From now on, also after a crash, nothing below `dir` can be changed but through handles that are open, as on a file
    /// system that was mounted anew to be read; `None` ends it.
    pub fn set_read_only(&self, dir: Option<&Path>) {
        self.state.lock().read_only = dir.map(Path::to_owned);
    }

    /// Bytes in files now.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// Changes of the disk so far (writes, syncs, creations, renames, removals), failed ones too:
    /// the numbers that [`Faults::power`] counts.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Flips one bit of a file, in the page cache and on the disk.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` past the end of the file.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        self.state.lock().flip_bit(path, bit)
    }

    /// Forgets clean pages, so that reads answer what is on the disk: after a failed sync that is
    /// not what was written.
    pub fn drop_caches(&self) {
        self.state.lock().drop_caches();
    }

    /// What its users advised by [`DiskFile::uncache`](crate::DiskFile::uncache).
    pub fn uncached(&self) -> Uncached {
        self.state.lock().uncached
    }

    /// Makes everything durable, as if the kernel had written it back in time.
    pub fn write_back(&self) {
        self.state.lock().write_back();
    }

    /// Everything readers can see: paths of files in order, with their content. For comparing runs.
    pub fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.state.lock().content()
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        let mut state = self.state.lock();
        let file = state.open(path, how)?;
        Ok(Arc::new(SimFile::new(
            Arc::clone(&self.state),
            file,
            state.process,
            how != Open::Read,
        )))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.lock().create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.state.lock().read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.power()?;
        Ok(state.names.find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.writable(from)?;
        state.writable(to)?;
        state.change()?;
        state.names.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.writable(path)?;
        state.change()?;
        state.names.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().sync_dir(path)
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        let total = state.capacity.unwrap_or(1 << 50);
        Ok(Space {
            total,
            available: total.saturating_sub(state.used()),
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        let made = self.state.lock().open(path, Open::Create);
        made.map_err(|source| LockError::Io {
            path: path.to_owned(),
            source,
        })?;
        self.hold(path, false)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError> {
        match self.state.lock().open(path, Open::Read) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(LockError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        }
        self.hold(path, true).map(Some)
    }
}

impl SimDisk {
    fn hold(&self, path: &Path, shared: bool) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.state.lock();
        if !state.lock(path, shared) {
            return Err(LockError::Held {
                path: path.to_owned(),
                holder: Some(std::process::id()),
            });
        }
        Ok(Box::new(SimLock {
            state: Arc::clone(&self.state),
            process: state.process,
            path: path.to_owned(),
        }))
    }
}

/// A lock held on a file of the simulated disk.
#[derive(Debug)]
struct SimLock {
    state: Arc<Mutex<State>>,
    process: u64,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.process == self.process {
            state.unlock(&self.path);
        }
    }
}
