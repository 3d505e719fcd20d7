//! Walking one segment: what is a batch of it, what is damage, where it ends.

use std::io;

use env::DiskFile;
use model::{Offset, Timestamp};

use super::{Recoverer, io_error};
use crate::aborted::outcome_of;
use crate::index::Index;
use crate::names::SegmentName;
use crate::scan::{self, Located, Step, Window};
use crate::segment::{Summary, load_index};
use crate::spare;
use crate::transactions::concerns;
use crate::wire::{to_u64, to_usize};
use crate::{Damage, Error, RecoveryReport};

/// A segment as the walk leaves it.
pub(super) struct Walked {
    pub(super) summary: Summary,
    pub(super) index: Option<Index>,
    /// Where bytes begin that the flush mark does not vouch for.
    pub(super) unproven_from: u64,
    pub(super) end: WalkEnd,
}

pub(super) enum WalkEnd {
    /// The file ends with a whole batch, or with what was never part of it.
    Whole,
    /// Something bad that nothing vouches for; good batches may come after it.
    Torn { batches_after: bool },
    /// Promised records are missing, and no good batch comes after them.
    Lost,
}

impl Recoverer<'_> {
    /// Walks a segment from where the checkpoint stopped, or from its beginning.
    pub(super) fn walk(
        &mut self,
        file: &dyn DiskFile,
        name: SegmentName,
        start: Option<Summary>,
        length: u64,
        next: Option<Offset>,
        report: &mut RecoveryReport,
    ) -> Result<Walked, Error> {
        let base = name.base;
        let path = name.log_path(self.dir);
        let read = io_error("read", &path);
        let mut summary = start.unwrap_or_else(|| Summary::empty(base, self.now));
        // Without the index of the part that is not walked, there is none of the rest: it is rebuilt
        // when somebody reads.
        let mut index = match summary.size {
            0 => Some(Index::default()),
            size => load_index(&**self.disk, self.dir, name, size),
        };
        let promised = next.unwrap_or(self.proven);
        let mut window = Window::new(file, length);
        let mut unproven_from = None;
        let end = loop {
            let (position, expected) = (summary.size, summary.next);
            if self.flushed.is_none_or(|flushed| flushed <= expected) {
                unproven_from.get_or_insert(position);
            }
            match scan::step(&mut window, position, expected).map_err(&read)? {
                Step::End if expected < promised => break WalkEnd::Lost,
                Step::End => break WalkEnd::Whole,
                Step::Batch(batch) => {
                    if concerns(&batch.header) && batch.base() >= self.replay_from {
                        let bytes = window.get(position, to_usize(batch.size)).map_err(&read)?;
                        self.learn_transaction(&batch, bytes.unwrap_or_default());
                    }
                    self.learn(&batch, base, &mut summary, &mut index);
                }
                // All records up to the next segment are there. What is left was cut short and given up, and the cut of the file
                // was lost: with a sync that failed, whose file the log was opened on again.
                Step::Bad if next == Some(expected) => break WalkEnd::Whole,
                Step::Bad
                    if expected >= promised
                        && is_room(&mut window, position, base).map_err(&read)? =>
                {
                    break WalkEnd::Whole;
                }
                Step::Bad if next.is_some() && expected >= promised => break WalkEnd::Lost,
                Step::Bad => {
                    let after = scan::resync(&mut window, position + 1, expected).map_err(&read)?;
                    if expected >= promised {
                        break WalkEnd::Torn {
                            batches_after: after.is_some(),
                        };
                    }
                    let Some(after) = after else {
                        break WalkEnd::Lost;
                    };
                    let found = Damage {
                        segment: base,
                        position,
                        position_end: after.position,
                        from: expected,
                        until: after.base(),
                    };
                    self.quarantine(file, &found, report);
                    self.note(found, report);
                    summary.size = after.position;
                    summary.next = after.base();
                }
            }
        };
        if matches!(end, WalkEnd::Lost) {
            // The rest of the file is damage too: nothing will be written into this segment.
            let found = Damage {
                segment: base,
                position: summary.size,
                position_end: length,
                from: summary.next,
                until: promised.max(summary.next),
            };
            self.quarantine(file, &found, report);
            self.note(found, report);
            summary.size = length;
            if next.is_some() {
                summary.next = found.until;
            }
        }
        report.scanned_bytes += window.read_bytes;
        Ok(Walked {
            unproven_from: unproven_from.unwrap_or(summary.size).min(summary.size),
            summary,
            index,
            end,
        })
    }

    fn learn(
        &mut self,
        batch: &Located,
        segment: Offset,
        summary: &mut Summary,
        index: &mut Option<Index>,
    ) {
        if batch.base() >= self.replay_from {
            let producers_max = self.options.producers_max;
            self.producers
                .replay(&batch.header, self.now, producers_max);
        }
        if let Some(index) = index {
            let max = Timestamp::from_millis(batch.header.max_timestamp);
            index.push(segment, batch.base(), batch.position, max);
        }
        summary.push(&batch.header, batch.position_end());
    }

    fn learn_transaction(&mut self, batch: &Located, bytes: &[u8]) {
        let outcome = outcome_of(&batch.header, bytes);
        if let Some(range) = self.transactions.replay(&batch.header, outcome) {
            self.aborted.push(range);
        }
    }
}

/// Whether what is in a segment's file from `position` on was never part of it: zeros, or batches of the file's life before.
fn is_room(window: &mut Window<'_>, position: u64, segment: Offset) -> io::Result<bool> {
    Ok(is_zeros(window, position)? || spare::is_old(window, position, segment)?)
}

/// Whether there is nothing but zeros from `position` on.
fn is_zeros(window: &mut Window<'_>, mut position: u64) -> io::Result<bool> {
    while position < window.end() {
        let length = to_usize(window.end() - position).min(scan::WINDOW_BYTES);
        let bytes = window.get(position, length)?.unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        position += to_u64(length);
    }
    Ok(true)
}
