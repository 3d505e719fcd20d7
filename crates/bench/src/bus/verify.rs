//! Holds what is read back against what was sent: every record, once, in order, unchanged.
//!
//! One [`Verifier`] a partition. A producer's records of one partition are numbered from 0 in the order it sent them, and
//! they must come in that order; records of different producers may lie in any order between each other.

use std::collections::BTreeMap;

use thiserror::Error;

use super::payload;

/// What is wrong with what was read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("partition {partition}: a record of {bytes} bytes was changed (its checksum is wrong)")]
    Changed { partition: u16, bytes: usize },
    #[error("partition {partition} holds a record of partition {found}")]
    Misplaced { partition: u16, found: u16 },
    #[error(
        "partition {partition}: after producer {producer}'s record {expected} was due, its record {found} came: \
         records are lost or out of order"
    )]
    Gap {
        partition: u16,
        producer: u16,
        expected: u64,
        found: u64,
    },
    #[error(
        "partition {partition}: producer {producer}'s record {found} came again or late (due was {expected})"
    )]
    Again {
        partition: u16,
        producer: u16,
        expected: u64,
        found: u64,
    },
    #[error(
        "partition {partition}: {found} records of producer {producer} were read, {sent} were acknowledged"
    )]
    Count {
        partition: u16,
        producer: u16,
        sent: u64,
        found: u64,
    },
}

/// What one partition has shown so far.
#[derive(Debug)]
pub(super) struct Verifier {
    partition: u16,
    /// The next number due, by producer.
    due: BTreeMap<u16, u64>,
    seen: u64,
}

impl Verifier {
    pub(super) fn new(partition: u16) -> Self {
        Self {
            partition,
            due: BTreeMap::new(),
            seen: 0,
        }
    }

    /// The next record of the partition; answers its stamp.
    pub(super) fn see(&mut self, value: &[u8]) -> Result<payload::Stamp, Fault> {
        let partition = self.partition;
        let stamp = payload::read(value).ok_or(Fault::Changed {
            partition,
            bytes: value.len(),
        })?;
        if stamp.partition != partition {
            return Err(Fault::Misplaced {
                partition,
                found: stamp.partition,
            });
        }
        let due = self.due.entry(stamp.producer).or_default();
        let (producer, expected, found) = (stamp.producer, *due, stamp.number);
        if found > expected {
            return Err(Fault::Gap {
                partition,
                producer,
                expected,
                found,
            });
        }
        if found < expected {
            return Err(Fault::Again {
                partition,
                producer,
                expected,
                found,
            });
        }
        *due += 1;
        self.seen += 1;
        Ok(stamp)
    }

    /// How many records were right.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether all of `sent` (acknowledged records by producer) was seen, and nothing else.
    pub(super) fn end(&self, sent: &BTreeMap<u16, u64>) -> Result<(), Fault> {
        let producers = self.due.keys().chain(sent.keys());
        for producer in producers {
            let count = |of: &BTreeMap<u16, u64>| of.get(producer).copied().unwrap_or(0);
            if count(&self.due) != count(sent) {
                return Err(Fault::Count {
                    partition: self.partition,
                    producer: *producer,
                    sent: count(sent),
                    found: count(&self.due),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as `producer:number`, sent as `producer=count`.
    fn check(records: &str, sent: &str) -> Result<(), Fault> {
        let mut verifier = Verifier::new(2);
        for word in records.split_whitespace() {
            let (producer, number) = word.split_once(':').unwrap();
            verifier.see(&value(
                2,
                producer.parse().unwrap(),
                number.parse().unwrap(),
            ))?;
        }
        let sent = sent.split_whitespace().map(|word| {
            let (producer, count) = word.split_once('=').unwrap();
            (producer.parse().unwrap(), count.parse().unwrap())
        });
        verifier.end(&sent.collect())
    }

    fn value(partition: u16, producer: u16, number: u64) -> Vec<u8> {
        let mut value = payload::blank(100);
        let stamp = payload::Stamp {
            producer,
            partition,
            number,
        };
        payload::write(&mut value, stamp);
        value
    }

    #[test]
    fn all_that_was_sent_in_any_mix_of_producers_is_right() {
        assert_eq!(check("0:0 1:0 1:1 0:1 0:2", "0=3 1=2"), Ok(()));
        assert_eq!(check("", ""), Ok(()));
    }

    #[test]
    fn a_lost_record_is_found() {
        let gap = check("0:0 0:2", "0=3").unwrap_err();
        assert!(
            matches!(
                gap,
                Fault::Gap {
                    expected: 1,
                    found: 2,
                    ..
                }
            ),
            "{gap}"
        );
        let first = check("0:1", "0=2").unwrap_err();
        assert!(matches!(first, Fault::Gap { expected: 0, .. }), "{first}");
        let last = check("0:0 0:1 1:0", "0=3 1=1").unwrap_err();
        assert!(
            matches!(
                last,
                Fault::Count {
                    producer: 0,
                    sent: 3,
                    found: 2,
                    ..
                }
            ),
            "{last}"
        );
        let all = check("0:0", "0=1 5=4").unwrap_err();
        assert!(matches!(
            all,
            Fault::Count {
                producer: 5,
                found: 0,
                ..
            }
        ));
    }

    #[test]
    fn a_doubled_record_is_found() {
        let again = check("0:0 0:1 0:1", "0=2").unwrap_err();
        assert!(
            matches!(
                again,
                Fault::Again {
                    expected: 2,
                    found: 1,
                    ..
                }
            ),
            "{again}"
        );
    }

    #[test]
    fn swapped_records_are_found() {
        assert!(matches!(
            check("0:0 0:2 0:1", "0=3"),
            Err(Fault::Gap { .. })
        ));
    }

    #[test]
    fn more_than_was_sent_is_found() {
        assert!(matches!(check("0:0 0:1", "0=1"), Err(Fault::Count { .. })));
        assert!(matches!(check("0:0 9:0", "0=1"), Err(Fault::Count { .. })));
    }

    #[test]
    fn a_changed_or_misplaced_record_is_found() {
        let mut verifier = Verifier::new(2);
        let mut changed = value(2, 0, 0);
        changed[50] ^= 4;
        assert!(matches!(
            verifier.see(&changed),
            Err(Fault::Changed {
                partition: 2,
                bytes: 100
            })
        ));
        assert_eq!(
            verifier.see(&value(3, 0, 0)),
            Err(Fault::Misplaced {
                partition: 2,
                found: 3
            })
        );
        assert_eq!(verifier.seen(), 0);
    }
}
