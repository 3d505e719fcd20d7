//! What an append will do, judged and encoded before anything is changed.

use bytes::Bytes;
use model::{Offset, Timestamp};
use record::{CheckedBatch, Header, Stamp, StampTime};
use stdx::PoolBuffer;

use crate::producers::{Identity, Sent, Staged, Verdict};
use crate::transactions::{Change, concerns, is_control};
use crate::wire::to_u64;
use crate::{AppendOutcome, Error, Log, StampKind};

impl Log {
    /// Judges every batch and encodes those to be written, changing nothing.
    pub(crate) fn plan(&self, batches: &[CheckedBatch], now: Timestamp) -> Result<Plan, Error> {
        let limit = self.options.batch_bytes.as_usize();
        let room = batches.iter().map(CheckedBatch::size).sum();
        let mut plan = Plan::at(self.marks().log_end, self.shared.pool.take(room));
        let stamp = match self.options.stamp {
            StampKind::Create => None,
            StampKind::LogAppend => Some(now),
        };
        for batch in batches {
            let size = batch.size();
            if size > limit {
                return Err(Error::BatchTooLarge { size, limit });
            }
            let identity = Identity::of(batch.header());
            if is_control(batch.header()) {
                self.plan_marker(&mut plan, batch, stamp, now)?;
                continue;
            }
            if let Some(identity) = identity
                && let Verdict::Duplicate(sent) = self.producers.judge(&plan.staged, identity)?
            {
                plan.note_duplicate(&sent);
                continue;
            }
            if concerns(batch.header()) {
                plan.changes
                    .push(self.transactions.judge(batch, plan.next)?);
            } else if self.transactions.is_open(batch.producer_id()) {
                return Err(not_in_transaction(batch));
            }
            let (base, last) = plan.write(batch, stamp, self.options.leader_epoch)?;
            if let Some(identity) = identity {
                self.producers
                    .stage(&mut plan.staged, identity, (base, last), stamp, now);
            }
        }
        plan.bytes = plan
            .buffer
            .take()
            .map_or_else(Bytes::new, PoolBuffer::freeze);
        Ok(plan)
    }

    fn plan_marker(
        &self,
        plan: &mut Plan,
        batch: &CheckedBatch,
        stamp: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(identity) = Identity::of(batch.header()) else {
            return Err(not_in_transaction(batch));
        };
        self.producers.judge_marker(&plan.staged, identity)?;
        plan.changes
            .push(self.transactions.judge(batch, plan.next)?);
        plan.write(batch, stamp, self.options.leader_epoch)?;
        self.producers.stage_marker(&mut plan.staged, identity, now);
        Ok(())
    }
}

fn not_in_transaction(batch: &CheckedBatch) -> Error {
    Error::NotInTransaction {
        producer_id: batch.producer_id(),
        epoch: batch.producer_epoch(),
    }
}

/// What an append will do.
pub(crate) struct Plan {
    /// What is stamped, until all of it is.
    buffer: Option<PoolBuffer>,
    pub(crate) bytes: Bytes,
    pub(crate) written: Vec<(Header, u64)>,
    pub(crate) staged: Staged,
    /// What becomes of transactions; empty, and so without memory, where there are none.
    pub(crate) changes: Vec<Change>,
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) outcome: AppendOutcome,
    first: bool,
}

impl Plan {
    fn at(end: Offset, buffer: PoolBuffer) -> Self {
        Self {
            buffer: Some(buffer),
            bytes: Bytes::new(),
            written: Vec::new(),
            staged: Staged::default(),
            changes: Vec::new(),
            base: end,
            next: end,
            outcome: AppendOutcome {
                base_offset: end,
                last_offset: end,
                log_append_time: None,
                duplicate: false,
            },
            first: true,
        }
    }

    /// The outcome names the first batch's offset and the last one's.
    fn note(&mut self, base: Offset, last: Offset, stamp: Option<Timestamp>, duplicate: bool) {
        if self.first {
            self.outcome.base_offset = base;
            self.outcome.log_append_time = stamp;
            self.outcome.duplicate = duplicate;
            self.outcome.last_offset = last;
            self.first = false;
        }
        self.outcome.duplicate &= duplicate;
        self.outcome.last_offset = self.outcome.last_offset.max(last);
    }

    fn note_duplicate(&mut self, sent: &Sent) {
        self.note(
            sent.base_offset,
            sent.last_offset,
            sent.log_append_time,
            true,
        );
    }

    fn write(
        &mut self,
        batch: &CheckedBatch,
        stamp: Option<Timestamp>,
        leader_epoch: i32,
    ) -> Result<(Offset, Offset), Error> {
        let base = self.next;
        let count = batch.header().offsets();
        if base
            .get()
            .checked_add(count)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            return Err(Error::Exhausted { log_end: base });
        }
        let last = base.plus(count - 1);
        let buffer = self.buffer.as_mut();
        let buffer = buffer.expect("it is taken when the plan is ready");
        let start = buffer.len();
        buffer.extend_from_slice(batch.as_bytes());
        let copy = buffer.as_mut_slice().get_mut(start..).unwrap_or_default();
        let stamped = record::restamp(
            copy,
            &Stamp {
                base_offset: base,
                leader_epoch,
                time: stamp.map_or(StampTime::Keep, StampTime::LogAppend),
            },
        );
        let header = stamped.and_then(|()| Header::read(copy));
        let header = header.map_err(|source| Error::Batch {
            offset: base,
            source,
        })?;
        self.written.push((header, to_u64(batch.size())));
        self.next = last.next();
        self.note(base, last, stamp, false);
        Ok((base, last))
    }
}
