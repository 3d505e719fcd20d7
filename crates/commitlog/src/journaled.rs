//! The log's side of the [`Journal`](crate::Journal): what to give it, what it vouches for, when it
//! may let go, and how a start brings back what only the journal has.
//!
//! ```text
//! append ──> pending ──journal frame──> vouched ──sync of the segment──> settled
//!               └────────────── flush (sync of the segment) ────────────────┘
//! ```
//! Vouched bytes are durable and readable, but stand in the segment only as the kernel pleases.
//! The flush mark and the checkpoint speak of settled bytes alone, so a log is recovered rightly
//! with the journal's help, and never relies on more than it was promised.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use env::{Disk, DynFile, Open};
use model::Offset;
use parking_lot::Mutex;
use stdx::ByteSize;

use crate::checkpoint::Taken;
use crate::flush_mark::FlushMark;
use crate::names::SegmentName;
use crate::segment::{Segment, Summary};
use crate::shared::Shared;
use crate::wire::to_u64;
use crate::{Error, Log};

/// Bytes as they stand in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where the segment begins.
    pub segment: Offset,
    /// Where the bytes begin in it.
    pub position: u64,
    /// The offset after the last record in them.
    pub next: Offset,
    /// Whole batches.
    pub bytes: Bytes,
}

/// Writes that nothing vouches for yet, as long as they are few.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    writes: Vec<Write>,
    bytes: u64,
    /// There were more than may be kept: only a flush helps.
    overflowed: bool,
}

impl Pending {
    pub(crate) fn push(&mut self, write: Write, limit: u64) {
        self.bytes += to_u64(write.bytes.len());
        if self.bytes > limit {
            self.overflowed = true;
            self.writes.clear();
        }
        if !self.overflowed {
            self.writes.push(write);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.writes.clear();
        self.bytes = 0;
        self.overflowed = false;
    }
}

/// Why a sync of the newest segment failed, if one did; held while one runs.
///
/// The kernel tells a failed write-back once: of two syncs of one file, one beside the other, only one
/// may hear of it, and the other would vouch for bytes that are gone. So there is one at a time, and
/// the next one asks how the last one ended.
pub(crate) type SyncGate = Arc<Mutex<Option<String>>>;

/// Syncs a file, one at a time.
pub(crate) fn sync_through(gate: &SyncGate, file: &DynFile) -> io::Result<()> {
    let mut failed = gate.lock();
    if let Some(reason) = &*failed {
        return Err(io::Error::other(reason.clone()));
    }
    let synced = file.sync_data();
    *failed = synced.as_ref().err().map(ToString::to_string);
    synced
}

/// A segment that was written since its last sync, held so that it can be synced beside the writer.
#[derive(Debug)]
pub struct Unsettled {
    file: DynFile,
    gate: SyncGate,
    path: PathBuf,
    end: Offset,
    /// Of the segment.
    size: u64,
    cuts: u64,
    due: Option<Due>,
}

/// A checkpoint that is due, as of the moment before the sync.
#[derive(Debug)]
struct Due {
    taken: Taken,
    segment: Arc<Segment>,
    summary: Summary,
    shared: Arc<Shared>,
}

impl Unsettled {
    /// Syncs the segment; the answer goes to [`Log::settled`].
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(&self) -> io::Result<()> {
        sync_through(&self.gate, &self.file)
    }

    /// Writes the checkpoint if one was due, once [`Log::settled`] knows of the sync. The log may be appended to meanwhile:
    /// call it without holding the log.
    pub fn keep_checkpoint(self) {
        let Some(due) = self.due else {
            return;
        };
        let (disk, dir) = (&*due.shared.disk, &due.shared.dir);
        // A cache: failing to write it makes the next start slower, not wrong.
        drop(due.taken.write(|path, bytes| {
            due.segment.keep_index_of(dir, &due.summary);
            env::write_atomic(disk, path, bytes)
        }));
    }
}

impl Log {
    /// Everything written that neither a flush nor [`Log::vouch`] made durable, in order; `None`
    /// when it is more than [`Options::journal_bytes`](crate::Options::journal_bytes), when a
    /// checkpoint is due, when the log publishes what is only written, or when it is frozen: then only
    /// [`Log::flush`] will do.
    pub fn pending(&self) -> Option<&[Write]> {
        if self.pending.overflowed || self.is_checkpoint_due() || self.frozen().is_some() {
            return None;
        }
        Some(&self.pending.writes)
    }

    /// What [`Log::pending`] answered is durable in a journal: readers may see it.
    pub fn vouch(&mut self) {
        if let Some(last) = self.pending.writes.last() {
            self.shared
                .durable
                .fetch_max(last.next.get(), Ordering::AcqRel);
        }
        self.pending.clear();
    }

    /// The newest segment if it was written since its last sync; older ones were synced when they
    /// were closed.
    ///
    /// # Errors
    /// [`Error::Frozen`]: only a journal may have what was written last, and nothing will change that
    /// before the log is opened anew.
    pub fn unsettled(&mut self) -> Result<Option<Unsettled>, Error> {
        self.check_frozen()?;
        if !self.dirty {
            return Ok(None);
        }
        self.since_sync = 0;
        let due = self.is_checkpoint_due().then(|| Due {
            taken: self.take_checkpoint(false),
            segment: Arc::clone(self.active()),
            summary: self.active().summary(),
            shared: Arc::clone(&self.shared),
        });
        Ok(Some(Unsettled {
            file: DynFile::clone(&self.file),
            gate: Arc::clone(&self.sync_gate),
            path: self.active().path().to_owned(),
            end: self.marks().log_end,
            size: self.active().summary().size,
            cuts: self.cuts,
            due,
        }))
    }

    /// Takes note of [`Unsettled::sync`]: with success a journal need not keep what was written
    /// before [`Log::unsettled`], and if nothing was written or cut back since, the log is as after a flush.
    ///
    /// # Errors
    /// As [`Log::flush`]: a failed sync is final.
    pub fn settled(&mut self, was: &Unsettled, synced: io::Result<()>) -> Result<(), Error> {
        self.check_frozen()?;
        if let Err(source) = synced {
            return Err(self.freeze("sync", &was.path, source));
        }
        let end = self.marks().log_end;
        if was.end == end && was.cuts == self.cuts && self.dirty {
            self.all_synced(end);
        } else {
            self.mark.set(was.end);
            if was.cuts == self.cuts && was.path == self.active().path() {
                self.uncache(was.size);
            }
        }
        Ok(())
    }
}

/// The longest gap that is believed: a frame and a batch, several times over.
const GAP_BYTES: ByteSize = ByteSize::from_mib(4);

/// Brings back what a journal has of the log in `dir`, before [`Log::open`]: writes the bytes
/// at their places, in order, and syncs. Segments that are gone were removed by retention or cleaned,
/// both only after they were synced, and their writes are passed over. Doing it again changes nothing.
///
/// What stands before a write is in its segment or in the journal. So a gap before it is no longer than a frame that rotted, or than what
/// the segment lost since; a write behind a longer one (4 MiB; what the journal's files hold, if that is more, which is
/// `journal_bytes`) says a place where it hardly was, under which a file could grow to any length. It is passed over, and stays
/// promised, so the log tells of it as lost. Answers how many were: the journal's files have the only copy of them.
///
/// # Errors
/// [`Error::Io`]: part of it may be done.
pub fn redo(
    disk: &dyn Disk,
    dir: &Path,
    writes: &[Write],
    journal_bytes: ByteSize,
) -> Result<usize, Error> {
    let longest = GAP_BYTES.max(journal_bytes).bytes();
    let mut open: Option<Redone> = None;
    let mut passed_over = 0;
    for write in writes {
        if open
            .as_ref()
            .is_none_or(|open| open.segment != write.segment)
        {
            Redone::sync(open.take())?;
            open = Redone::open(disk, dir, writes, write.segment, longest)?;
        }
        let Some(open) = &open else { continue };
        if write.position > open.reach {
            passed_over += 1;
            continue;
        }
        let written = open.file.write_all_at(&write.bytes, write.position);
        written.map_err(|source| failed("write", open.path.clone(), source))?;
    }
    Redone::sync(open.take())?;
    let Some(promised) = writes.iter().map(|write| write.next).max() else {
        return Ok(passed_over);
    };
    // A directory that is gone has nothing to be promised.
    if disk.exists(dir).unwrap_or(false) {
        let (mut mark, _) = FlushMark::open(disk, dir)
            .map_err(|source| failed("open", crate::flush_mark::path(dir), source))?;
        mark.set(promised);
    }
    Ok(passed_over)
}

/// A segment that writes are redone in.
struct Redone {
    segment: Offset,
    path: PathBuf,
    file: DynFile,
    /// Writes that begin behind this are passed over.
    reach: u64,
}

impl Redone {
    /// `None` if it is gone.
    fn open(
        disk: &dyn Disk,
        dir: &Path,
        writes: &[Write],
        segment: Offset,
        longest: u64,
    ) -> Result<Option<Self>, Error> {
        let path = SegmentName::appended(segment).log_path(dir);
        let file = match disk.open(&path, Open::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open", path, source)),
        };
        let length = file.length();
        let length = length.map_err(|source| failed("read", path.clone(), source))?;
        // By position, not as they came: so a start that was interrupted takes the same ones as the next, which finds a longer file.
        let mut places: Vec<(u64, u64)> = writes
            .iter()
            .filter(|write| write.segment == segment)
            .map(|write| (write.position, to_u64(write.bytes.len())))
            .collect();
        places.sort_unstable();
        let mut end = length;
        for (position, bytes) in places {
            if position.saturating_sub(end) > longest {
                break;
            }
            end = end.max(position.saturating_add(bytes));
        }
        Ok(Some(Self {
            segment,
            path,
            file,
            reach: end,
        }))
    }

    fn sync(open: Option<Self>) -> Result<(), Error> {
        let Some(open) = open else {
            return Ok(());
        };
        let synced = open.file.sync_data();
        synced.map_err(|source| failed("sync", open.path, source))
    }
}

fn failed(action: &'static str, path: PathBuf, source: io::Error) -> Error {
    Error::Io {
        action,
        path,
        source,
    }
}
