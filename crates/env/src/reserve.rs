//! Room on a disk that is kept for when there is none.
//!
//! Problem: on a full disk room is made by removing files, and before a file may go something small must be written
//! that says so (a catalog, a checkpoint). Without room for that nothing can be removed.
//!
//! Answer: a file of bytes that do not compress, written and synced while there was room. When a small file cannot be
//! replaced for want of room, the reserve is: the new content is written over its first bytes, which are there
//! already, what is behind is cut off, and the file gets the other's name. Nobody else can take the room in between, as
//! they could after a removal. On file systems that never write in place that fails too; then the reserve is removed, and the
//! replacement tried once more.
//!
//! Invariants: what is replaced is replaced as by [`write_atomic`]: after a crash either content is there, never a mixture.
//! The reserve's own bytes are never evidence of anything; a file of its name that does not begin as it should (a crash after the content, before
//! the other name alone is durable) is never written to, only removed: the same bytes may be known by the other name.
//! Not here: when room may have become free, which callers know ([`Reserve::fill`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::atomic_file::write_atomic;
use crate::disk::{DiskFile, DynDisk, Open};
use crate::entropy::SplitMix;

/// What a reserve begins with.
const FIRST_LINE: &[u8] = b"Lantern's reserve for a full disk. Leave it where it is.\n";

/// Bytes written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Whether an error says that the disk (or the quota) has no room.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero
    )
}

/// Room that is kept. Clones are the same reserve; two are equal if they are the same.
#[derive(Debug, Clone)]
pub struct Reserve(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: DynDisk,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wanted: u64,
    /// Bytes in the file; `None` when that must be looked at.
    held: Option<u64>,
}

impl PartialEq for Reserve {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Reserve {}

impl Reserve {
    /// A reserve of `bytes` in the file `path`. Touches nothing before [`Reserve::fill`].
    pub fn new(disk: DynDisk, path: impl Into<PathBuf>, bytes: u64) -> Self {
        Self(Arc::new(Inner {
            disk,
            path: path.into(),
            state: Mutex::new(State {
                wanted: bytes,
                held: None,
            }),
        }))
    }

    /// From the next [`Reserve::fill`] on it has at least `bytes`.
    pub fn want(&self, bytes: u64) {
        let mut state = self.0.state.lock();
        state.wanted = state.wanted.max(bytes);
    }

    /// Takes what is missing, as far as there is room. Touches nothing when nothing is missing.
    ///
    /// # Errors
    /// [`is_full`] when there was no room for all of it: what there was is taken.
    pub fn fill(&self) -> io::Result<()> {
        let inner = &*self.0;
        let mut state = inner.state.lock();
        let held = inner.held(&mut state)?;
        if held >= state.wanted {
            return Ok(());
        }
        let wanted = state.wanted;
        state.held = None;
        let file = inner.disk.open(&inner.path, Open::Create)?;
        let grown = grow(&*file, held, wanted);
        let reached = file.length()?;
        if reached > held {
            file.sync_data()?;
            inner.sync_dir(&inner.path)?;
        }
        state.held = Some(reached);
        grown
    }

    /// Gives the room up, for what cannot do without; answers whether there was any. [`Reserve::fill`] takes it again.
    ///
    /// # Errors
    /// What the system said.
    pub fn release(&self) -> io::Result<bool> {
        let inner = &*self.0;
        let mut state = inner.state.lock();
        if inner.held(&mut state)? == 0 {
            return Ok(false);
        }
        state.held = None;
        state.held = Some(inner.remove()?);
        Ok(true)
    }

    /// Replaces `path` by `bytes`, durable when this returns, as [`write_atomic`] does; if there is no room, in the room
    /// of the reserve. `path` is on the same file system.
    ///
    /// # Errors
    /// As [`write_atomic`]; [`is_full`] when the reserve was not enough.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let inner = &*self.0;
        match write_atomic(&*inner.disk, path, bytes) {
            Err(full) if is_full(&full) => {
                let mut state = inner.state.lock();
                if inner.held(&mut state)? == 0 {
                    return Err(full);
                }
                // Whatever happens: what is left must be looked at.
                state.held = None;
                inner.give(path, bytes)
            }
            done => done,
        }
    }
}

impl Inner {
    /// Bytes that the reserve has. What is no reserve goes.
    fn held(&self, state: &mut State) -> io::Result<u64> {
        if let Some(held) = state.held {
            return Ok(held);
        }
        let held = match self.disk.open(&self.path, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
            Ok(file) => {
                let mut first = [0; FIRST_LINE.len()];
                match file.read_exact_at(&mut first, 0) {
                    Ok(()) if first == FIRST_LINE => file.length()?,
                    Ok(()) => self.remove()?,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.remove()?,
                    Err(error) => return Err(error),
                }
            }
        };
        state.held = Some(held);
        Ok(held)
    }

    fn give(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(&self.path, Open::Write)?;
        let written = file
            .write_all_at(bytes, 0)
            .and_then(|()| file.set_len(bytes.len() as u64))
            .and_then(|()| file.sync_data());
        drop(file);
        match written {
            Err(error) if is_full(&error) => {
                self.remove()?;
                return write_atomic(&*self.disk, path, bytes);
            }
            written => written?,
        }
        self.disk.rename(&self.path, path)?;
        self.sync_dir(path)?;
        self.sync_dir(&self.path)
    }

    /// Removes the file; answers what is left of it.
    fn remove(&self) -> io::Result<u64> {
        self.disk.remove_file(&self.path)?;
        self.sync_dir(&self.path)?;
        Ok(0)
    }

    fn sync_dir(&self, of: &Path) -> io::Result<()> {
        let dir = of.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.disk.sync_dir(dir)
    }
}

/// Appends from `from` to `to`, beginning with the first line. The rest is noise: zeros might be kept as a hole, or
/// compressed to nothing.
fn grow(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut noise = SplitMix::new(from);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&noise.next().to_le_bytes());
        }
        if at == 0 {
            chunk[..FIRST_LINE.len()].copy_from_slice(FIRST_LINE);
        }
        let count = usize::try_from(to - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        file.write_all_at(&chunk[..count], at)?;
        at += count as u64;
    }
    Ok(())
}
