//! One broker, its disk, and somebody who calls it at random.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::{
    Broker, Commit, Durability, EmbeddedBroker, Error, Options, ReadLimit, TopicConfig, TopicSpec,
};
use env::{Entropy, Faults, SeededEntropy, SimClock, SimDisk};
use model::{GroupId, Offset, Position, Timestamp, TopicPartition};
use stdx::ByteSize;
use test_kit::batches::{batch, records};

use super::followers::Followers;
use super::oracle::{Oracle, TopicFate};
use crate::support::{at, clock, manual, name, poll};
use crate::verify;

const TOPICS: [&str; 4] = ["a", "b", "c", "written"];
const PARTITIONS: u32 = 3;
const GROUPS: [&str; 2] = ["g", "h"];

#[derive(Debug)]
pub(super) struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
    random: SeededEntropy,
    seed: u64,
    broker: Option<Arc<EmbeddedBroker>>,
    oracle: Oracle,
    followers: Followers,
    sent: u64,
    acknowledged: u64,
    crashes: u64,
    /// How often a broker was opened.
    lives: u64,
    history: String,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            disk: SimDisk::new(seed),
            clock: clock(),
            random: SeededEntropy::new(seed ^ 0x5eed),
            seed,
            broker: None,
            oracle: Oracle::default(),
            followers: Followers::default(),
            sent: 0,
            acknowledged: 0,
            crashes: 0,
            lives: 0,
            history: String::new(),
        };
        world.open();
        world
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn crashes(&self) -> u64 {
        self.crashes
    }

    pub(super) fn history(&self) -> &str {
        &self.history
    }

    pub(super) fn disk_content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.disk.content()
    }

    fn draw(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        writeln!(self.history, "{what}").unwrap();
    }

    fn broker(&self) -> Arc<EmbeddedBroker> {
        Arc::clone(self.broker.as_ref().unwrap())
    }

    fn some_place(&self) -> TopicPartition {
        let topic = TOPICS[usize::try_from(self.draw(TOPICS.len() as u64)).unwrap()];
        at(
            topic,
            u32::try_from(self.draw(u64::from(PARTITIONS))).unwrap(),
        )
    }

    /// One random call.
    pub(super) fn step(&mut self) {
        let millis = self.draw(400);
        self.clock.advance(Duration::from_millis(millis));
        match self.draw(100) {
            0..8 => self.create(),
            8..10 => self.delete(),
            10..50 => self.append(),
            50..57 => self.read(),
            57..65 => self.follow(),
            65..77 => self.commit(),
            77..80 => self.delete_records(),
            80..82 => self.forget(),
            82..84 => self.producer_id(),
            84..89 => self.fail(),
            89..92 => self.fill(),
            92..94 => self.stop(),
            94..97 => self.kill(),
            _ => self.crash(),
        }
    }

    /// Crashes once more and checks everything.
    pub(super) fn finish(&mut self) {
        self.crash();
    }

    fn open(&mut self) {
        self.lives += 1;
        // Without a journal, with files that are full after a few rounds, and with roomy ones; a log
        // may also change between them.
        let journal_kib = [0, 4, 4, 16, 64][usize::try_from(self.draw(5)).unwrap()];
        let preallocate_kib = [0, 4, 512][usize::try_from(self.draw(3)).unwrap()];
        let partition_bytes = [150, 700, 65_536][usize::try_from(self.draw(3)).unwrap()];
        // Half of the worlds have a second disk from the start on; it is found again whether it is named or not.
        let named = self.lives == 1 || !self.lives.is_multiple_of(3);
        let log_dirs = match self.seed % 2 {
            1 if named => vec!["/second".into()],
            _ => Vec::new(),
        };
        let options = Options {
            log_dirs,
            groups_records_max: 8,
            ring_slots: 3,
            ring_slots_max: 8,
            journal_bytes: ByteSize::from_kib(journal_kib),
            preallocate_bytes: ByteSize::from_kib(preallocate_kib),
            page_cache_bytes: ByteSize::from_kib(self.seed % 3),
            journal_partition_bytes: ByteSize::from_bytes(partition_bytes),
            ..manual(
                self.disk.shared(),
                Arc::clone(&self.clock),
                self.seed ^ (self.lives << 32),
            )
        };
        let foretold = verify::look(&self.disk, &self.clock, 1);
        let broker = EmbeddedBroker::open(options).unwrap();
        assert!(broker.recovery().unknown_directories.is_empty());
        if self.lives > 1 {
            verify::compare(&foretold.unwrap(), &broker);
        }
        self.broker = Some(broker);
        self.check_topics();
        for place in self.oracle.logs.keys().cloned().collect::<Vec<_>>() {
            self.check_log(&place);
        }
        self.check_commits();
    }

    /// The disk does as it is told again; what was asked before and not answered may have happened.
    fn heal(&mut self) {
        self.disk.set_capacity(None);
        self.disk.set_faults(Faults::default());
    }

    /// The power failed: whatever was to happen next, the machine starts again.
    fn is_dark(&self) -> bool {
        env::Disk::exists(&self.disk, std::path::Path::new("/data")).is_err()
    }

    fn stop(&mut self) {
        self.followers.clear();
        if self.is_dark() {
            return self.crash();
        }
        self.heal();
        let broker = self.broker.take().unwrap();
        let mut shutdown = Box::pin(broker.shutdown());
        let std::task::Poll::Ready(ended) = poll(&mut shutdown) else {
            panic!("a shutdown by hand does not wait");
        };
        drop(shutdown);
        self.note(format_args!("stop {}", ended.is_ok()));
        drop(broker);
        self.open();
    }

    /// The process ends, the page cache stays.
    fn kill(&mut self) {
        self.followers.clear();
        if self.is_dark() {
            return self.crash();
        }
        self.crashes += 1;
        self.heal();
        self.disk.restart();
        self.broker = None;
        self.note(format_args!("kill"));
        self.open();
    }

    fn crash(&mut self) {
        self.followers.clear();
        self.crashes += 1;
        self.heal();
        self.disk.crash();
        self.broker = None;
        self.note(format_args!("crash"));
        self.open();
    }

    fn fail(&mut self) {
        let after = Some(self.draw(12));
        let faults = match self.draw(3) {
            0 => Faults {
                sync: after,
                ..Faults::default()
            },
            1 => Faults {
                write: after,
                ..Faults::default()
            },
            _ => Faults {
                power: after,
                ..Faults::default()
            },
        };
        self.disk.set_faults(faults);
        self.note(format_args!("fail {faults:?}"));
    }

    fn fill(&mut self) {
        let room = self.draw(600);
        let capacity = self.draw(2) == 0;
        self.disk
            .set_capacity(capacity.then(|| self.disk.used() + room));
        self.note(format_args!("room {capacity} {room}"));
    }

    /// What a call answers, with as many rounds of the writer as it needs.
    fn call<T>(broker: &EmbeddedBroker, call: impl Future<Output = T>) -> T {
        let mut call = Box::pin(call);
        for _ in 0..4 {
            if let std::task::Poll::Ready(answer) = poll(&mut call) {
                return answer;
            }
            broker.run_round();
        }
        panic!("a call is not answered after three rounds");
    }

    fn create(&mut self) {
        let broker = self.broker();
        let topic = name(TOPICS[usize::try_from(self.draw(TOPICS.len() as u64)).unwrap()]);
        let mut config = TopicConfig::default();
        config.set("segment.bytes", Some("1024")).unwrap();
        if topic.as_str() == "written" {
            config.durability = Durability::Written;
        }
        let flushed = config.durability == Durability::Flushed;
        let spec = TopicSpec {
            name: topic.clone(),
            partitions: PARTITIONS,
            config,
        };
        let created = Self::call(&broker, broker.create_topic(spec));
        self.note(format_args!("create {topic} {}", created.is_ok()));
        match created {
            Ok(info) => {
                let known = self.oracle.topics.get(&topic);
                assert!(
                    known.is_none_or(|known| known.uncertain),
                    "{topic} was there"
                );
                self.oracle.forget_topic(&topic);
                self.oracle.topics.insert(
                    topic,
                    TopicFate {
                        id: Some(info.id),
                        partitions: PARTITIONS,
                        uncertain: false,
                        flushed,
                    },
                );
            }
            Err(Error::TopicExists { .. }) => {
                assert!(
                    self.oracle.topics.contains_key(&topic),
                    "{topic} was never created"
                );
            }
            Err(Error::Io { .. } | Error::DiskFull { .. } | Error::Frozen { .. }) => {
                self.oracle.topics.entry(topic).or_insert(TopicFate {
                    id: None,
                    partitions: PARTITIONS,
                    uncertain: true,
                    flushed,
                });
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn delete(&mut self) {
        let broker = self.broker();
        let topic = name(TOPICS[usize::try_from(self.draw(TOPICS.len() as u64)).unwrap()]);
        let deleted = Self::call(&broker, broker.delete_topic(&topic));
        self.note(format_args!("delete {topic} {}", deleted.is_ok()));
        match deleted {
            Ok(()) => self.oracle.forget_topic(&topic),
            Err(Error::UnknownTopic { .. }) => {
                let known = self.oracle.topics.get(&topic);
                assert!(known.is_none_or(|known| known.uncertain), "{topic} is gone");
            }
            Err(Error::Io { .. }) => {
                if let Some(known) = self.oracle.topics.get_mut(&topic) {
                    known.uncertain = true;
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Several appends at once, over all partitions.
    fn append(&mut self) {
        let broker = self.broker();
        let mut planned = Vec::new();
        for _ in 0..=self.draw(8) {
            let place = self.some_place();
            let durability = match self.draw(4) {
                0 => Durability::Written,
                _ => Durability::Flushed,
            };
            let values: Vec<String> = (0..=self.draw(4))
                .map(|_| {
                    self.sent += 1;
                    format!(
                        "{}-{}",
                        self.sent,
                        "x".repeat(usize::try_from(self.draw(60)).unwrap())
                    )
                })
                .collect();
            if broker.topic(&place.topic).is_some() {
                self.oracle.log(&place).sent.extend(values.iter().cloned());
            }
            planned.push((place, durability, values));
        }
        let mut calls: Vec<_> = planned
            .iter()
            .map(|(place, durability, values)| {
                broker.append(place, vec![batch(values)], *durability)
            })
            .collect();
        let mut answers: Vec<_> = calls.iter_mut().map(poll).collect();
        broker.run_round();
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_pending() {
                *answer = poll(call);
            }
        }
        drop(calls);
        for ((place, durability, values), answer) in planned.into_iter().zip(answers) {
            let std::task::Poll::Ready(answer) = answer else {
                panic!("an append is not answered after its round");
            };
            let base = answer
                .as_ref()
                .ok()
                .map(|appended| appended.base_offset.get());
            self.note(format_args!("append {place} {durability:?} {base:?}"));
            match (answer, durability) {
                (Ok(appended), Durability::Flushed) => {
                    self.acknowledged += 1;
                    let base = appended.base_offset.get();
                    let offsets = base..;
                    let log = self.oracle.log(&place);
                    log.certain.extend(offsets.zip(values));
                }
                (Err(Error::UnknownTopic { .. }), _) => {
                    let known = self.oracle.topics.get(&place.topic);
                    assert!(known.is_none_or(|known| known.uncertain), "{place} is gone");
                }
                (Ok(_), Durability::Written)
                | (Err(Error::DiskFull { .. } | Error::Frozen { .. }), _) => (),
                (Err(other), _) => panic!("{other:?}"),
            }
        }
    }

    fn read(&mut self) {
        let place = self.some_place();
        if self.broker().topic(&place.topic).is_some() {
            self.check_log(&place);
        }
    }

    fn follow(&mut self) {
        let broker = self.broker();
        // Few places, so that their followers are often behind.
        let place = at(TOPICS[usize::try_from(self.draw(4)).unwrap()], 0);
        let reads = [1, 3, 100][usize::try_from(self.draw(3)).unwrap()];
        let bytes = [100, 1_000, 1 << 20][usize::try_from(self.draw(3)).unwrap()];
        let (followers, oracle) = (&mut self.followers, &mut self.oracle);
        let seen = followers.read(&broker, oracle, &place, (reads, bytes));
        if self.draw(10) == 0 {
            broker.let_memory_go();
        }
        self.note(format_args!("follow {place} {seen}"));
    }

    fn commit(&mut self) {
        let broker = self.broker();
        // Few places, so that the topic of the groups is compacted within a run.
        let topic = usize::try_from(self.draw(2)).unwrap();
        let place = at(TOPICS[topic], 0);
        let group = GROUPS[usize::try_from(self.draw(GROUPS.len() as u64)).unwrap()];
        let offset = self.draw(1 << 40);
        let commit = Commit {
            position: Offset::new(offset).into(),
            leader_epoch: None,
            metadata: "m".to_owned(),
            at: Timestamp::from_millis(1),
        };
        let id = GroupId::new(group).unwrap();
        let commits = vec![(place.clone(), commit)];
        let committed = Self::call(&broker, broker.commit(&id, commits));
        self.note(format_args!(
            "commit {group} {place} {offset} {}",
            committed.is_ok()
        ));
        match committed {
            Ok(()) => self.oracle.commit(group, &place, offset, true),
            Err(Error::UnknownTopic { .. }) => (),
            Err(Error::DiskFull { .. } | Error::Frozen { .. }) => {
                self.oracle.commit(group, &place, offset, false);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn forget(&mut self) {
        let broker = self.broker();
        let group = GROUPS[usize::try_from(self.draw(GROUPS.len() as u64)).unwrap()];
        let id = GroupId::new(group).unwrap();
        let forgotten = Self::call(&broker, broker.forget_group(&id, None));
        self.note(format_args!("forget {group} {}", forgotten.is_ok()));
        let mine = self
            .oracle
            .commits
            .iter_mut()
            .filter(|((id, _), _)| id == group);
        for (_, fates) in mine {
            match &forgotten {
                Ok(()) => *fates = vec![None],
                Err(Error::UnknownGroup { .. }) => (),
                Err(_) => fates.push(None),
            }
        }
    }

    fn delete_records(&mut self) {
        let broker = self.broker();
        let place = self.some_place();
        let Ok(marks) = Self::call(&broker, broker.marks(&place)) else {
            return;
        };
        let until = u64::try_from(marks.high_watermark.bits()).unwrap();
        let until = self.draw(until + 1);
        let position = Position::from(Offset::new(until));
        let deleted = Self::call(&broker, broker.delete_records(&place, position));
        self.note(format_args!(
            "delete records {place} {until} {}",
            deleted.is_ok()
        ));
        let log = self.oracle.log(&place);
        log.start_asked = log.start_asked.max(until);
        if let Ok(start) = deleted {
            let start = u64::try_from(start.bits()).unwrap();
            assert!(start >= until);
            log.start = log.start.max(start);
        }
    }

    fn producer_id(&mut self) {
        let broker = self.broker();
        if let Ok(id) = Self::call(&broker, broker.new_producer_id()) {
            self.note(format_args!("producer {id}"));
            self.oracle.producer_id(id);
        }
    }

    fn check_topics(&mut self) {
        let broker = self.broker();
        let there = broker.topics();
        for topic in TOPICS.map(name) {
            let found = there.get(&topic);
            let Some(known) = self.oracle.topics.get_mut(&topic) else {
                assert!(found.is_none(), "{topic} came from nowhere");
                continue;
            };
            let Some(info) = found else {
                assert!(known.uncertain, "{topic} is gone");
                self.oracle.forget_topic(&topic);
                continue;
            };
            assert_eq!(info.partitions, known.partitions);
            assert!(
                known.uncertain || known.id == Some(info.id),
                "{topic} is another"
            );
            known.id = Some(info.id);
            known.uncertain = false;
        }
    }

    fn check_log(&mut self, place: &TopicPartition) {
        let broker = self.broker();
        let Ok(marks) = Self::call(&broker, broker.marks(place)) else {
            return;
        };
        let mut all = Vec::new();
        let mut from = marks.log_start;
        loop {
            let limit = ReadLimit {
                bytes: 700,
                at_least_one: true,
            };
            let fetched = match Self::call(&broker, broker.read(place, from, limit)) {
                Ok(fetched) => fetched,
                // Without power nothing can be read, and nothing wrong either.
                Err(Error::Io { .. }) => return,
                Err(other) => panic!("{other:?}"),
            };
            if fetched.batches.is_empty() {
                break;
            }
            all.extend(records(&fetched.batches));
            from = fetched.next;
        }
        let start = u64::try_from(marks.log_start.bits()).unwrap();
        all.retain(|(offset, _)| offset.get() >= start);
        let flushed = self
            .oracle
            .topics
            .get(&place.topic)
            .is_some_and(|topic| topic.flushed);
        self.oracle.log(place).check(place, start, &all, flushed);
        self.note(format_args!("read {place} {start} {}", all.len()));
    }

    fn check_commits(&mut self) {
        let broker = self.broker();
        for group in GROUPS {
            let id = GroupId::new(group).unwrap();
            for topic in TOPICS {
                for partition in 0..PARTITIONS {
                    let of = at(topic, partition);
                    let asked = Some(vec![of.clone()]);
                    let found = Self::call(&broker, broker.committed(&id, asked)).unwrap();
                    let found = found[0].1.as_ref();
                    let found = found.map(|commit| u64::try_from(commit.position.bits()).unwrap());
                    self.oracle.check_commit(group, &of, found);
                }
            }
        }
    }
}
