//! The machine's files, by `std::fs` and, where std has no call, by rustix.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FlockOperation, fadvise, flock, statvfs};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::disk::{Disk, DiskFile, DiskLock, DynFile, Entry, LockError, Open, Space};

/// Most slices the kernel takes in one call (`IOV_MAX`).
const SLICES_MAX: usize = 1_024;

/// The machine's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The machine's files.
    pub const fn new() -> Self {
        Self
    }

    /// As [`crate::DynDisk`].
    pub fn shared() -> crate::DynDisk {
        Arc::new(Self)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        let mut options = OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create(true).truncate(false);
            }
            Open::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.as_os_str().is_empty() && !at.is_dir() {
            missing.push(at);
            match at.parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => sync_parent(directory)?,
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                let is_dir = entry.file_type()?.is_dir();
                entries.push(Entry { name, is_dir });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = statvfs(path)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        let failed = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        take(&file, path, FlockOperation::NonBlockingLockExclusive)?;
        // Written over, then cut: on a full disk there may be no other block than the one it has.
        let pid = format!("{}\n", std::process::id());
        file.write_all(pid.as_bytes())
            .and_then(|()| file.set_len(pid.len() as u64))
            .map_err(failed)?;
        Ok(Box::new(RealLock {
            _file: file,
            path: path.to_owned(),
        }))
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(LockError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        take(&file, path, FlockOperation::NonBlockingLockShared)?;
        Ok(Some(Box::new(RealLock {
            _file: file,
            path: path.to_owned(),
        })))
    }
}

/// Locks an open file, or says who holds it.
fn take(file: &File, path: &Path, how: FlockOperation) -> Result<(), LockError> {
    match flock(file, how) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let text = fs::read_to_string(path).unwrap_or_default();
            Err(LockError::Held {
                path: path.to_owned(),
                holder: text.trim().parse().ok().filter(|pid| runs(*pid)),
            })
        }
        Err(error) => Err(LockError::Io {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Whether there is such a process. Who shares a lock does not write its id, so the file may tell of one that
/// ended long ago.
fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        Some(_) => Path::new("."),
        None => return Ok(()),
    };
    File::open(parent)?.sync_all()
}

/// An open file of the machine.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if let [one] = slices {
            return FileExt::write_at(&self.0, one, position);
        }
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        Ok(rustix::io::pwritev(&self.0, slices, position)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn uncache(&self, bytes: Range<u64>) {
        // To its end would be a length of 0.
        if let Some(length) = NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
            // Advice: a file system that does not take it loses nothing.
            let _advised = fadvise(&self.0, bytes.start, Some(length), Advice::DontNeed);
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// A lock held on a file of the machine: the kernel drops it with the last handle.
#[derive(Debug)]
struct RealLock {
    _file: File,
    #[expect(dead_code, reason = "shown by Debug")]
    path: PathBuf,
}

impl DiskLock for RealLock {}
