//! Files as the storage crates see them: positional reads and writes, explicit syncs, no cursor.
//!
//! Promises every implementation keeps (and the conformance suite checks):
//! - bytes written are read back at once through any handle, but survive a crash only after
//!   [`DiskFile::sync_data`] returned `Ok`;
//! - a file created, renamed or removed is so after a crash only when [`Disk::sync_dir`] of its
//!   directory returned `Ok`; [`Disk::create_dir_all`] syncs what it creates itself;
//! - a sync that failed has dropped what it should have written, and a later one that succeeds
//!   proves nothing (Linux; see `docs/decisions/0004-fsync-failure-and-corruption.md`).

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk as its users hold it.
pub type DynDisk = Arc<dyn Disk>;

/// An open file as its users hold it.
pub type DynFile = Arc<dyn DiskFile>;

/// How [`Disk::open`] treats a file that is there or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Reading only; a missing file is an error.
    Read,
    /// Reading and writing; a missing file is an error.
    Write,
    /// Reading and writing; a missing file is created empty.
    Create,
    /// Reading and writing; a file that is there is an error.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// How full a disk is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes there are.
    pub total: u64,
    /// Bytes this process may still write.
    pub available: u64,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process (or this one) holds it.
    #[error("{path} is locked{}", holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into it, if it is legible and that process runs.
        holder: Option<u32>,
    },
    /// The lock file could not be used.
    #[error("cannot lock {path}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A lock on a file; released when dropped, or when the process ends however it ends.
pub trait DiskLock: Send + Sync + Debug {}

/// Directories and files.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile>;

    /// Creates a directory and its missing parents, durable when this returns.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Whether something has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file or directory another name, replacing a file that has it. Durable after
    /// [`Disk::sync_dir`] of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Open handles go on reading it. Durable after [`Disk::sync_dir`].
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all below it; fine if it is missing. Durable after
    /// [`Disk::sync_dir`] of its parent.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// How full the disk of `path` is.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Locks a file against other processes and other locks of this one, creating it if it is
    /// missing, and writes this process's id into it. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`], [`LockError::Io`].
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError>;

    /// Keeps others from [`Disk::lock`]ing a file, without changing it; several may do so at once. Does
    /// not wait. `None` if the file is missing: then nobody holds it, and nobody is kept from it.
    ///
    /// # Errors
    /// [`LockError::Held`], [`LockError::Io`].
    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError>;
}

/// An open file. All calls may run concurrently; a read beside a write of the same bytes may see
/// either, so users keep readers below what was written.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at `position` into `buffer`; answers how many bytes, 0 at or past the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes `slices` one after another at `position`; answers how many bytes, maybe not all.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Makes the bytes written durable, and the length as far as reading them needs it.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;

    /// Advises that these bytes, which are durable, will not be read soon: memory that holds them may be used for others. Reads
    /// find them as before. Does nothing where there is no such memory.
    fn uncache(&self, bytes: Range<u64>);

    /// Fills `buffer` from `position`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = buffer.split_at_mut(count).1;
                    position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `position`; after an error any part of them may be in the file.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_vectored_at(&mut [IoSlice::new(bytes)], position)
    }

    /// Writes all of `slices` one after another at `position`, in one system call if the system
    /// takes them so; after an error any part of them may be in the file.
    fn write_all_vectored_at(
        &self,
        mut slices: &mut [IoSlice<'_>],
        mut position: u64,
    ) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.write_vectored_at(slices, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    IoSlice::advance_slices(&mut slices, count);
                    position += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
