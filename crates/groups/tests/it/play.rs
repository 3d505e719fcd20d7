//! Plays a script of clients against a coordinator and writes down what they see.
//!
//! One step a line: `MILLIS VERB CLIENT [key=value | word]…`; before each step the coordinator's
//! timers run up to that time. Verbs: `join` (words: `static`, `v3` for one-step joins, `v9` for skip
//! assignment; `speaks=a,b`, `session=MS`, `rebalance=MS`, `type=…`), `sync`, `beat`, `commit`,
//! `leave`, `restart` (the client forgets its member id), `hold`/`store`/`lose` (stores wait, then
//! succeed or fail), `wait`, `show`, `crash` (the coordinator is rebuilt from what was stored).
//! Client names stand for member ids: `a`, after a restart `a'`, and so on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use groups::{
    Action, Coordinator, Error, JoinRequest, Leaving, MemberId, MemberRef, Note, Options, Protocol,
    Snapshot, StoreId, SyncRequest, Ticket, invariants,
};
use model::GroupId;

#[derive(Debug, Default, Clone)]
struct Client {
    member: String,
    instance: Option<String>,
    generation: i32,
    /// Whom to assign to, when it leads.
    leads: Option<Vec<MemberId>>,
    incarnation: usize,
}

struct Play {
    coordinator: Coordinator,
    now: Duration,
    clients: BTreeMap<String, Client>,
    /// Names of member ids for the text.
    names: BTreeMap<String, String>,
    tickets: Vec<String>,
    hold: bool,
    /// What is not stored yet, oldest first.
    waiting: Vec<(StoreId, Option<Snapshot>)>,
    saved: Option<Snapshot>,
    text: String,
}

fn group() -> GroupId {
    "g".parse().unwrap()
}

fn play(options: Options) -> Play {
    Play {
        coordinator: Coordinator::new(options),
        now: Duration::ZERO,
        clients: BTreeMap::new(),
        names: BTreeMap::new(),
        tickets: Vec::new(),
        hold: false,
        waiting: Vec::new(),
        saved: None,
        text: String::new(),
    }
}

/// Plays `script` with the default options and answers what happened, line by line.
pub(crate) fn run(script: &str) -> String {
    run_with(Options::default(), script)
}

pub(crate) fn run_with(options: Options, script: &str) -> String {
    let mut play = play(options);
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let mut words = line.split_whitespace();
        let at: u64 = words.next().unwrap().parse().unwrap();
        play.advance(Duration::from_millis(at));
        let verb = words.next().unwrap();
        let client = words.next().unwrap_or_default();
        play.step(verb, client, &words.collect::<Vec<_>>());
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

    fn step(&mut self, verb: &str, name: &str, words: &[&str]) {
        let has = |word: &str| words.contains(&word);
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        let actions = match verb {
            "wait" => Vec::new(),
            "hold" => {
                self.hold = true;
                Vec::new()
            }
            "store" | "lose" => {
                self.hold = false;
                let mut actions = Vec::new();
                for (id, snapshot) in std::mem::take(&mut self.waiting) {
                    actions.extend(self.stored(id, snapshot, verb == "store"));
                }
                actions
            }
            "crash" => {
                self.coordinator = Coordinator::new(self.coordinator.options().clone());
                if let Some(saved) = self.saved.clone() {
                    self.coordinator.restore(self.now, &group(), saved).unwrap();
                }
                Vec::new()
            }
            "show" => {
                let shown = self.show();
                self.say(format_args!("group is {shown}"));
                Vec::new()
            }
            "restart" => {
                let client = self.clients.entry(name.to_owned()).or_default();
                client.member.clear();
                client.incarnation += 1;
                Vec::new()
            }
            "join" => {
                let ticket = self.ticket(name);
                let client = self.clients.entry(name.to_owned()).or_default();
                if has("static") {
                    client.instance = Some(name.to_owned());
                }
                let number = |key, default: u64| {
                    Duration::from_millis(value(key).map_or(default, |v| v.parse().unwrap()))
                };
                let request = JoinRequest {
                    group: group(),
                    member: MemberId::new(&client.member),
                    instance: client.instance.as_deref().map(Into::into),
                    client_id: name.into(),
                    client_host: "host".into(),
                    session_timeout: number("session=", 10_000),
                    rebalance_timeout: number("rebalance=", 5_000),
                    protocol_type: value("type=").unwrap_or("consumer").into(),
                    protocols: protocols(value("speaks=").unwrap_or("range")),
                    member_id_required: !has("v3"),
                    may_skip_assignment: has("v9"),
                };
                let random = [u8::try_from(self.tickets.len()).unwrap(); 16];
                self.coordinator.join(self.now, ticket, &request, random)
            }
            "sync" => {
                let ticket = self.ticket(name);
                let by = self.by(name);
                let leads = self.clients[name].leads.clone().unwrap_or_default();
                let work = |id: &MemberId| {
                    let work = format!("{} in g{}", self.names[id.as_str()], by.generation);
                    (id.clone(), Bytes::from(work))
                };
                let assignments = leads.iter().map(work).collect();
                let request = SyncRequest {
                    by,
                    protocol_type: None,
                    protocol: None,
                    assignments,
                };
                self.coordinator.sync(self.now, ticket, request)
            }
            "beat" | "commit" => {
                let by = self.by(name);
                let answer = if verb == "beat" {
                    self.coordinator.heartbeat(self.now, &by)
                } else {
                    self.coordinator.may_commit(self.now, &by)
                };
                let answer = answer.map_or_else(|error| Self::error(&error), |()| "ok".to_owned());
                self.say(format_args!("{name} {verb}: {answer}"));
                Vec::new()
            }
            "leave" => {
                let client = &self.clients[name];
                let one = Leaving {
                    member: MemberId::new(if has("by-instance") {
                        ""
                    } else {
                        &client.member
                    }),
                    instance: client.instance.as_deref().map(Into::into),
                };
                let (results, actions) =
                    self.coordinator.leave(self.now, &group(), &[one]).unwrap();
                for result in results {
                    let answer =
                        result.map_or_else(|error| Self::error(&error), |()| "ok".to_owned());
                    self.say(format_args!("{name} leave: {answer}"));
                }
                actions
            }
            other => panic!("no verb '{other}'"),
        };
        self.carry_out(actions);
        assert_eq!(
            invariants::violations(&self.coordinator),
            Vec::<String>::new()
        );
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AnswerJoin { ticket, result } => self.joined(ticket, result),
                Action::AnswerSync { ticket, result } => {
                    let name = self.tickets[usize::try_from(ticket.0).unwrap()].clone();
                    let answer = match result {
                        Ok(answer) => {
                            format!("works on '{}'", String::from_utf8_lossy(&answer.assignment))
                        }
                        Err(error) => Self::error(&error),
                    };
                    self.say(format_args!("{name} sync: {answer}"));
                }
                Action::Store { id, snapshot, .. } => {
                    if self.hold {
                        self.waiting.push((id, snapshot));
                    } else {
                        let more = self.stored(id, snapshot, true);
                        self.carry_out(more);
                    }
                }
                Action::Note(note) => self.note(&note),
                Action::AnswerConsumer { .. } | Action::StoreConsumer { .. } => {
                    panic!("a classic group took the other protocol")
                }
            }
        }
    }

    fn stored(&mut self, id: StoreId, snapshot: Option<Snapshot>, success: bool) -> Vec<Action> {
        if success {
            self.saved = snapshot;
        }
        self.coordinator.stored(self.now, &group(), id, success)
    }

    fn joined(&mut self, ticket: Ticket, result: Result<groups::JoinAnswer, Error>) {
        let name = self.tickets[usize::try_from(ticket.0).unwrap()].clone();
        let client = self.clients.get_mut(&name).unwrap();
        let own = format!("{name}{}", "'".repeat(client.incarnation));
        match result {
            Ok(answer) => {
                answer.member.as_str().clone_into(&mut client.member);
                client.generation = answer.generation;
                self.names.insert(client.member.clone(), own);
                let leads = answer.leader == answer.member && !answer.skip_assignment;
                client.leads =
                    leads.then(|| answer.members.iter().map(|m| m.member.clone()).collect());
                let place = if answer.leader == answer.member {
                    // Members that were never told their name yet are known by their client.
                    let names = answer.members.iter().map(|m| self.name(&m.member));
                    let names = names.collect::<Vec<_>>().join(" ");
                    let skip = if answer.skip_assignment {
                        ", need not assign"
                    } else {
                        ""
                    };
                    format!("leads [{names}]{skip}")
                } else {
                    format!("follows {}", self.name(&answer.leader))
                };
                for joined in answer.members {
                    let known = self.name(&joined.member);
                    self.names.insert(joined.member.as_str().to_owned(), known);
                }
                let (generation, protocol) = (answer.generation, answer.protocol);
                self.say(format_args!(
                    "{name} join: g{generation} {protocol}, {place}"
                ));
            }
            Err(error) => {
                if let Error::MemberIdRequired { member } = &error {
                    member.as_str().clone_into(&mut client.member);
                    self.names.insert(client.member.clone(), own);
                }
                let error = Self::error(&error);
                self.say(format_args!("{name} join: {error}"));
            }
        }
    }

    fn note(&mut self, note: &Note) {
        let line = match note {
            Note::Rebalancing {
                generation, reason, ..
            } => {
                format!("* rebalancing g{generation}: {}", reason.as_str())
            }
            Note::Joined {
                generation,
                members,
                ..
            } => format!("* g{generation} of {members}"),
            Note::Stable { generation, .. } => format!("* g{generation} is stable"),
            Note::Emptied { generation, .. } => format!("* g{generation} is empty"),
            Note::MemberRemoved { member, reason, .. } => {
                format!("* {} removed: {}", self.name(member), reason.as_str())
            }
            Note::InstanceTakenOver { old, .. } => format!("* {} is fenced", self.name(old)),
            Note::Forgotten { .. } => "* forgotten".to_owned(),
        };
        self.say(format_args!("{line}"));
    }

    fn show(&self) -> String {
        let Some(description) = self.coordinator.describe(&group()) else {
            return "gone".to_owned();
        };
        let members = description.members.iter().map(|m| {
            let assigned = String::from_utf8_lossy(&m.assignment).into_owned();
            format!("{}='{assigned}'", self.name(&m.member))
        });
        let members = members.collect::<Vec<_>>().join(" ");
        format!(
            "{} g{} [{members}]",
            description.state, description.generation
        )
    }

    fn ticket(&mut self, name: &str) -> Ticket {
        self.tickets.push(name.to_owned());
        Ticket(u64::try_from(self.tickets.len() - 1).unwrap())
    }

    fn by(&self, name: &str) -> MemberRef {
        let nobody = Client {
            generation: -1,
            ..Client::default()
        };
        let client = self.clients.get(name).unwrap_or(&nobody);
        MemberRef {
            group: group(),
            member: MemberId::new(&client.member),
            instance: client.instance.as_deref().map(Into::into),
            generation: client.generation,
        }
    }

    fn name(&self, id: &MemberId) -> String {
        let first = id.as_str().split('-').next().unwrap_or_default();
        self.names
            .get(id.as_str())
            .cloned()
            .unwrap_or_else(|| first.to_owned())
    }

    /// The variant's name.
    fn error(error: &Error) -> String {
        let debug = format!("{error:?}");
        debug
            .split([' ', '{'])
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}

fn protocols(spoken: &str) -> Vec<Protocol> {
    let protocol = |name: &str| {
        let (name, metadata) = name.split_once(':').unwrap_or((name, "m"));
        Protocol {
            name: name.into(),
            metadata: Bytes::copy_from_slice(metadata.as_bytes()),
        }
    };
    spoken.split(',').map(protocol).collect()
}
