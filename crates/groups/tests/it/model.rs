//! Whatever clients, timers and the disk do, the promises hold.
//!
//! Six clients (two of them static) join, sync, beat, commit, leave, restart and fall silent at random
//! while stores succeed or fail late and the coordinator crashes. Checked all the time: the invariants
//! of the crate, the generation only grows, every request is answered exactly once, one generation
//! has one leader and one protocol and only the leader gets the member list, no member gets an
//! assignment that was not stored. At the end every request has been answered, and clients that
//! behave bring the group to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groups::{
    Action, Coordinator, Error, GroupState, JoinAnswer, JoinRequest, Leaving, MemberId, MemberRef,
    Options, Protocol, Snapshot, StoreId, SyncAnswer, SyncRequest, Ticket, invariants,
};
use model::GroupId;
use proptest::prelude::*;

const CLIENTS: usize = 6;
const STATIC: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    Join {
        client: usize,
        metadata: u8,
        two_step: bool,
    },
    Sync {
        client: usize,
    },
    Beat {
        client: usize,
    },
    Commit {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Restart {
        client: usize,
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
    prop_oneof![
        8 => (client(), 0..2_u8, any::<bool>())
            .prop_map(|(client, metadata, two_step)| Step::Join { client, metadata, two_step }),
        6 => client().prop_map(|client| Step::Sync { client }),
        4 => client().prop_map(|client| Step::Beat { client }),
        2 => client().prop_map(|client| Step::Commit { client }),
        2 => client().prop_map(|client| Step::Leave { client }),
        1 => client().prop_map(|client| Step::Restart { client }),
        5 => (1..8_000_u64).prop_map(|millis| Step::Wait { millis }),
        5 => prop::bool::weighted(0.9).prop_map(|success| Step::Store { success }),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug, Default, Clone)]
struct Client {
    member: String,
    generation: i32,
    leads: Option<Vec<MemberId>>,
    /// It asked and was not yet answered.
    asking: Option<Ticket>,
    /// It knows its assignment.
    settled: bool,
}

#[derive(Debug)]
struct World {
    coordinator: Coordinator,
    now: Duration,
    clients: Vec<Client>,
    next_ticket: u64,
    open: BTreeMap<Ticket, usize>,
    /// What waits to be stored, oldest first.
    stores: Vec<(StoreId, Option<Snapshot>)>,
    disk: Option<Snapshot>,
    /// Every assignment that ever was stored, by generation and member.
    durable: BTreeSet<(i32, String, Bytes)>,
    newest: i32,
    /// Leader and protocol of each generation of this life of the coordinator.
    agreed: BTreeMap<i32, (MemberId, Arc<str>)>,
}

fn group() -> GroupId {
    "g".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let options = Options {
            members_max: 5,
            pending_max: 3,
            ..Options::default()
        };
        Self {
            coordinator: Coordinator::new(options),
            now: Duration::ZERO,
            clients: vec![Client::default(); CLIENTS],
            next_ticket: 0,
            open: BTreeMap::new(),
            stores: Vec::new(),
            disk: None,
            durable: BTreeSet::new(),
            newest: 0,
            agreed: BTreeMap::new(),
        }
    }

    fn instance(client: usize) -> Option<groups::InstanceId> {
        (client < STATIC).then(|| groups::InstanceId::new(&format!("s{client}")))
    }

    fn by(&self, client: usize) -> MemberRef {
        MemberRef {
            group: group(),
            member: MemberId::new(&self.clients[client].member),
            instance: Self::instance(client),
            generation: self.clients[client].generation,
        }
    }

    fn ticket(&mut self, client: usize) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open.insert(ticket, client);
        self.clients[client].asking = Some(ticket);
        ticket
    }

    fn take(&mut self, step: Step) {
        let actions = match step {
            Step::Join {
                client,
                metadata,
                two_step,
            } => {
                let ticket = self.ticket(client);
                let protocol = |name: &str| Protocol {
                    name: name.into(),
                    metadata: Bytes::copy_from_slice(&[metadata]),
                };
                let request = JoinRequest {
                    group: group(),
                    member: MemberId::new(&self.clients[client].member),
                    instance: Self::instance(client),
                    client_id: format!("c{client}").into(),
                    client_host: "host".into(),
                    session_timeout: Duration::from_secs(6),
                    rebalance_timeout: Duration::from_secs(4),
                    protocol_type: "consumer".into(),
                    protocols: vec![protocol("range"), protocol("sticky")],
                    member_id_required: two_step,
                    may_skip_assignment: metadata == 0,
                };
                let mut random = [0; 16];
                random[..8].copy_from_slice(&self.next_ticket.to_be_bytes());
                self.coordinator.join(self.now, ticket, &request, random)
            }
            Step::Sync { client } => {
                let ticket = self.ticket(client);
                let by = self.by(client);
                let leads = self.clients[client].leads.clone().unwrap_or_default();
                let work = |id: MemberId| {
                    let work = Bytes::from(format!("{id} in {}", by.generation));
                    (id, work)
                };
                let assignments = leads.into_iter().map(work).collect();
                let request = SyncRequest {
                    by,
                    protocol_type: None,
                    protocol: None,
                    assignments,
                };
                self.coordinator.sync(self.now, ticket, request)
            }
            Step::Beat { client } => {
                if self
                    .coordinator
                    .heartbeat(self.now, &self.by(client))
                    .is_err()
                {
                    self.clients[client].settled = false;
                }
                Vec::new()
            }
            Step::Commit { client } => {
                let by = self.by(client);
                let allowed = self.coordinator.may_commit(self.now, &by).is_ok();
                let description = self.coordinator.describe(&group());
                let members = description.as_ref().map_or(0, |d| d.members.len());
                if allowed && members > 0 {
                    let description = description.unwrap();
                    assert_eq!(
                        by.generation, description.generation,
                        "a fenced commit passed"
                    );
                    assert!(description.members.iter().any(|m| m.member == by.member));
                }
                Vec::new()
            }
            Step::Leave { client } => {
                let member = MemberId::new(&self.clients[client].member);
                let one = Leaving {
                    member,
                    instance: Self::instance(client),
                };
                self.clients[client] = Client::default();
                self.coordinator
                    .leave(self.now, &group(), &[one])
                    .unwrap()
                    .1
            }
            Step::Restart { client } => {
                self.clients[client] = Client::default();
                Vec::new()
            }
            Step::Wait { millis } => {
                self.advance(Duration::from_millis(millis));
                Vec::new()
            }
            Step::Store { success } => self.store_oldest(success),
            Step::Crash => {
                self.crash();
                Vec::new()
            }
        };
        self.carry_out(actions);
        self.check();
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

    fn store_oldest(&mut self, success: bool) -> Vec<Action> {
        if self.stores.is_empty() {
            return Vec::new();
        }
        let (id, snapshot) = self.stores.remove(0);
        if success {
            for member in snapshot.iter().flat_map(|snapshot| &snapshot.members) {
                let generation = snapshot.as_ref().unwrap().generation;
                let id = member.member.as_str().to_owned();
                self.durable
                    .insert((generation, id, member.assignment.clone()));
            }
            self.disk = snapshot;
        }
        self.coordinator.stored(self.now, &group(), id, success)
    }

    /// Connections are cut, so nobody waits any more; what was stored comes back.
    fn crash(&mut self) {
        self.open.clear();
        self.stores.clear();
        self.agreed.clear();
        for client in &mut self.clients {
            client.asking = None;
        }
        self.coordinator = Coordinator::new(self.coordinator.options().clone());
        self.newest = 0;
        if let Some(stored) = self.disk.clone() {
            let bytes = stored.encode();
            let stored = Snapshot::decode(&bytes).unwrap();
            self.newest = stored.generation;
            self.coordinator
                .restore(self.now, &group(), stored)
                .unwrap();
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerJoin { ticket, result } => self.joined(ticket, result),
                Action::AnswerSync { ticket, result } => self.synced(ticket, result),
                Action::Store { id, snapshot, .. } => self.stores.push((id, snapshot)),
                Action::Note(groups::Note::Forgotten { .. }) => {
                    self.newest = 0;
                    self.agreed.clear();
                }
                Action::Note(_) => (),
                Action::AnswerConsumer { .. } | Action::StoreConsumer { .. } => {
                    panic!("a classic group took the other protocol")
                }
            }
        }
    }

    /// Whose request it was, if that process still runs and waits for this answer.
    fn answered(&mut self, ticket: Ticket) -> Option<&mut Client> {
        let client = self
            .open
            .remove(&ticket)
            .expect("a request is answered once");
        let client = &mut self.clients[client];
        (client.asking == Some(ticket)).then(|| {
            client.asking = None;
            client
        })
    }

    fn joined(&mut self, ticket: Ticket, result: Result<JoinAnswer, Error>) {
        if let Ok(answer) = &result {
            assert_eq!(
                answer.generation,
                self.newest.max(answer.generation),
                "an old generation"
            );
            self.newest = answer.generation;
            let terms = (answer.leader.clone(), answer.protocol.clone());
            let agreed = self
                .agreed
                .entry(answer.generation)
                .or_insert_with(|| terms.clone());
            assert_eq!(
                agreed.1, terms.1,
                "two protocols in generation {}",
                answer.generation
            );
            let leads = answer.leader == answer.member;
            assert!(
                answer.members.is_empty() || leads,
                "a follower got the member list"
            );
            if leads {
                assert!(answer.members.iter().any(|m| m.member == answer.leader));
            }
        }
        let Some(client) = self.answered(ticket) else {
            return;
        };
        match result {
            Ok(answer) => {
                answer.member.as_str().clone_into(&mut client.member);
                client.generation = answer.generation;
                let leads = answer.leader == answer.member;
                client.leads =
                    leads.then(|| answer.members.into_iter().map(|m| m.member).collect());
                client.settled = false;
            }
            Err(Error::MemberIdRequired { member }) => {
                member.as_str().clone_into(&mut client.member);
            }
            Err(Error::UnknownMember { .. } | Error::FencedInstance { .. }) => {
                *client = Client::default();
            }
            Err(_) => (),
        }
    }

    fn synced(&mut self, ticket: Ticket, result: Result<SyncAnswer, Error>) {
        let Some(client) = self.answered(ticket) else {
            return;
        };
        match result {
            Ok(answer) => {
                client.settled = true;
                let key = (client.generation, client.member.clone(), answer.assignment);
                assert!(
                    self.durable.contains(&key),
                    "{key:?} was given out but not stored"
                );
            }
            Err(Error::UnknownMember { .. } | Error::FencedInstance { .. }) => {
                *client = Client::default();
            }
            Err(_) => client.settled = false,
        }
    }

    fn check(&self) {
        assert_eq!(
            invariants::violations(&self.coordinator),
            Vec::<String>::new()
        );
        if let Some(description) = self.coordinator.describe(&group()) {
            assert!(
                description.generation >= self.newest,
                "the generation went back"
            );
        }
    }

    /// Clients 0 to 3 do what they should for a while, the others are gone.
    fn settle(&mut self) {
        for _ in 0..120 {
            while !self.stores.is_empty() {
                self.take(Step::Store { success: true });
            }
            for client in 0..4 {
                let Client {
                    asking,
                    settled,
                    generation,
                    ..
                } = &self.clients[client];
                if asking.is_some() {
                    continue;
                }
                let joined = *generation > 0 && !self.clients[client].member.is_empty();
                let by = self.by(client);
                let current = joined && self.coordinator.heartbeat(self.now, &by).is_ok();
                let step = match (current, *settled) {
                    (true, true) => Step::Beat { client },
                    (true, false) => Step::Sync { client },
                    (false, _) => {
                        let beat = self.coordinator.heartbeat(self.now, &by);
                        if matches!(
                            beat,
                            Err(Error::UnknownMember { .. } | Error::FencedInstance { .. })
                        ) && joined
                        {
                            self.clients[client] = Client::default();
                        }
                        Step::Join {
                            client,
                            metadata: 0,
                            two_step: true,
                        }
                    }
                };
                self.take(step);
            }
            self.take(Step::Wait { millis: 300 });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let description = world.coordinator.describe(&group()).unwrap();
        prop_assert_eq!(description.state, GroupState::Stable);
        prop_assert_eq!(description.members.len(), 4);
        prop_assert!(world.clients[..4].iter().all(|client| client.settled));
        prop_assert!(world.open.is_empty(), "unanswered: {:?}", world.open);
    }
}
