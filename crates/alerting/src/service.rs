//! The engine: waits for what is due, has it evaluated, makes the results durable, shows them.
//!
//! One task owns all groups and the time; a group goes out to be evaluated (on a thread for blocking
//! work) and comes home with its outcome written. While it is out nothing else touches it, and new rules
//! are taken when all are home. A transition that cannot be written keeps its group out, trying again:
//! nothing about it is told before it is durable, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use broker::DynBroker;
use env::DynClock;
use ingest::{Origin, Progress, Subscription};
use model::Timestamp;
use series::{Store, Touched, WatchId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::group::{Due, Group, Outcome, Why};
use crate::handle::{Handle, Load, Shared};
use crate::record::{self, AlertRecord};
use crate::restore::Restored;
use crate::rule::{Rule, World};
use crate::spec::GroupSpec;
use crate::{Options, webhook};

/// Groups evaluated at the same time.
const EVALUATIONS_MAX: usize = 2;

/// Results of rules evaluate rules of other groups early, which again have results: so far at most,
/// so that rules which depend on each other in a circle come to rest until the next tick.
const HOPS_MAX: u8 = 4;

/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// What the service works with.
#[derive(Debug)]
pub struct Inputs {
    /// Where transitions and results are made durable.
    pub broker: DynBroker,
    /// What expressions read, and results are put into.
    pub store: Arc<Store>,
    /// The time.
    pub clock: DynClock,
    /// Hears of arriving samples.
    pub touches: Subscription,
    /// Says when the store holds what was there before the start: rules wait for it.
    pub replayed: watch::Receiver<Progress>,
}

/// Runs rules and webhooks.
#[derive(Debug)]
pub struct Service {
    inputs: Inputs,
    shared: Arc<Shared>,
}

impl Service {
    /// A service without rules. `lantern.alerts` must exist: [`crate::ensure_alerts_topic`].
    pub fn new(options: Options, inputs: Inputs) -> Self {
        Self {
            inputs,
            shared: Arc::new(Shared::new(options)),
        }
    }

    /// A handle on it, for as long as one likes.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Goes on with the alerts of the last run, then evaluates and notifies until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { inputs, shared } = self;
        let webhooks = webhook::start(&shared, &inputs.broker, &inputs.clock, &shutdown);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = evaluate(inputs, shared) => {}
        }
        webhook::drain(webhooks).await;
    }
}

async fn evaluate(mut inputs: Inputs, shared: Arc<Shared>) {
    if inputs
        .replayed
        .wait_for(|progress| progress.replayed)
        .await
        .is_err()
    {
        return;
    }
    let restored = loop {
        match Restored::read(&inputs.broker, None).await {
            Ok((restored, _)) => break restored,
            Err(error) => {
                warn!(%error, "Alerts of the last run cannot be read; trying again.");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let world = Arc::new(World {
        store: Arc::clone(&inputs.store),
        external_url: shared.options.external_url.clone(),
        external_labels: shared.options.external_labels.clone(),
        repeat: shared.options.repeat_interval,
    });
    let engine = Engine {
        shared,
        broker: inputs.broker,
        clock: inputs.clock,
        world,
        turns: Arc::new(Semaphore::new(EVALUATIONS_MAX)),
        generation: 0,
        slots: Vec::new(),
        owners: Vec::new(),
        restored,
        out: JoinSet::new(),
    };
    engine.run(inputs.touches).await;
}

/// A group's place.
struct Slot {
    spec: Arc<GroupSpec>,
    /// `None` while it is out.
    home: Option<Box<Group>>,
    due: Due,
    /// What touched it since its last evaluation.
    touched: Touched,
    /// Over how many results of rules that came.
    hops: u8,
}

/// A group that comes home, or only results that were written.
struct Done {
    group: Option<(usize, u8, Why, Box<Group>, Outcome)>,
}

struct Engine {
    shared: Arc<Shared>,
    broker: DynBroker,
    clock: DynClock,
    world: Arc<World>,
    turns: Arc<Semaphore>,
    generation: u64,
    slots: Vec<Slot>,
    /// The slot of each watch, by its number.
    owners: Vec<Option<usize>>,
    restored: Restored,
    out: JoinSet<Done>,
}

impl Engine {
    async fn run(mut self, mut touches: Subscription) {
        loop {
            self.renew_lost();
            let loading = self.adopt_when_home();
            let now = self.clock.now();
            let wake = if loading { None } else { self.send_out(now) };
            let sleep = wake.map_or(Duration::from_hours(1), |wake| wake.since(now));
            tokio::select! {
                () = self.shared.bell.notified() => {}
                touched = touches.touched() => self.touch(touched.iter(), None, 0),
                Some(done) = self.out.join_next(), if !self.out.is_empty() => match done {
                    Ok(done) => self.come_home(done),
                    Err(error) => {
                        error!(%error, "An evaluation ended by a panic; its group begins anew.");
                    }
                },
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Takes new rules if there are any and all groups are home. Whether some wait.
    fn adopt_when_home(&mut self) -> bool {
        let mut inbox = self.shared.inbox.lock();
        if inbox.is_none() {
            return false;
        }
        if self.slots.iter().any(|slot| slot.home.is_none()) {
            return true;
        }
        let load = inbox.take();
        drop(inbox);
        if let Some(load) = load {
            self.adopt(&load);
        }
        false
    }

    fn adopt(&mut self, load: &Load) {
        let now = self.clock.now();
        let mut old: Vec<Slot> = std::mem::take(&mut self.slots);
        let mut ended = Outcome::default();
        for spec in &load.groups {
            let known = old
                .iter()
                .position(|slot| slot.spec.is(spec))
                .map(|at| old.remove(at));
            let group = match known.and_then(|slot| slot.home) {
                Some(group) if group.spec.same_as(spec) => group,
                Some(group) => Box::new(self.replace(*group, spec, now, &mut ended)),
                None => Box::new(self.begin(spec, now)),
            };
            self.slots.push(Slot {
                spec: Arc::clone(spec),
                due: group.due(),
                home: Some(group),
                touched: Touched::new(),
                hops: 0,
            });
        }
        for mut group in old.into_iter().filter_map(|slot| slot.home) {
            let keep = vec![!load.complete; group.rules.len()];
            add(&mut ended, group.retire(now, &self.world, &keep));
        }
        if load.complete {
            ended.records.extend(self.restored.end(now));
        }
        self.generation = load.generation;
        self.owners.clear();
        for (index, slot) in self.slots.iter().enumerate() {
            let rules = slot.home.iter().flat_map(|group| &group.rules);
            for watch in rules.flat_map(Rule::watches) {
                if self.owners.len() <= watch.index() {
                    self.owners.resize(watch.index() + 1, None);
                }
                self.owners[watch.index()] = Some(index);
            }
        }
        for index in 0..self.slots.len() {
            self.show(index);
        }
        self.show_alerts();
        if !ended.records.is_empty() || !ended.samples.is_empty() {
            self.write_out(ended);
        }
        info!(groups = self.slots.len(), "Rules are in force.");
    }

    /// A group that is new, with what an earlier run left of its rules.
    fn begin(&mut self, spec: &Arc<GroupSpec>, now: Timestamp) -> Group {
        let mut group = Group::new(spec, &self.world.store, now);
        for rule in &mut group.rules {
            let alerts = self.restored.claim(&rule.spec.id, &self.world.store, now);
            if !alerts.is_empty() {
                rule.restore(alerts);
            }
        }
        group.settle(self.world.repeat);
        group
    }

    /// A group that changed, with what its rules had.
    fn replace(
        &mut self,
        mut old: Group,
        spec: &Arc<GroupSpec>,
        now: Timestamp,
        ended: &mut Outcome,
    ) -> Group {
        let mut group = self.begin(spec, now);
        let mut kept = vec![false; old.rules.len()];
        for rule in &mut group.rules {
            if let Some(at) = old.rules.iter().position(|old| old.spec.id == rule.spec.id) {
                rule.inherit(&mut old.rules[at]);
                kept[at] = true;
            }
        }
        add(ended, old.retire(now, &self.world, &kept));
        group.settle(self.world.repeat);
        group
    }

    /// Marks the groups whose watches these are, except `from`.
    fn touch(&mut self, watches: impl Iterator<Item = WatchId>, from: Option<usize>, hops: u8) {
        for watch in watches {
            let Some(Some(index)) = self.owners.get(watch.index()).copied() else {
                continue;
            };
            let slot = &mut self.slots[index];
            if slot.spec.early && from != Some(index) {
                slot.hops = if slot.touched.is_empty() {
                    hops
                } else {
                    slot.hops.min(hops)
                };
                slot.touched.insert(watch);
            }
        }
    }

    /// Sends out every group that is due; answers when the next one will be.
    fn send_out(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake: Option<Timestamp> = None;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(group) = &mut slot.home else {
                continue;
            };
            group.realign(now);
            slot.due = group.due();
            let Due {
                tick,
                deadline,
                early_from,
            } = slot.due;
            let touched = (!slot.touched.is_empty()).then_some(early_from);
            let early = touched
                .into_iter()
                .chain(deadline.filter(|_| slot.spec.early))
                .min();
            if tick <= now || early.is_some_and(|at| at <= now) {
                let touched = std::mem::take(&mut slot.touched);
                let hops = std::mem::take(&mut slot.hops);
                let why = if tick <= now {
                    Why::Tick
                } else {
                    Why::Part(touched)
                };
                if let Some(group) = slot.home.take() {
                    self.evaluate_out(index, hops, why, group);
                }
            } else {
                let next = early.map_or(tick, |at| at.min(tick));
                wake = Some(wake.map_or(next, |wake| wake.min(next)));
            }
        }
        wake
    }

    fn evaluate_out(&mut self, index: usize, hops: u8, why: Why, mut group: Box<Group>) {
        let (world, turns) = (Arc::clone(&self.world), Arc::clone(&self.turns));
        let (broker, clock) = (DynBroker::clone(&self.broker), DynClock::clone(&self.clock));
        let shared = Arc::clone(&self.shared);
        self.out.spawn(async move {
            // Never closed.
            let turn = turns.acquire_owned().await;
            let evaluated = tokio::task::spawn_blocking(move || {
                let outcome = group.evaluate(&why, clock.now(), &world);
                drop(turn);
                (why, group, outcome)
            });
            match evaluated.await {
                Ok((why, group, mut outcome)) => {
                    shared.metrics.pass(&why, &outcome);
                    write(&broker, &shared, &mut outcome).await;
                    Done {
                        group: Some((index, hops, why, group, outcome)),
                    }
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
    }

    /// Makes results durable that belong to no group any more.
    fn write_out(&mut self, mut outcome: Outcome) {
        let (broker, shared) = (DynBroker::clone(&self.broker), Arc::clone(&self.shared));
        self.out.spawn(async move {
            write(&broker, &shared, &mut outcome).await;
            Done { group: None }
        });
    }

    fn come_home(&mut self, done: Done) {
        let Some((index, hops, why, group, outcome)) = done.group else {
            return;
        };
        let changed = !outcome.records.is_empty();
        self.slots[index].due = group.due();
        self.slots[index].home = Some(group);
        self.show(index);
        if changed || why == Why::Tick {
            self.show_alerts();
        }
        if hops < HOPS_MAX {
            self.touch(outcome.touched.iter(), Some(index), hops + 1);
        }
    }

    /// Builds groups anew that did not come home, which shows when nobody is out.
    fn renew_lost(&mut self) {
        if !self.out.is_empty() {
            return;
        }
        let now = self.clock.now();
        for index in 0..self.slots.len() {
            if self.slots[index].home.is_none() {
                let spec = Arc::clone(&self.slots[index].spec);
                self.slots[index].home = Some(Box::new(self.begin(&spec, now)));
            }
        }
    }

    /// Shows how a group stands, unless other rules were loaded meanwhile.
    fn show(&self, index: usize) {
        let mut in_force = self.shared.in_force.write();
        if in_force.generation == self.generation
            && let (Some(place), Some(group)) =
                (in_force.groups.get_mut(index), &self.slots[index].home)
        {
            *place = Arc::new(group.status());
        }
    }

    fn show_alerts(&self) {
        let in_force = self.shared.in_force.read();
        let rules = in_force.groups.iter().flat_map(|group| &group.rules);
        let alerts: Vec<_> = rules.flat_map(|rule| rule.alerts.iter().cloned()).collect();
        drop(in_force);
        self.shared.metrics.alerts(&alerts);
        self.shared.alerts.send_if_modified(|shown| {
            let changed = **shown != alerts;
            if changed {
                *shown = Arc::new(alerts);
            }
            changed
        });
    }
}

fn add(all: &mut Outcome, more: Outcome) {
    all.records.extend(more.records);
    all.samples.extend(more.samples);
}

/// Makes an outcome durable. Transitions are tried until they are; samples once, since the next tick
/// has them again.
async fn write(broker: &DynBroker, shared: &Shared, outcome: &mut Outcome) {
    let samples = async {
        if let Err(error) = ingest::write(broker, &outcome.samples, Origin::Rules).await {
            shared.metrics.unwritten();
            warn!(%error, "Results of rules are in memory and not in the log.");
        }
    };
    tokio::join!(write_records(broker, shared, &outcome.records), samples);
}

async fn write_records(broker: &DynBroker, shared: &Shared, records: &[AlertRecord]) {
    if records.is_empty() {
        return;
    }
    loop {
        match record::append(broker, records).await {
            Ok(()) => return shared.metrics.recorded(records.len()),
            Err(error) => {
                shared.metrics.unwritten();
                error!(%error, "Transitions of alerts cannot be written; trying again.");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
