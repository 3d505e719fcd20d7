//! A disk that takes its time over syncs, for as long as a test wants.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::{Disk, DiskFile, DiskLock, DynDisk, DynFile, Entry, LockError, Open, SimDisk, Space};
use parking_lot::{Condvar, Mutex};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Stops syncs of some files on their way, and counts who was stopped.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    stopped: u64,
}

impl Gate {
    /// A disk with the gate before the syncs of those files.
    pub(crate) fn before(self: &Arc<Self>, files: fn(&Path) -> bool) -> DynDisk {
        Arc::new(Slow {
            disk: SimDisk::new(1),
            gate: Arc::clone(self),
            files,
        })
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        if state.closed {
            state.stopped += 1;
            self.changed.notify_all();
        }
        while state.closed {
            self.changed.wait(&mut state);
        }
    }

    /// Closes it until what is answered is dropped: before the broker, whose threads end with it.
    pub(crate) fn close(&self) -> impl Drop {
        self.state.lock().closed = true;
        Closed(self)
    }

    /// Waits until somebody stands before it.
    pub(crate) fn somebody_waits(&self) {
        let mut state = self.state.lock();
        while state.stopped == 0 {
            let waited = self.changed.wait_for(&mut state, PATIENCE);
            assert!(!waited.timed_out(), "nobody flushes");
        }
    }
}

struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.state.lock().closed = false;
        self.0.changed.notify_all();
    }
}

#[derive(Debug)]
struct Slow {
    disk: SimDisk,
    gate: Arc<Gate>,
    files: fn(&Path) -> bool,
}

#[derive(Debug)]
struct SlowFile {
    file: DynFile,
    gate: Option<Arc<Gate>>,
}

impl Disk for Slow {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        let gated = (self.files)(path);
        Ok(Arc::new(SlowFile {
            file: self.disk.open(path, how)?,
            gate: gated.then(|| Arc::clone(&self.gate)),
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
        self.disk.sync_dir(path)
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

impl DiskFile for SlowFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.file.write_vectored_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.file.sync_data()
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
