//! What was read of a partition and is not in the queue yet.
//!
//! An answer of the log is offered record by record, and the walk pauses anywhere: when the partition has its number of
//! unfinished records, or the listener its bytes. Invariant: at most one batch is decompressed beyond the listener's share.

use std::sync::Arc;

use broker::Fetched;
use delivery::{Dedup, Queue, SourceId};
use model::{Position, TopicPartition};
use record::{Batches, Compression, Header, SharedRecord};
use tracing::warn;

use crate::aside::NEAR;
use crate::aside_log::Aside;
use crate::headers;
use crate::held::{Held, Lot};
use crate::meaning::{Now, is_for_another, offer, waits_until};
use crate::memory::{Budget, Charge};
use crate::metrics::ListenerMetrics;
use crate::spec::Spec;

/// The rest of an answer.
pub(crate) struct Unread {
    batches: Batches,
    /// Records before it were asked for earlier.
    from: Position,
    /// Where reading goes on behind it all.
    next: Position,
    charge: Arc<Charge>,
    current: Option<(Arc<Lot>, SharedRecord)>,
}

impl Unread {
    pub(crate) fn new(from: Position, fetched: Fetched, charge: Charge) -> Self {
        Self {
            batches: Batches::new(fetched.batches),
            from,
            next: fetched.next,
            charge: Arc::new(charge),
            current: None,
        }
    }

    /// Where reading goes on if what is left is let go and read again.
    pub(crate) fn resume(&self) -> Position {
        self.from
    }
}

/// What offering needs to know.
pub(crate) struct Offers<'o> {
    pub(crate) id: SourceId,
    pub(crate) partition: &'o Arc<TopicPartition>,
    /// Records before it are looked at for duplicates only.
    pub(crate) begin: Position,
    pub(crate) spec: &'o Spec,
    pub(crate) queue: &'o mut Queue<Held>,
    pub(crate) budget: &'o Arc<Budget>,
    pub(crate) metrics: &'o ListenerMetrics,
    pub(crate) now: Now,
    pub(crate) duplicates: Option<(&'o str, &'o mut Dedup)>,
    pub(crate) asides: &'o mut Vec<Aside>,
    /// How many more records the queue takes.
    pub(crate) room: usize,
}

impl Offers<'_> {
    /// Offers what there is room for; `true` when that was all.
    pub(crate) fn all(&mut self, unread: &mut Unread) -> bool {
        loop {
            while let Some((lot, shared)) = unread.current.take() {
                if self.room == 0 {
                    unread.current = Some((lot, shared));
                    return false;
                }
                if let Some(next) = self.one(&lot, &shared, unread.from) {
                    unread.from = next;
                    self.queue.read_to(self.id, next);
                }
                unread.current = shared.following().map(|next| (lot, next));
            }
            if inflates(&unread.batches) && !self.budget.has_room() && !self.queue.is_empty() {
                return false;
            }
            let Some(batch) = unread.batches.next() else {
                break;
            };
            let opened = batch.and_then(|batch| {
                let inflates = batch.compression() != Compression::None;
                Ok((
                    inflates,
                    (!batch.is_control()).then(|| batch.records()).transpose()?,
                ))
            });
            match opened {
                Ok((inflates, Some(records))) => {
                    let records = Arc::new(records);
                    let charge = if inflates {
                        Arc::new(self.budget.charge(records.size()))
                    } else {
                        Arc::clone(&unread.charge)
                    };
                    let partition = Arc::clone(self.partition);
                    let lot = Arc::new(Lot { partition, charge });
                    unread.current = SharedRecord::first(&records).map(|first| (lot, first));
                }
                Ok((_, None)) => {}
                Err(error) => {
                    self.metrics.illegible.inc();
                    warn!(partition = %self.partition, %error, "A batch cannot be read and is not delivered.");
                }
            }
        }
        self.queue.read_to(self.id, unread.next);
        unread.from = unread.next;
        true
    }

    /// Offers a record, unless it was asked for earlier; answers the place behind it.
    fn one(&mut self, lot: &Arc<Lot>, shared: &SharedRecord, from: Position) -> Option<Position> {
        let record = shared.get()?;
        let position = Position::from(record.offset);
        if position < from {
            return None;
        }
        let next = Some(Position::from(record.offset.next()));
        if is_for_another(&record, &self.spec.name) {
            return next;
        }
        // A record that was sent again for this listener is meant to come again.
        let sent_again = record.headers.get(headers::LISTENER).is_some();
        if let Some((header, known)) = &mut self.duplicates
            && !sent_again
            && let Some(Some(id)) = record.headers.get(header)
            && known.is_duplicate(id, record.timestamp.millis())
        {
            if position >= self.begin {
                self.metrics.duplicate.inc();
            }
            return next;
        }
        if position < self.begin {
            return next;
        }
        let held = Held {
            lot: Arc::clone(lot),
            offset: record.offset,
            shared: shared.clone(),
        };
        let soon = self.now.wall.plus(NEAR).millis();
        self.room -= 1;
        // A copy would be part of no transaction, and might be made twice: it waits in the queue instead.
        let aside = self.spec.output.is_none();
        if let Some(due) = waits_until(&record).filter(|due| aside && *due > soon) {
            if self.queue.hold(self.id, position) {
                self.asides.push(Aside {
                    source: self.id,
                    position,
                    due: due.unsigned_abs(),
                    held,
                });
            }
            return next;
        }
        let offer = offer(&record, held, self.id, self.spec, self.now);
        self.queue.offer(self.now.monotonic, offer);
        next
    }
}

/// Whether the next batch takes memory of its own when it is opened.
fn inflates(batches: &Batches) -> bool {
    let next = Header::read(batches.rest());
    next.and_then(|header| header.compression())
        .is_ok_and(|compression| compression != Compression::None)
}
