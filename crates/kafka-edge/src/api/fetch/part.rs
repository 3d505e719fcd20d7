//! One partition of one fetch: where it reads, and what it has read so far.

use std::sync::Arc;

use broker::{Aborted, Demand, Fetched, Marks, ReadLimit, Wanted, Wish};
use bytes::Bytes;
use kafka_wire::messages::fetch_request::FetchPartition;
use kafka_wire::{ErrorCode, FetchedPartition};
use model::{Position, TopicPartition};
use tokio::sync::watch;

use crate::codes::Coded;
use crate::context::{Call, check_leader_epoch, offset, partition, position};

/// One partition of one fetch.
pub(super) struct Part {
    index: i32,
    /// Where it reads, unless there is no such place.
    at: Option<Source>,
    refusal: Option<ErrorCode>,
    marks: Option<Marks>,
    /// Only what is committed, and what was aborted, is asked for.
    committed: bool,
    aborted: Vec<Aborted>,
    batches: Vec<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

struct Source {
    partition: TopicPartition,
    watch: watch::Receiver<Position>,
    /// The high watermark when it was last looked at.
    seen: Position,
    next: Position,
    /// Where the last read began, to take it back.
    last: Position,
}

impl Part {
    pub(super) fn new(call: &Call, topic: &str, asked: &FetchPartition, committed: bool) -> Self {
        let mut part = Self {
            index: asked.partition,
            at: None,
            refusal: None,
            marks: None,
            committed,
            aborted: Vec::new(),
            batches: Vec::new(),
            bytes: 0,
            bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        };
        match Source::new(call, topic, asked) {
            Ok(source) => part.at = Some(source),
            Err(code) => part.refusal = Some(code),
        }
        part
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes it may still take of `room`.
    pub(super) fn wants(&self, room: usize) -> usize {
        self.bytes_max.saturating_sub(self.bytes).min(room)
    }

    /// Whether there may be something to read, or the marks are still unknown.
    pub(super) fn look(&mut self) -> bool {
        let Some(source) = &mut self.at else {
            return false;
        };
        // Seen before the read: whatever is published after this line ends the wait.
        let high_watermark = *source.watch.borrow();
        source.seen = high_watermark;
        match &mut self.marks {
            Some(marks) if self.refusal.is_none() => {
                if marks.last_stable == marks.high_watermark && !self.committed {
                    marks.last_stable = marks.last_stable.max(high_watermark);
                }
                marks.high_watermark = marks.high_watermark.max(high_watermark);
                source.next < high_watermark
            }
            Some(_) => false,
            None => true,
        }
    }

    /// Reads once and answers how many bytes came.
    pub(super) async fn read(&mut self, call: &Call, limit: usize, at_least_one: bool) -> usize {
        let Some(source) = &mut self.at else {
            return 0;
        };
        let limit = ReadLimit {
            bytes: limit,
            at_least_one,
        };
        match source.read_records(call, limit, self.committed).await {
            Ok((fetched, aborted)) => {
                self.aborted.extend(aborted);
                let bytes = fetched.batches.len();
                self.marks = Some(fetched.marks);
                if bytes > 0 {
                    source.last = source.next;
                    source.next = fetched.next;
                    self.bytes += bytes;
                    self.batches.push(fetched.batches);
                }
                bytes
            }
            Err(error) => {
                // What was read before is still good; the client hears of the error next time.
                if self.batches.is_empty() {
                    self.refusal = Some(error.kafka_code());
                }
                self.at = None;
                0
            }
        }
    }

    /// Takes the last read back.
    pub(super) fn drop_last(&mut self) {
        if let (Some(batches), Some(source)) = (self.batches.pop(), &mut self.at) {
            self.bytes -= batches.len();
            source.next = source.last;
        }
    }

    /// Has what is published from now on counted towards `demand`, if it takes any of it: at most `room` bytes, and
    /// one batch whatever its size while the answer holds nothing.
    pub(super) fn want(
        &mut self,
        call: &Call,
        room: usize,
        first: bool,
        demand: &Arc<Demand>,
    ) -> Option<Wanted> {
        let room = self.wants(room);
        let source = self.at.as_mut()?;
        if room == 0 && !first {
            return None;
        }
        let wish = Wish {
            seen: source.seen.max(source.next),
            room: (!first).then_some(room),
            committed: self.committed,
        };
        let wanted = call.broker().want(&source.partition, wish, demand);
        // A topic that is gone says so to the next fetch.
        Some(wanted.unwrap_or(Wanted::Closed))
    }

    pub(super) fn into_answer(mut self, call: &Call) -> FetchedPartition {
        // Two reads may both touch one; clients take them in the order of their beginnings.
        self.aborted
            .sort_unstable_by_key(|range| (range.first, range.producer_id));
        self.aborted.dedup();
        let aborted = self.aborted.iter();
        let aborted = aborted.map(|range| (range.producer_id, offset(range.first)));
        let aborted = self.committed.then(|| aborted.collect());
        let error_code = self.refusal.map_or(0, |code| call.refuse(code));
        let marks = self.marks.filter(|_| error_code == 0);
        FetchedPartition {
            partition: self.index,
            error_code,
            high_watermark: marks.map_or(-1, |marks| offset(marks.high_watermark)),
            last_stable: marks.map_or(-1, |marks| offset(marks.last_stable)),
            log_start: marks.map_or(-1, |marks| offset(marks.log_start)),
            aborted,
            batches: self.batches,
        }
    }
}

impl Source {
    /// Reads, without the batches that compaction left without records: Kafka's cleaner leaves a gap in place of most of them,
    /// and there are clients that do not get past one (segmentio/kafka-go, issue 874). Where nothing else is read, until the end
    /// or in [`HOLLOW_READS_MAX`] reads, the last of them goes out, so that a client learns where to go on.
    async fn read_records(
        &self,
        call: &Call,
        limit: ReadLimit,
        committed: bool,
    ) -> Result<(Fetched, Vec<Aborted>), broker::Error> {
        let (mut fetched, mut aborted) = self.read(call, self.next, limit, committed).await?;
        let mut last = Bytes::new();
        let mut reads = 1;
        while fetched.hollow {
            let with_records = broker::without(&fetched.batches, |header| header.record_count == 0);
            if !with_records.is_empty() {
                fetched.batches = with_records;
                return Ok((fetched, aborted));
            }
            last = last_of(&fetched.batches);
            if reads == HOLLOW_READS_MAX {
                fetched.batches = Bytes::new();
                break;
            }
            reads += 1;
            // What was aborted counts for the batches that go out.
            (fetched, aborted) = self.read(call, fetched.next, limit, committed).await?;
        }
        if fetched.batches.is_empty() {
            fetched.batches = last;
        }
        Ok((fetched, aborted))
    }

    async fn read(
        &self,
        call: &Call,
        from: Position,
        limit: ReadLimit,
        committed: bool,
    ) -> Result<(Fetched, Vec<Aborted>), broker::Error> {
        let broker = call.broker();
        if committed && let Some(log) = broker.transactional() {
            let read = log.read_committed(&self.partition, from, limit);
            let read = read.await?;
            return Ok((read.fetched, read.aborted));
        }
        let read = broker.read(&self.partition, from, limit).await?;
        Ok((read, Vec::new()))
    }

    fn new(call: &Call, topic: &str, asked: &FetchPartition) -> Result<Self, ErrorCode> {
        let partition = partition(topic, asked.partition)?;
        check_leader_epoch(asked.current_leader_epoch)?;
        let watch = call
            .broker()
            .watch(&partition)
            .map_err(|error| error.kafka_code())?;
        let next = position(asked.fetch_offset).ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok(Self {
            partition,
            watch,
            seen: next,
            next,
            last: next,
        })
    }
}

/// Reads in search of a batch with records, at most: a client that takes few bytes a time could keep one here for long.
const HOLLOW_READS_MAX: usize = 64;

/// The last batch of several, in memory of its own.
fn last_of(batches: &Bytes) -> Bytes {
    let last = record::Batches::new(batches.clone())
        .map_while(Result::ok)
        .last();
    last.map_or_else(Bytes::new, |last| Bytes::copy_from_slice(last.as_bytes()))
}
