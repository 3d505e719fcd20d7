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
//! At a start (`find`) all marks are read first, then each directory that the catalog knows is looked for, by its mark wherever
//! it is now; what is named and left over is new, or somebody else's.
//!
//! Invariants: the catalog knows a directory before it is marked, and it is marked before anything is placed in it. One that was
//! marked and has no mark now is not the one it was, unless logs are in it that the catalog places there: an empty mount point
//! is nothing. One that is missing keeps nobody from starting: its partitions are out of service, nothing is made in
//! its place, and no new directory is taken in meanwhile (it may be the missing one's mount point by another name).
//!
//! Not here: placing partitions' files (`store`), opening them (`open`). Moving partitions from one to another is not built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use commitlog::Journal;
use env::{DiskLock, Reserve};
use model::{PartitionId, TopicPartition};
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
    /// Why nothing in it can be used, if nothing can; known when the start is over.
    missing: OnceLock<Arc<str>>,
}

/// All log directories there are, the data directory first.
#[derive(Debug, Clone)]
pub(crate) struct LogDirs(Arc<[Arc<LogDir>]>);

/// The log directories, and the locks that are held on them.
pub(crate) type Locked = (LogDirs, Vec<Box<dyn DiskLock>>);

impl LogDir {
    fn new(options: &Options, number: u16, root: &Path, takes_new: bool) -> Self {
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
            missing: OnceLock::new(),
        }
    }

    /// A directory as if there were no others.
    pub(crate) fn at(options: &Options, root: &Path) -> Self {
        Self::new(options, DATA_DIR, root, true)
    }

    /// Why nothing in it can be used, if nothing can.
    pub(crate) fn missing(&self) -> Option<&Arc<str>> {
        self.missing.get()
    }

    /// Nothing in it can be used until the next start.
    pub(crate) fn out_of_service(&self, partitions: usize, reason: Arc<str>) {
        events::log_dir_missing(&self.root, partitions, &reason);
        // The first reason is the better one.
        let _said = self.missing.set(reason);
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
        self.0.iter().filter(|dir| dir.missing().is_none())
    }

    /// Those that cannot be used.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.0.iter().filter(|dir| dir.missing().is_some())
    }

    /// The one of that number.
    pub(crate) fn get(&self, number: u16) -> &Arc<LogDir> {
        let found = self.0.iter().find(|dir| dir.number == number);
        found.expect("every directory that has partitions is here, found or not")
    }

    /// Where `count` new partitions go, one by one to who has the fewest and is not `without`.
    pub(crate) fn place(
        &self,
        catalog: &Catalog,
        count: usize,
        without: &BTreeSet<u16>,
    ) -> Vec<u16> {
        let mut counts = catalog.partitions_by_place();
        let mut next = || {
            let open = self.in_use().filter(|dir| dir.takes_new);
            let open = open.filter(|dir| !without.contains(&dir.number));
            let fewest = open.min_by_key(|dir| counts.get(&dir.number).copied().unwrap_or(0));
            let number = fewest.map_or(DATA_DIR, |dir| dir.number);
            *counts.entry(number).or_default() += 1;
            number
        };
        (0..count).map(|_| next()).collect()
    }
}

/// What becomes of a directory that is named or known.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is locked and used. `mark`: it has no mark yet, or one that was damaged or lost.
    Use { mark: bool },
    /// It is left alone.
    Missing(Arc<str>),
}

/// A directory that was looked at.
struct Seen {
    path: PathBuf,
    /// The same, as the catalog has it.
    text: String,
    named: bool,
    mark: Result<Mark, OpenError>,
}

/// Finds, locks and marks the further log directories, and has the catalog know all of them.
pub(crate) fn open(
    options: &Options,
    catalog: &mut Catalog,
    first: LogDir,
) -> Result<Locked, OpenError> {
    let used = catalog.partitions_by_place();
    let partitions = |number: u16| used.get(&number).copied().unwrap_or(0);
    let seen = look(options, catalog)?;
    let mut next = catalog.clone();
    let mut fates = find(options, &seen, &mut next)?;
    let mut locks = Vec::new();
    for (number, fate) in &mut fates {
        if let Fate::Use { .. } = fate {
            match store::lock(options, Path::new(&next.log_dirs[number].path)) {
                Ok(lock) => locks.push(lock),
                // It was marked in an earlier run, or has logs in it.
                Err(error @ OpenError::Unwritable { .. })
                    if *fate == Fate::Use { mark: false } || partitions(*number) > 0 =>
                {
                    *fate = Fate::Missing(unreadable(&error));
                }
                Err(error) => return Err(error),
            }
        }
    }
    replace(options, &first, catalog, next)?;
    let mut dirs = vec![Arc::new(first)];
    let mut next = catalog.clone();
    for (number, fate) in fates {
        let entry = next.log_dirs.entry(number).or_default();
        let root = Path::new(&entry.path);
        let is_named = seen.iter().any(|seen| seen.named && seen.path == root);
        let dir = LogDir::new(options, number, root, is_named);
        let missing = match fate {
            Fate::Use { mark: true } => match store::write_mark(options, root, &entry.id) {
                Ok(()) => {
                    entry.marked = true;
                    None
                }
                // It was damaged, and is for the next start what it was for this one.
                Err(error) if partitions(number) > 0 => {
                    events::log_dir_not_marked(root, &error);
                    None
                }
                // Nothing is in it yet, and nothing comes into it.
                Err(error) if error.is_full() => Some(unreadable(&error)),
                Err(error) => return Err(error),
            },
            Fate::Use { mark: false } => {
                entry.marked = true;
                None
            }
            Fate::Missing(reason) => Some(reason),
        };
        if let Some(reason) = missing {
            dir.out_of_service(partitions(number), reason);
        }
        dirs.push(Arc::new(dir));
    }
    replace(options, &dirs[0], catalog, next)?;
    Ok((LogDirs(dirs.into()), locks))
}

fn replace(
    options: &Options,
    first: &LogDir,
    catalog: &mut Catalog,
    mut next: Catalog,
) -> Result<(), OpenError> {
    if next != *catalog {
        next.generation += 1;
        store::save(options, &first.reserve, &next)
            .map_err(|source| OpenError::LogDirs { source })?;
        *catalog = next;
    }
    Ok(())
}

/// Reads the marks of all directories that are named, or were known when the last run ended.
fn look(options: &Options, catalog: &Catalog) -> Result<Vec<Seen>, OpenError> {
    let mut seen: Vec<Seen> = Vec::new();
    for path in &options.log_dirs {
        let text = path.to_str().ok_or_else(|| OpenError::Options {
            problems: vec![format!("log_dirs: {} is not UTF-8", path.display())],
        })?;
        seen.push(Seen {
            path: path.clone(),
            text: text.to_owned(),
            named: true,
            mark: store::read_mark(options, path),
        });
    }
    for entry in catalog.log_dirs.values() {
        let path = PathBuf::from(&entry.path);
        if seen.iter().all(|seen| seen.path != path) {
            seen.push(Seen {
                mark: store::read_mark(options, &path),
                path,
                text: entry.path.clone(),
                named: false,
            });
        }
    }
    Ok(seen)
}

/// What becomes of each directory; in `next`, where they are now, and those that are new.
fn find(
    options: &Options,
    seen: &[Seen],
    next: &mut Catalog,
) -> Result<BTreeMap<u16, Fate>, OpenError> {
    let stored = next.clone();
    let used = stored.partitions_by_place();
    let mut fates = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for (number, entry) in &stored.log_dirs {
        let here = seen.iter().find(|seen| seen.text == entry.path);
        let (found, fate) = match by_mark(seen, entry)? {
            Some(found) => (Some(found), Fate::Use { mark: false }),
            None => (here, without_mark(options, &stored, *number, here)),
        };
        let is_named = found.is_some_and(|seen| seen.named);
        let is_used = used.contains_key(number);
        let is_missing = matches!(fate, Fate::Missing(_));
        // One that is empty and not named any more is nobody's business, unless files of deleted topics may be left in it.
        let never_marked = fate == Fate::Use { mark: true };
        let is_owed = || stored.deleting.iter().any(|left| left.may_be_in(*number));
        if !is_named && !is_used && (never_marked || !is_owed()) {
            continue;
        }
        if let Some(found) = found {
            claimed.insert(&found.path);
            if let (false, Some(entry)) = (is_missing, next.log_dirs.get_mut(number)) {
                entry.path.clone_from(&found.text);
            }
        }
        fates.insert(*number, fate);
    }
    let lost = fates.iter().find_map(|(number, fate)| {
        let is_lost = matches!(fate, Fate::Missing(_)) && used.contains_key(number);
        is_lost.then(|| stored.log_dirs[number].path.clone())
    });
    for new in seen.iter().filter(|seen| seen.named) {
        if claimed.contains(&new.path) {
            continue;
        }
        check_new(options, new)?;
        if let Some(lost) = &lost {
            events::log_dir_not_taken_in(&new.path, lost);
            continue;
        }
        let mut random = [0; 16];
        options.entropy.fill(&mut random);
        let entry = LogDirEntry {
            id: format!("{:032x}", u128::from_be_bytes(random)),
            path: new.text.clone(),
            marked: false,
        };
        let free = (1..=u16::MAX).find(|number| !next.log_dirs.contains_key(number));
        let number = free.expect("there are not so many directories");
        next.log_dirs.insert(number, entry);
        fates.insert(number, Fate::Use { mark: true });
    }
    Ok(fates)
}

/// The directory that has the mark of an entry.
fn by_mark<'a>(seen: &'a [Seen], entry: &LogDirEntry) -> Result<Option<&'a Seen>, OpenError> {
    let is_it = |seen: &&Seen| matches!(&seen.mark, Ok(Mark::Of(id)) if *id == entry.id);
    let mut named = seen.iter().filter(|seen| seen.named).filter(is_it);
    if let (Some(one), Some(other)) = (named.next(), named.next()) {
        let (one, other) = (one.path.display(), other.path.display());
        return Err(OpenError::Options {
            problems: vec![format!(
                "log_dirs names {one} and {other}, and one is a copy of the other"
            )],
        });
    }
    // What is named is meant, whatever else is still there.
    let is_named = |seen: &&Seen| seen.named && is_it(seen);
    let found = seen.iter().find(is_named);
    Ok(found.or_else(|| seen.iter().find(is_it)))
}

/// What becomes of a directory whose mark is nowhere.
fn without_mark(options: &Options, catalog: &Catalog, number: u16, here: Option<&Seen>) -> Fate {
    let entry = &catalog.log_dirs[&number];
    let path = &entry.path;
    let Some(here) = here else {
        return Fate::Missing(gone(path));
    };
    match &here.mark {
        Err(error) => Fate::Missing(unreadable(error)),
        Ok(Mark::Of(_)) => Fate::Missing(
            format!("its log directory is not at {path} any more, another one is: name where it is, and start again").into(),
        ),
        // It was known, and the power went before it was marked.
        Ok(Mark::None) if !entry.marked => Fate::Use { mark: true },
        Ok(Mark::Damaged) if !catalog.partitions_by_place().contains_key(&number) => {
            Fate::Use { mark: true }
        }
        Ok(Mark::None | Mark::Damaged) if has_its_logs(options, catalog, number, &here.path) => {
            Fate::Use { mark: true }
        }
        Ok(Mark::None | Mark::Damaged) => Fate::Missing(gone(path)),
    }
}

/// Whether a log is in a directory that the catalog places there.
fn has_its_logs(options: &Options, catalog: &Catalog, number: u16, root: &Path) -> bool {
    catalog.topics.iter().any(|(name, entry)| {
        let mut placed = (0..entry.partitions).filter(|index| entry.place(*index) == number);
        placed.any(|index| {
            let id = TopicPartition::new(name.clone(), PartitionId::new(index));
            let dir = store::partition_dir(root, &id, entry.id);
            options.disk.exists(&dir).unwrap_or(false)
        })
    })
}

/// Refuses a directory that is somebody else's.
fn check_new(options: &Options, new: &Seen) -> Result<(), OpenError> {
    let foreign = || {
        Err(OpenError::LogDirForeign {
            dir: new.path.clone(),
        })
    };
    match &new.mark {
        Ok(Mark::None) => {}
        Ok(Mark::Of(_) | Mark::Damaged) => return foreign(),
        // Why, is said again.
        Err(_) => return store::read_mark(options, &new.path).map(drop),
    }
    let taken = options.disk.exists(&new.path.join(store::CATALOG_FILE));
    let topics = store::names(options, &new.path.join(store::TOPICS_DIR))?;
    if taken.unwrap_or(false) || !topics.is_empty() {
        return foreign();
    }
    Ok(())
}

fn gone(path: &str) -> Arc<str> {
    format!("its log directory {path} is not there: mount its disk, or name where it is now, and start again").into()
}

fn unreadable(error: &OpenError) -> Arc<str> {
    format!("its log directory is out of service: {error}").into()
}
