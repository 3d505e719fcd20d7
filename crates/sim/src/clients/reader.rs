//! Readers by fetch: of everything published, and of what is committed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use broker::{Broker, Durability, Error, ReadLimit};
use model::{Offset, TopicPartition};

use super::{Client, is_compacted, some_place, transactional_places};
use crate::life::Life;
use crate::reading::{Seen, decode, decode_all, offset};

/// What one read gave.
pub(super) enum Read {
    /// Records, none if there are none yet or compaction took them, and where to go on.
    Records(Vec<Seen>, u64),
    /// The place is not in the log; it starts there.
    Elsewhere(u64),
    /// The disk refused.
    Refused,
}

/// Reads once at `from`, and checks what comes.
pub(super) async fn read(life: &Life<'_>, place: &TopicPartition, from: u64) -> Read {
    let (token, info) = {
        let mut oracle = life.world.oracle.borrow_mut();
        let era = oracle.topics.era(&place.topic);
        (
            oracle.log(place).begin(era),
            life.broker.topic(&place.topic),
        )
    };
    let Some(info) = info else {
        return Read::Refused;
    };
    let limit = ReadLimit {
        bytes: life.world.dice.pick(1_500),
        at_least_one: true,
    };
    let answer = life
        .call(life.broker.read(place, Offset::new(from).into(), limit))
        .await;
    let mut oracle = life.world.oracle.borrow_mut();
    let excused = oracle.excused(place)
        || token.era != oracle.topics.era(&place.topic)
        || !oracle.topics.is_settled(&place.topic);
    match answer {
        Ok(fetched) => {
            let mut seen = decode_all(place, &fetched.batches);
            let high_watermark = offset(fetched.marks.high_watermark);
            let certain = info.config.durability == Durability::Flushed;
            if !excused {
                oracle
                    .log(place)
                    .read(place, token, high_watermark, &seen, certain);
            }
            oracle.tally.reads += seen.len() as u64;
            seen.retain(|record| record.offset >= from);
            let mut next = from;
            let gaps = is_compacted(place.topic.as_str());
            let follows = |at: u64, next: u64| excused || at == next || (gaps && at > next);
            for record in &seen {
                assert!(
                    follows(record.offset, next),
                    "{place} skips from {next} to {}",
                    record.offset
                );
                next = record.offset + 1;
            }
            let end = offset(fetched.next).max(from);
            assert!(follows(end, next), "{place} goes on at {end} behind {next}");
            Read::Records(seen, end)
        }
        Err(Error::OutOfRange {
            log_start, log_end, ..
        }) => {
            let (start, end) = (offset(log_start), offset(log_end));
            assert!(
                from < start || from > end,
                "{from} is in {place}, {start} to {end}"
            );
            if from > end && info.config.durability == Durability::Flushed {
                assert!(excused, "{place} ends at {end}, {from} was read");
            }
            Read::Elsewhere(start)
        }
        Err(Error::UnknownTopic { .. } | Error::UnknownPartition { .. }) => {
            assert!(excused, "{place} is gone");
            Read::Refused
        }
        Err(error) => {
            drop(oracle);
            life.refused(&error);
            Read::Refused
        }
    }
}

/// Reads everything, from the start and again.
#[derive(Debug)]
pub(crate) struct Reader {
    name: String,
    positions: BTreeMap<TopicPartition, u64>,
}

impl Reader {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            name: format!("r{number}"),
            positions: BTreeMap::new(),
        }
    }

    async fn turn(&mut self, life: &Life<'_>) {
        let dice = &life.world.dice;
        let place = match dice.below(10) {
            0 => super::at("churn", 0),
            1 => super::at("grow", 0),
            _ => some_place(life),
        };
        let position = self.positions.entry(place.clone()).or_default();
        if dice.chance(8) {
            *position = dice.below(*position + 1);
        }
        if place.topic.as_str() == "churn" {
            *position = 0;
        }
        match read(life, &place, *position).await {
            Read::Records(seen, next) => {
                if next > *position {
                    life.note(
                        &self.name,
                        format_args!("{place} {position} +{}", seen.len()),
                    );
                    *position = next;
                } else if let Ok(mut watch) = life.broker.watch(&place) {
                    // As a fetch that waits.
                    let _ = tokio::time::timeout(Duration::from_millis(40), watch.changed()).await;
                }
            }
            Read::Elsewhere(start) => *position = start,
            Read::Refused => life.pause(50).await,
        }
    }
}

impl Client for Reader {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(20).await;
                self.turn(life).await;
            }
        })
    }
}

/// Reads what is committed, and tells the oracle.
#[derive(Debug, Default)]
pub(crate) struct CommittedReader {
    positions: BTreeMap<TopicPartition, u64>,
}

impl CommittedReader {
    async fn turn(&mut self, life: &Life<'_>) {
        let place = life.world.dice.of(&transactional_places()).clone();
        let position = self.positions.entry(place.clone()).or_default();
        if life.world.dice.chance(10) {
            *position = 0;
        }
        let limit = ReadLimit {
            bytes: life.world.dice.pick(900),
            at_least_one: true,
        };
        let from = Offset::new(*position).into();
        let read = broker::read_committed(&*life.broker, &place, from, limit);
        match life.call(read).await {
            Ok(fetched) => {
                let marks = fetched.marks;
                assert!(marks.log_start <= marks.last_stable, "{place}: {marks:?}");
                assert!(
                    marks.last_stable <= marks.high_watermark,
                    "{place}: {marks:?}"
                );
                assert!(
                    fetched.next <= marks.last_stable.max(from),
                    "{place}: {marks:?}"
                );
                let mut oracle = life.world.oracle.borrow_mut();
                let excused = oracle.excused(&place) || oracle.excused_inside();
                for record in decode(&place, &fetched.batches) {
                    let Some(value) = record.value.filter(|_| record.offset >= *position) else {
                        continue;
                    };
                    if !excused {
                        oracle.transactions.see(&value);
                    }
                }
                *position = offset(fetched.next);
            }
            Err(Error::OutOfRange { log_start, .. }) => *position = offset(log_start),
            Err(error) => life.refused(&error),
        }
    }
}

impl Client for CommittedReader {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(40).await;
                self.turn(life).await;
            }
        })
    }
}
