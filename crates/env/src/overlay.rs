//! A disk that shows another one and keeps all changes to itself: for trying what code would do.
//!
//! The disk below is only ever read: files are opened for reading, nothing is created, locked or synced
//! there. What is written lives in memory, in pages, and a page that is written with what it has takes
//! none; so recovery, which writes over itself what may not be durable, costs nothing. Files whose bytes
//! nobody will ask for again can be [forgotten](Overlay::forgetting): only their lengths are kept.
//!
//! Invariants: the disk below does not change, and is not asked to; handles of one file see one content,
//! as on any disk. Syncs do nothing: there is no crash to outlive.
//! Not here: changes that somebody makes to the disk below meanwhile (callers lock it), renamed directories.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, DiskLock, DynDisk, DynFile, Entry, LockError, Open, Space};
use content::Content;

/// A disk over another one. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Overlay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: DynDisk,
    forgets: fn(&Path) -> bool,
    names: Mutex<Names>,
    locks: Mutex<BTreeSet<PathBuf>>,
    read_bytes: Arc<AtomicU64>,
}

/// What differs from the disk below.
#[derive(Debug, Default)]
struct Names {
    changed: BTreeMap<PathBuf, Node>,
    /// Files that are open and as they are below.
    open: BTreeMap<PathBuf, Weak<Content>>,
}

#[derive(Debug)]
enum Node {
    File(Arc<Content>),
    /// Made here: nothing below shows in it.
    Directory,
    Gone,
}

/// What a path is to those who look from above.
enum What {
    File(Arc<Content>),
    /// A file as it is below, not open.
    Below,
    Directory,
    Missing,
}

impl Overlay {
    /// Shows `base`, and keeps every change in memory.
    pub fn new(base: DynDisk) -> Self {
        Self::forgetting(base, |_| false)
    }

    /// As [`Overlay::new`]; files for which `forgets` holds lose what is written to them, and read as zeros
    /// from then on.
    pub fn forgetting(base: DynDisk, forgets: fn(&Path) -> bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                base,
                forgets,
                names: Mutex::default(),
                locks: Mutex::default(),
                read_bytes: Arc::default(),
            }),
        }
    }

    /// As [`crate::DynDisk`].
    pub fn shared(&self) -> DynDisk {
        Arc::new(self.clone())
    }

    /// Bytes read from the disk below so far.
    pub fn read_bytes(&self) -> u64 {
        self.shared.read_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory that changed pages take.
    pub fn changed_bytes(&self) -> u64 {
        let names = self.shared.names.lock();
        let files = names.changed.values().map(|node| match node {
            Node::File(content) => content.changed_bytes(),
            Node::Directory | Node::Gone => 0,
        });
        files.sum()
    }
}

impl Shared {
    fn what(&self, names: &Names, path: &Path) -> io::Result<What> {
        match names.changed.get(path) {
            Some(Node::File(content)) => return Ok(What::File(Arc::clone(content))),
            Some(Node::Directory) => return Ok(What::Directory),
            Some(Node::Gone) => return Ok(What::Missing),
            None => {}
        }
        if let Some(content) = names.open.get(path).and_then(Weak::upgrade) {
            return Ok(What::File(content));
        }
        if !names.shows_below(path) || !self.base.exists(path)? {
            return Ok(What::Missing);
        }
        Ok(match self.base.read_dir(path) {
            Ok(_) => What::Directory,
            Err(_) => What::Below,
        })
    }

    /// The content of a file that is there.
    fn content(&self, names: &Names, path: &Path) -> io::Result<Arc<Content>> {
        match self.what(names, path)? {
            What::File(content) => Ok(content),
            What::Below => self.below(path),
            What::Directory => Err(io::ErrorKind::IsADirectory.into()),
            What::Missing => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn below(&self, path: &Path) -> io::Result<Arc<Content>> {
        let file = self.base.open(path, Open::Read)?;
        let forgets = (self.forgets)(path);
        let content = Content::over(file, forgets, Arc::clone(&self.read_bytes))?;
        Ok(Arc::new(content))
    }
}

impl Names {
    /// Whether what is below at `path` can be seen, as far as the directories above it go.
    fn shows_below(&self, path: &Path) -> bool {
        let mut above = path.ancestors().skip(1);
        above.all(|directory| !self.changed.contains_key(directory))
    }

    fn remove(&mut self, path: &Path) {
        self.open.remove(path);
        self.changed.insert(path.to_owned(), Node::Gone);
    }
}

impl Disk for Overlay {
    fn open(&self, path: &Path, how: Open) -> io::Result<DynFile> {
        let shared = &self.shared;
        let mut names = shared.names.lock();
        let content = match (shared.what(&names, path)?, how) {
            (What::Directory, _) => return Err(io::ErrorKind::IsADirectory.into()),
            (What::File(_) | What::Below, Open::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (What::File(content), _) => content,
            (What::Below, _) => {
                let content = shared.below(path)?;
                names.open.insert(path.to_owned(), Arc::downgrade(&content));
                content
            }
            (What::Missing, Open::Read | Open::Write) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (What::Missing, Open::Create | Open::CreateNew) => {
                let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
                if !matches!(shared.what(&names, parent)?, What::Directory) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let content = Arc::new(Content::empty((shared.forgets)(path)));
                let node = Node::File(Arc::clone(&content));
                names.changed.insert(path.to_owned(), node);
                content
            }
        };
        Ok(Arc::new(File {
            shared: Arc::clone(shared),
            path: path.to_owned(),
            content,
            writable: how != Open::Read,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut names = self.shared.names.lock();
        let mut missing = Vec::new();
        for at in path.ancestors() {
            if at.as_os_str().is_empty() {
                break;
            }
            match self.shared.what(&names, at)? {
                What::Directory => break,
                What::File(_) | What::Below => return Err(io::ErrorKind::NotADirectory.into()),
                What::Missing => missing.push(at.to_owned()),
            }
        }
        let made = missing.into_iter().map(|path| (path, Node::Directory));
        names.changed.extend(made);
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let names = self.shared.names.lock();
        let mut found = BTreeMap::new();
        match names.changed.get(path) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Gone) => return Err(io::ErrorKind::NotFound.into()),
            None if !names.shows_below(path) => return Err(io::ErrorKind::NotFound.into()),
            None => {
                let below = self.shared.base.read_dir(path)?;
                found.extend(below.into_iter().map(|entry| (entry.name, entry.is_dir)));
            }
        }
        let inside = names.changed.range(path.to_owned()..);
        for (at, node) in inside.take_while(|(at, _)| at.starts_with(path)) {
            let name = at.file_name().and_then(|name| name.to_str());
            let (Some(name), true) = (name, at.parent() == Some(path)) else {
                continue;
            };
            match node {
                Node::File(_) => found.insert(name.to_owned(), false),
                Node::Directory => found.insert(name.to_owned(), true),
                Node::Gone => found.remove(name),
            };
        }
        let entry = |(name, is_dir)| Entry { name, is_dir };
        Ok(found.into_iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let names = self.shared.names.lock();
        match names.changed.get(path) {
            Some(Node::File(_) | Node::Directory) => Ok(true),
            Some(Node::Gone) => Ok(false),
            None => Ok(names.shows_below(path) && self.shared.base.exists(path)?),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.shared.names.lock();
        let content = match self.shared.what(&names, from)? {
            What::Directory => return Err(io::ErrorKind::Unsupported.into()),
            _ => self.shared.content(&names, from)?,
        };
        let parent = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !matches!(self.shared.what(&names, parent)?, What::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let What::Directory = self.shared.what(&names, to)? {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        names.remove(from);
        names.open.remove(to);
        names.changed.insert(to.to_owned(), Node::File(content));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut names = self.shared.names.lock();
        match self.shared.what(&names, path)? {
            What::File(_) | What::Below => names.remove(path),
            What::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            What::Missing => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut names = self.shared.names.lock();
        match self.shared.what(&names, path)? {
            What::File(_) | What::Below => return Err(io::ErrorKind::NotADirectory.into()),
            What::Missing => return Ok(()),
            What::Directory => {}
        }
        names.changed.retain(|at, _| !at.starts_with(path));
        names.open.retain(|at, _| !at.starts_with(path));
        names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let names = self.shared.names.lock();
        match self.shared.what(&names, path)? {
            What::Directory => Ok(()),
            What::File(_) | What::Below => Err(io::ErrorKind::NotADirectory.into()),
            What::Missing => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        // A directory made here takes the place of the one it would be made in.
        let mut there = path.ancestors();
        let there = there.find(|path| self.shared.base.exists(path).unwrap_or(false));
        self.shared.base.space(there.unwrap_or(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        let pid = std::process::id();
        if !self.shared.locks.lock().insert(path.to_owned()) {
            return Err(LockError::Held {
                path: path.to_owned(),
                holder: Some(pid),
            });
        }
        let lock = Lock {
            shared: Arc::clone(&self.shared),
            path: path.to_owned(),
        };
        let written = self.open(path, Open::Create).and_then(|file| {
            file.set_len(0)?;
            file.write_all_at(format!("{pid}\n").as_bytes(), 0)
        });
        match written {
            Ok(()) => Ok(Box::new(lock)),
            Err(source) => Err(LockError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Whoever looks from above is alone: not shared with anybody.
    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn DiskLock>>, LockError> {
        match self.exists(path) {
            Ok(true) => self.lock(path).map(Some),
            Ok(false) => Ok(None),
            Err(source) => Err(LockError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

#[derive(Debug)]
struct Lock {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl DiskLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.shared.locks.lock().remove(&self.path);
    }
}

/// A handle on a file of the overlay.
#[derive(Debug)]
struct File {
    shared: Arc<Shared>,
    path: PathBuf,
    content: Arc<Content>,
    writable: bool,
}

impl File {
    fn check_writable(&self) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    /// A file that was as it is below is kept from its first change on.
    fn keep(&self) {
        let mut names = self.shared.names.lock();
        let open = names.open.get(&self.path);
        if open.is_some_and(|open| std::ptr::eq(open.as_ptr(), Arc::as_ptr(&self.content))) {
            names.open.remove(&self.path);
            let node = Node::File(Arc::clone(&self.content));
            names.changed.insert(self.path.clone(), node);
        }
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.content.read(buffer, position)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.check_writable()?;
        let mut written = 0;
        for slice in slices {
            if self.content.write(slice, position + written as u64)? {
                self.keep();
            }
            written += slice.len();
        }
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        if self.content.set_len(length) {
            self.keep();
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.length())
    }

    /// What is in memory alone stays there.
    fn uncache(&self, _bytes: Range<u64>) {}
}
