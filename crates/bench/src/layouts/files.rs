//! Files in the states that layouts begin with: new, allocated, full of zeros, full of old data.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, syncfs};
use tempfile::TempDir;

use super::Case;

/// Bytes written at once when a file is filled.
const FILL_BYTES: usize = 1 << 20;

/// A directory for one case; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: TempDir,
}

impl Place {
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("layouts-")
            .tempdir_in(parent)
            .with_context(|| parent.display().to_string())?;
        Ok(Self { dir })
    }

    /// An empty directory for one run, after all that earlier ones removed is forgotten by the disk too.
    pub(super) fn run(&self) -> Result<TempDir> {
        self.settle()?;
        Ok(tempfile::tempdir_in(&self.dir)?)
    }

    /// Lets what was written and removed before go to the disk: else the next run would wait for it.
    pub(super) fn settle(&self) -> Result<()> {
        Ok(syncfs(&File::open(&self.dir)?)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Files that were written before and are written again: by every run of a case.
#[derive(Debug)]
pub(super) struct Old {
    partitions: PathBuf,
    log: PathBuf,
}

impl Old {
    pub(super) fn new(place: &Place, case: Case) -> Result<Self> {
        let old = Self {
            partitions: place.path("old"),
            log: place.path("old-log"),
        };
        fs::create_dir(&old.partitions)?;
        let bytes = noise(FILL_BYTES, 1);
        for number in 0..case.partitions {
            let file = create(&partition(&old.partitions, number))?;
            fill(&file, case.file_bytes(), &bytes)?;
        }
        // Headers of the entries take some room more.
        let length = case.rounds_max() * (case.bytes() + u64::from(case.partitions) * 16);
        fill(&create(&old.log)?, length, &bytes)?;
        Ok(old)
    }

    /// A file a partition, nothing of it in memory.
    pub(super) fn partitions(&self, case: Case) -> Result<Vec<File>> {
        (0..case.partitions)
            .map(|number| forgotten(&partition(&self.partitions, number)))
            .collect()
    }

    /// The one log, nothing of it in memory.
    pub(super) fn log(&self) -> Result<File> {
        forgotten(&self.log)
    }
}

/// Where a partition's file is.
pub(super) fn partition(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:05}.log"))
}

/// A new file for each partition, its name durable.
pub(super) fn create_all(
    dir: &Path,
    case: Case,
    prepare: impl Fn(&File) -> Result<()>,
) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for number in 0..case.partitions {
        let file = create(&partition(dir, number))?;
        prepare(&file)?;
        files.push(file);
    }
    File::open(dir)?.sync_all()?;
    Ok(files)
}

pub(super) fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path);
    file.with_context(|| path.display().to_string())
}

/// Blocks for so many bytes, not written; they count in the file's length unless they are `beyond` it.
pub(super) fn allocate(file: &File, length: u64, beyond: bool) -> Result<()> {
    let flags = if beyond {
        FallocateFlags::KEEP_SIZE
    } else {
        FallocateFlags::empty()
    };
    fallocate(file, flags, 0, length)?;
    Ok(file.sync_all()?)
}

/// Zeros, on the disk.
pub(super) fn zero(file: &File, length: u64) -> Result<()> {
    fill(file, length, &vec![0; FILL_BYTES])
}

/// `bytes` again and again up to `length`, on the disk.
fn fill(file: &File, length: u64, bytes: &[u8]) -> Result<()> {
    let mut position = 0;
    while position < length {
        let left = usize::try_from(length - position).unwrap_or(usize::MAX);
        let part = &bytes[..bytes.len().min(left)];
        file.write_all_at(part, position)?;
        position += part.len() as u64;
    }
    Ok(file.sync_all()?)
}

fn forgotten(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    forget(&file)?;
    Ok(file)
}

/// Drops what the kernel has of a file in memory.
pub(super) fn forget(file: &File) -> Result<()> {
    file.sync_all()?;
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

/// Bytes that nobody between here and the disk can make smaller.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
