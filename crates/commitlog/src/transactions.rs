//! Transactions in one log: who may write in one, which are open, and where reading of what is
//! committed must stop.
//!
//! ```text
//!  enlist        first batch          marker appended         marker durable
//!  ───────> enlisted ───────> open ─────────────────> ending ───────────────> forgotten
//!                              └── unstable: readers of what is committed stop at its first offset
//! ```
//! Invariants: a batch of a transaction is written only while its producer is enlisted in this epoch,
//! and a marker ends that, in the same step of the one writer: no batch can come after the marker of
//! its transaction. What is open is rebuilt from the log; who is enlisted is not, because that is the
//! coordinator's to say. Source: KIP-98, KIP-890 (which of the two holds there, and what hung before).

use std::collections::HashMap;
use std::sync::Arc;

use model::{Offset, Outcome, Producer};
use parking_lot::Mutex;
use record::{CheckedBatch, Header};

use crate::aborted::AbortedRange;
use crate::wire::Fields;
use crate::{Error, Log, LogReader};

/// The bit of a batch's attributes that says that it belongs to a transaction, and the one that says
/// it is a marker.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// A transaction that has written to a log and is not ended there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Whose it is.
    pub producer: Producer,
    /// Its first record.
    pub first: Offset,
}

/// The right to write to a log in a transaction, given beside the writer. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Enlisted {
    producers: Arc<Mutex<HashMap<i64, i16>>>,
}

impl Enlisted {
    /// Lets `producer` write in a transaction until a marker of it is appended.
    pub fn add(&self, producer: Producer) {
        self.producers.lock().insert(producer.id, producer.epoch);
    }

    fn epoch(&self, id: i64) -> Option<i16> {
        self.producers.lock().get(&id).copied()
    }

    fn remove(&self, producer: Producer) {
        let mut producers = self.producers.lock();
        if producers
            .get(&producer.id)
            .is_some_and(|epoch| *epoch <= producer.epoch)
        {
            producers.remove(&producer.id);
        }
    }
}

/// What one log knows of transactions.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    enlisted: Enlisted,
    open: HashMap<i64, Open>,
    /// Ended by a marker that is not durable yet: its offset, and the transaction's first.
    ending: Vec<(Offset, Offset)>,
    /// The smallest first offset of both.
    unstable: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    epoch: i16,
    first: Offset,
}

/// What an append does to transactions, once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Write {
        producer: Producer,
        base: Offset,
    },
    End {
        producer: Producer,
        outcome: Outcome,
        marker: Offset,
    },
}

/// Whether a batch has anything to do with transactions.
pub(crate) fn concerns(header: &Header) -> bool {
    header.attributes & (TRANSACTIONAL | CONTROL) != 0
}

pub(crate) fn is_control(header: &Header) -> bool {
    header.attributes & CONTROL != 0
}

fn producer_of(header: &Header) -> Producer {
    Producer::new(header.producer_id, header.producer_epoch)
}

impl Transactions {
    /// Whether a producer has a transaction open here, outside of which it may not write.
    pub(crate) fn is_open(&self, producer_id: i64) -> bool {
        !self.open.is_empty() && self.open.contains_key(&producer_id)
    }

    /// Judges a batch that [`concerns`] transactions, at the offset it would get.
    pub(crate) fn judge(&self, batch: &CheckedBatch, base: Offset) -> Result<Change, Error> {
        let producer = producer_of(batch.header());
        let refused = Error::NotInTransaction {
            producer_id: producer.id,
            epoch: producer.epoch,
        };
        if batch.is_control() {
            let outcome = batch.outcome().ok_or(refused)?;
            return Ok(Change::End {
                producer,
                outcome,
                marker: base,
            });
        }
        match self.enlisted.epoch(producer.id) {
            Some(epoch) if epoch == producer.epoch => Ok(Change::Write { producer, base }),
            Some(current) if current > producer.epoch => Err(Error::ProducerFenced {
                producer_id: producer.id,
                found: producer.epoch,
                current,
            }),
            _ => Err(refused),
        }
    }

    /// Carries a change out; answers the range that was aborted, if one was.
    pub(crate) fn apply(&mut self, change: Change) -> Option<AbortedRange> {
        match change {
            Change::Write { producer, base } => {
                let epoch = producer.epoch;
                let first = |open: Open| self.unstable.is_none_or(|least| open.first < least);
                let open = *self
                    .open
                    .entry(producer.id)
                    .or_insert(Open { epoch, first: base });
                if first(open) {
                    self.unstable = Some(open.first);
                }
                None
            }
            Change::End {
                producer,
                outcome,
                marker,
            } => {
                self.enlisted.remove(producer);
                let open = self.open.remove(&producer.id)?;
                self.ending.push((marker, open.first));
                (outcome == Outcome::Abort).then_some(AbortedRange {
                    producer_id: producer.id,
                    first: open.first,
                    last: marker,
                })
            }
        }
    }

    /// Learns a batch that is in the log, durable. `outcome` is what a marker says.
    pub(crate) fn replay(
        &mut self,
        header: &Header,
        outcome: Option<Outcome>,
    ) -> Option<AbortedRange> {
        let producer = producer_of(header);
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let change = match outcome {
            None if is_control(header) => return None,
            None => Change::Write { producer, base },
            Some(outcome) => Change::End {
                producer,
                outcome,
                marker: base,
            },
        };
        let aborted = self.apply(change);
        if matches!(change, Change::End { .. }) {
            self.settle(base.next());
        }
        aborted
    }

    /// Forgets transactions whose marker is before `readable`.
    pub(crate) fn settle(&mut self, readable: Offset) {
        let before = self.ending.len();
        self.ending.retain(|(marker, _)| *marker >= readable);
        if self.ending.len() != before {
            let open = self.open.values().map(|open| open.first);
            let ending = self.ending.iter().map(|(_, first)| *first);
            self.unstable = open.chain(ending).min();
        }
    }

    /// The first offset whose fate is not known to every reader.
    pub(crate) fn unstable(&self) -> Option<Offset> {
        self.unstable
    }

    fn open(&self) -> Vec<OpenTransaction> {
        let open = self.open.iter().map(|(id, open)| OpenTransaction {
            producer: Producer::new(*id, open.epoch),
            first: open.first,
        });
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|open| open.producer);
        open
    }

    /// For a checkpoint, which is written only while everything is durable.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let open = self.open();
        let count = u32::try_from(open.len()).unwrap_or(u32::MAX);
        to.extend_from_slice(&count.to_le_bytes());
        for open in open {
            to.extend_from_slice(&open.producer.id.to_le_bytes());
            to.extend_from_slice(&open.producer.epoch.to_le_bytes());
            to.extend_from_slice(&open.first.get().to_le_bytes());
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let mut decoded = Self::default();
        for _ in 0..fields.u32()? {
            let producer = Producer::new(fields.i64()?, fields.i16()?);
            let base = Offset::new(fields.u64()?);
            decoded.apply(Change::Write { producer, base });
        }
        Some(decoded)
    }
}

impl Log {
    /// Who may write in a transaction; to be given beside the writer.
    pub fn enlisted(&self) -> Enlisted {
        self.transactions.enlisted.clone()
    }

    /// Transactions that wrote here and are not ended, by producer.
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.transactions.open()
    }

    /// The first offset of a transaction that is not ended by a durable marker: readers of what is
    /// committed stop there. `None`: they may read to the high watermark.
    pub fn unstable(&self) -> Option<Offset> {
        self.transactions.unstable()
    }

    /// Takes note that everything before `readable` is readable, markers too.
    pub fn settle_transactions(&mut self, readable: Offset) {
        if self.transactions.unstable().is_some() {
            self.transactions.settle(readable);
        }
    }
}

impl LogReader {
    /// Ranges that were aborted and have a record or their marker at or after `from` and begin
    /// before `until`, by marker. In doubt about the oldest, which memory has no room for, walks the
    /// log.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn aborted(&self, from: Offset, until: Offset) -> Result<Vec<AbortedRange>, Error> {
        match self.aborted_in_memory(from, until) {
            Some(ranges) => Ok(ranges),
            None => self.page_of_aborted(from, until),
        }
    }

    /// As [`LogReader::aborted`], from memory alone; `None` when only a walk can tell.
    pub fn aborted_in_memory(&self, from: Offset, until: Offset) -> Option<Vec<AbortedRange>> {
        self.shared.aborted.read().find(from, until)
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use record::{BatchBuilder, Compression, marker};

    use super::*;

    fn batch(producer: Producer) -> CheckedBatch {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), None, Some(b"v"), &[]);
        builder.producer(producer.id, producer.epoch, 0);
        builder.transactional().build()
    }

    /// Plays `ID/EPOCH` entries, each one offset long: `+` enlists (no offset), `w` writes, `c` and
    /// `a` end, `!` makes everything durable. Answers where reading stops after each.
    #[track_caller]
    fn check(entries: &str, expected: &str) {
        let mut transactions = Transactions::default();
        let mut next = Offset::ZERO;
        let mut answers = Vec::new();
        for entry in entries.split_whitespace() {
            let (what, who) = entry.split_at(1);
            let mut numbers = who.split('/').map(|number| number.parse::<i64>().unwrap());
            let mut number = || numbers.next().unwrap();
            let batch = match what {
                "+" => {
                    let producer = Producer::new(number(), i16::try_from(number()).unwrap());
                    transactions.enlisted.add(producer);
                    continue;
                }
                "!" => {
                    transactions.settle(next);
                    None
                }
                _ => {
                    let producer = Producer::new(number(), i16::try_from(number()).unwrap());
                    Some(match what {
                        "w" => batch(producer),
                        "c" => marker(producer, Outcome::Commit, 0, Timestamp::from_millis(1)),
                        "a" => marker(producer, Outcome::Abort, 0, Timestamp::from_millis(1)),
                        other => panic!("{other}"),
                    })
                }
            };
            let mut said = String::new();
            if let Some(batch) = batch {
                match transactions.judge(&batch, next) {
                    Ok(change) => {
                        next = next.next();
                        if let Some(aborted) = transactions.apply(change) {
                            said = format!("({}..{})", aborted.first, aborted.last);
                        }
                    }
                    Err(Error::NotInTransaction { .. }) => said = "(no)".to_owned(),
                    Err(Error::ProducerFenced { .. }) => said = "(fenced)".to_owned(),
                    Err(other) => panic!("{other}"),
                }
            }
            let unstable = transactions.unstable();
            answers.push(format!(
                "{}{said}",
                unstable.map_or("-".to_owned(), |offset| offset.to_string())
            ));
        }
        assert_eq!(answers.join(" "), expected);
    }

    #[test]
    fn reading_stops_at_the_oldest_open_transaction_until_its_marker_is_durable() {
        check(
            "+1/0 +2/0 w1/0 w2/0 w1/0 c1/0 ! a2/0 !",
            "0 0 0 0 1 1(1..4) -",
        );
    }

    #[test]
    fn only_who_is_enlisted_writes_and_a_marker_ends_that() {
        check(
            "w1/0 +1/1 w1/0 w1/1 c1/1 w1/1 !",
            "-(no) -(fenced) 0 0 0(no) -",
        );
    }

    #[test]
    fn a_marker_without_records_changes_nothing() {
        check("+1/0 a1/0 w1/0 c7/3 !", "- -(no) - -");
    }

    #[test]
    fn what_is_open_survives_being_written_down() {
        let mut transactions = Transactions::default();
        for (id, base) in [(3, 8), (1, 5)] {
            let change = Change::Write {
                producer: Producer::new(id, 2),
                base: Offset::new(base),
            };
            transactions.apply(change);
        }
        let mut bytes = Vec::new();
        transactions.encode(&mut bytes);
        let decoded = Transactions::decode(&mut Fields(&bytes)).unwrap();
        assert_eq!(decoded.open, transactions.open);
        assert_eq!(decoded.unstable(), Some(Offset::new(5)));
    }
}
