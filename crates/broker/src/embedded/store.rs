//! The small files of a data directory and of further log directories: lock, catalog, clean mark, mark, and the topic
//! directories.
//!
//! Invariants: the catalog is replaced whole and durably, also when the disk is full, in room that was kept for it; only one
//! broker holds a directory.
//!
//! Not here: logs (`commitlog`), and what the catalog says (`catalog`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{DiskLock, LockError, Reserve, read_all, write_atomic};
use model::{TopicId, TopicName, TopicPartition};

use super::catalog::Catalog;
use super::{OpenError, Options};
use crate::Error;

/// Held while a broker runs on the directory; its content is the process id.
pub(crate) const LOCK_FILE: &str = "lantern.lock";

/// What topics there are.
pub(crate) const CATALOG_FILE: &str = "catalog";

/// There after an orderly stop.
pub(crate) const CLEAN_FILE: &str = "clean";

/// Room for the catalog, and for new starts of logs, when the disk is full.
pub(crate) const RESERVE_FILE: &str = "reserve";

/// Least bytes of the reserve: the catalog of a thousand topics, and many times the checkpoint of a log, which
/// is what DeleteRecords and retention write.
pub(crate) const RESERVE_BYTES_MIN: u64 = 256 << 10;

/// The next catalog may be so much larger than the one before: a configuration, a deletion.
const CATALOG_GROWTH: u64 = 64 << 10;

/// The directory of the journal.
pub(crate) const JOURNAL_DIR: &str = "journal";

/// The directories of the topics.
pub(crate) const TOPICS_DIR: &str = "topics";

/// Says whose a log directory is; not in the data directory.
pub(crate) const MARK_FILE: &str = "log-dir";

const MARK_FIRST_LINE: &str =
    "A log directory of Lantern. Its data directory's catalog knows it as\n";

/// Digits of the id in it.
const MARK_ID_DIGITS: usize = 32;

/// A longer mark is none.
const MARK_BYTES_MAX: usize = 4 << 10;

/// A catalog larger than this is none: 100,000 topics take a quarter of it.
const CATALOG_BYTES_MAX: usize = 128 << 20;

/// Creates a directory of data if it is missing and locks it.
pub(crate) fn lock(options: &Options, dir: &Path) -> Result<Box<dyn DiskLock>, OpenError> {
    let unwritable = |source| OpenError::Unwritable {
        dir: dir.to_owned(),
        source,
    };
    options.disk.create_dir_all(dir).map_err(unwritable)?;
    match options.disk.lock(&dir.join(LOCK_FILE)) {
        Ok(lock) => Ok(lock),
        Err(LockError::Held { holder, .. }) => Err(OpenError::Locked {
            dir: dir.to_owned(),
            holder,
        }),
        Err(LockError::Io { source, .. }) => Err(unwritable(source)),
    }
}

/// Reads the catalog; `None` in a fresh directory.
pub(crate) fn load(options: &Options) -> Result<Option<Catalog>, OpenError> {
    let path = options.data_dir.join(CATALOG_FILE);
    let read = read_all(&*options.disk, &path, CATALOG_BYTES_MAX);
    match read.map_err(|source| failed(&path, "read", source))? {
        Some(bytes) => Catalog::decode(&bytes)
            .map(Some)
            .map_err(|source| OpenError::Catalog { path, source }),
        None if names(options, &options.data_dir.join(TOPICS_DIR))?.is_empty() => Ok(None),
        None => Err(OpenError::CatalogMissing { path }),
    }
}

/// Replaces the catalog, durable when this returns, if need be in the room of the reserve, which is taken again as far
/// as there is any. After an error either may be there.
pub(crate) fn save(options: &Options, reserve: &Reserve, catalog: &Catalog) -> Result<(), Error> {
    let path = options.data_dir.join(CATALOG_FILE);
    let bytes = catalog.encode();
    let replaced = reserve.replace(&path, &bytes);
    take_room(reserve, bytes.len());
    replaced.map_err(|source| Error::Io {
        action: format!("replacing {}", path.display()),
        source,
    })
}

/// The room for when a directory's disk is full; nothing is taken yet.
pub(crate) fn reserve(options: &Options, root: &Path) -> Reserve {
    let path = root.join(RESERVE_FILE);
    Reserve::new(Arc::clone(&options.disk), path, RESERVE_BYTES_MIN)
}

/// Keeps room for the next catalog after one of `catalog` bytes, as far as there is any.
pub(crate) fn take_room(reserve: &Reserve, catalog: usize) {
    let catalog = u64::try_from(catalog).unwrap_or(u64::MAX);
    let next = catalog.saturating_add(CATALOG_GROWTH);
    reserve.want(next.next_multiple_of(RESERVE_BYTES_MIN));
    // Whoever frees some tries again.
    let _filled = reserve.fill();
}

/// Whether the last stop was orderly; forgets it durably, since this run has not stopped yet.
pub(crate) fn take_clean_mark(options: &Options) -> Result<bool, OpenError> {
    let path = options.data_dir.join(CLEAN_FILE);
    let removed = match options.disk.remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => Err(error),
        Ok(()) => options.disk.sync_dir(&options.data_dir),
    };
    removed
        .map(|()| true)
        .map_err(|source| failed(&path, "remove", source))
}

/// Leaves the mark of an orderly stop.
pub(crate) fn mark_clean(options: &Options) -> Result<(), Error> {
    let path = options.data_dir.join(CLEAN_FILE);
    write_atomic(&*options.disk, &path, b"stopped in order\n").map_err(|source| Error::Io {
        action: format!("writing {}", path.display()),
        source,
    })
}

/// What a directory's mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// There is none.
    None,
    /// The id by which its data directory's catalog knows it.
    Of(String),
    /// There is one, and it is not legible.
    Damaged,
}

/// Whose a log directory is, by its mark.
pub(crate) fn read_mark(options: &Options, root: &Path) -> Result<Mark, OpenError> {
    let path = root.join(MARK_FILE);
    let bytes = match read_all(&*options.disk, &path, MARK_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Mark::None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Mark::Damaged),
        Err(source) => return Err(failed(&path, "read", source)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let id = text.get(MARK_FIRST_LINE.len()..);
    let id = id.and_then(|rest| rest.get(..MARK_ID_DIGITS));
    let id = id.filter(|id| mark(id) == *text);
    Ok(id.map_or(Mark::Damaged, |id| Mark::Of(id.to_owned())))
}

/// The content of a mark.
fn mark(id: &str) -> String {
    let checksum = crc32c::crc32c(id.as_bytes());
    format!("{MARK_FIRST_LINE}{id} {checksum:08x}\n")
}

/// Marks a log directory.
pub(crate) fn write_mark(options: &Options, root: &Path, id: &str) -> Result<(), OpenError> {
    let path = root.join(MARK_FILE);
    write_atomic(&*options.disk, &path, mark(id).as_bytes())
        .map_err(|source| failed(&path, "write", source))
}

/// Where the logs of a topic are in a log directory, one directory a partition.
pub(crate) fn topic_dir(root: &Path, name: &TopicName, id: TopicId) -> PathBuf {
    let topics = root.join(TOPICS_DIR);
    topics.join(name.as_str()).join(id.to_string())
}

/// Where the log of a partition is in a log directory.
pub(crate) fn partition_dir(root: &Path, id: &TopicPartition, topic: TopicId) -> PathBuf {
    topic_dir(root, &id.topic, topic).join(id.partition.to_string())
}

/// Directories of topics in a log directory: name, id as text, path.
pub(crate) fn topic_dirs(
    options: &Options,
    root: &Path,
) -> Result<Vec<(String, String, PathBuf)>, OpenError> {
    let root = root.join(TOPICS_DIR);
    let mut found = Vec::new();
    for name in names(options, &root)? {
        let dir = root.join(&name);
        for id in names(options, &dir)? {
            let path = dir.join(&id);
            found.push((name.clone(), id, path));
        }
    }
    Ok(found)
}

/// Names of directories in `dir`; none when it is missing.
pub(crate) fn names(options: &Options, dir: &Path) -> Result<Vec<String>, OpenError> {
    match options.disk.read_dir(dir) {
        Ok(entries) => Ok(entries
            .into_iter()
            .filter(|entry| entry.is_dir)
            .map(|entry| entry.name)
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(failed(dir, "list", source)),
    }
}

/// Removes `topics/NAME/UUID`, and `topics/NAME` when nothing else is in it.
pub(crate) fn remove_topic_dir(options: &Options, dir: &Path) -> Result<(), Error> {
    let parent = dir.parent().unwrap_or(dir);
    let remove = || -> io::Result<()> {
        options.disk.remove_dir_all(dir)?;
        if !options.disk.exists(parent)? {
            return Ok(());
        }
        options.disk.sync_dir(parent)?;
        if options.disk.read_dir(parent)?.is_empty() {
            options.disk.remove_dir_all(parent)?;
            if let Some(root) = parent.parent() {
                options.disk.sync_dir(root)?;
            }
        }
        Ok(())
    };
    remove().map_err(|source| Error::Io {
        action: format!("removing {}", dir.display()),
        source,
    })
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> OpenError {
    OpenError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
