//! A transactional producer. What was not answered it asks again, also across restarts; now and then
//! it forgets everything and begins anew, which aborts what is open.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use broker::transaction_coordinator::Init;
use broker::{Broker, Commit, Durability, Error, TransactionError};
use model::{GroupId, Offset, Outcome, Producer, Timestamp, TopicPartition};
use record::{BatchBuilder, Compression};
use transactions::TransactionalId;

use super::{Client, is_compacted, staged_place, transactional_places};
use crate::life::Life;
use crate::oracle::Fate;
use crate::text;

/// What was asked and not yet answered.
#[derive(Debug, Clone)]
enum Step {
    Write {
        place: TopicPartition,
        value: String,
    },
    Stage,
    End(Outcome),
}

#[derive(Debug)]
pub(crate) struct Transactor {
    number: u32,
    name: String,
    sent: u64,
    producer: Option<Producer>,
    sequences: BTreeMap<TopicPartition, i32>,
    partitions: BTreeSet<TopicPartition>,
    /// The transaction that is open, by number.
    open: Option<usize>,
    step: Option<Step>,
    refusals: u32,
}

impl Transactor {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            name: format!("t{number}"),
            sent: 0,
            producer: None,
            sequences: BTreeMap::new(),
            partitions: BTreeSet::new(),
            open: None,
            step: None,
            refusals: 0,
        }
    }

    fn id(&self) -> TransactionalId {
        TransactionalId::new(&self.name).expect("the name is a good id")
    }

    /// The group whose progress the transactions of producer `number` carry.
    pub(crate) fn group(number: u32) -> GroupId {
        GroupId::new(&format!("tx-{number}")).expect("the group has a good name")
    }

    /// Begins producer `number` anew until that is done, which ends what it left open.
    pub(crate) async fn settle(life: &Life<'_>, number: u32) {
        let mut transactor = Self::new(number);
        for _ in 0..40 {
            transactor.init(life).await;
            if transactor.producer.is_some() {
                return;
            }
        }
        let excused = life.world.oracle.borrow().excused_inside();
        assert!(excused, "{} cannot begin in good weather", transactor.name);
    }

    /// Gives up what is open. Unless its commit was asked for, it must never be seen.
    fn give_up(&mut self, life: &Life<'_>) {
        self.producer = None;
        self.step = None;
        self.refusals = 0;
        let mut oracle = life.world.oracle.borrow_mut();
        if let Some(number) = self.open.take() {
            let fact = oracle.transactions.fact(number);
            if fact.fate == Fate::Open {
                fact.fate = Fate::Aborted;
            }
        }
    }

    async fn init(&mut self, life: &Life<'_>) {
        self.give_up(life);
        let ask = Init {
            timeout: Duration::from_secs(3),
            expected: None,
        };
        match life.call(life.transactions.init(&self.id(), ask)).await {
            Ok(producer) => {
                life.note(&self.name, format_args!("is producer {producer}"));
                self.sequences.clear();
                self.partitions.clear();
                self.producer = Some(producer);
            }
            Err(error) => self.trouble(life, error).await,
        }
    }

    async fn trouble(&mut self, life: &Life<'_>, error: TransactionError) {
        life.note(
            &self.name,
            format_args!(
                "{error}: {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            ),
        );
        match error {
            TransactionError::Loading | TransactionError::Stopping => (),
            TransactionError::Storage(error) => {
                life.refused(&error);
                self.refusals += 1;
            }
            TransactionError::Refused(transactions::Error::Busy) => self.refusals += 1,
            TransactionError::Refused(transactions::Error::Fenced { .. }) => {
                self.fenced(life).await;
            }
            other => {
                let excused = life.world.oracle.borrow().excused_inside();
                assert!(excused, "{}: {other:?} at {:?}", self.name, self.step);
                self.give_up(life);
            }
        }
        if self.refusals > 5 {
            self.give_up(life);
        }
        life.pause(100).await;
    }

    /// Its time was over, and nothing else.
    async fn fenced(&mut self, life: &Life<'_>) {
        let listed = life.call(life.transactions.list()).await;
        let current = listed.is_ok_and(|listed| {
            listed
                .iter()
                .any(|(_, state)| Some(state.producer()) == self.producer)
        });
        let excused = life.world.oracle.borrow().excused_inside();
        assert!(
            !current || excused,
            "{} is the newest and was refused",
            self.name
        );
        life.note(&self.name, format_args!("is fenced"));
        self.give_up(life);
    }

    fn opened(&mut self, life: &Life<'_>) -> usize {
        let number = self.number;
        *self
            .open
            .get_or_insert_with(|| life.world.oracle.borrow_mut().transactions.open(number))
    }

    fn next_step(&mut self, life: &Life<'_>) -> Option<Step> {
        let dice = &life.world.dice;
        Some(match dice.below(10) {
            0..6 => {
                let number = self.opened(life);
                let place = dice.of(&transactional_places()).clone();
                let topic = place.topic.as_str();
                let value = text::next(life, topic, &self.name, &mut self.sent);
                let mut oracle = life.world.oracle.borrow_mut();
                oracle
                    .transactions
                    .send(number, &value, is_compacted(topic));
                let sent = std::slice::from_ref(&value);
                oracle.log(&place).send(life.real(), sent);
                Step::Write { place, value }
            }
            6 => {
                let number = self.opened(life);
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.transactions.fact(number).staged.get_or_insert(false);
                Step::Stage
            }
            _ => {
                let number = self.open?;
                let outcome = if dice.chance(70) {
                    Outcome::Commit
                } else {
                    Outcome::Abort
                };
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.transactions.fact(number).fate = match outcome {
                    Outcome::Commit => Fate::Unknown,
                    Outcome::Abort => Fate::Aborted,
                };
                Step::End(outcome)
            }
        })
    }

    async fn turn(&mut self, life: &Life<'_>) {
        let Some(producer) = self.producer else {
            return self.init(life).await;
        };
        if self.step.is_none() {
            if life.world.dice.chance(3) {
                return self.init(life).await;
            }
            self.step = self.next_step(life);
        }
        let (Some(step), Some(number)) = (self.step.clone(), self.open) else {
            return;
        };
        let done = match step {
            Step::Write { place, value } => self.write(life, producer, number, place, value).await,
            Step::Stage => self.stage(life, producer, number).await,
            Step::End(outcome) => self.end(life, producer, number, outcome).await,
        };
        match done {
            Ok(()) => {
                self.step = None;
                self.refusals = 0;
            }
            Err(error) => self.trouble(life, error).await,
        }
    }

    async fn write(
        &mut self,
        life: &Life<'_>,
        producer: Producer,
        number: usize,
        place: TopicPartition,
        value: String,
    ) -> Result<(), TransactionError> {
        if !self.partitions.contains(&place) {
            let id = self.id();
            let added = life
                .transactions
                .add_partitions(&id, producer, vec![place.clone()]);
            life.call(added).await?;
            self.partitions.insert(place.clone());
        }
        let sequence = self.sequences.get(&place).copied().unwrap_or(0);
        let mut builder = BatchBuilder::new(Compression::None);
        text::push(&mut builder, &value);
        builder.producer(producer.id, producer.epoch, sequence);
        let batch = builder.transactional().build();
        let token = {
            let mut oracle = life.world.oracle.borrow_mut();
            let era = oracle.topics.era(&place.topic);
            // It may be a retry, which began long ago.
            (oracle.log(&place).begin(era), era)
        };
        let appended = life
            .call(life.broker.append(&place, vec![batch], Durability::Flushed))
            .await;
        match appended {
            Ok(appended) => {
                self.sequences.insert(place.clone(), sequence + 1);
                let mut oracle = life.world.oracle.borrow_mut();
                oracle.tally.appends += 1;
                if !appended.duplicate && !oracle.excused(&place) {
                    let base = appended.base_offset.get();
                    let values = std::slice::from_ref(&value);
                    oracle
                        .log(&place)
                        .appended(&place, token.0, base, values, true);
                }
                oracle.transactions.fact(number).values.insert(value, true);
                drop(oracle);
                life.note(&self.name, format_args!("{place} {sequence} in {number}"));
                Ok(())
            }
            Err(Error::ProducerFenced { .. } | Error::NotInTransaction { .. }) => {
                self.fenced(life).await;
                Ok(())
            }
            Err(error @ Error::OutOfOrderSequence { .. }) => {
                let excused = life.world.oracle.borrow().excused(&place);
                assert!(excused, "{}: {error:?}", self.name);
                self.give_up(life);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn stage(
        &mut self,
        life: &Life<'_>,
        producer: Producer,
        number: usize,
    ) -> Result<(), TransactionError> {
        let group = Self::group(self.number);
        let id = self.id();
        let added = life.transactions.add_group(&id, producer, group.clone());
        life.call(added).await?;
        let commit = Commit {
            position: Offset::new(number as u64).into(),
            leader_epoch: None,
            metadata: String::new(),
            at: Timestamp::from_millis(1),
        };
        let commits = vec![(staged_place(), commit)];
        life.call(
            life.transactions
                .stage(&self.id(), producer, group, commits),
        )
        .await?;
        life.world
            .oracle
            .borrow_mut()
            .transactions
            .fact(number)
            .staged = Some(true);
        life.note(&self.name, format_args!("stages {number}"));
        Ok(())
    }

    async fn end(
        &mut self,
        life: &Life<'_>,
        producer: Producer,
        number: usize,
        outcome: Outcome,
    ) -> Result<(), TransactionError> {
        let ended = life
            .call(life.transactions.end(&self.id(), producer, outcome))
            .await;
        life.note(
            &self.name,
            format_args!("ends {number} {outcome:?} {}", ended.is_ok()),
        );
        let mut oracle = life.world.oracle.borrow_mut();
        match ended {
            Ok(()) => {
                if outcome == Outcome::Commit {
                    oracle.transactions.fact(number).fate = Fate::Committed;
                    oracle.tally.transactions += 1;
                }
                self.partitions.clear();
                self.open = None;
                Ok(())
            }
            Err(TransactionError::Refused(transactions::Error::WrongPhase { .. })) => {
                // Nothing had been let in before it was asked to end.
                let excused = oracle.excused_inside();
                let fact = oracle.transactions.fact(number);
                let empty = fact.values.values().all(|known| !known) && fact.staged != Some(true);
                assert!(empty || excused, "{number} cannot be ended: {fact:?}");
                fact.fate = Fate::Aborted;
                drop(oracle);
                self.give_up(life);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl Client for Transactor {
    fn live<'a>(&'a mut self, life: &'a Life<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            loop {
                life.pause(60).await;
                self.turn(life).await;
            }
        })
    }
}
