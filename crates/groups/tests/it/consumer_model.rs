//! Random lives of a group of the second protocol, with stores that fail and crashes in between.
//!
//! Checked after each step: the invariants; that no client which is a member owns anything the group
//! does not count as its own (so, with the invariants, no partition is ever owned by two); that epochs
//! only grow, also over crashes; and that no answer shows what is not on disk. In the end everybody who
//! goes on has its share and every partition is somebody's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groups::consumer::{
    Assignment, Changes, ConsumerAnswer, ConsumerHeartbeat, ConsumerSnapshot, ConsumerState,
    HeaderRecord, LEAVES, LEAVES_FOR_NOW, MemberRecord, Topics,
};
use groups::{Action, Coordinator, Error, MemberId, Options, StoreId, Ticket, invariants};
use model::GroupId;
use proptest::prelude::*;

use crate::consumer_play::{topics_of, write};

const CLIENTS: usize = 6;
/// Clients below this have instance ids.
const STATIC: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    Join {
        client: usize,
        reads: usize,
    },
    /// `says` what it owns even if that is not new; `deaf`: the answer is lost; `stuck`: it keeps what
    /// it is asked to give back.
    Beat {
        client: usize,
        says: bool,
        deaf: bool,
        stuck: bool,
    },
    Leave {
        client: usize,
        away: bool,
    },
    Restart {
        client: usize,
    },
    Topics {
        which: usize,
    },
    Wait {
        millis: u64,
    },
    Store {
        success: bool,
    },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let beat = (
        client(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
        any::<bool>(),
    );
    prop_oneof![
        6 => (client(), 0..READS.len()).prop_map(|(client, reads)| Step::Join { client, reads }),
        14 => beat.prop_map(|(client, says, deaf, stuck)| Step::Beat { client, says, deaf, stuck }),
        2 => (client(), any::<bool>()).prop_map(|(client, away)| Step::Leave { client, away }),
        1 => client().prop_map(|client| Step::Restart { client }),
        1 => (0..TOPICS.len()).prop_map(|which| Step::Topics { which }),
        5 => (1..15_000_u64).prop_map(|millis| Step::Wait { millis }),
        10 => prop::bool::weighted(0.9).prop_map(|success| Step::Store { success }),
        1 => Just(Step::Crash),
    ]
}

/// What clients read: names and patterns.
const READS: [(&[&str], &str); 4] = [
    (&["a"], ""),
    (&["a", "b"], ""),
    (&["b"], "[ac]"),
    (&[], ".*"),
];

/// What topics there may be.
const TOPICS: [&[&str]; 4] = [
    &["a=3", "b=2"],
    &["a=5", "b=2", "c=1"],
    &["b=4"],
    &["a=1", "c=4"],
];

#[derive(Debug, Default, Clone)]
struct Client {
    member: String,
    epoch: i32,
    owned: Assignment,
    said: Option<Assignment>,
    reads: usize,
    asking: Option<Ticket>,
    /// What is asked: answers to it that arrive are obeyed unless it is deaf.
    deaf: bool,
    stuck: bool,
    incarnation: usize,
}

struct World {
    coordinator: Coordinator,
    now: Duration,
    clients: Vec<Client>,
    next_ticket: u64,
    open: BTreeMap<Ticket, usize>,
    stores: Vec<(StoreId, Changes)>,
    disk: ConsumerSnapshot,
    newest: i32,
}

fn group() -> GroupId {
    "g".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let options = Options {
            consumer_members_max: 5,
            ..Options::default()
        };
        let mut coordinator = Coordinator::new(options);
        coordinator.set_topics(topics_of(TOPICS[0]));
        Self {
            coordinator,
            now: Duration::ZERO,
            clients: vec![Client::default(); CLIENTS],
            next_ticket: 0,
            open: BTreeMap::new(),
            stores: Vec::new(),
            disk: ConsumerSnapshot::default(),
            newest: 0,
        }
    }

    fn ask(&mut self, client: usize, epoch: i32, whole: bool, says: bool) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open.insert(ticket, client);
        let state = &mut self.clients[client];
        state.asking = Some(ticket);
        if state.member.is_empty() {
            state.member = format!("c{client}.{}", state.incarnation);
        }
        let (names, regex) = READS[state.reads];
        let owned = Some(state.owned.clone());
        let owned = owned.filter(|owned| whole || says || state.said.as_ref() != Some(owned));
        state.said = owned.clone().or(state.said.take());
        let request = ConsumerHeartbeat {
            group: group(),
            member: MemberId::new(&state.member),
            epoch,
            instance: (client < STATIC).then(|| format!("s{client}").as_str().into()),
            rack: None,
            client_id: "app".into(),
            client_host: "host".into(),
            rebalance_timeout: whole.then_some(Duration::from_secs(20)),
            names: whole.then(|| names.iter().map(|name| Arc::from(*name)).collect()),
            regex: whole.then(|| regex.into()),
            assignor: None,
            owned,
            may_lack_id: false,
        };
        let actions = self
            .coordinator
            .consumer_heartbeat(self.now, ticket, &request, [0; 16]);
        self.carry_out(actions);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join { client, reads } => {
                let state = &mut self.clients[client];
                state.owned = Assignment::new();
                (state.reads, state.deaf, state.stuck) = (reads, false, false);
                self.ask(client, 0, true, true);
            }
            Step::Beat {
                client,
                says,
                deaf,
                stuck,
            } => {
                let state = &mut self.clients[client];
                if state.member.is_empty() || state.epoch <= 0 {
                    return;
                }
                (state.deaf, state.stuck) = (deaf, stuck);
                // After an answer that was lost, a client says everything again.
                let whole = state.asking.is_some();
                let epoch = state.epoch;
                self.ask(client, epoch, whole, says);
            }
            Step::Leave { client, away } => {
                if self.clients[client].member.is_empty() {
                    return;
                }
                self.clients[client].owned = Assignment::new();
                let away = away && client < STATIC;
                self.ask(
                    client,
                    if away { LEAVES_FOR_NOW } else { LEAVES },
                    false,
                    false,
                );
                self.restart(client);
            }
            Step::Restart { client } => self.restart(client),
            Step::Topics { which } => self.coordinator.set_topics(topics_of(TOPICS[which])),
            Step::Wait { millis } => self.advance(Duration::from_millis(millis)),
            Step::Store { success } => self.store_oldest(success),
            Step::Crash => self.crash(),
        }
        self.check();
    }

    fn restart(&mut self, client: usize) {
        let incarnation = self.clients[client].incarnation + 1;
        self.clients[client] = Client {
            incarnation,
            ..Client::default()
        };
    }

    fn advance(&mut self, span: Duration) {
        let to = self.now + span;
        while let Some(due) = self.coordinator.next_deadline().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            let actions = self.coordinator.tick(self.now);
            self.carry_out(actions);
            self.check();
        }
        self.now = to;
    }

    fn store_oldest(&mut self, success: bool) {
        if self.stores.is_empty() {
            return;
        }
        let (id, changes) = self.stores.remove(0);
        if success {
            write(&mut self.disk, changes);
        }
        let actions = self.coordinator.stored(self.now, &group(), id, success);
        self.carry_out(actions);
    }

    /// Connections are cut, so nobody waits any more; what was stored comes back.
    fn crash(&mut self) {
        self.open.clear();
        self.stores.clear();
        let topics = Topics::clone(self.coordinator.topics());
        self.coordinator = Coordinator::new(self.coordinator.options().clone());
        self.coordinator.set_topics(topics);
        let bytes = |record: &MemberRecord| MemberRecord::decode(&record.encode()).unwrap();
        let members = self.disk.members.iter();
        let stored = ConsumerSnapshot {
            header: self
                .disk
                .header
                .as_ref()
                .map(|header| HeaderRecord::decode(&header.encode()).unwrap()),
            members: members.map(|(id, m)| (id.clone(), bytes(m))).collect(),
        };
        self.newest = stored.header.as_ref().map_or(0, |header| header.epoch);
        if stored.header.is_none() {
            assert!(stored.members.is_empty(), "members without a group");
            return;
        }
        self.coordinator
            .restore_consumer(self.now, &group(), stored)
            .unwrap();
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerConsumer { ticket, result } => self.answered(ticket, result),
                Action::StoreConsumer { id, changes, .. } => {
                    self.stores.push((id, changes));
                }
                Action::Note(groups::Note::Forgotten { .. }) => self.newest = 0,
                Action::Note(_) => (),
                other => panic!("{other:?}"),
            }
        }
    }

    fn answered(&mut self, ticket: Ticket, result: Result<ConsumerAnswer, Error>) {
        let client = self
            .open
            .remove(&ticket)
            .expect("a request is answered once");
        if let Ok(answer) = &result {
            let durable = self.disk.members.get(&answer.member);
            if answer.epoch == LEAVES {
                assert!(durable.is_none(), "it left, and is on disk");
            } else {
                // What is on disk may be newer: of two requests that waited, the first is answered too.
                let asked = self.clients[client].asking == Some(ticket);
                let durable = durable.filter(|_| asked);
                if let Some(durable) = durable {
                    assert_eq!(durable.epoch, answer.epoch, "an epoch that is not stored");
                    if let Some(assignment) = &answer.assignment {
                        assert_eq!(durable.assigned, *assignment);
                    }
                }
                assert!(!asked || durable.is_some(), "who is answered is on disk");
            }
        }
        let state = &mut self.clients[client];
        if state.asking != Some(ticket) || state.deaf {
            return;
        }
        state.asking = None;
        match result {
            Ok(answer) => {
                state.epoch = answer.epoch;
                if let Some(mut assignment) = answer.assignment {
                    if state.stuck {
                        assignment.extend(state.owned.iter().collect::<Vec<_>>());
                    }
                    state.owned = assignment;
                }
            }
            Err(
                Error::UnknownMember { .. }
                | Error::FencedMemberEpoch { .. }
                | Error::UnknownGroup { .. },
            ) => {
                state.owned = Assignment::new();
                state.said = None;
                state.epoch = 0;
            }
            Err(Error::FencedInstance { .. }) => self.restart(client),
            // After an answer that is an error a client says everything again, as after one that was lost.
            Err(_) => state.asking = Some(ticket),
        }
    }

    fn check(&mut self) {
        let wrong = invariants::violations(&self.coordinator);
        assert_eq!(wrong, Vec::<String>::new());
        let Some(description) = self.coordinator.describe_consumer(&group()) else {
            return;
        };
        assert!(description.epoch >= self.newest, "the epoch went back");
        self.newest = description.epoch;
        for client in &self.clients {
            let members = description.members.iter();
            let mut members = members.filter(|m| *m.member.as_str() == client.member);
            let Some(member) = members.next() else {
                continue;
            };
            // Who was fenced since and does not know it yet is lost time, not a member.
            if client.epoch <= 0 || client.epoch > member.epoch {
                continue;
            }
            let mut counted = member.assigned.clone();
            counted.extend(member.revoking.iter().collect::<Vec<_>>());
            assert!(
                client.owned.is_subset(&counted),
                "{client:?} owns what is not its own: {member:?}"
            );
        }
    }

    /// Clients 0 to 3 do what they should for a while, the others are gone.
    fn settle(&mut self) {
        for client in 4..CLIENTS {
            self.restart(client);
        }
        for _ in 0..40 {
            for client in 0..4 {
                while !self.stores.is_empty() {
                    self.store_oldest(true);
                }
                let state = &self.clients[client];
                let step = if state.member.is_empty() || state.epoch <= 0 {
                    let reads = state.reads;
                    Step::Join { client, reads }
                } else {
                    let says = state.asking.is_some();
                    Step::Beat {
                        client,
                        says,
                        deaf: false,
                        stuck: false,
                    }
                };
                self.take(step);
            }
            while !self.stores.is_empty() {
                self.store_oldest(true);
            }
            self.advance(Duration::from_secs(5));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_whatever_happens(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let description = world.coordinator.describe_consumer(&group()).unwrap();
        prop_assert_eq!(description.state, ConsumerState::Stable, "{:?}", description);
        prop_assert_eq!(description.members.len(), 4);
        let mut all = Assignment::new();
        for (client, member) in world.clients.iter().zip(&description.members) {
            prop_assert_eq!(&client.owned, &member.assigned, "{:?}", member);
            all.extend(member.assigned.iter().collect::<Vec<_>>());
        }
        let topics = world.coordinator.topics();
        let read = |name: &str| world.clients[..4].iter().any(|client| {
            let (names, regex) = READS[client.reads];
            names.contains(&name) || regex == ".*" || (regex == "[ac]" && name != "b")
        });
        let read = topics.iter().filter(|(name, _)| read(name.as_str()));
        let expected: u32 = read.map(|(_, topic)| topic.partitions).sum();
        prop_assert_eq!(all.len(), usize::try_from(expected).unwrap(), "a partition has no owner");
        prop_assert!(world.open.is_empty(), "unanswered: {:?}", world.open);
    }
}
