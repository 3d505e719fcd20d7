//! Who sent what last: the memory that makes a retry harmless.
//!
//! Each idempotent producer numbers its records. The last five batches of each are remembered (a
//! client has at most five in flight), so that a batch sent again is answered with the offset it
//! already has. The memory is rebuilt from the log, so that this also holds after a crash.
//!
//! Invariants: at most `producers_max` producers, the longest silent forgotten first; an append
//! that failed leaves no trace (changes are staged, then committed). Source: KIP-98, KIP-360.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::{Offset, Timestamp};
use record::{Header, TimestampKind};

use crate::Error;
use crate::wire::Fields;

/// Batches remembered per producer: a client keeps at most so many in flight.
const REMEMBERED: usize = 5;

/// One batch as a retry would name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    base_sequence: i32,
    last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    /// The stamp it got, where the log stamps.
    pub(crate) log_append_time: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    sent: VecDeque<Sent>,
    last_used: Timestamp,
}

/// A producer that a log remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProducer {
    /// Its id and newest epoch.
    pub producer: model::Producer,
    /// The sequence of its last record in this epoch, if it wrote any.
    pub last_sequence: Option<i32>,
    /// When it wrote last, by the log's clock.
    pub last_used: Timestamp,
}

/// What a batch of an idempotent producer names itself by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    producer_id: i64,
    epoch: i16,
    base_sequence: i32,
    last_sequence: i32,
}

impl Identity {
    /// `None` for a batch without producer.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        (header.producer_id >= 0).then(|| Self {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
        })
    }
}

/// Sequences count up to `i32::MAX` and go on with 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    i32::try_from(sum.rem_euclid(i64::from(i32::MAX) + 1)).unwrap_or(0)
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    Duplicate(Sent),
}

#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    /// Epoch and sequence of the first batch of a producer that is not known, which the disk had no room
    /// for. What it sent behind that one must not get in before.
    refused: HashMap<i64, (i16, i32)>,
}

/// Producers whose first batch was refused that are remembered; with more, all are forgotten.
const REFUSED_MAX: usize = 1_024;

/// Changes of one append, not yet in force.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    changed: Vec<(i64, Producer)>,
}

impl Producers {
    /// Judges a batch in the light of what is known and staged.
    pub(crate) fn judge(&self, staged: &Staged, batch: Identity) -> Result<Verdict, Error> {
        let Some(producer) = staged
            .get(batch.producer_id)
            .or_else(|| self.known.get(&batch.producer_id))
        else {
            return match self.refused.get(&batch.producer_id) {
                Some((epoch, first)) if *epoch == batch.epoch && *first != batch.base_sequence => {
                    Err(Error::OutOfOrderSequence {
                        producer_id: batch.producer_id,
                        expected: *first,
                        found: batch.base_sequence,
                    })
                }
                // Unknown or forgotten: there is nothing to hold the sequence against.
                _ => Ok(Verdict::Append),
            };
        };
        if batch.epoch < producer.epoch {
            return Err(Error::ProducerFenced {
                producer_id: batch.producer_id,
                found: batch.epoch,
                current: producer.epoch,
            });
        }
        let out_of_order = |expected| Error::OutOfOrderSequence {
            producer_id: batch.producer_id,
            expected,
            found: batch.base_sequence,
        };
        if batch.epoch > producer.epoch {
            return match batch.base_sequence {
                0 => Ok(Verdict::Append),
                _ => Err(out_of_order(0)),
            };
        }
        let same = |sent: &&Sent| {
            (sent.base_sequence, sent.last_sequence) == (batch.base_sequence, batch.last_sequence)
        };
        if let Some(sent) = producer.sent.iter().find(same) {
            return Ok(Verdict::Duplicate(*sent));
        }
        match producer.sent.back() {
            Some(last) if sequence_after(last.last_sequence, 1) != batch.base_sequence => {
                Err(out_of_order(sequence_after(last.last_sequence, 1)))
            }
            // A marker ended the epoch before.
            None if batch.base_sequence != 0 => Err(out_of_order(0)),
            _ => Ok(Verdict::Append),
        }
    }

    /// Judges a marker, which has no sequence.
    pub(crate) fn judge_marker(&self, staged: &Staged, marker: Identity) -> Result<(), Error> {
        let known = staged
            .get(marker.producer_id)
            .or_else(|| self.known.get(&marker.producer_id));
        match known {
            Some(known) if marker.epoch < known.epoch => Err(Error::ProducerFenced {
                producer_id: marker.producer_id,
                found: marker.epoch,
                current: known.epoch,
            }),
            _ => Ok(()),
        }
    }

    /// Stages a marker: one of a newer epoch ends the older one, and the next sequence is 0.
    pub(crate) fn stage_marker(&self, staged: &mut Staged, marker: Identity, now: Timestamp) {
        let known = staged
            .get(marker.producer_id)
            .or_else(|| self.known.get(&marker.producer_id));
        // Of one that is unknown or forgotten there is nothing to end, and no sequence to expect.
        let Some(known) = known else {
            return;
        };
        let mut producer = known.clone();
        if producer.epoch != marker.epoch {
            producer.epoch = marker.epoch;
            producer.sent.clear();
        }
        producer.last_used = now;
        staged.changed.retain(|(id, _)| *id != marker.producer_id);
        staged.changed.push((marker.producer_id, producer));
    }

    /// All that are remembered, by id.
    pub(crate) fn list(&self) -> Vec<KnownProducer> {
        let known = self.known.iter().map(|(id, known)| KnownProducer {
            producer: model::Producer::new(*id, known.epoch),
            last_sequence: known.sent.back().map(|sent| sent.last_sequence),
            last_used: known.last_used,
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by_key(|known| known.producer);
        known
    }

    /// The epoch of each, and the last offset it wrote in it, if it wrote any.
    pub(crate) fn last_offsets(&self) -> HashMap<i64, (i16, Option<Offset>)> {
        let known = self.known.iter().map(|(id, known)| {
            let last = known.sent.back().map(|sent| sent.last_offset);
            (*id, (known.epoch, last))
        });
        known.collect()
    }

    /// Stages a batch that will be written at these offsets.
    pub(crate) fn stage(
        &self,
        staged: &mut Staged,
        batch: Identity,
        (base_offset, last_offset): (Offset, Offset),
        log_append_time: Option<Timestamp>,
        now: Timestamp,
    ) {
        let known = staged
            .get(batch.producer_id)
            .or_else(|| self.known.get(&batch.producer_id))
            .filter(|producer| producer.epoch == batch.epoch);
        let mut producer = known.cloned().unwrap_or_else(|| Producer {
            epoch: batch.epoch,
            sent: VecDeque::with_capacity(REMEMBERED),
            last_used: now,
        });
        if producer.sent.len() >= REMEMBERED {
            producer.sent.pop_front();
        }
        producer.sent.push_back(Sent {
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence,
            base_offset,
            last_offset,
            log_append_time,
        });
        producer.last_used = now;
        staged.changed.retain(|(id, _)| *id != batch.producer_id);
        staged.changed.push((batch.producer_id, producer));
    }

    /// Batches found no room, and their producers will send them again.
    pub(crate) fn refuse<'a>(&mut self, batches: impl Iterator<Item = &'a Header>) {
        for batch in batches.filter_map(Identity::of) {
            if batch.base_sequence < 0 || self.known.contains_key(&batch.producer_id) {
                continue;
            }
            if self.refused.len() >= REFUSED_MAX {
                self.refused.clear();
            }
            let first = (batch.epoch, batch.base_sequence);
            let refused = self.refused.entry(batch.producer_id).or_insert(first);
            if refused.0 < batch.epoch {
                *refused = first;
            }
        }
    }

    /// Batches or markers were written: what their producers were refused before is settled.
    pub(crate) fn accept<'a>(&mut self, batches: impl Iterator<Item = &'a Header>) {
        if !self.refused.is_empty() {
            for batch in batches {
                self.refused.remove(&batch.producer_id);
            }
        }
    }

    /// Puts staged changes in force.
    pub(crate) fn commit(&mut self, staged: Staged, producers_max: usize) {
        self.known.extend(staged.changed);
        if self.known.len() > producers_max {
            self.forget_oldest(producers_max);
        }
    }

    /// Learns a batch that is in the log.
    pub(crate) fn replay(&mut self, header: &Header, now: Timestamp, producers_max: usize) {
        let Some(identity) = Identity::of(header) else {
            return;
        };
        if crate::transactions::is_control(header) {
            let mut staged = Staged::default();
            self.stage_marker(&mut staged, identity, now);
            return self.commit(staged, producers_max);
        }
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let last = base.plus(u64::try_from(header.last_offset_delta).unwrap_or_default());
        let stamped = (header.timestamp_kind() == TimestampKind::LogAppend)
            .then(|| Timestamp::from_millis(header.max_timestamp));
        let mut staged = Staged::default();
        self.stage(&mut staged, identity, (base, last), stamped, now);
        self.commit(staged, producers_max);
    }

    /// Forgets producers that were silent for longer than `expiry`.
    pub(crate) fn expire(&mut self, expiry: Duration, now: Timestamp) {
        let oldest = now.minus(expiry);
        self.known
            .retain(|_, producer| producer.last_used >= oldest);
    }

    /// Forgets an eighth more than needed, so that this is not done for every new producer.
    fn forget_oldest(&mut self, producers_max: usize) {
        let keep = producers_max - producers_max / 8;
        let mut ages: Vec<(Timestamp, i64)> = self
            .known
            .iter()
            .map(|(id, producer)| (producer.last_used, *id))
            .collect();
        ages.sort_unstable();
        let forget = ages.len().saturating_sub(keep.max(1));
        for (_, id) in ages.into_iter().take(forget) {
            self.known.remove(&id);
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let count = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        to.extend_from_slice(&count.to_le_bytes());
        let mut ids: Vec<_> = self.known.iter().collect();
        ids.sort_unstable_by_key(|(id, _)| **id);
        for (id, producer) in ids {
            to.extend_from_slice(&id.to_le_bytes());
            to.extend_from_slice(&producer.epoch.to_le_bytes());
            to.extend_from_slice(&producer.last_used.millis().to_le_bytes());
            let count = u32::try_from(producer.sent.len()).unwrap_or(u32::MAX);
            to.extend_from_slice(&count.to_le_bytes());
            for sent in &producer.sent {
                to.extend_from_slice(&sent.base_sequence.to_le_bytes());
                to.extend_from_slice(&sent.last_sequence.to_le_bytes());
                to.extend_from_slice(&sent.base_offset.get().to_le_bytes());
                to.extend_from_slice(&sent.last_offset.get().to_le_bytes());
                let stamp = sent.log_append_time.unwrap_or(Timestamp::MIN);
                to.extend_from_slice(&stamp.millis().to_le_bytes());
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let mut known = HashMap::new();
        for _ in 0..fields.u32()? {
            let id = fields.i64()?;
            let epoch = fields.i16()?;
            let last_used = Timestamp::from_millis(fields.i64()?);
            let mut sent = VecDeque::with_capacity(REMEMBERED);
            for _ in 0..fields.u32()? {
                sent.push_back(Sent {
                    base_sequence: fields.i32()?,
                    last_sequence: fields.i32()?,
                    base_offset: Offset::new(fields.u64()?),
                    last_offset: Offset::new(fields.u64()?),
                    log_append_time: Some(Timestamp::from_millis(fields.i64()?))
                        .filter(|stamp| *stamp != Timestamp::MIN),
                });
            }
            let producer = Producer {
                epoch,
                sent,
                last_used,
            };
            known.insert(id, producer);
        }
        Some(Self {
            known,
            refused: HashMap::new(),
        })
    }
}

impl Staged {
    fn get(&self, producer_id: i64) -> Option<&Producer> {
        let found = self.changed.iter().find(|(id, _)| *id == producer_id);
        found.map(|(_, producer)| producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `id/epoch/sequence+count` entries, each batch at the next free offset.
    #[track_caller]
    fn check(producers_max: usize, entries: &str, expected: &str) {
        let mut producers = Producers::default();
        let mut next = Offset::ZERO;
        let mut answers = Vec::new();
        for (now, entry) in (0..).zip(entries.split_whitespace()) {
            let numbers: Vec<i64> = entry
                .split(['/', '+'])
                .map(|number| number.parse().unwrap())
                .collect();
            let base_sequence = i32::try_from(numbers[2]).unwrap();
            let count = i32::try_from(numbers[3]).unwrap();
            let identity = Identity {
                producer_id: numbers[0],
                epoch: i16::try_from(numbers[1]).unwrap(),
                base_sequence,
                last_sequence: sequence_after(base_sequence, count - 1),
            };
            let mut staged = Staged::default();
            answers.push(match producers.judge(&staged, identity) {
                Ok(Verdict::Append) => {
                    let last = next.plus(u64::try_from(count).unwrap() - 1);
                    let now = Timestamp::from_millis(now);
                    producers.stage(&mut staged, identity, (next, last), None, now);
                    producers.commit(staged, producers_max);
                    let at = next;
                    next = last.next();
                    at.to_string()
                }
                Ok(Verdict::Duplicate(sent)) => format!("again:{}", sent.base_offset),
                Err(Error::OutOfOrderSequence { expected, .. }) => format!("expected:{expected}"),
                Err(Error::ProducerFenced { current, .. }) => format!("fenced:{current}"),
                Err(other) => panic!("{other}"),
            });
        }
        assert_eq!(answers.join(" "), expected);
    }

    #[test]
    fn a_retry_gets_its_original_offset_and_a_gap_is_refused() {
        check(
            9,
            "1/0/0+2 1/0/2+3 1/0/2+3 1/0/0+2 1/0/6+1",
            "0 2 again:2 again:0 expected:5",
        );
    }

    #[test]
    fn five_batches_are_remembered() {
        check(
            9,
            "1/0/0+1 1/0/1+1 1/0/2+1 1/0/3+1 1/0/4+1 1/0/5+1 1/0/1+1 1/0/0+1",
            "0 1 2 3 4 5 again:1 expected:6",
        );
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
        check(
            9,
            "1/0/0+1 1/1/5+1 1/1/0+1 1/0/1+1 1/1/1+1",
            "0 expected:0 1 fenced:1 2",
        );
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere_and_sequences_wrap() {
        check(
            9,
            "1/0/2147483646+2 1/0/0+1 1/0/2147483646+2",
            "0 2 again:0",
        );
    }

    #[test]
    fn the_longest_silent_producers_are_forgotten() {
        check(
            2,
            "1/0/0+1 2/0/0+1 3/0/0+1 1/0/7+1 3/0/0+1",
            "0 1 2 3 again:2",
        );
    }

    #[test]
    fn the_memory_survives_being_written_down() {
        let mut producers = Producers::default();
        let mut staged = Staged::default();
        let identity = Identity {
            producer_id: 7,
            epoch: 1,
            base_sequence: 3,
            last_sequence: 4,
        };
        let stamp = Some(Timestamp::from_millis(9));
        let offsets = (Offset::new(10), Offset::new(11));
        producers.stage(
            &mut staged,
            identity,
            offsets,
            stamp,
            Timestamp::from_millis(1),
        );
        producers.commit(staged, 9);
        let mut bytes = Vec::new();
        producers.encode(&mut bytes);
        let decoded = Producers::decode(&mut Fields(&bytes)).unwrap();
        assert_eq!(decoded.known, producers.known);
    }
}
