//! Which part of a log may be cleaned, and how much of that is dirty.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Offset, Timestamp};
use record::Header;

use super::CleanOptions;
use crate::names::SegmentName;
use crate::options::SEGMENT_BYTES_MAX;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::{Error, Log};

/// How much of a log waits to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dirtiness {
    /// Bytes that were cleaned.
    pub clean_bytes: u64,
    /// Bytes that may be cleaned and were not.
    pub dirty_bytes: u64,
    /// A record was not cleaned for longer than [`CleanOptions::max_lag`], or tombstones may go.
    pub overdue: bool,
}

impl Dirtiness {
    /// The dirty part of what may be cleaned, 0 to 1.
    #[expect(clippy::as_conversions, reason = "a share needs no exact bytes")]
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 {
            0.0
        } else {
            self.dirty_bytes as f64 / all as f64
        }
    }
}

/// The log as a pass finds it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shared: Arc<Shared>,
    /// Those that may be cleaned, from the oldest on.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Before this the log is clean.
    pub(super) from: Offset,
    /// What may be cleaned ends here.
    pub(super) end: Offset,
    /// Per producer, its epoch and the last offset it wrote.
    pub(super) last_offsets: HashMap<i64, (i16, Option<Offset>)>,
    /// What segments may be joined to.
    pub(super) segment_bytes: u64,
}

impl Log {
    /// How much of the log waits to be cleaned.
    pub fn dirtiness(&self, options: &CleanOptions, now: Timestamp) -> Dirtiness {
        let (segments, from) = self.cleanable(options, now);
        let mut found = Dirtiness::default();
        let mut oldest = None;
        for segment in &segments {
            let summary = segment.summary();
            if summary.next <= from {
                found.clean_bytes += summary.size;
            } else {
                found.dirty_bytes += summary.size;
                oldest.get_or_insert(segment);
            }
        }
        let late = options.max_lag.zip(oldest).is_some_and(|(lag, segment)| {
            let since = first_time(segment).unwrap_or(segment.summary().last_append);
            now.since(since) > lag
        });
        let horizon = self.shared.cleaned.lock().horizon;
        let due = horizon.is_some_and(|horizon| horizon <= now) && !segments.is_empty();
        found.overdue = late || due;
        found
    }

    /// The segments that may be cleaned, and up to where the log is clean.
    fn cleanable(&self, options: &CleanOptions, now: Timestamp) -> (Vec<Arc<Segment>>, Offset) {
        let marks = self.marks();
        let stable = self.unstable().unwrap_or(marks.durable).min(marks.durable);
        let from = self.shared.cleaned.lock().until.max(marks.log_start);
        let mut segments = self.shared.segments();
        // The newest is written to.
        segments.pop();
        let may = |segment: &Arc<Segment>| {
            let summary = segment.summary();
            let old = options.min_lag.is_zero() || now.since(summary.newest()) >= options.min_lag;
            // What was clean once is not young again.
            summary.next <= stable && (old || summary.next <= from)
        };
        let count = segments.iter().take_while(|segment| may(segment)).count();
        segments.truncate(count);
        (segments, from)
    }

    /// What a pass needs to know, at one moment.
    pub(super) fn plan_cleaning(
        &mut self,
        options: &CleanOptions,
        now: Timestamp,
    ) -> Result<Plan, Error> {
        self.check_frozen()?;
        let (segments, from) = self.cleanable(options, now);
        let end = segments.last().map(|last| last.summary().next);
        let end = end.unwrap_or(from).max(from);
        let first = segments.first().map_or(end, |first| first.base());
        let damage = self.shared.damage();
        if let Some(found) = damage.iter().find(|damage| {
            let missing = damage.from < end && damage.until > first;
            missing
                || segments
                    .iter()
                    .any(|segment| segment.base() == damage.segment)
        }) {
            return Err(Error::Corrupt {
                from: found.from,
                until: found.until,
                path: SegmentName::appended(found.segment).log_path(&self.shared.dir),
                position: found.position,
            });
        }
        Ok(Plan {
            shared: Arc::clone(&self.shared),
            segments,
            from,
            end,
            last_offsets: self.producers.last_offsets(),
            segment_bytes: self.options.segment_bytes.bytes().min(SEGMENT_BYTES_MAX),
        })
    }
}

/// The time of a segment's first batch, if it says one.
fn first_time(segment: &Segment) -> Option<Timestamp> {
    let mut head = [0; record::HEADER_BYTES];
    let file = segment.file_for_a_walk().ok()??;
    file.read_exact_at(&mut head, 0).ok()?;
    let max = Header::read(&head).ok()?.max_timestamp;
    (max >= 0).then(|| Timestamp::from_millis(max))
}

/// Takes the segments off the front that are to become one: as many as fit into `segment_bytes`, at least one.
pub(super) fn next_group(
    segments: &mut Vec<Arc<Segment>>,
    segment_bytes: u64,
) -> Vec<Arc<Segment>> {
    let (mut size, mut count) = (0, 0);
    let base = segments.first().map(|first| first.base());
    for segment in segments.iter() {
        let summary = segment.summary();
        // Offsets are kept in 32 bits in the index.
        let offsets = base.map_or(0, |base| summary.next.since(base));
        let fits = size + summary.size <= segment_bytes && u32::try_from(offsets).is_ok();
        if count > 0 && !fits {
            break;
        }
        size += summary.size;
        count += 1;
    }
    segments.drain(..count).collect()
}
