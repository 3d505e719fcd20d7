//! Putting a cleaned segment in force.
//!
//! ```text
//!  written aside, synced ──rename, sync of the directory──> in force on the disk
//!      ──list of segments changed──> in force for readers ──old files removed──> done
//! ```
//! A crash before the rename is durable leaves the old segments and a file that the next start removes; a
//! crash after it leaves the new one and files that the next start removes. What fails before it is in
//! force for readers is taken back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use env::{Disk, is_full};
use model::Offset;

use super::LogHolder;
use crate::index::Index;
use crate::names::{Cleaned, SegmentName};
use crate::segment::{Segment, Summary};
use crate::shared::Shared;
use crate::{Error, Log};

/// The name of what takes the place of `group`. No other ever has its generation in this run, also
/// when this one comes to nothing.
pub(super) fn new_name(shared: &Shared, group: &[Arc<Segment>]) -> SegmentName {
    let base = group.first().map(|first| first.base()).unwrap_or_default();
    let next = group.last().map(|last| last.summary().next);
    SegmentName {
        base,
        cleaned: Some(Cleaned {
            next: next.unwrap_or_default(),
            generation: shared.generation.fetch_add(1, Ordering::Relaxed) + 1,
        }),
    }
}

/// Removes a file that came to nothing; if that fails the next start does it.
pub(super) fn discard(shared: &Shared, path: &Path) {
    drop(shared.disk.remove_file(path));
}

/// A segment written aside.
pub(super) struct Ready<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: SegmentName,
    pub(super) temporary: PathBuf,
    /// Whose place it takes.
    pub(super) group: &'a [Arc<Segment>],
    /// Markers of aborted transactions that are not in it any more.
    pub(super) gone_markers: Vec<Offset>,
}

impl Ready<'_> {
    /// Answers whether it is in force: not if the log is gone, or its old end was removed meanwhile.
    pub(super) fn install(
        self,
        holder: &impl LogHolder,
        summary: Summary,
        index: Index,
    ) -> Result<bool, Error> {
        let shared = self.shared;
        let path = self.name.log_path(&shared.dir);
        match self.name_it(holder, &path) {
            Ok(true) => {}
            Ok(false) => {
                discard(shared, &self.temporary);
                return Ok(false);
            }
            Err(error) => {
                discard(shared, &self.temporary);
                discard(shared, &path);
                return Err(error);
            }
        }
        let disk = &shared.disk;
        let new = Segment::new(disk, &shared.dir, self.name, summary, Some(index));
        new.keep_index(&shared.dir);
        new.drop_index();
        let new = Arc::new(new);
        let installed = holder.with(|log| Ok(log.install(self.group, &new)))?;
        if installed != Some(true) {
            discard(shared, &self.name.index_path(&shared.dir));
            discard(shared, &path);
            return Ok(false);
        }
        self.remove_old()?;
        Ok(true)
    }

    /// Gives the file its name, durably.
    fn name_it(&self, holder: &impl LogHolder, path: &Path) -> Result<bool, Error> {
        // Readers that hold an old segment go on with its file when its name is gone.
        for segment in self.group {
            if segment.file_for_a_walk()?.is_none() {
                return Ok(false);
            }
            segment.file()?;
        }
        if !self.gone_markers.is_empty() {
            let forgot = holder.with(|log| log.forget_aborted(&self.gone_markers))?;
            if forgot.is_none() {
                return Ok(false);
            }
        }
        let disk = &self.shared.disk;
        let renamed = disk.rename(&self.temporary, path);
        let named = renamed.and_then(|()| disk.sync_dir(&self.shared.dir));
        named.map(|()| true).map_err(|source| {
            let path = path.to_owned();
            if is_full(&source) {
                return Error::Full { path, source };
            }
            Error::Io {
                action: "give its name to",
                path,
                source,
            }
        })
    }

    fn remove_old(&self) -> Result<(), Error> {
        let disk: &dyn Disk = &*self.shared.disk;
        let dir = &self.shared.dir;
        let remove = |path: &Path| match disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Io {
                action: "remove",
                path: path.to_owned(),
                source: error,
            }),
            _ => Ok(()),
        };
        for segment in self.group {
            remove(segment.path())?;
            remove(&segment.name().index_path(dir))?;
        }
        disk.sync_dir(dir).map_err(|source| Error::Io {
            action: "sync",
            path: dir.clone(),
            source,
        })
    }
}

impl Log {
    /// Takes `new` for `old`, if these are still the log's.
    fn install(&mut self, old: &[Arc<Segment>], new: &Arc<Segment>) -> bool {
        let mut segments = self.shared.segments.write();
        let Some(first) = old.first() else {
            return false;
        };
        let at = segments.partition_point(|segment| segment.base() < first.base());
        let there = segments.get(at..at + old.len()).unwrap_or_default();
        let same = there.iter().zip(old).all(|(a, b)| Arc::ptr_eq(a, b));
        if there.len() != old.len() || !same {
            return false;
        }
        segments.splice(at..at + old.len(), [Arc::clone(new)]);
        let next = new.summary().next;
        self.shared.tail.lock().forget_before(next);
        true
    }

    /// Forgets aborted ranges whose markers go, before anybody can miss the markers: also a start must
    /// not learn of them any more.
    fn forget_aborted(&mut self, markers: &[Offset]) -> Result<(), Error> {
        self.shared.aborted.write().forget(markers);
        self.flush()?;
        self.write_checkpoint(false)
    }
}
