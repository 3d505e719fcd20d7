//! The coordinator of consumer groups: the `groups` state machine with a clock, timers, storage and
//! callers that wait.
//!
//! Read [`GroupCoordinator`]; what members of the second protocol call is in
//! `consumers`, how groups go in `deletion`. One lock guards the state machine; it is held for the time of one pure
//! step and never across an await. Two loops run beside the callers: one wakes the state machine when
//! something is due, one stores group states in `lantern.groups` and reports them stored.
//!
//! Invariants: an assignment is durable before any member gets it, so after a crash the group resumes
//! with the generation its members know; every call is answered or fails with
//! [`GroupError::Stopping`]; nothing here queues without bound (what waits is bounded by groups and
//! members).
//! Not here: the rules of rebalancing (`groups`), committed offsets (the [`Broker`](crate::Broker)
//! keeps them), Kafka's requests and codes (`kafka-edge`).

mod consumers;
mod deletion;
mod error;
mod events;
mod records;
mod stores;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use env::{DynClock, DynEntropy};
use groups::{
    Action, Coordinator, GroupDescription, GroupListing, GroupState, JoinAnswer, JoinRequest,
    LeaveResults, Leaving, ListedState, MemberRef, SyncAnswer, SyncRequest, Ticket,
    consumer::ConsumerAnswer,
};
use model::{GroupId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

pub use error::GroupError;
pub use groups::Options as CoordinatorOptions;

use crate::{Commit, Durability, DynBroker, table};
use events::Events;
pub(crate) use records::is_readable;
use stores::{Chunk, Stores};

/// Longest note a consumer may store with an offset, in bytes: Kafka's `offset.metadata.max.bytes`.
/// The edge refuses longer ones partition by partition.
pub const COMMIT_METADATA_BYTES_MAX: usize = 4_096;

/// Time between two attempts to read the groups back.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// Consumer groups as an edge uses them.
///
/// Made by [`new`](Self::new); answers [`GroupError::Loading`] until [`run`](Self::run), which somebody
/// must spawn, has read the groups back.
#[derive(Debug)]
pub struct GroupCoordinator {
    broker: DynBroker,
    clock: DynClock,
    entropy: DynEntropy,
    state: Mutex<State>,
    /// Something may be due earlier than planned.
    due: Notify,
    /// Something waits to be stored.
    unstored: Notify,
    events: Events,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    engine: Coordinator,
    joins: HashMap<Ticket, oneshot::Sender<Result<JoinAnswer, groups::Error>>>,
    syncs: HashMap<Ticket, oneshot::Sender<Result<SyncAnswer, groups::Error>>>,
    heartbeats: HashMap<Ticket, oneshot::Sender<Result<ConsumerAnswer, groups::Error>>>,
    next_ticket: u64,
    stores: Stores,
    told: consumers::Told,
    /// Commits on their way into the log, by group: their groups are in use.
    committing: BTreeMap<GroupId, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Loading,
    Serving,
    Stopped,
}

impl GroupCoordinator {
    /// A coordinator that stores its groups in `broker`. It serves once [`run`](Self::run) runs.
    pub fn new(
        broker: DynBroker,
        clock: DynClock,
        entropy: DynEntropy,
        options: CoordinatorOptions,
    ) -> Arc<Self> {
        let state = State {
            mode: Mode::Loading,
            engine: Coordinator::new(options),
            joins: HashMap::new(),
            syncs: HashMap::new(),
            heartbeats: HashMap::new(),
            next_ticket: 0,
            stores: Stores::default(),
            told: consumers::Told::default(),
            committing: BTreeMap::new(),
        };
        Arc::new(Self {
            broker,
            clock,
            entropy,
            state: Mutex::new(state),
            due: Notify::new(),
            unstored: Notify::new(),
            events: Events::new(),
        })
    }

    /// Reads the groups back, then keeps time and stores until `shutdown`. At the end what waits to
    /// be stored is stored, and every call that still waits fails with [`GroupError::Stopping`].
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            self.load().await;
            tokio::join!(
                self.keep_time(),
                self.keep_storing(),
                self.keep_forgetting()
            )
        };
        let _ = shutdown.run_until_cancelled(work).await;
        self.stop();
        self.store_waiting().await;
    }

    /// Shows the coordinator's numbers as `lantern_broker_group_*`.
    pub fn register(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        self.events.register(registry, Arc::downgrade(self));
    }

    /// Joins a group; ready when the rebalance this takes part in is over. That may take as long as
    /// the longest rebalance timeout in the group. Dropping the future does not undo the join.
    ///
    /// # Errors
    /// [`GroupError::Refused`] with what the member should do.
    pub async fn join(&self, request: JoinRequest) -> Result<JoinAnswer, GroupError> {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let answer = {
            let mut state = self.serving()?;
            let (ticket, answer) = (state.ticket(), oneshot::channel());
            state.joins.insert(ticket, answer.0);
            let actions = state
                .engine
                .join(self.clock.monotonic(), ticket, &request, random);
            self.carry_out(&mut state, actions);
            answer.1
        };
        Ok(answer.await.map_err(|_| GroupError::Stopping)??)
    }

    /// Asks for a member's assignment; ready when the leader's assignment is stored.
    ///
    /// # Errors
    /// [`GroupError::Refused`] with what the member should do.
    pub async fn sync(&self, request: SyncRequest) -> Result<SyncAnswer, GroupError> {
        let answer = {
            let mut state = self.serving()?;
            let (ticket, answer) = (state.ticket(), oneshot::channel());
            state.syncs.insert(ticket, answer.0);
            let actions = state.engine.sync(self.clock.monotonic(), ticket, request);
            self.carry_out(&mut state, actions);
            answer.1
        };
        Ok(answer.await.map_err(|_| GroupError::Stopping)??)
    }

    /// A member is alive.
    ///
    /// # Errors
    /// [`GroupError::Refused`] with what the member should do.
    pub fn heartbeat(&self, by: &MemberRef) -> Result<(), GroupError> {
        Ok(self
            .serving()?
            .engine
            .heartbeat(self.clock.monotonic(), by)?)
    }

    /// Members leave. One result for each, in the order asked.
    ///
    /// # Errors
    /// As a whole only when the group cannot be changed at all.
    pub fn leave(&self, group: &GroupId, leaving: &[Leaving]) -> Result<LeaveResults, GroupError> {
        let mut state = self.serving()?;
        let (results, actions) = state.engine.leave(self.clock.monotonic(), group, leaving)?;
        self.carry_out(&mut state, actions);
        Ok(results)
    }

    /// Commits offsets, if `by` may; durable when ready. Answers with the partitions that do not
    /// exist, for which nothing was stored.
    ///
    /// # Errors
    /// [`GroupError::Refused`] as of [`Coordinator::may_commit`], [`GroupError::Storage`].
    pub async fn commit(
        &self,
        by: &MemberRef,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> Result<Vec<TopicPartition>, GroupError> {
        let _in_use = self.begin_commit(by)?;
        let topics = self.broker.topics();
        let exists = |of: &TopicPartition| {
            topics
                .get(&of.topic)
                .is_some_and(|topic| of.partition.get() < topic.partitions)
        };
        let (known, unknown): (Vec<_>, Vec<_>) =
            commits.into_iter().partition(|(of, _)| exists(of));
        if !known.is_empty() {
            self.broker.commit(&by.group, known).await?;
        }
        Ok(unknown.into_iter().map(|(of, _)| of).collect())
    }

    /// Whether `by` may stage offsets in a transaction. One that names no member may, as it did
    /// before members were named in transactions.
    ///
    /// # Errors
    /// [`GroupError::Refused`] as of [`Coordinator::may_commit`].
    pub fn may_stage(&self, by: &MemberRef) -> Result<(), GroupError> {
        let mut state = self.serving()?;
        if by.generation < 0 && by.member.is_empty() && by.instance.is_none() {
            return Ok(());
        }
        Ok(state.engine.may_commit(self.clock.monotonic(), by)?)
    }

    /// What a group committed. `None` asks for every partition it ever committed. A group without
    /// commits answers with none.
    ///
    /// # Errors
    /// [`GroupError::Storage`].
    pub async fn committed(
        &self,
        group: &GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> Result<Vec<(TopicPartition, Option<Commit>)>, GroupError> {
        drop(self.serving()?);
        Ok(self.broker.committed(group, of).await?)
    }

    /// A group as it is. One that only committed offsets is empty and has no protocol type.
    ///
    /// # Errors
    /// [`groups::Error::UnknownGroup`] when it has neither members nor commits, or is of the second
    /// protocol (versions of Kafka's protocol that cannot say so show it as `Dead`).
    pub async fn describe(&self, group: &GroupId) -> Result<GroupDescription, GroupError> {
        let other = {
            let state = self.serving()?;
            if let Some(description) = state.engine.describe(group) {
                return Ok(description);
            }
            state.engine.describe_consumer(group).is_some()
        };
        if other || self.broker.committed(group, None).await?.is_empty() {
            return Err(groups::Error::UnknownGroup {
                group: group.clone(),
            }
            .into());
        }
        Ok(GroupDescription {
            group: group.clone(),
            state: GroupState::Empty,
            generation: 0,
            protocol_type: "".into(),
            protocol: "".into(),
            members: Vec::new(),
        })
    }

    /// All groups by id, with members or only with commits.
    ///
    /// # Errors
    /// [`GroupError::Storage`].
    pub async fn list(&self) -> Result<Vec<GroupListing>, GroupError> {
        let mut listings = self.serving()?.engine.list();
        let known: BTreeSet<_> = listings
            .iter()
            .map(|listing| listing.group.clone())
            .collect();
        let committed = self.broker.committed_groups().await?;
        let others = committed.into_iter().filter(|group| !known.contains(group));
        listings.extend(others.map(|group| GroupListing {
            group,
            protocol_type: "".into(),
            state: ListedState::Classic(GroupState::Empty),
            members: 0,
        }));
        listings.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(listings)
    }

    /// How many groups are in each state, and how many members they have in total.
    pub fn census(&self) -> (BTreeMap<ListedState, usize>, usize) {
        self.state.lock().engine.census()
    }

    /// Groups with members or a state, by id: what is known without asking for commits.
    pub(super) fn engine_list(&self) -> Vec<GroupListing> {
        self.state.lock().engine.list()
    }

    /// Whether groups are read back and calls are served.
    pub fn is_ready(&self) -> bool {
        self.state.lock().mode == Mode::Serving
    }

    fn serving(&self) -> Result<parking_lot::MutexGuard<'_, State>, GroupError> {
        let state = self.state.lock();
        match state.mode {
            Mode::Loading => Err(GroupError::Loading),
            Mode::Serving => Ok(state),
            Mode::Stopped => Err(GroupError::Stopping),
        }
    }

    /// From here on every call fails, and those that wait do so too: their senders are gone.
    fn stop(&self) {
        let mut state = self.state.lock();
        state.mode = Mode::Stopped;
        state.joins.clear();
        state.syncs.clear();
        state.heartbeats.clear();
    }

    fn carry_out(&self, state: &mut State, actions: Vec<Action>) {
        for action in actions {
            match action {
                // A caller that no longer waits has lost its connection; the member will be missed
                // in time like any other that falls silent.
                Action::AnswerJoin { ticket, result } => {
                    if let Some(caller) = state.joins.remove(&ticket) {
                        drop(caller.send(result));
                    }
                }
                Action::AnswerSync { ticket, result } => {
                    if let Some(caller) = state.syncs.remove(&ticket) {
                        drop(caller.send(result));
                    }
                }
                Action::AnswerConsumer { ticket, result } => {
                    if let Some(caller) = state.heartbeats.remove(&ticket) {
                        drop(caller.send(result));
                    }
                }
                Action::StoreConsumer { id, group, changes } => {
                    state.stores.push_changes(group, id, changes);
                    self.unstored.notify_one();
                }
                Action::Store {
                    id,
                    group,
                    snapshot,
                } => {
                    state.stores.push(group, id, snapshot.as_ref());
                    self.unstored.notify_one();
                }
                Action::Note(note) => self.events.note(&note),
            }
        }
        self.due.notify_one();
    }

    async fn load(&self) {
        let started = self.clock.monotonic();
        let (loaded, unreadable) = loop {
            match records::load(&*self.broker).await {
                Ok(loaded) => break loaded,
                Err(error) => events::load_failed(&error),
            }
            tokio::time::sleep(LOAD_RETRY).await;
        };
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        self.tell_topics(&mut state);
        let mut too_many = 0;
        for (group, stored) in loaded.consumers {
            let restored = state.engine.restore_consumer(now, &group, stored);
            too_many += usize::from(restored.is_err());
        }
        for (group, snapshot) in loaded.groups {
            too_many += usize::from(state.engine.restore(now, &group, snapshot).is_err());
        }
        state.mode = Mode::Serving;
        let (groups, members) = state.engine.census();
        drop(state);
        events::loaded(groups.values().sum(), members, now.saturating_sub(started));
        events::passed_over(unreadable, too_many);
    }

    async fn keep_time(&self) {
        loop {
            let deadline = self.state.lock().engine.next_deadline();
            let sleep = async {
                match deadline {
                    Some(at) => {
                        tokio::time::sleep(at.saturating_sub(self.clock.monotonic())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Either order is right; a fixed one repeats itself.
                biased;
                () = sleep => {
                    let mut state = self.state.lock();
                    let actions = state.engine.tick(self.clock.monotonic());
                    if !actions.is_empty() {
                        self.carry_out(&mut state, actions);
                    }
                }
                () = self.due.notified() => (),
            }
        }
    }

    async fn keep_storing(&self) {
        loop {
            self.unstored.notified().await;
            self.store_waiting().await;
        }
    }

    async fn store_waiting(&self) {
        let chunks = self.state.lock().stores.take(self.clock.now());
        for chunk in chunks {
            self.store_chunk(chunk).await;
        }
    }

    async fn store_chunk(&self, Chunk { batch, stored }: Chunk) {
        let started = self.clock.monotonic();
        let to = table::partition();
        let result = self
            .broker
            .append(&to, vec![batch], Durability::Flushed)
            .await;
        let now = self.clock.monotonic();
        match &result {
            Ok(_) => self
                .events
                .stored(stored.len(), now.saturating_sub(started)),
            Err(error) => self.events.store_failed(stored.len(), error),
        }
        let success = result.is_ok();
        let mut state = self.state.lock();
        for (group, waiting) in stored {
            for id in waiting.ids {
                let actions = state.engine.stored(now, &group, id, success);
                self.carry_out(&mut state, actions);
            }
            for caller in waiting.told {
                let _ = caller.send(success);
            }
        }
    }
}

impl State {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

#[cfg(test)]
mod tests;
