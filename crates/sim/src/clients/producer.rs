//! Producers: one that gives up what is not answered, one that sends it again until it is.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use broker::{Broker, Durability, Error};
use model::TopicPartition;
use record::{BatchBuilder, CheckedBatch, Compression};

use super::{Client, keeps_producers, some_place};
use crate::life::Life;
use crate::oracle::Token;
use crate::text;

/// Sends a few appends at a time, each once.
#[derive(Debug)]
pub(crate) struct Plain {
    name: String,
    sent: u64,
}

impl Plain {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            name: format!("p{number}"),
            sent: 0,
        }
    }
}

/// A batch of these values; of a producer and its sequence, if there is one.
fn batch(life: &Life<'_>, values: &[String], of: Option<(i64, i16, i32)>) -> CheckedBatch {
    let compression = if life.world.dice.chance(20) {
        Compression::Lz4
    } else {
        Compression::None
    };
    let mut builder = BatchBuilder::new(compression);
    for value in values {
        text::push(&mut builder, value);
    }
    if let Some((id, epoch, sequence)) = of {
        builder.producer(id, epoch, sequence);
    }
    builder.build()
}

impl Client for Plain {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(60).await;
                self.send(life).await;
            }
        })
    }
}

impl Plain {
    async fn send(&mut self, life: &Life<'_>) {
        let dice = &life.world.dice;
        // The topics that come and go, too.
        let place = match dice.below(8) {
            0 => super::at("churn", 0),
            1 => super::at("grow", u32::try_from(dice.below(4)).unwrap_or(0)),
            _ => some_place(life),
        };
        let durability = if dice.chance(25) {
            Durability::Written
        } else {
            Durability::Flushed
        };
        let mut planned = Vec::new();
        for _ in 0..=dice.below(3) {
            let count = 1 + dice.pick(4);
            let values: Vec<String> = (0..count)
                .map(|_| text::next(life, place.topic.as_str(), &self.name, &mut self.sent))
                .collect();
            let token = begin(life, &place, &values);
            planned.push((token, values));
        }
        let calls = planned.iter().map(|(_, values)| {
            let batches = vec![batch(life, values, None)];
            life.broker.append(&place, batches, durability)
        });
        let calls = futures_util::future::join_all(calls.collect::<Vec<_>>());
        let answers = life.call(calls).await;
        for ((token, values), answer) in planned.iter().zip(answers) {
            match answer {
                Ok(appended) => {
                    assert!(!appended.duplicate, "{} sends nothing twice", self.name);
                    let base = appended.base_offset.get();
                    settle(life, &place, *token, base, values, durability);
                    life.note(
                        &self.name,
                        format_args!("{place} {durability:?} {base} +{}", values.len()),
                    );
                }
                Err(Error::UnknownTopic { .. } | Error::UnknownPartition { .. })
                    if matches!(place.topic.as_str(), "churn" | "grow") => {}
                Err(error) => {
                    life.note(&self.name, format_args!("{place} {error}"));
                    life.refused(&error);
                }
            }
        }
    }
}

/// An append begins: what it sends may be in the log from now on.
fn begin(life: &Life<'_>, place: &TopicPartition, values: &[String]) -> Token {
    let mut oracle = life.world.oracle.borrow_mut();
    let era = oracle.topics.era(&place.topic);
    let log = oracle.log(place);
    log.send(life.real(), values);
    log.begin(era)
}

/// An append was acknowledged.
fn settle(
    life: &Life<'_>,
    place: &TopicPartition,
    token: Token,
    base: u64,
    values: &[String],
    durability: Durability,
) {
    let mut oracle = life.world.oracle.borrow_mut();
    oracle.tally.appends += 1;
    if oracle.topics.era(&place.topic) != token.era || !oracle.topics.is_settled(&place.topic) {
        return;
    }
    if oracle.excused(place) {
        return;
    }
    let flushed = durability == Durability::Flushed;
    oracle
        .log(place)
        .appended(place, token, base, values, flushed);
}

/// One batch on its way.
#[derive(Debug)]
struct Waiting {
    values: Vec<String>,
    sequence: i32,
    token: Token,
    tries: u32,
}

#[derive(Debug, Default)]
struct Lane {
    next: i32,
    waiting: VecDeque<Waiting>,
    /// The newest batch that was answered, and where it is.
    answered: Option<(Waiting, u64)>,
}

/// Sends up to four batches of a partition at a time, again and again until each is answered, also
/// across restarts. Every answer must be the first one's offset, and nothing be there twice. Of a log that is compacted it
/// asks again for what was answered long ago, too: its newest batch must be known for as long as the producer is, whatever
/// compaction took of its records.
#[derive(Debug)]
pub(crate) struct Idempotent {
    name: String,
    sent: u64,
    durability: Durability,
    producer: Option<i64>,
    lanes: BTreeMap<TopicPartition, Lane>,
}

impl Idempotent {
    pub(crate) fn new(number: u32, durability: Durability) -> Self {
        Self {
            name: format!("i{number}"),
            sent: 0,
            durability,
            producer: None,
            lanes: BTreeMap::new(),
        }
    }

    async fn begin(&mut self, life: &Life<'_>) {
        match life.call(life.broker.new_producer_id()).await {
            Ok(id) => {
                let new = life.world.oracle.borrow_mut().producer_ids.insert(id);
                assert!(new, "producer id {id} was given out twice");
                self.lanes.clear();
                self.producer = Some(id);
                life.note(&self.name, format_args!("is producer {id}"));
            }
            Err(error) => {
                life.refused(&error);
                life.pause(200).await;
            }
        }
    }

    async fn send(&mut self, life: &Life<'_>, id: i64) {
        let dice = &life.world.dice;
        // What is on its way goes first, most of the time.
        let busy: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .map(|(place, _)| place.clone())
            .collect();
        let place = if busy.is_empty() || dice.chance(20) {
            some_place(life)
        } else {
            dice.of(&busy).clone()
        };
        let lane = self.lanes.entry(place.clone()).or_default();
        if lane.waiting.is_empty()
            && self.durability == Durability::Flushed
            && keeps_producers(place.topic.as_str())
            && dice.chance(25)
            && let Some(answered) = &lane.answered
        {
            if !ask_again(life, &self.name, &place, id, answered).await {
                life.note(&self.name, format_args!("begins anew"));
                self.producer = None;
            }
            return;
        }
        for _ in 0..dice.below(3) {
            if lane.waiting.len() >= 4 {
                break;
            }
            let count = 1 + dice.pick(3);
            let values: Vec<String> = (0..count)
                .map(|_| text::next(life, place.topic.as_str(), &self.name, &mut self.sent))
                .collect();
            let token = begin(life, &place, &values);
            let sequence = lane.next;
            lane.next += i32::try_from(count).unwrap_or(0);
            lane.waiting.push_back(Waiting {
                values,
                sequence,
                token,
                tries: 0,
            });
        }
        for waiting in &mut lane.waiting {
            waiting.tries += 1;
        }
        let calls = lane.waiting.iter().map(|waiting| {
            let batches = vec![batch(
                life,
                &waiting.values,
                Some((id, 0, waiting.sequence)),
            )];
            life.broker.append(&place, batches, self.durability)
        });
        let calls = futures_util::future::join_all(calls.collect::<Vec<_>>());
        // Now and then the answer is lost on its way, and it asks again while the first is at work.
        let patience = if dice.chance(15) {
            Duration::from_millis(dice.below(4))
        } else {
            Duration::MAX
        };
        let Ok(answers) = life.call(tokio::time::timeout(patience, calls)).await else {
            life.note(&self.name, format_args!("{place} has no answer"));
            return;
        };
        let (mut answered, mut begin_anew) = (0, false);
        let mut bases = Vec::new();
        for (position, answer) in answers.into_iter().enumerate() {
            let waiting = &lane.waiting[position];
            match answer {
                Ok(appended) => {
                    assert!(
                        !appended.duplicate || waiting.tries > 1,
                        "{} sent {} once, and it is called a retry",
                        self.name,
                        waiting.sequence
                    );
                    if appended.duplicate {
                        life.world.oracle.borrow_mut().tally.duplicates += 1;
                    }
                    let base = appended.base_offset.get();
                    settle(
                        life,
                        &place,
                        waiting.token,
                        base,
                        &waiting.values,
                        self.durability,
                    );
                    life.note(
                        &self.name,
                        format_args!(
                            "{place} {} is at {base}, try {}",
                            waiting.sequence, waiting.tries
                        ),
                    );
                    if answered == position {
                        answered += 1;
                        bases.push(base);
                    }
                }
                Err(Error::OutOfOrderSequence { .. }) => {
                    // Right behind one that failed; or records were lost that were never promised.
                    let promised = self.durability == Durability::Flushed && answered == position;
                    let excused = life.world.oracle.borrow().excused(&place);
                    assert!(
                        !promised || excused,
                        "{}: {place} has lost what is before sequence {}",
                        self.name,
                        waiting.sequence
                    );
                    begin_anew |= answered == position;
                }
                Err(error) => {
                    life.note(
                        &self.name,
                        format_args!("{place} {} {error}", waiting.sequence),
                    );
                    life.refused(&error);
                }
            }
        }
        let done = lane.waiting.drain(..answered);
        if let Some(newest) = done.zip(bases).next_back() {
            lane.answered = Some(newest);
        }
        if begin_anew {
            life.note(&self.name, format_args!("begins anew"));
            self.producer = None;
        }
    }
}

/// Sends a batch again whose answer was heard; false if the producer has to begin anew.
async fn ask_again(
    life: &Life<'_>,
    name: &str,
    place: &TopicPartition,
    id: i64,
    (newest, base): &(Waiting, u64),
) -> bool {
    let again = batch(life, &newest.values, Some((id, 0, newest.sequence)));
    let call = life.broker.append(place, vec![again], Durability::Flushed);
    let answer = life.call(call).await;
    let excused = life.world.oracle.borrow().excused(place);
    let told = || format!("{name}: {place} sequence {} at {base}", newest.sequence);
    match answer {
        Ok(appended) => {
            let known = appended.duplicate && appended.base_offset.get() == *base;
            assert!(known || excused, "{} is forgotten: {appended:?}", told());
            life.world.oracle.borrow_mut().tally.duplicates += 1;
            life.note(name, format_args!("{place} still knows {base}"));
        }
        Err(error @ Error::OutOfOrderSequence { .. }) => {
            assert!(excused, "{} is forgotten: {error}", told());
            return false;
        }
        Err(error) => life.refused(&error),
    }
    true
}

impl Client for Idempotent {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(60).await;
                match self.producer {
                    Some(id) => self.send(life, id).await,
                    None => self.begin(life).await,
                }
            }
        })
    }
}
