//! Opening a log after anything: an orderly end, a killed process, a power cut, rot.
//!
//! **Problem.** The files may hold more than was promised (writes nobody was answered for, in any
//! part and order) or, after rot, less. What was promised must be kept, what was not may go, and
//! the two must not be mixed up.
//!
//! **What is known.** Three things bound from below how far the log was flushed, `proven`: the
//! checkpoint (synced), the flush mark (never synced, but only ever written after a flush), and the
//! fact that a segment begins only after its predecessor was flushed. Above `proven` nothing is known.
//!
//! **Answer.** Walk the batches from the checkpoint on, everything if there is none. At a bad one:
//! - below `proven`, records were promised: it is *damage*. The bytes stay where they are, a copy is
//!   kept aside, the range is reported, and the walk goes on at the next good batch. If there is no
//!   next, the log goes on in a new segment at `proven`, so that no promised offset is given twice.
//! - at or above `proven`, it is a *torn end* and is cut. A power cut may tear an unpromised end in the
//!   middle, with whole batches behind the tear; these were not promised either, but they may have
//!   been, if rot struck just then: if there are any, all that is cut is kept aside and reported.
//!
//! Zeros up to the end of the file, behind everything that was promised, are neither: a log writes them ahead of
//! itself (`preallocate`). Nor are batches of smaller offsets than the segment's: it took a used file (`spare`). Nor is a part of a
//! batch behind the last record before the next segment. All are taken away and not reported.
//!
//! **Then make it true.** What was read may be in the page cache only: after a failed fsync the kernel
//! calls such pages clean. So bytes above the flush mark are written again, then synced, before
//! anybody reads them.
//!
//! Obstacles met on the way: a checkpoint that is lost brings back records deleted inside the oldest
//! segment (accepted); files below the log start are leftovers of an interrupted removal (removed);
//! a missing segment is damage without bytes. Tests: `tests/it`, simulated crashes and specific cases.

mod aside;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use env::{DynDisk, DynFile, Open};
use model::{Offset, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::aborted::AbortedIndex;
use crate::checkpoint::{self, Checkpoint, Loaded};
use crate::clean;
use crate::flush_mark::FlushMark;
use crate::index::Index;
use crate::log::create_segment;
use crate::names::{self, SegmentName};
use crate::producers::Producers;
use crate::segment::{Segment, Summary};
use crate::shared::Shared;
use crate::spare;
use crate::tail::Tail;
use crate::transactions::Transactions;
use crate::{CheckpointState, Cut, Damage, Error, Options, Publish, RecoveryReport};
pub(crate) use aside::QUARANTINE;
use aside::rewrite;
use walk::{WalkEnd, Walked};

/// A log ready to be written.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) shared: Shared,
    pub(crate) active: Arc<Segment>,
    pub(crate) file: DynFile,
    pub(crate) active_size: u64,
    pub(crate) producers: Producers,
    pub(crate) transactions: Transactions,
    pub(crate) mark: FlushMark,
}

pub(crate) fn recover(
    disk: DynDisk,
    dir: &Path,
    options: &Options,
    now: Timestamp,
) -> Result<(Recovered, RecoveryReport), Error> {
    disk.create_dir_all(dir).map_err(io_error("create", dir))?;
    let listing = names::list(&*disk, dir).map_err(io_error("list", dir))?;
    let generation = listing.in_force.iter().chain(&listing.left_over);
    let generation = generation.map(SegmentName::generation).max().unwrap_or(0);
    let path = checkpoint::path(dir);
    let loaded = checkpoint::load(&*disk, dir).map_err(io_error("read", &path))?;
    let (mark, flushed) =
        FlushMark::open(&*disk, dir).map_err(io_error("open", &crate::flush_mark::path(dir)))?;
    let mut report = RecoveryReport {
        checkpoint: match &loaded {
            Loaded::Missing if listing.in_force.is_empty() => CheckpointState::New,
            Loaded::Missing | Loaded::Doubtful => CheckpointState::Doubtful,
            Loaded::Good(good) if good.clean => CheckpointState::Clean,
            Loaded::Good(_) => CheckpointState::Used,
        },
        ..RecoveryReport::default()
    };
    let checkpoint = match loaded {
        Loaded::Good(good) => Some(*good),
        Loaded::Missing | Loaded::Doubtful => None,
    };
    let mut recoverer = Recoverer::new(
        &disk,
        dir,
        options,
        now,
        checkpoint,
        flushed,
        listing.in_force,
    );
    recoverer.remove_leftovers(&listing.left_over, &listing.unfinished)?;
    let (active, file) = recoverer.run(&mut report)?;
    let log_end = active.summary().next;
    let Recoverer {
        segments,
        producers,
        transactions,
        aborted,
        known_damage,
        log_start,
        ..
    } = recoverer;
    report.segments = segments.len();
    report.log_start = log_start.min(log_end);
    report.log_end = log_end;
    let mut damage = known_damage.clone();
    damage.extend(&report.damage);
    report.known_damage = known_damage;
    let recovered = Recovered {
        shared: Shared {
            dir: dir.to_owned(),
            segments: RwLock::new(segments),
            damage: RwLock::new(damage),
            tail: Mutex::new(Tail::new(options.tail_bytes.as_usize())),
            pool: options.pool.clone(),
            aborted: RwLock::new(aborted),
            indexed: Mutex::default(),
            log_start: AtomicU64::new(report.log_start.get()),
            durable: AtomicU64::new(log_end.get()),
            log_end: AtomicU64::new(log_end.get()),
            cleaned: Mutex::new(clean::mark::load(&*disk, dir)),
            generation: AtomicU64::new(generation),
            disk,
            publish_written: AtomicBool::new(options.publish == Publish::Written),
        },
        active_size: active.summary().size,
        active,
        file,
        producers,
        transactions,
        mark,
    };
    Ok((recovered, report))
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path: path.clone(),
        source,
    }
}

struct Recoverer<'a> {
    disk: &'a DynDisk,
    dir: &'a Path,
    options: &'a Options,
    now: Timestamp,
    /// The segments there are, in order.
    names: Vec<SegmentName>,
    /// What the checkpoint says of them.
    described: Vec<(SegmentName, Summary)>,
    known_damage: Vec<Damage>,
    /// Batches from here on teach `producers`; those before already did.
    replay_from: Offset,
    /// What the flush mark says.
    flushed: Option<Offset>,
    /// Everything before this was promised.
    proven: Offset,
    log_start: Offset,
    producers: Producers,
    transactions: Transactions,
    aborted: AbortedIndex,
    segments: Vec<Arc<Segment>>,
}

impl<'a> Recoverer<'a> {
    fn new(
        disk: &'a DynDisk,
        dir: &'a Path,
        options: &'a Options,
        now: Timestamp,
        checkpoint: Option<Checkpoint>,
        flushed: Option<Offset>,
        names: Vec<SegmentName>,
    ) -> Self {
        let first = names.first().map(|name| name.base).unwrap_or_default();
        let mut new = Self {
            disk,
            dir,
            options,
            now,
            described: Vec::new(),
            known_damage: Vec::new(),
            replay_from: Offset::ZERO,
            flushed,
            proven: first.max(flushed.unwrap_or_default()),
            log_start: first,
            producers: Producers::default(),
            transactions: Transactions::default(),
            aborted: AbortedIndex::default(),
            segments: Vec::with_capacity(names.len() + 1),
            names,
        };
        if let Some(checkpoint) = checkpoint {
            new.described = checkpoint.segments;
            new.known_damage = checkpoint.damage;
            new.replay_from = checkpoint.recovery;
            new.proven = new.proven.max(checkpoint.recovery);
            new.log_start = checkpoint.log_start;
            new.producers = checkpoint.producers;
            new.transactions = checkpoint.transactions;
            new.aborted = checkpoint.aborted;
        }
        let newest = new.names.last().map(|name| match name.cleaned {
            Some(cleaned) => cleaned.next,
            None => name.base,
        });
        new.proven = new.proven.max(newest.unwrap_or_default());
        new.producers.expire(options.producer_expiry, now);
        new
    }

    /// Removes segments whose place cleaned ones took (`replaced`), and those that lie wholly before the
    /// log start.
    fn remove_leftovers(
        &mut self,
        replaced: &[SegmentName],
        unfinished: &[PathBuf],
    ) -> Result<(), Error> {
        match self.disk.remove_file(&spare::path(self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &spare::path(self.dir))(error));
            }
            _ => {}
        }
        for path in unfinished {
            self.disk
                .remove_file(path)
                .map_err(io_error("remove", path))?;
        }
        let after = self.names.iter().skip(1);
        let below = after.take_while(|next| next.base <= self.log_start).count();
        if below == 0 && replaced.is_empty() {
            return Ok(());
        }
        for name in self.names.drain(..below).chain(replaced.iter().copied()) {
            // The records last: a start that cannot remove the index refuses the log, and so must the next one.
            let index = name.index_path(self.dir);
            match self.disk.remove_file(&index) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &index)(error));
                }
                _ => {}
            }
            let path = name.log_path(self.dir);
            self.disk
                .remove_file(&path)
                .map_err(io_error("remove", &path))?;
        }
        let first = self.names.first().map(|name| name.base).unwrap_or_default();
        self.known_damage.retain(|damage| damage.segment >= first);
        self.disk
            .sync_dir(self.dir)
            .map_err(io_error("sync", self.dir))
    }

    /// Walks all segments; answers the one to append to.
    fn run(&mut self, report: &mut RecoveryReport) -> Result<(Arc<Segment>, DynFile), Error> {
        let mut end = self.log_start;
        let names = self.names.clone();
        let mut last = None;
        for (number, name) in names.iter().enumerate() {
            if number == 0 {
                // The first one may begin before the log start.
                end = end.min(name.base);
            }
            self.check_gap(end.max(self.log_start), end, *name, report)?;
            let next = names.get(number + 1).map(|next| next.base);
            // A cleaned one is never appended to: its name says where it ends.
            let next = next.or(name.cleaned.map(|cleaned| cleaned.next));
            let (segment, file) = self.segment(*name, next, report)?;
            end = segment.summary().next;
            last = next.is_none().then_some((segment, file));
        }
        if let Some((segment, file)) = last
            && end >= self.proven
        {
            return Ok((segment, file));
        }
        // The log is new, or promised records at its end are gone: go on after them.
        if end < self.proven {
            let at = self.segments.last();
            let missing = Damage {
                segment: at.map_or(end, |segment| segment.base()),
                position: at.map_or(0, |segment| segment.summary().size),
                position_end: at.map_or(0, |segment| segment.summary().size),
                from: end,
                until: self.proven,
            };
            self.note(missing, report);
        }
        self.begin_segment(self.proven.max(end))
    }

    /// Compares where a segment begins with where the one before it ended.
    fn check_gap(
        &mut self,
        from: Offset,
        end: Offset,
        name: SegmentName,
        report: &mut RecoveryReport,
    ) -> Result<(), Error> {
        let base = name.base;
        if base < end && !self.segments.is_empty() {
            return Err(Error::Overlap {
                path: name.log_path(self.dir),
                base,
                end,
            });
        }
        if base > from {
            let missing = Damage {
                segment: base,
                position: 0,
                position_end: 0,
                from,
                until: base,
            };
            self.note(missing, report);
        }
        Ok(())
    }

    /// Notes damage unless it is known or covered by what was noted.
    fn note(&self, found: Damage, report: &mut RecoveryReport) {
        let covered = |known: &Damage| {
            known == &found || (known.from <= found.from && known.until >= found.until)
        };
        if found.from < found.until || found.position < found.position_end {
            let known = self.known_damage.iter().chain(&report.damage).any(covered);
            if !known {
                report.damage.push(found);
            }
        }
    }

    /// Makes sure of one segment. `next` is where its successor begins.
    fn segment(
        &mut self,
        name: SegmentName,
        next: Option<Offset>,
        report: &mut RecoveryReport,
    ) -> Result<(Arc<Segment>, DynFile), Error> {
        let base = name.base;
        let path = name.log_path(self.dir);
        let file = self
            .disk
            .open(&path, Open::Write)
            .map_err(io_error("open", &path))?;
        let length = file.length().map_err(io_error("read", &path))?;
        let described = self.described.iter().position(|(at, _)| *at == name);
        let start = described
            .and_then(|at| self.described.get(at))
            .map(|(_, summary)| *summary)
            .filter(|summary| summary.size <= length);
        let mut walked = match start {
            Some(summary) if summary.size == length && next == Some(summary.next) => Walked {
                summary,
                index: None,
                unproven_from: length,
                end: WalkEnd::Whole,
            },
            _ => self.walk(&*file, name, start, length, next, report)?,
        };
        if walked.summary.size < length && matches!(walked.end, WalkEnd::Whole) {
            file.set_len(walked.summary.size)
                .map_err(storage("cut", &path))?;
        }
        if next.is_none() {
            self.settle_end(&file, &path, base, length, &mut walked, report)?;
        }
        let segment = Segment::new(self.disk, self.dir, name, walked.summary, walked.index);
        let segment = if next.is_none() {
            Arc::new(segment.with_file(DynFile::clone(&file)))
        } else {
            // Thousands of closed segments are neither kept open nor indexed until they are read.
            segment.keep_index(self.dir);
            segment.drop_index();
            Arc::new(segment)
        };
        self.segments.push(Arc::clone(&segment));
        Ok((segment, file))
    }

    /// Cuts a torn end, and makes what is kept durable.
    fn settle_end(
        &mut self,
        file: &DynFile,
        path: &Path,
        base: Offset,
        length: u64,
        walked: &mut Walked,
        report: &mut RecoveryReport,
    ) -> Result<(), Error> {
        let position = walked.summary.size;
        if let WalkEnd::Torn { batches_after } = walked.end {
            let kept = if batches_after {
                let kept = self.keep_aside(&**file, base, position, length);
                Some(kept.map_err(io_error("keep aside the end of", path))?)
            } else {
                None
            };
            file.set_len(position).map_err(storage("cut", path))?;
            report.cut = Some(Cut {
                segment: base,
                position,
                bytes: length - position,
                at: walked.summary.next,
                kept,
            });
        }
        // Rewriting makes the pages dirty again, so that the sync below really writes them.
        let from = walked.unproven_from.min(position);
        rewrite(&**file, from, position).map_err(storage("rewrite", path))?;
        report.rewritten_bytes += position - from;
        file.sync_data().map_err(storage("sync", path))?;
        // The segment's name may be as young as its bytes.
        self.disk
            .sync_dir(self.dir)
            .map_err(storage("sync the directory of", path))
    }

    fn begin_segment(&mut self, base: Offset) -> Result<(Arc<Segment>, DynFile), Error> {
        let name = SegmentName::appended(base);
        let path = name.log_path(self.dir);
        let file = create_segment(&**self.disk, &path).map_err(storage("create", &path))?;
        self.disk
            .sync_dir(self.dir)
            .map_err(storage("sync the directory of", &path))?;
        let summary = Summary::empty(base, self.now);
        let segment = Segment::new(self.disk, self.dir, name, summary, Some(Index::default()));
        let segment = Arc::new(segment.with_file(DynFile::clone(&file)));
        self.segments.push(Arc::clone(&segment));
        Ok((segment, file))
    }
}

fn storage(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Storage {
        action,
        path: path.clone(),
        source,
    }
}
