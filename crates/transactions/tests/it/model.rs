//! A coordinator that only stores and reads back, against a plain account of what producers were
//! told.
//!
//! The coordinator keeps one state as bytes, as the log would; a kill is forgetting everything else,
//! which is why every call begins by decoding. The account knows who was given which epoch, what was
//! let in since, and what was decided.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{GroupId, Outcome, PartitionId, Producer, Timestamp, TopicPartition};
use proptest::prelude::*;
use transactions::{Begin, End, Error, Init, Options, Phase, Transaction};

#[derive(Debug, Clone, Copy)]
enum Call {
    /// Producer process `who` begins anew, or asks for its next epoch.
    Init {
        who: usize,
        knows: bool,
    },
    Add {
        who: usize,
        partition: u32,
    },
    Group {
        who: usize,
    },
    End {
        who: usize,
        outcome: Outcome,
    },
    /// Markers are written, or this is put off.
    Finish,
    Tick {
        millis: i64,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let who = 0..3_usize;
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        2 => (who.clone(), any::<bool>()).prop_map(|(who, knows)| Call::Init { who, knows }),
        5 => (who.clone(), 0..4_u32).prop_map(|(who, partition)| Call::Add { who, partition }),
        1 => who.clone().prop_map(|who| Call::Group { who }),
        4 => (who, outcome).prop_map(|(who, outcome)| Call::End { who, outcome }),
        3 => Just(Call::Finish),
        2 => (0..700_i64).prop_map(|millis| Call::Tick { millis }),
    ]
}

#[derive(Debug, Default)]
struct Account {
    /// Who each process believes to be.
    processes: [Option<Producer>; 3],
    newest: Option<Producer>,
    open: BTreeSet<TopicPartition>,
    groups: BTreeSet<GroupId>,
    decided: Option<Outcome>,
    outcomes: Vec<(Outcome, BTreeSet<TopicPartition>)>,
}

struct World {
    stored: Option<Vec<u8>>,
    now: i64,
    ids: i64,
    account: Account,
}

fn place(partition: u32) -> TopicPartition {
    TopicPartition::new("t".parse().unwrap(), PartitionId::new(partition))
}

impl World {
    fn read(&self) -> Option<Transaction> {
        let stored = self.stored.as_ref()?;
        Some(Transaction::decode(stored).expect("what was stored is read"))
    }

    fn store(&mut self, state: &Transaction) {
        let before = self.read().map(|state| state.producer());
        let producer = state.producer();
        if let Some(before) = before {
            assert!(
                producer.id > before.id || producer >= before,
                "{before} became {producer}"
            );
        }
        self.account.newest = Some(producer);
        self.stored = Some(state.encode());
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Init { who, knows } => self.init(who, knows),
            Call::Add { who, partition } => {
                let Some((state, by)) = self.asks(who) else {
                    return;
                };
                let added = state.add_partitions(self.now(), by, [place(partition)]);
                if self.judge(by, &added) {
                    self.account.open.insert(place(partition));
                    self.account.decided = None;
                    if let Some(next) = added.unwrap() {
                        self.store(&next);
                    }
                }
            }
            Call::Group { who } => {
                let Some((state, by)) = self.asks(who) else {
                    return;
                };
                let group = GroupId::new("g").unwrap();
                let added = state.add_group(self.now(), by, group.clone());
                if self.judge(by, &added) {
                    self.account.groups.insert(group.clone());
                    self.account.decided = None;
                    if let Some(next) = added.unwrap() {
                        self.store(&next);
                    }
                    let state = self.read().unwrap();
                    assert_eq!(state.may_stage(by, &group), Ok(()));
                }
            }
            Call::End { who, outcome } => self.end(who, outcome),
            Call::Finish => self.finish(),
            Call::Tick { millis } => {
                self.now += millis;
                let Some(state) = self.read() else { return };
                if let Some(ending) = state.timed_out(self.now()) {
                    let waited = self.now().since(state.started());
                    assert!(waited >= state.timeout());
                    self.account.decided = Some(Outcome::Abort);
                    self.store(&ending);
                }
            }
        }
        self.check();
    }

    fn asks(&self, who: usize) -> Option<(Transaction, Producer)> {
        Some((self.read()?, self.account.processes[who]?))
    }

    /// Whether it was let in; and if it was, that it was right so.
    fn judge<T>(&self, by: Producer, result: &Result<T, Error>) -> bool {
        match result {
            Ok(_) => {
                assert_eq!(self.account.newest, Some(by), "an old producer was let in");
                true
            }
            Err(Error::Fenced { .. } | Error::WrongProducer { .. }) => {
                assert_ne!(self.account.newest, Some(by), "the newest was fenced");
                false
            }
            Err(_) => false,
        }
    }

    fn init(&mut self, who: usize, knows: bool) {
        let expected = self.account.processes[who].filter(|_| knows);
        let ask = Init {
            timeout: Duration::from_secs(1),
            expected,
        };
        let state = self.read();
        let fresh = Transaction::needs_id(state.as_ref()).then(|| {
            self.ids += 1;
            self.ids
        });
        let begin = Transaction::init(state.as_ref(), self.now(), &ask, fresh, &Options::default());
        match begin {
            Ok(Begin::Store(next)) => {
                self.store(&next);
                self.account.processes[who] = Some(next.producer());
                self.account.open.clear();
                self.account.groups.clear();
                self.account.decided = None;
            }
            Ok(Begin::Again(producer)) => {
                assert_eq!(Some(producer), self.account.newest);
                self.account.processes[who] = Some(producer);
            }
            Ok(Begin::AbortFirst(ending)) => {
                assert_eq!(ending.phase(), Phase::Ending(Outcome::Abort));
                self.account.decided = Some(Outcome::Abort);
                self.store(&ending);
            }
            Err(Error::Busy) => assert!(matches!(state.unwrap().phase(), Phase::Ending(_))),
            Err(Error::Fenced { .. }) => assert_ne!(expected, self.account.newest),
            Err(other) => panic!("{other}"),
        }
    }

    fn end(&mut self, who: usize, outcome: Outcome) {
        let Some((state, by)) = self.asks(who) else {
            return;
        };
        let ended = state.end(self.now(), by, outcome);
        if !self.judge(by, &ended) {
            return;
        }
        match ended.unwrap() {
            End::Store(ending) => {
                assert_eq!(self.account.decided, None, "decided twice");
                self.account.decided = Some(outcome);
                self.store(&ending);
            }
            End::Done => assert_eq!(
                self.account.outcomes.last().map(|(outcome, _)| *outcome),
                Some(outcome)
            ),
        }
    }

    fn finish(&mut self) {
        let Some(state) = self.read() else { return };
        let Phase::Ending(outcome) = state.phase() else {
            return;
        };
        let partitions = std::mem::take(&mut self.account.open);
        self.account.groups.clear();
        self.account.outcomes.push((outcome, partitions));
        self.store(&state.finished(self.now()));
    }

    /// What is stored says what the account says.
    fn check(&self) {
        let Some(state) = self.read() else { return };
        assert_eq!(Some(state.producer()), self.account.newest);
        match state.phase() {
            Phase::Open => {
                assert_eq!(self.account.decided, None);
                assert_eq!(*state.partitions(), self.account.open);
                assert_eq!(*state.groups(), self.account.groups);
            }
            Phase::Ending(outcome) => {
                assert_eq!(self.account.decided, Some(outcome), "the outcome changed");
                assert_eq!(*state.partitions(), self.account.open, "one gets no marker");
                assert_eq!(*state.groups(), self.account.groups);
            }
            Phase::Empty | Phase::Ended(_) => {
                assert!(state.partitions().is_empty() && state.groups().is_empty());
                assert!(self.account.open.is_empty(), "records without a marker");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn only_the_newest_decides_and_what_is_decided_stays(calls in prop::collection::vec(call(), 1..80)) {
        let mut world = World { stored: None, now: 0, ids: 0, account: Account::default() };
        for call in calls {
            world.call(call);
        }
    }
}
