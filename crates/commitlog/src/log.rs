//! The writer's side of a log: append, flush, roll.
//!
//! ```text
//!        append (write)            flush (fdatasync)
//! Open ─────────────────> Open ─────────────────────> Open     durable = log_end
//!   │ no room: cut back      │ failed
//!   └──> Open                └──> Frozen: nothing is written until the log is opened anew
//! ```
//! Invariants: an append is all or nothing; what was appended after the last flush that succeeded is
//! in the newest segment only, because closing one flushes it; after a failed sync nothing is synced
//! again, since success would prove nothing; of two checkpoints the one taken down later is the one that stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use env::{Disk, DynDisk, DynFile, Open, is_full};
use model::{Offset, Timestamp};
use record::CheckedBatch;

use crate::cached::Cached;
use crate::checkpoint::{CheckpointGate, Taken};
use crate::flush_mark::FlushMark;
use crate::index::Index;
use crate::journaled::{Pending, SyncGate, Write, sync_through};
use crate::names::SegmentName;
use crate::options::SEGMENT_BYTES_MAX;
use crate::plan::Plan;
use crate::preallocate::Room;
use crate::producers::Producers;
use crate::segment::{Segment, Summary};
use crate::shared::Shared;
use crate::tail::Chunk;
use crate::transactions::Transactions;
use crate::wire::to_u64;
use crate::{
    Error, KnownProducer, LogReader, Options, Publish, RecoveryReport, checkpoint, recovery,
};

/// Where a log begins, is durable, is readable, and ends:
/// `log_start <= durable <= high_watermark <= log_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The first offset that is not durable yet.
    pub durable: Offset,
    /// The first offset that is not readable yet: `durable`, or `log_end` where
    /// [`Publish::Written`] is chosen.
    pub high_watermark: Offset,
    /// The next offset to be written.
    pub log_end: Offset,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOutcome {
    /// Offset of the first record; the original one for a retry.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The time stamped on the records, where the log stamps.
    pub log_append_time: Option<Timestamp>,
    /// Everything was a retry of batches already in the log; nothing was written. They are durable
    /// only if `last_offset` is below [`Marks::durable`].
    pub duplicate: bool,
}

/// One partition's log, as its only writer holds it.
#[derive(Debug)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    active: Arc<Segment>,
    pub(crate) file: DynFile,
    pub(crate) sync_gate: SyncGate,
    room: Room,
    cached: Cached,
    /// Since when there is a spare file.
    pub(crate) spare: Option<Timestamp>,
    /// The log's clock at the newest segment's first append.
    first_append: Option<Timestamp>,
    pub(crate) producers: Producers,
    pub(crate) transactions: Transactions,
    pub(crate) mark: FlushMark,
    frozen: Option<Arc<str>>,
    /// The newest segment was written, or cut back, since its last sync.
    pub(crate) dirty: bool,
    /// How often a failed write was cut back.
    pub(crate) cuts: u64,
    /// Bytes appended since the last sync, or since one began beside the writer.
    pub(crate) since_sync: u64,
    /// Bytes appended since the last checkpoint was taken down.
    pub(crate) since_checkpoint: u64,
    pub(crate) checkpoints: CheckpointGate,
    /// What a journal could make durable instead of a flush.
    pub(crate) pending: Pending,
    /// What the last append wrote, until somebody takes it.
    newest: Option<Chunk>,
}

impl Log {
    /// Opens the log in `dir`, recovering what an earlier run left, or makes a new one there. What
    /// it keeps is durable and readable when this returns.
    ///
    /// `now` is the log's clock, for memory that expires.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Storage`] when files cannot be read or repaired;
    /// [`Error::Overlap`].
    pub fn open(
        disk: DynDisk,
        dir: &Path,
        options: Options,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), Error> {
        let (recovered, report) = recovery::recover(disk, dir, &options, now)?;
        let mut log = Self {
            shared: Arc::new(recovered.shared),
            active: recovered.active,
            file: recovered.file,
            sync_gate: SyncGate::default(),
            room: Room::none(recovered.active_size),
            cached: Cached::new(recovered.active_size),
            spare: None,
            first_append: (recovered.active_size > 0).then_some(now),
            producers: recovered.producers,
            transactions: recovered.transactions,
            mark: recovered.mark,
            options,
            frozen: None,
            dirty: false,
            cuts: 0,
            since_sync: 0,
            since_checkpoint: 0,
            checkpoints: CheckpointGate::default(),
            pending: Pending::default(),
            newest: None,
        };
        log.mark.set(report.log_end);
        // A cache: without it the next start scans again what this one scanned.
        drop(log.write_checkpoint(false));
        Ok((log, report))
    }

    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The marks now.
    pub fn marks(&self) -> Marks {
        self.shared.marks()
    }

    /// The options in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Puts other options in force, from the next append on.
    pub fn set_options(&mut self, options: Options) {
        let written = options.publish == Publish::Written;
        self.shared
            .publish_written
            .store(written, Ordering::Relaxed);
        self.shared
            .tail
            .lock()
            .set_limit(options.tail_bytes.as_usize());
        self.options = options;
    }

    /// Why the log is frozen, if it is.
    pub fn frozen(&self) -> Option<&str> {
        self.frozen.as_deref()
    }

    /// Writes `batches` at the end, all or none, giving them their offsets. They are readable after
    /// [`Log::flush`], unless the options publish what is written.
    ///
    /// Batches of idempotent producers that are in the log already are not written again; the
    /// outcome names where they are. A batch of a transaction needs its producer to be
    /// [enlisted](Log::enlisted); a marker ends the transaction here. Whose markers are taken is the
    /// caller's to see to.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`], [`Error::OutOfOrderSequence`], [`Error::ProducerFenced`],
    /// [`Error::NotInTransaction`]: nothing was written. [`Error::Full`]: nothing was written, the log goes on. [`Error::Storage`],
    /// [`Error::Frozen`]: the log is frozen.
    pub fn append(
        &mut self,
        batches: &[CheckedBatch],
        now: Timestamp,
    ) -> Result<AppendOutcome, Error> {
        self.check_frozen()?;
        self.newest = None;
        let plan = self.plan(batches, now)?;
        if plan.bytes.is_empty() {
            return Ok(plan.outcome);
        }
        let position = self.place(&plan, now).inspect_err(|error| {
            if matches!(error, Error::Full { .. }) {
                let sent = batches.iter().map(CheckedBatch::header);
                self.producers.refuse(sent);
            }
        })?;
        self.producers
            .accept(batches.iter().map(CheckedBatch::header));
        self.producers
            .commit(plan.staged, self.options.producers_max);
        for change in plan.changes {
            // Before anybody can read the marker.
            if let Some(range) = self.transactions.apply(change) {
                self.shared.aborted.write().push(range);
            }
        }
        self.first_append.get_or_insert(now);
        self.since_sync += to_u64(plan.bytes.len());
        self.since_checkpoint += to_u64(plan.bytes.len());
        self.active.push(&plan.written, now);
        let write = Write {
            segment: self.active.base(),
            position,
            next: plan.next,
            bytes: plan.bytes.clone(),
        };
        let limit = match self.options.publish {
            Publish::Flushed => self.options.journal_bytes.bytes(),
            // Nobody waits for it to be durable.
            Publish::Written => 0,
        };
        self.pending.push(write, limit);
        self.newest = Some(Chunk {
            base: plan.base,
            next: plan.next,
            bytes: plan.bytes.clone(),
        });
        self.shared
            .tail
            .lock()
            .push(plan.base, plan.next, plan.bytes);
        self.shared
            .log_end
            .store(plan.next.get(), Ordering::Release);
        Ok(plan.outcome)
    }

    /// What the last append wrote, for those who hand it on in memory; `None` if it wrote nothing, or
    /// this was asked before.
    pub fn take_newest(&mut self) -> Option<Chunk> {
        self.newest.take()
    }

    /// Makes everything appended durable: one fdatasync. The mark moves only on success.
    ///
    /// # Errors
    /// [`Error::Storage`] the first time, [`Error::Frozen`] ever after: a failed sync is final.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.check_frozen()?;
        if self.dirty {
            let ahead = self.options.preallocate_bytes.bytes();
            let (size, limit) = (self.active.summary().size, self.segment_limit());
            self.room.make(&*self.file, size, ahead, limit);
        }
        self.sync()
    }

    /// As [`Log::flush`], for a segment that nothing will be appended to.
    fn finish(&mut self) -> Result<(), Error> {
        self.check_frozen()?;
        let size = self.active.summary().size;
        // Zeros that stay are taken away by the next start.
        if self.room.is_left(size) && self.file.set_len(size).is_ok() {
            self.room = Room::none(size);
            self.dirty = true;
        }
        self.sync()
    }

    fn sync(&mut self) -> Result<(), Error> {
        if !self.dirty {
            return Ok(());
        }
        let end = self.marks().log_end;
        if let Err(source) = sync_through(&self.sync_gate, &self.file) {
            // The kernel may have dropped the pages it could not write and called them clean, so a
            // later sync that succeeds proves nothing. Stop; opening anew reads what is there.
            let path = self.active.path().to_owned();
            return Err(self.freeze("sync", &path, source));
        }
        self.all_synced(end);
        Ok(())
    }

    /// Takes note that everything up to `end`, where the log ends, is durable.
    pub(crate) fn all_synced(&mut self, end: Offset) {
        self.dirty = false;
        self.since_sync = 0;
        let size = self.active.summary().size;
        self.room.flushed(size);
        self.uncache(size);
        self.pending.clear();
        self.shared.durable.store(end.get(), Ordering::Release);
        self.mark.set(end);
        if self.is_checkpoint_due() {
            self.keep_index();
            // A cache: failing to write it makes the next start slower, not wrong.
            drop(self.write_checkpoint(false));
        }
    }

    /// Bytes that were appended since the last sync, or since [`Log::unsettled`] was asked for one.
    pub fn unsynced_bytes(&self) -> u64 {
        self.since_sync
    }

    /// Flushes, and leaves a checkpoint that lets the next start scan nothing.
    ///
    /// # Errors
    /// As [`Log::flush`]; [`Error::Io`] if the checkpoint could not be written.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()?;
        self.keep_index();
        self.write_checkpoint(true)
    }

    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.since_checkpoint >= self.options.checkpoint_bytes.bytes()
    }

    /// Keeps the newest segment's index beside it, as it is now.
    fn keep_index(&mut self) {
        self.checkpoints.supersede();
        self.active.keep_index(&self.shared.dir);
    }

    pub(crate) fn check_frozen(&self) -> Result<(), Error> {
        match &self.frozen {
            None => Ok(()),
            Some(reason) => Err(Error::Frozen {
                reason: Arc::clone(reason),
            }),
        }
    }

    pub(crate) fn freeze(
        &mut self,
        action: &'static str,
        path: &Path,
        source: std::io::Error,
    ) -> Error {
        let reason = format!("cannot {action} {}: {source}", path.display());
        self.frozen = Some(reason.into());
        Error::Storage {
            action,
            path: path.to_owned(),
            source,
        }
    }

    fn must_roll(&self, plan: &Plan, now: Timestamp) -> bool {
        let summary = self.active.summary();
        if summary.size == 0 {
            return false;
        }
        let aged = self
            .first_append
            .is_some_and(|first| now.since(first) >= self.options.segment_age);
        let offsets = plan.next.since(self.active.base());
        let size = summary.size + to_u64(plan.bytes.len());
        size > self.segment_limit() || aged || offsets > u64::from(u32::MAX)
    }

    /// Gives page cache back, now that the newest segment is flushed up to `size`.
    pub(crate) fn uncache(&mut self, size: u64) {
        let keep = self.options.page_cache_bytes.bytes();
        self.cached.flushed(&self.active, size, keep);
    }

    fn segment_limit(&self) -> u64 {
        self.options.segment_bytes.bytes().min(SEGMENT_BYTES_MAX)
    }

    /// Writes a planned append, in a new segment if it is time for one; answers where.
    fn place(&mut self, plan: &Plan, now: Timestamp) -> Result<u64, Error> {
        if self.must_roll(plan, now) {
            self.roll(now)?;
        }
        let position = self.active.summary().size;
        self.write(&plan.bytes, position)?;
        Ok(position)
    }

    /// Writes at the end of the newest segment; on failure the file ends there.
    fn write(&mut self, bytes: &Bytes, position: u64) -> Result<(), Error> {
        self.dirty = true;
        let Err(source) = self.file.write_all_at(bytes, position) else {
            return Ok(());
        };
        let path = self.active.path().to_owned();
        self.room = Room::none(position);
        self.cuts += 1;
        if let Err(cut) = self.file.set_len(position) {
            return Err(self.freeze("cut back", &path, cut));
        }
        if is_full(&source) {
            return Err(Error::Full { path, source });
        }
        Err(self.freeze("write", &path, source))
    }

    /// Closes the newest segment and begins the next. The old one is flushed first, so that only the
    /// newest segment ever holds bytes that are not durable.
    pub(crate) fn roll(&mut self, now: Timestamp) -> Result<(), Error> {
        self.finish()?;
        let base = self.marks().log_end;
        let name = SegmentName::appended(base);
        let dir = self.shared.dir.clone();
        let path = name.log_path(&dir);
        let spare = self.take_spare(&path);
        let made = match spare {
            Some(spare) => Ok(spare),
            None => create_segment(&*self.shared.disk, &path).map(|file| (file, 0)),
        };
        let (file, length) = match made {
            Ok(made) => made,
            Err(source) if is_full(&source) => return Err(Error::Full { path, source }),
            Err(source) => return Err(self.freeze("create", &path, source)),
        };
        // Until its name is durable nothing in it can be.
        if let Err(source) = self.shared.disk.sync_dir(&dir) {
            return Err(self.freeze("sync the directory of", &path, source));
        }
        self.keep_index();
        let summary = Summary::empty(base, now);
        let index = Some(Index::default());
        let segment = Segment::new(&self.shared.disk, &dir, name, summary, index);
        let segment = Arc::new(segment.with_file(DynFile::clone(&file)));
        self.shared.segments.write().push(Arc::clone(&segment));
        self.shared.note_index(&self.active);
        self.cached.closed(&self.active, self.active.summary().size);
        self.active = segment;
        self.file = file;
        self.room = Room::used(length);
        self.first_append = None;
        drop(self.write_checkpoint(false));
        Ok(())
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        &self.active
    }

    /// Forgets producers that were silent too long.
    pub(crate) fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(self.options.producer_expiry, now);
    }

    /// Producers that are remembered, by id.
    pub fn producers(&self) -> Vec<KnownProducer> {
        self.producers.list()
    }

    pub(crate) fn first_append(&self) -> Option<Timestamp> {
        self.first_append
    }

    /// Writes down what is flushed, so that it need not be scanned again. Does nothing while
    /// something is not: what a journal vouches for does not count.
    pub(crate) fn write_checkpoint(&mut self, clean: bool) -> Result<(), Error> {
        let disk = Arc::clone(&self.shared.disk);
        self.checkpoint_by(clean, |path, bytes| env::write_atomic(&*disk, path, bytes))
    }

    /// As [`Log::write_checkpoint`], also when the disk is full, if room was kept for that: for a new log
    /// start, behind which room is made.
    pub(crate) fn write_start(&mut self) -> Result<(), Error> {
        let Some(reserve) = self.options.reserve.clone() else {
            return self.write_checkpoint(false);
        };
        self.checkpoint_by(false, |path, bytes| reserve.replace(path, bytes))
    }

    fn checkpoint_by(
        &mut self,
        clean: bool,
        replace: impl FnOnce(&Path, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let marks = self.marks();
        if self.dirty || marks.durable != marks.log_end {
            return Ok(());
        }
        let taken = self.take_checkpoint(clean);
        taken.write(replace)
    }

    /// Takes down what is known now, to be written once everything up to the log's end is flushed. Counts as written: a
    /// failure is not made good by trying again with every flush.
    pub(crate) fn take_checkpoint(&mut self, clean: bool) -> Taken {
        let marks = self.marks();
        let segments: Vec<(SegmentName, Summary)> = self
            .shared
            .segments()
            .iter()
            .map(|segment| (segment.name(), segment.summary()))
            .collect();
        let bytes = checkpoint::encode(
            clean,
            (marks.log_start, marks.log_end),
            &segments,
            &self.shared.damage(),
            &self.producers,
            (&self.transactions, &self.shared.aborted.read()),
        );
        self.since_checkpoint = 0;
        self.checkpoints
            .take(checkpoint::path(&self.shared.dir), bytes)
    }
}

/// Creates an empty segment. An empty file of that name is left over from a crash or a failure.
pub(crate) fn create_segment(disk: &dyn Disk, path: &Path) -> std::io::Result<DynFile> {
    let file = disk.open(path, Open::Create)?;
    file.set_len(0)?;
    Ok(file)
}
