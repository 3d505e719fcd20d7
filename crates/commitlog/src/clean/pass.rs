//! One pass over a log: fill the map, then rewrite, group of segments by group.

use std::sync::Arc;

use bytes::Bytes;
use model::{Offset, Timestamp};
use record::CheckedBatch;

use super::fate::{Aborted, Fate, Judge};
use super::install::{Ready, discard, new_name};
use super::mark::{self, CleanMark};
use super::output::Output;
use super::plan::{Plan, next_group};
use super::{CleanOptions, CleanReport, LogHolder, OffsetMap};
use crate::scan::{self, Located, Step, Window};
use crate::segment::Segment;
use crate::transactions::is_control;
use crate::wire::to_usize;
use crate::{Error, LogReader};

/// Bytes between two looks at the pace.
const PACE_BYTES: u64 = 256 << 10;

pub(super) struct Pass<'a> {
    plan: Plan,
    options: &'a CleanOptions,
    now: Timestamp,
    report: &'a mut CleanReport,
    pace: &'a mut dyn FnMut(u64) -> bool,
    /// Bytes the pace was not told of.
    untold: u64,
}

/// The pace said no, or a segment is gone.
struct Stopped;

impl<'a> Pass<'a> {
    pub(super) fn new(
        plan: Plan,
        options: &'a CleanOptions,
        now: Timestamp,
        report: &'a mut CleanReport,
        pace: &'a mut dyn FnMut(u64) -> bool,
    ) -> Self {
        Self {
            plan,
            options,
            now,
            report,
            pace,
            untold: 0,
        }
    }

    /// Answers up to where the log is clean then; `None` if it was stopped.
    pub(super) fn run(&mut self, holder: &impl LogHolder) -> Result<Option<Offset>, Error> {
        if self.plan.segments.is_empty() {
            return Ok(Some(self.plan.from));
        }
        let reader = LogReader {
            shared: Arc::clone(&self.plan.shared),
        };
        let first = self.plan.segments.first().map(|first| first.base());
        let aborted = reader.aborted(first.unwrap_or_default(), self.plan.end)?;
        let aborted = Aborted::new(&aborted);
        let Some((map, until)) = self.fill_map(&aborted)? else {
            return Ok(None);
        };
        let mut segments = self.plan.segments.clone();
        segments.retain(|segment| segment.base() < until);
        let last_offsets = std::mem::take(&mut self.plan.last_offsets);
        let horizon = self.now.plus(self.options.delete_retention);
        let mut judge = Judge::new(map, until, aborted, last_offsets, (self.now, horizon));
        while !segments.is_empty() {
            let group = next_group(&mut segments, self.plan.segment_bytes);
            let untold = std::mem::take(&mut self.untold);
            if !self.rewrite(holder, &group, &mut judge)? || !(self.pace)(untold) {
                return Ok(None);
            }
        }
        self.report.removed_records += judge.removed_records;
        self.report.until = until;
        let mark = CleanMark {
            until,
            horizon: judge.next_horizon,
        };
        *self.plan.shared.cleaned.lock() = mark;
        // A cache: without it the next start looks at more than it must.
        drop(mark::store(
            &*self.plan.shared.disk,
            &self.plan.shared.dir,
            mark,
        ));
        // So is this: the next start need not walk what is new.
        holder.with(|log| {
            drop(log.write_checkpoint(false));
            Ok(())
        })?;
        Ok(Some(until))
    }

    /// Notes the keys of the dirty part, as far as there is room; answers how far that was. What was
    /// aborted outdates nothing.
    fn fill_map(&mut self, aborted: &Aborted) -> Result<Option<(OffsetMap, Offset)>, Error> {
        let from = self.plan.from;
        let keys = self.plan.end.since(from);
        let mut map = OffsetMap::new(keys, self.options.map_bytes.bytes());
        let mut until = from;
        for segment in self.plan.segments.clone() {
            if segment.summary().next <= from {
                continue;
            }
            let mut full = false;
            let walked = self.walk(&segment, |batch, bytes| {
                if batch.next() <= from || full {
                    return Ok(!full);
                }
                let is_data = !is_control(&batch.header) && batch.header.record_count > 0;
                if is_data && !aborted.has(&batch.header) {
                    match note_keys(&mut map, from, bytes)? {
                        None => {}
                        Some(at) => {
                            until = at;
                            full = true;
                            return Ok(false);
                        }
                    }
                }
                until = batch.next();
                Ok(true)
            })?;
            if walked.is_err() {
                return Ok(None);
            }
            if full {
                break;
            }
        }
        Ok(Some((map, until)))
    }

    /// Writes what stays of `group` aside and puts it in force; answers whether to go on.
    fn rewrite(
        &mut self,
        holder: &impl LogHolder,
        group: &[Arc<Segment>],
        judge: &mut Judge,
    ) -> Result<bool, Error> {
        let shared = Arc::clone(&self.plan.shared);
        let name = new_name(&shared, group);
        let source = match group {
            [only] => only.file_for_a_walk()?,
            _ => None,
        };
        let mut output = Output::new(&*shared.disk, &shared.dir, name, source);
        let temporary = output.temporary.clone();
        let mut wrote = 0;
        let written = || -> Result<_, Error> {
            for segment in group {
                let walked = self.walk(segment, |batch, bytes| {
                    match judge.judge(&batch.header, bytes)? {
                        Fate::Stays => output.keep(&batch.header, bytes)?,
                        Fate::Goes => output.drop_batch(&batch.header, bytes),
                        Fate::Becomes(new) => output.replace(new.header(), new.as_bytes())?,
                    }
                    Ok(true)
                })?;
                let more = output.written() - wrote;
                wrote += more;
                self.report.written_bytes += more;
                if walked.is_err() || self.tell(more).is_err() {
                    return Ok(Err(Stopped));
                }
            }
            let last_append = group.iter().map(|segment| segment.summary().last_append);
            let last_append = last_append.max().unwrap_or(self.now);
            output.finish(last_append).map(Ok)
        };
        let finished = match written() {
            Ok(Ok(finished)) => finished,
            Ok(Err(Stopped)) => {
                discard(&shared, &temporary);
                return Ok(false);
            }
            Err(error) => {
                discard(&shared, &temporary);
                return Err(error);
            }
        };
        let Some((summary, index)) = finished else {
            return Ok(true);
        };
        let ready = Ready {
            shared: &shared,
            name,
            temporary,
            group,
            gone_markers: std::mem::take(&mut judge.gone_markers),
        };
        if !ready.install(holder, summary, index)? {
            return Ok(false);
        }
        self.report.segments_before += group.len();
        self.report.segments_after += 1;
        let before = group.iter().map(|segment| segment.summary().size);
        self.report.bytes_before += before.sum::<u64>();
        self.report.bytes_after += summary.size;
        Ok(true)
    }

    /// Calls `visit` with each batch of a segment until it answers false.
    fn walk(
        &mut self,
        segment: &Segment,
        mut visit: impl FnMut(&Located, &[u8]) -> Result<bool, Error>,
    ) -> Result<Result<(), Stopped>, Error> {
        // Retention was there first.
        let Some(file) = segment.file_for_a_walk()? else {
            return Ok(Err(Stopped));
        };
        let summary = segment.summary();
        let mut window = Window::new(&*file, summary.size);
        let (mut position, mut expected) = (0, segment.base());
        let failed = |source| segment.io("read", source);
        let corrupt = |position, from| Error::Corrupt {
            from,
            until: summary.next,
            path: segment.path().to_owned(),
            position,
        };
        loop {
            match scan::step(&mut window, position, expected).map_err(failed)? {
                Step::Batch(batch) => {
                    let bytes = window.get(position, to_usize(batch.size)).map_err(failed)?;
                    let go_on = visit(&batch, bytes.unwrap_or_default())?;
                    (position, expected) = (batch.position_end(), batch.next());
                    self.report.read_bytes += batch.size;
                    if self.tell(batch.size).is_err() {
                        return Ok(Err(Stopped));
                    }
                    if !go_on {
                        return Ok(Ok(()));
                    }
                }
                Step::End if expected == summary.next => return Ok(Ok(())),
                Step::End | Step::Bad => return Err(corrupt(position, expected)),
            }
        }
    }

    fn tell(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.untold += bytes;
        if self.untold < PACE_BYTES {
            return Ok(());
        }
        if (self.pace)(std::mem::take(&mut self.untold)) {
            Ok(())
        } else {
            Err(Stopped)
        }
    }
}

/// Notes the keys of a batch from `from` on; answers the first offset that there is no room for.
fn note_keys(map: &mut OffsetMap, from: Offset, bytes: &[u8]) -> Result<Option<Offset>, Error> {
    let mut offset = Offset::ZERO;
    let mut note = || -> Result<Option<Offset>, record::Error> {
        let (batch, _) = CheckedBatch::parse(Bytes::copy_from_slice(bytes))?;
        offset = batch.base_offset();
        for record in &batch.records()? {
            let record = record?;
            if let Some(key) = record.key
                && record.offset >= from
                && !map.put(key, record.offset)
            {
                return Ok(Some(record.offset));
            }
        }
        Ok(None)
    };
    let noted = note();
    noted.map_err(|source| Error::Batch { offset, source })
}
