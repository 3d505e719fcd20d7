//! Log directories: the data directory, and further ones on disks of their own.
//!
//! **Problem.** A disk has one writer, which waits for it most of the time. A machine with four disks wants four that do not
//! wait for each other.
//!
//! **Answer.** What is one a disk is here: the writer's queue, the journal, the reserve. Each partition is in one log
//! directory for good, the one that had the fewest when it was created; the catalog says which. The data directory is number 0
//! and has all that there is once: catalog, clean mark, Lantern's own topics.
//!
//! ```text
//! DATA_DIR/  catalog  reserve  journal/  topics/…        number 0
//! DIR/       log-dir  reserve  journal/  topics/…        1, 2, …: what is named by `Options::log_dirs`
//! ```
//!
//! Invariants: the catalog knows a directory before it is marked, and it is marked before anything is placed in it; a directory
//! whose mark is not the one the catalog knows is not touched. One that has partitions and is not there (a disk that is not
//! mounted: its mount point looks like an empty directory) keeps nobody from starting: its partitions are out of service, and
//! nothing is made in its place.
//!
//! Not here: placing partitions' files (`store`), opening them (`open`). Moving partitions from one to another is not built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commitlog::Journal;
use env::{DiskLock, Reserve};
use parking_lot::Mutex;

use super::catalog::{Catalog, DATA_DIR, LogDirEntry};
use super::queue::Queue;
use super::store::Mark;
use super::writer::Job;
use super::{OpenError, Options, events, store};

/// One log directory.
#[derive(Debug)]
pub(crate) struct LogDir {
    pub(crate) number: u16,
    /// What it is called outside, where its path is nobody's business: `data`, `data-1`, and so on.
    pub(crate) name: Arc<str>,
    pub(crate) root: PathBuf,
    /// Appends to its partitions, for its writer.
    pub(crate) queue: Queue<Job>,
    /// `None` when it is switched off, or broke.
    pub(crate) journal: Mutex<Option<Journal>>,
    /// Room for when its disk is full.
    pub(crate) reserve: Reserve,
    /// New partitions may be placed in it.
    takes_new: bool,
    /// Why nothing in it can be used, if nothing can.
    pub(crate) missing: Option<Arc<str>>,
}

/// All log directories there are, the data directory first.
#[derive(Debug, Clone)]
pub(crate) struct LogDirs(Arc<[Arc<LogDir>]>);

/// The log directories, and the locks that are held on them.
pub(crate) type Locked = (LogDirs, Vec<Box<dyn DiskLock>>);

impl LogDir {
    fn new(
        options: &Options,
        number: u16,
        root: &Path,
        takes_new: bool,
        missing: Option<Arc<str>>,
    ) -> Self {
        Self {
            number,
            name: match number {
                DATA_DIR => "data".into(),
                _ => format!("data-{number}").into(),
            },
            root: root.to_owned(),
            queue: Queue::new(options.queue_bytes.as_usize(), options.queue_appends),
            journal: Mutex::new(None),
            reserve: store::reserve(options, root),
            takes_new,
            missing,
        }
    }

    /// The data directory itself.
    pub(crate) fn first(options: &Options) -> Self {
        Self::at(options, &options.data_dir)
    }

    /// A directory as if there were no others.
    pub(crate) fn at(options: &Options, root: &Path) -> Self {
        Self::new(options, DATA_DIR, root, true, None)
    }
}

impl LogDirs {
    /// The data directory.
    pub(crate) fn first(&self) -> &Arc<LogDir> {
        &self.0[0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.0.iter()
    }

    /// Those that can be used, the data directory first.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.0.iter().filter(|dir| dir.missing.is_none())
    }

    /// Whether all of them can be used.
    pub(crate) fn are_complete(&self) -> bool {
        self.0.iter().all(|dir| dir.missing.is_none())
    }

    /// The one of that number; the catalog names no others.
    pub(crate) fn get(&self, number: u16) -> &Arc<LogDir> {
        let found = self.0.iter().find(|dir| dir.number == number);
        found.unwrap_or_else(|| self.first())
    }

    /// Where `count` new partitions go, one by one to who has the fewest.
    pub(crate) fn place(&self, catalog: &Catalog, count: usize) -> Vec<u16> {
        let mut counts = catalog.partitions_by_place();
        let mut next = || {
            let open = self.in_use().filter(|dir| dir.takes_new);
            let fewest = open.min_by_key(|dir| counts.get(&dir.number).copied().unwrap_or(0));
            let number = fewest.map_or(DATA_DIR, |dir| dir.number);
            *counts.entry(number).or_default() += 1;
            number
        };
        (0..count).map(|_| next()).collect()
    }
}

/// What becomes of a directory that was named or is known.
enum Fate {
    /// It is locked and used. With a mark that it does not have yet, or that was damaged: an empty mount point has none, and one
    /// that has some is ours where we left ours.
    Use { mark: bool },
    /// It is left alone.
    Missing(Arc<str>),
}

/// Finds, locks and marks the further log directories, and has the catalog know all of them.
pub(crate) fn open(
    options: &Options,
    catalog: &mut Catalog,
    first: LogDir,
) -> Result<Locked, OpenError> {
    let used = catalog.partitions_by_place();
    let mut next = catalog.clone();
    let mut fates: BTreeMap<u16, Fate> = BTreeMap::new();
    for path in &options.log_dirs {
        let (number, fate) = named(options, &mut next, &used, path)?;
        if fates.insert(number, fate).is_some() {
            let shown = path.display();
            let problem = format!("log_dirs: {shown} has the mark of another one that is named");
            return Err(OpenError::Options {
                problems: vec![problem],
            });
        }
    }
    let takes_new: BTreeSet<u16> = fates.keys().copied().collect();
    for (number, entry) in &next.log_dirs {
        // One that is empty and not named any more is nobody's business.
        if used.contains_key(number) && !fates.contains_key(number) {
            let fate = match store::read_mark(options, Path::new(&entry.path)) {
                Ok(Mark::Of(id)) if id == entry.id => Fate::Use { mark: false },
                Ok(Mark::Damaged) => Fate::Use { mark: true },
                Ok(_) => Fate::Missing(no_mark(entry)),
                Err(error) => Fate::Missing(unreadable(&error)),
            };
            fates.insert(*number, fate);
        }
    }
    let mut locks = Vec::new();
    for (number, fate) in &mut fates {
        if let Fate::Use { .. } = fate {
            match store::lock(options, Path::new(&next.log_dirs[number].path)) {
                Ok(lock) => locks.push(lock),
                Err(error @ OpenError::Unwritable { .. }) if used.contains_key(number) => {
                    *fate = Fate::Missing(unreadable(&error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    if next != *catalog {
        next.generation += 1;
        store::save(options, &first.reserve, &next)
            .map_err(|source| OpenError::LogDirs { source })?;
        *catalog = next;
    }
    let mut dirs = vec![Arc::new(first)];
    for (number, fate) in fates {
        let entry = &catalog.log_dirs[&number];
        let root = Path::new(&entry.path);
        let missing = match fate {
            Fate::Use { mark: true } => match store::write_mark(options, root, &entry.id) {
                Ok(()) => None,
                // It was damaged, and is for the next start what it was for this one.
                Err(error) if used.contains_key(&number) => {
                    events::log_dir_not_marked(root, &error);
                    None
                }
                // Nothing is in it yet, and nothing comes into it.
                Err(error) if error.is_full() => Some(unreadable(&error)),
                Err(error) => return Err(error),
            },
            Fate::Use { mark: false } => None,
            Fate::Missing(reason) => Some(reason),
        };
        if let Some(reason) = &missing {
            events::log_dir_missing(root, used.get(&number).copied().unwrap_or(0), reason);
        }
        let takes_new = takes_new.contains(&number);
        dirs.push(Arc::new(LogDir::new(
            options, number, root, takes_new, missing,
        )));
    }
    Ok((LogDirs(dirs.into()), locks))
}

/// A directory that the options name: known by its mark, by its path, or new.
fn named(
    options: &Options,
    catalog: &mut Catalog,
    used: &BTreeMap<u16, usize>,
    path: &Path,
) -> Result<(u16, Fate), OpenError> {
    let known_at = |catalog: &Catalog| {
        let mut known = catalog.log_dirs.iter();
        let found = known.find(|(_, entry)| Path::new(&entry.path) == path);
        found.map(|(number, entry)| (*number, entry.clone()))
    };
    let mark = match store::read_mark(options, path) {
        Ok(mark) => mark,
        // A disk that died: the others go on.
        Err(error) => match known_at(catalog) {
            Some((number, _)) if used.contains_key(&number) => {
                return Ok((number, Fate::Missing(unreadable(&error))));
            }
            _ => return Err(error),
        },
    };
    let text = path.to_str().ok_or_else(|| OpenError::Options {
        problems: vec![format!("log_dirs: {} is not UTF-8", path.display())],
    })?;
    let known = known_at(catalog);
    match (&mark, &known) {
        (Mark::Of(id), _) => {
            let mut all = catalog.log_dirs.iter_mut();
            let Some((number, entry)) = all.find(|(_, entry)| entry.id == *id) else {
                return Err(OpenError::LogDirForeign { dir: path.into() });
            };
            text.clone_into(&mut entry.path);
            return Ok((*number, Fate::Use { mark: false }));
        }
        (Mark::Damaged, Some((number, _))) => return Ok((*number, Fate::Use { mark: true })),
        (Mark::Damaged, None) => return Err(OpenError::LogDirForeign { dir: path.into() }),
        (Mark::None, Some((number, entry))) if used.contains_key(number) => {
            return Ok((*number, Fate::Missing(no_mark(entry))));
        }
        (Mark::None, _) => {}
    }
    let taken = options.disk.exists(&path.join(store::CATALOG_FILE));
    let taken =
        taken.unwrap_or(false) || !store::names(options, &path.join(store::TOPICS_DIR))?.is_empty();
    if taken {
        return Err(OpenError::LogDirForeign { dir: path.into() });
    }
    let free = || (1..).find(|number| !catalog.log_dirs.contains_key(number));
    let number = known.map(|(number, _)| number).or_else(free);
    let number = number.expect("there are not so many directories");
    let mut random = [0; 16];
    options.entropy.fill(&mut random);
    let entry = LogDirEntry {
        id: format!("{:032x}", u128::from_be_bytes(random)),
        path: text.to_owned(),
    };
    catalog.log_dirs.insert(number, entry);
    Ok((number, Fate::Use { mark: true }))
}

fn no_mark(entry: &LogDirEntry) -> Arc<str> {
    let path = &entry.path;
    format!("its log directory {path} is not there: mount its disk there, or name where it is now, and start again").into()
}

fn unreadable(error: &OpenError) -> Arc<str> {
    format!("its log directory is out of service: {error}").into()
}
