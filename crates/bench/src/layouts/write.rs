//! How a round is written and made durable in each layout.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::files::{self, Old, allocate, create, create_all, noise, zero};
use super::journaled::Journaled;
use super::{Case, Kind};

/// Threads that flush, the writer among them: as many as Lantern's `flush_threads`.
const FLUSHERS: usize = 8;

/// Who and how long, in front of an entry of the one log.
pub(super) const ENTRY_HEADER_BYTES: usize = 16;

/// Files in one layout.
pub(super) trait Layout {
    /// Writes a round; it is durable when this returns.
    fn round(&mut self) -> Result<()>;

    /// Does what was put off; answers how many files were synced by themselves for want of room.
    fn finish(&mut self) -> Result<u64> {
        Ok(0)
    }
}

/// Files in the state they are in before the first round.
pub(super) fn layout(run: &TempDir, old: &Old, case: Case, kind: Kind) -> Result<Box<dyn Layout>> {
    let dir = run.path();
    let room = case.file_bytes();
    let of = |files| -> Result<Box<dyn Layout>> { Ok(Box::new(Partitions::new(files, case))) };
    match kind {
        Kind::Grow => of(create_all(dir, case, |_| Ok(()))?),
        Kind::GrowThreads => {
            let files = create_all(dir, case, |_| Ok(()))?;
            Ok(Box::new(Partitions::new(files, case).with_helpers()))
        }
        Kind::Allocated => of(create_all(dir, case, |file| allocate(file, room, false))?),
        Kind::AllocatedBeyond => of(create_all(dir, case, |file| allocate(file, room, true))?),
        Kind::Zeroed => of(create_all(dir, case, |file| zero(file, room))?),
        Kind::Recycled => of(old.partitions(case)?),
        Kind::LogGrow => Ok(Box::new(OneLog::new(new_log(dir)?, case))),
        Kind::LogRecycled => Ok(Box::new(OneLog::new(old.log()?, case))),
        Kind::Journal => {
            let files = create_all(dir, case, |_| Ok(()))?;
            Ok(Box::new(Journaled::new(dir, files, case)?))
        }
    }
}

fn new_log(dir: &Path) -> Result<File> {
    let file = create(&dir.join("log"))?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

/// A file a partition, each synced.
struct Partitions {
    files: Arc<Vec<File>>,
    batch: Vec<u8>,
    position: u64,
    helpers: Option<Helpers>,
}

impl Partitions {
    fn new(files: Vec<File>, case: Case) -> Self {
        Self {
            files: Arc::new(files),
            batch: noise(case.append as usize, 2),
            position: 0,
            helpers: None,
        }
    }

    fn with_helpers(mut self) -> Self {
        self.helpers = Some(Helpers::start(&self.files));
        self
    }
}

impl Layout for Partitions {
    fn round(&mut self) -> Result<()> {
        for file in self.files.iter() {
            file.write_all_at(&self.batch, self.position)?;
        }
        self.position += self.batch.len() as u64;
        match &self.helpers {
            Some(helpers) => helpers.sync_all(),
            None => sync_each(&self.files),
        }
    }
}

/// Syncs file by file.
pub(super) fn sync_each(files: &[File]) -> Result<()> {
    for file in files {
        file.sync_data()?;
    }
    Ok(())
}

/// Threads that sync files beside the writer.
struct Helpers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    files: Arc<Vec<File>>,
    next: AtomicUsize,
    /// All meet here when a round's flush begins, and when it ends.
    meet: Barrier,
    failed: AtomicBool,
    closed: AtomicBool,
}

impl Helpers {
    fn start(files: &Arc<Vec<File>>) -> Self {
        let shared = Arc::new(Shared {
            files: Arc::clone(files),
            next: AtomicUsize::new(0),
            meet: Barrier::new(FLUSHERS),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let threads = (1..FLUSHERS).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                loop {
                    shared.meet.wait();
                    if shared.closed.load(Ordering::Relaxed) {
                        return;
                    }
                    shared.sync_some();
                    shared.meet.wait();
                }
            })
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    fn sync_all(&self) -> Result<()> {
        self.shared.next.store(0, Ordering::Relaxed);
        self.shared.meet.wait();
        self.shared.sync_some();
        self.shared.meet.wait();
        let failed = self.shared.failed.load(Ordering::Relaxed);
        ensure!(!failed, "a sync failed");
        Ok(())
    }
}

impl Shared {
    fn sync_some(&self) {
        while let Some(file) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if file.sync_data().is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.meet.wait();
        for thread in self.threads.drain(..) {
            // It only syncs.
            let _ended = thread.join();
        }
    }
}

/// All partitions in one file: a header and the batch for each, written by one call.
pub(super) struct OneLog {
    file: File,
    entries: Vec<Vec<u8>>,
    position: u64,
}

impl OneLog {
    pub(super) fn new(file: File, case: Case) -> Self {
        let batch = noise(case.append as usize, 2);
        let entry = |number: u32| {
            let mut entry = Vec::with_capacity(ENTRY_HEADER_BYTES + batch.len());
            entry.extend_from_slice(&number.to_le_bytes());
            entry.extend_from_slice(&case.append.to_le_bytes());
            // Of the file's turn: what stands here from an earlier one has another.
            entry.extend_from_slice(&1_u64.to_le_bytes());
            entry.extend_from_slice(&batch);
            entry
        };
        Self {
            file,
            entries: (0..case.partitions).map(entry).collect(),
            position: 0,
        }
    }

    /// Writes a round into the page cache.
    pub(super) fn write(&mut self) -> Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self.entries.iter().map(|e| IoSlice::new(e)).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let count = rustix::io::pwritev(&self.file, left, self.position)?;
            ensure!(count > 0, io::Error::from(io::ErrorKind::WriteZero));
            IoSlice::advance_slices(&mut left, count);
            self.position += count as u64;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The file, nothing of it in memory.
    pub(super) fn into_forgotten(self) -> Result<File> {
        files::forget(&self.file)?;
        Ok(self.file)
    }
}

impl Layout for OneLog {
    fn round(&mut self) -> Result<()> {
        self.write()?;
        self.sync()
    }
}
