//! Plays a script of clients of the second protocol and writes down what they see.
//!
//! One step a line: `MILLIS VERB CLIENT [key=value | word]…`; before each step the coordinator's timers
//! run up to that time. Verbs: `join` (words `static`, `v0`; `topics=a,b`, `regex=…`, `range`,
//! `rebalance=MS`), `beat` (words `stuck`: gives nothing back, `lost`: the answer never arrives,
//! `whole`: says everything again, `range`; `topics=…`, `regex=…`, `epoch=…`), `leave`, `away`, `commit` and
//! `fetch` (`epoch=…`), `restart` (a new process: new id, owns nothing), `classic` (a member of the first
//! protocol joins), `topics` (`a=3 b=1`: these are all topics), `hold`/`store`/`lose` (stores wait, then
//! succeed or fail), `wait`, `show`, `crash`, `delete`.
//!
//! A client owns what it was last told and gives back what it is asked for at once; its next heartbeat
//! says so. A heartbeat says nothing about partitions when nothing changed, as real clients do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use groups::consumer::{
    Assignment, Assignor, ConsumerAnswer, ConsumerHeartbeat, ConsumerSnapshot, LEAVES,
    LEAVES_FOR_NOW, Topic, Topics,
};
use groups::{
    Action, Coordinator, Error, JoinRequest, MemberId, MemberRef, Note, Options, Protocol, StoreId,
    Ticket, invariants,
};
use model::{GroupId, PartitionId, TopicId};

#[derive(Debug, Default, Clone)]
struct Client {
    member: String,
    instance: Option<String>,
    epoch: i32,
    owned: Assignment,
    /// What it was last told to own.
    told: Assignment,
    /// What it last said it owns.
    said: Option<Assignment>,
    topics: Option<Vec<Arc<str>>>,
    regex: Option<Arc<str>>,
    /// The answer it waits for will not arrive.
    deaf: bool,
    /// It keeps what it is asked to give back.
    stuck: bool,
    incarnation: usize,
}

struct Play {
    coordinator: Coordinator,
    now: Duration,
    clients: BTreeMap<String, Client>,
    tickets: Vec<String>,
    hold: bool,
    waiting: Vec<(StoreId, groups::consumer::Changes)>,
    disk: ConsumerSnapshot,
    text: String,
}

fn group() -> GroupId {
    "g".parse().unwrap()
}

/// Topic `a` has an id of `a` bytes, so that partitions are told by their topic's letter.
pub(crate) fn topic_id(name: &str) -> TopicId {
    TopicId::from_bytes([name.as_bytes()[0]; 16])
}

pub(crate) fn topics_of(words: &[&str]) -> Topics {
    let each = words.iter().map(|word| {
        let (name, partitions) = word.split_once('=').unwrap();
        let topic = Topic {
            id: topic_id(name),
            partitions: partitions.parse().unwrap(),
        };
        (name.parse().unwrap(), topic)
    });
    each.collect()
}

/// Partitions as text: `a0 a1 b0`.
pub(crate) fn text_of(assignment: &Assignment) -> String {
    let each = assignment.iter().map(|(topic, partition)| {
        let letter = char::from(topic.bytes()[0]);
        format!("{letter}{partition}")
    });
    each.collect::<Vec<_>>().join(" ")
}

pub(crate) fn partitions(text: &str) -> Assignment {
    let each = text.split([' ', ',']).filter(|one| !one.is_empty());
    each.map(|one| (topic_id(one), PartitionId::new(one[1..].parse().unwrap())))
        .collect()
}

pub(crate) fn run(script: &str) -> String {
    run_with(Options::default(), script)
}

pub(crate) fn run_with(options: Options, script: &str) -> String {
    let mut play = Play {
        coordinator: Coordinator::new(options),
        now: Duration::ZERO,
        clients: BTreeMap::new(),
        tickets: Vec::new(),
        hold: false,
        waiting: Vec::new(),
        disk: ConsumerSnapshot::default(),
        text: String::new(),
    };
    play.coordinator.set_topics(topics_of(&["a=4", "b=2"]));
    let lines = script.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let at: u64 = words.next().unwrap().parse().unwrap();
        play.advance(Duration::from_millis(at));
        let verb = words.next().unwrap();
        play.step(verb, &words.collect::<Vec<_>>());
        let wrong = invariants::violations(&play.coordinator);
        assert_eq!(wrong, Vec::<String>::new(), "after '{line}'");
    }
    play.text
}

impl Play {
    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{:>6} {line}", self.now.as_millis()).unwrap();
    }

    fn advance(&mut self, to: Duration) {
        while let Some(due) = self.coordinator.next_deadline().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            let actions = self.coordinator.tick(self.now);
            self.carry_out(actions);
        }
        self.now = to;
    }

    fn step(&mut self, verb: &str, words: &[&str]) {
        let name = words.first().copied().unwrap_or_default();
        let actions = match verb {
            "wait" => Vec::new(),
            "hold" => {
                self.hold = true;
                Vec::new()
            }
            "store" | "lose" => {
                self.hold = false;
                let mut actions = Vec::new();
                for (id, changes) in std::mem::take(&mut self.waiting) {
                    actions.extend(self.stored(id, changes, verb == "store"));
                }
                actions
            }
            "topics" => {
                self.coordinator.set_topics(topics_of(words));
                Vec::new()
            }
            "crash" => {
                let topics = Topics::clone(self.coordinator.topics());
                self.coordinator = Coordinator::new(self.coordinator.options().clone());
                self.coordinator.set_topics(topics);
                let disk = self.disk.clone();
                self.coordinator
                    .restore_consumer(self.now, &group(), disk)
                    .unwrap();
                Vec::new()
            }
            "show" => {
                let shown = self.show();
                self.say(format_args!("group is {shown}"));
                Vec::new()
            }
            "restart" => {
                let client = self.clients.entry(name.to_owned()).or_default();
                *client = Client {
                    instance: client.instance.take(),
                    incarnation: client.incarnation + 1,
                    ..Client::default()
                };
                Vec::new()
            }
            "classic" => self.classic(name),
            "delete" => {
                let begun = self.coordinator.begin_delete(self.now, &group());
                let answer = begun.map_or_else(|error| Self::error(&error), |_| "ok".to_owned());
                self.say(format_args!("delete: {answer}"));
                self.coordinator.end_delete(self.now, &group(), true)
            }
            "commit" | "fetch" => {
                let by = self.by(name, words);
                let answer = if verb == "commit" {
                    self.coordinator.may_commit(self.now, &by)
                } else {
                    self.coordinator.may_fetch(&by)
                };
                let answer = answer.map_or_else(|error| Self::error(&error), |()| "ok".to_owned());
                self.say(format_args!("{name} {verb}: {answer}"));
                Vec::new()
            }
            _ => self.heartbeat(verb, name, words),
        };
        self.carry_out(actions);
    }

    fn heartbeat(&mut self, verb: &str, name: &str, words: &[&str]) -> Vec<Action> {
        let has = |word: &str| words.contains(&word);
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let list = |text: &str| {
            let names = text.split(',').filter(|name| !name.is_empty());
            names.map(Arc::from).collect::<Vec<Arc<str>>>()
        };
        self.tickets.push(name.to_owned());
        let ticket = Ticket(u64::try_from(self.tickets.len() - 1).unwrap());
        let client = self.clients.entry(name.to_owned()).or_default();
        let joins = verb == "join";
        if joins {
            if client.member.is_empty() && !has("v0") {
                client.member = format!("{name}{}", "'".repeat(client.incarnation));
            }
            if has("static") {
                client.instance = Some(name.to_owned());
            }
            client.epoch = 0;
            client.told = Assignment::new();
            client.topics = Some(value("topics=").map_or_else(|| list("a"), list));
            client.regex = value("regex=").map(Arc::from);
        }
        client.deaf = has("lost");
        client.stuck = has("stuck");
        if !client.stuck {
            client.owned = client.told.clone();
        }
        let whole = joins || has("whole");
        let owned = Some(client.owned.clone());
        let owned = owned.filter(|owned| whole || client.said.as_ref() != Some(owned));
        client.said = owned.clone().or(client.said.take());
        let said_names = value("topics=").map(list);
        let said_regex = value("regex=").map(Arc::from);
        let request = ConsumerHeartbeat {
            group: group(),
            member: MemberId::new(&client.member),
            epoch: match verb {
                "leave" => LEAVES,
                "away" => LEAVES_FOR_NOW,
                _ => value("epoch=").map_or(client.epoch, |epoch| epoch.parse().unwrap()),
            },
            instance: client.instance.as_deref().map(Into::into),
            rack: None,
            client_id: name.into(),
            client_host: "host".into(),
            rebalance_timeout: whole.then(|| {
                Duration::from_millis(value("rebalance=").map_or(20_000, |v| v.parse().unwrap()))
            }),
            names: if whole {
                client.topics.clone()
            } else {
                said_names
            },
            regex: if whole {
                client.regex.clone()
            } else {
                said_regex
            },
            assignor: has("range").then(|| Assignor::Range.as_str().into()),
            owned,
            may_lack_id: has("v0"),
        };
        let random = [u8::try_from(ticket.0).unwrap(); 16];
        self.coordinator
            .consumer_heartbeat(self.now, ticket, &request, random)
    }

    fn classic(&mut self, name: &str) -> Vec<Action> {
        self.tickets.push(name.to_owned());
        let request = JoinRequest {
            group: group(),
            member: "".into(),
            instance: None,
            client_id: name.into(),
            client_host: "host".into(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(5),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol {
                name: "range".into(),
                metadata: bytes::Bytes::new(),
            }],
            member_id_required: false,
            may_skip_assignment: false,
        };
        let ticket = Ticket(u64::try_from(self.tickets.len() - 1).unwrap());
        self.coordinator.join(self.now, ticket, &request, [0; 16])
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerConsumer { ticket, result } => self.answered(ticket, result),
                Action::StoreConsumer { id, changes, .. } => {
                    if self.hold {
                        self.waiting.push((id, changes));
                    } else {
                        let more = self.stored(id, changes, true);
                        self.carry_out(more);
                    }
                }
                Action::AnswerJoin { ticket, result } => {
                    let name = self.tickets[usize::try_from(ticket.0).unwrap()].clone();
                    let answer = result.map_or_else(
                        |error| Self::error(&error),
                        |answer| format!("g{}", answer.generation),
                    );
                    self.say(format_args!("{name} joins the old way: {answer}"));
                }
                Action::AnswerSync { .. } => (),
                Action::Store { snapshot, .. } => {
                    let what = snapshot.map_or("gone", |_| "kept");
                    self.say(format_args!("* classic group is {what}"));
                }
                Action::Note(note) => self.note(&note),
            }
        }
    }

    fn stored(
        &mut self,
        id: StoreId,
        changes: groups::consumer::Changes,
        success: bool,
    ) -> Vec<Action> {
        if success {
            write(&mut self.disk, changes);
        }
        self.coordinator.stored(self.now, &group(), id, success)
    }

    fn answered(&mut self, ticket: Ticket, result: Result<ConsumerAnswer, Error>) {
        let name = self.tickets[usize::try_from(ticket.0).unwrap()].clone();
        let client = self.clients.get_mut(&name).unwrap();
        let line = match result {
            _ if client.deaf => "hears nothing".to_owned(),
            Ok(answer) => {
                answer.member.as_str().clone_into(&mut client.member);
                client.epoch = answer.epoch;
                let told = answer.assignment.as_ref();
                let line = told.map_or("as before".to_owned(), |a| format!("[{}]", text_of(a)));
                if let Some(mut assignment) = answer.assignment {
                    client.told = assignment.clone();
                    if client.stuck {
                        assignment.extend(client.owned.iter().collect::<Vec<_>>());
                    }
                    client.owned = assignment;
                }
                format!("e{} {line}", answer.epoch)
            }
            Err(error) => {
                if !matches!(error, Error::NotAvailable { .. }) {
                    client.told = Assignment::new();
                    client.said = None;
                }
                Self::error(&error)
            }
        };
        self.say(format_args!("{name}: {line}"));
    }

    fn note(&mut self, note: &Note) {
        let line = match note {
            Note::Rebalancing {
                generation, reason, ..
            } => format!("* g{}: {}", generation + 1, reason.as_str()),
            Note::Stable { generation, .. } => format!("* g{generation} is stable"),
            Note::Emptied { .. } => "* empty".to_owned(),
            Note::MemberRemoved { member, reason, .. } => {
                format!("* {member} removed: {}", reason.as_str())
            }
            Note::InstanceTakenOver { old, new, .. } => format!("* {new} is what was {old}"),
            Note::Forgotten { .. } => "* forgotten".to_owned(),
            Note::Joined { .. } => return,
        };
        self.say(format_args!("{line}"));
    }

    fn show(&self) -> String {
        let Some(group) = self.coordinator.describe_consumer(&group()) else {
            return "gone".to_owned();
        };
        let members = group.members.iter().map(|m| {
            let revoking = match text_of(&m.revoking) {
                none if none.is_empty() => none,
                some => format!(" back:{some}"),
            };
            format!(
                "{}@{}:{}{revoking}",
                m.member,
                m.epoch,
                text_of(&m.assigned)
            )
        });
        let members = members.collect::<Vec<_>>().join(", ");
        format!("{} g{} [{members}]", group.state, group.epoch)
    }

    fn by(&self, name: &str, words: &[&str]) -> MemberRef {
        let client = self.clients.get(name).cloned().unwrap_or(Client {
            epoch: -1,
            ..Client::default()
        });
        let epoch = words.iter().find_map(|word| word.strip_prefix("epoch="));
        MemberRef {
            group: group(),
            member: MemberId::new(&client.member),
            instance: client.instance.as_deref().map(Into::into),
            generation: epoch.map_or(client.epoch, |epoch| epoch.parse().unwrap()),
        }
    }

    /// The variant's name.
    fn error(error: &Error) -> String {
        let debug = format!("{error:?}");
        let name = debug.split([' ', '{']).next();
        name.unwrap_or_default().to_owned()
    }
}

/// What a disk does with changes.
pub(crate) fn write(disk: &mut ConsumerSnapshot, changes: groups::consumer::Changes) {
    if let Some(header) = changes.header {
        disk.header = header;
    }
    for (member, record) in changes.members {
        match record {
            Some(record) => disk.members.insert(member, record),
            None => disk.members.remove(&member),
        };
    }
}
