//! The coordinator of transactions: the `transactions` state machine with a clock, storage, and
//! callers.
//!
//! Read [`TransactionCoordinator`]. Each transactional id has a lock of its own, held over the whole
//! of a call: states are stored in `lantern.groups` before anybody acts on them, in this order:
//!
//! ```text
//!  let in:  store "open, with these partitions" ──> enlist the producer there ──> answer
//!  end:     store "ending, by this outcome" ──> markers, and progress settled ──> store "ended" ──> answer
//! ```
//! A kill between two steps changes nothing that was said: a start enlists what is open, and goes on
//! ending what is being ended. Calls run to their end also when their caller goes away.
//!
//! Invariants: an outcome is durable before the first marker, so all markers agree; the id's next
//! transaction begins after the last marker; a transaction that no state tells of (its record was lost)
//! is aborted at the start, so nothing hangs.
//! Not here: who may do what (`transactions`), logs and progress ([`TransactionalLog`]), Kafka's
//! requests (`kafka-edge`).

mod entry;
mod error;
mod events;
mod records;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use env::DynClock;
use model::{GroupId, Outcome, Producer, TopicPartition};
use tokio_util::sync::CancellationToken;
use transactions::{Begin, End, Phase, Transaction, TransactionalId};

pub use error::TransactionError;
pub use transactions::{Init, Options as TransactionOptions};

use crate::{Commit, Durability, DynBroker, Error, TransactionalLog, table};
use events::Events;
use records::Loaded;
use slots::{Held, Slots};

/// Time between two looks for transactions whose time is over, or that could not be ended.
const TICK: Duration = Duration::from_millis(500);

/// Ticks between two looks for ids that nobody uses any more.
const FORGET_TICKS: u32 = 120;

/// Time between two attempts to read transactions back.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// Transactions as an edge uses them.
///
/// Made by [`new`](Self::new); answers [`TransactionError::Loading`] until [`run`](Self::run), which
/// somebody must spawn, has read them back.
#[derive(Debug)]
pub struct TransactionCoordinator {
    broker: DynBroker,
    clock: DynClock,
    options: TransactionOptions,
    slots: Slots,
    events: Events,
}

impl TransactionCoordinator {
    /// A coordinator that stores in `broker`. It serves once [`run`](Self::run) runs.
    pub fn new(broker: DynBroker, clock: DynClock, options: TransactionOptions) -> Arc<Self> {
        Arc::new(Self {
            slots: Slots::new(options.ids_max),
            broker,
            clock,
            options,
            events: Events::default(),
        })
    }

    /// Reads transactions back, then aborts those whose time is over, until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            while let Err(error) = self.load().await {
                events::load_failed(&error);
                tokio::time::sleep(LOAD_RETRY).await;
            }
            let mut ticks: u32 = 0;
            loop {
                tokio::time::sleep(TICK).await;
                self.tick().await;
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(FORGET_TICKS) {
                    self.forget_unused().await;
                }
            }
        };
        shutdown.run_until_cancelled(work).await;
        self.slots.stop();
    }

    /// Shows the coordinator's numbers as `lantern_broker_transaction_*`.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.events.register(registry);
    }

    /// Whether transactions are read back and calls are served.
    pub fn is_ready(&self) -> bool {
        self.slots.check().is_ok()
    }

    /// The limits it keeps.
    pub fn options(&self) -> &TransactionOptions {
        &self.options
    }

    /// A producer of `id` begins: fences every earlier one and aborts what it left open.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] by the rules of [`Transaction::init`].
    pub async fn init(
        self: &Arc<Self>,
        id: &TransactionalId,
        ask: Init,
    ) -> Result<Producer, TransactionError> {
        let (this, id) = (Arc::clone(self), id.clone());
        whole(async move { this.init_whole(&id, ask).await }).await
    }

    async fn init_whole(
        &self,
        id: &TransactionalId,
        ask: Init,
    ) -> Result<Producer, TransactionError> {
        let mut held = self.slots.hold_or_make(id).await?;
        loop {
            let current = held.transaction();
            let fresh = if Transaction::needs_id(current) {
                Some(self.broker.new_producer_id().await?)
            } else {
                None
            };
            let now = self.clock.now();
            match Transaction::init(current, now, &ask, fresh, &self.options)? {
                Begin::Again(producer) => return Ok(producer),
                Begin::Store(next) => {
                    let producer = next.producer();
                    self.store(&mut held, next).await?;
                    return Ok(producer);
                }
                Begin::AbortFirst(next) => {
                    self.events.taken_over(id, &next);
                    self.store(&mut held, next).await?;
                    if !self.finish(&mut held).await {
                        return Err(transactions::Error::Busy.into());
                    }
                }
            }
        }
    }

    /// Stores offsets of `group` that count when the transaction is committed; durable when ready.
    /// Whether the member may commit is the group coordinator's to say.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] by the rules of [`Transaction::may_stage`].
    pub async fn stage(
        self: &Arc<Self>,
        id: &TransactionalId,
        by: Producer,
        group: GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> Result<(), TransactionError> {
        let (this, id) = (Arc::clone(self), id.clone());
        whole(async move {
            let held = this.known(&id, by).await?;
            held.known(by)?.may_stage(by, &group)?;
            Ok(this.log()?.stage(by, &group, commits).await?)
        })
        .await
    }

    /// Ends the transaction of `by`. Ready when the outcome is durable, and, unless a partition cannot
    /// be written, in every partition.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] by the rules of [`Transaction::end`].
    pub async fn end(
        self: &Arc<Self>,
        id: &TransactionalId,
        by: Producer,
        outcome: Outcome,
    ) -> Result<(), TransactionError> {
        let (this, id) = (Arc::clone(self), id.clone());
        whole(async move {
            let mut held = this.known(&id, by).await?;
            if let End::Store(next) = held.known(by)?.end(this.clock.now(), by, outcome)? {
                this.store(&mut held, next).await?;
                // What fails here is tried again; the outcome stands.
                this.finish(&mut held).await;
            }
            Ok(())
        })
        .await
    }

    /// The state of one id, if it is known.
    ///
    /// # Errors
    /// [`TransactionError::Loading`], [`TransactionError::Stopping`].
    pub async fn describe(
        &self,
        id: &TransactionalId,
    ) -> Result<Option<Transaction>, TransactionError> {
        let held = self.slots.hold(id).await?;
        Ok(held.and_then(|held| held.transaction().cloned()))
    }

    /// Every id with its state, in order of ids.
    ///
    /// # Errors
    /// [`TransactionError::Loading`], [`TransactionError::Stopping`].
    pub async fn list(&self) -> Result<Vec<(TransactionalId, Transaction)>, TransactionError> {
        self.slots.check()?;
        let mut found = Vec::new();
        for slot in self.slots.all() {
            let held = slot.hold().await;
            if let Some(transaction) = held.transaction() {
                found.push((held.id().clone(), transaction.clone()));
            }
        }
        Ok(found)
    }

    /// Reads transactions back and goes on with what was begun; then calls are served.
    ///
    /// [`run`](Self::run) does this; it is for callers that run nothing, as simulations.
    ///
    /// # Errors
    /// [`Error`] when they cannot be read.
    pub async fn load(&self) -> Result<(), Error> {
        let Some(log) = self.broker.transactional() else {
            self.slots.serve();
            return Ok(());
        };
        let started = self.clock.monotonic();
        let (loaded, unreadable) = table::read::<Loaded>(&*self.broker).await?;
        if unreadable > 0 {
            events::unreadable(unreadable);
        }
        let unfinished = log.unfinished().await?;
        let (mut open, mut ending) = (0, Vec::new());
        for (id, state) in &loaded.transactions {
            match state.phase() {
                Phase::Open => {
                    open += 1;
                    for of in state.partitions() {
                        // A topic may be gone by now.
                        drop(log.enlist(state.producer(), of));
                    }
                }
                Phase::Ending(_) => ending.push(id.clone()),
                Phase::Empty | Phase::Ended(_) => (),
            }
            self.slots.insert(id, state.clone());
        }
        for id in &ending {
            if let Some(slot) = self.slots.slot(id) {
                self.finish(&mut slot.hold().await).await;
            }
        }
        for (producer_id, found) in unfinished {
            let known = loaded.transactions.values().find(|state| {
                state.producer().id == producer_id
                    && matches!(state.phase(), Phase::Open | Phase::Ending(_))
            });
            abort_unknown(log, producer_id, found, known).await;
        }
        let took = self.clock.monotonic().saturating_sub(started);
        events::loaded(loaded.transactions.len(), open, ending.len(), took);
        self.slots.serve();
        Ok(())
    }

    /// Aborts transactions whose time is over, and goes on with ends that failed.
    ///
    /// [`run`](Self::run) does this; it is for callers that run nothing, as simulations.
    pub async fn tick(self: &Arc<Self>) {
        for slot in self.slots.busy() {
            // Whoever holds it now is at work on it.
            let Some(mut held) = slot.try_hold() else {
                continue;
            };
            let this = Arc::clone(self);
            whole(async move { this.tick_one(&mut held).await }).await;
        }
    }

    async fn tick_one(&self, held: &mut Held) {
        let Some(current) = held.transaction() else {
            return;
        };
        if let Some(next) = current.timed_out(self.clock.now()) {
            self.events.timed_out(held.id(), &next);
            if let Err(error) = self.store(held, next).await {
                events::abort_failed(held.id(), &error);
                return;
            }
        }
        if held
            .transaction()
            .is_some_and(|state| matches!(state.phase(), Phase::Ending(_)))
        {
            self.finish(held).await;
        }
    }

    async fn forget_unused(self: &Arc<Self>) {
        for slot in self.slots.all() {
            let Some(mut held) = slot.try_hold() else {
                continue;
            };
            let unused = held
                .transaction()
                .is_some_and(|state| state.is_forgettable(self.clock.now(), &self.options));
            if !unused {
                continue;
            }
            let this = Arc::clone(self);
            whole(async move {
                let tombstone = records::batch(held.id(), None, this.clock.now());
                match this.append(tombstone).await {
                    Ok(()) => this.slots.forget(&mut held),
                    Err(error) => events::forget_failed(held.id(), &error),
                }
            })
            .await;
        }
    }

    fn log(&self) -> Result<&dyn TransactionalLog, TransactionError> {
        let log = self.broker.transactional();
        log.ok_or(TransactionError::Unsupported)
    }

    /// The slot of an id that must be known.
    async fn known(&self, id: &TransactionalId, by: Producer) -> Result<Held, TransactionError> {
        let unknown = transactions::Error::WrongProducer { asked: by.id };
        Ok(self.slots.hold(id).await?.ok_or(unknown)?)
    }

    fn enlist(
        &self,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Result<(), TransactionError> {
        let log = self.log()?;
        for of in partitions {
            log.enlist(producer, of)?;
        }
        Ok(())
    }

    async fn append(&self, batch: record::CheckedBatch) -> Result<(), Error> {
        let to = table::partition();
        let appended = self.broker.append(&to, vec![batch], Durability::Flushed);
        appended.await.map(|_| ())
    }

    /// Stores a state; only then it holds.
    async fn store(&self, held: &mut Held, next: Transaction) -> Result<(), Error> {
        let batch = records::batch(held.id(), Some(&next), self.clock.now());
        self.append(batch).await?;
        held.set(next);
        Ok(())
    }

    /// Brings a decided outcome everywhere; answers whether it is.
    async fn finish(&self, held: &mut Held) -> bool {
        match self.try_finish(held).await {
            Ok(()) => true,
            Err(error) => {
                let first = held.say();
                self.events.end_failed(held.id(), &error, first);
                false
            }
        }
    }

    async fn try_finish(&self, held: &mut Held) -> Result<(), Error> {
        let (Some(state), Some(log)) = (held.transaction(), self.broker.transactional()) else {
            return Ok(());
        };
        let Phase::Ending(outcome) = state.phase() else {
            return Ok(());
        };
        let (producer, next) = (state.producer(), state.finished(self.clock.now()));
        // Those that have it need no second one when a disk is away for days.
        let partitions = state.partitions().iter();
        let partitions: Vec<_> = partitions
            .filter(|of| !held.is_marked(of))
            .cloned()
            .collect();
        let (markers, settled) = futures_util::future::join(
            log.end(producer, outcome, partitions.clone()),
            log.settle(producer.id, outcome),
        )
        .await;
        let mut failed = None;
        for (of, marker) in partitions.into_iter().zip(markers) {
            match marker {
                // Its topic is gone, or a newer epoch ended it before.
                Ok(_)
                | Err(
                    Error::UnknownTopic { .. }
                    | Error::UnknownPartition { .. }
                    | Error::ProducerFenced { .. },
                ) => held.note_marked(of),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        settled?;
        self.store(held, next).await?;
        self.events.ended(outcome);
        Ok(())
    }
}

/// Aborts what a log has of a transaction and no state tells of.
async fn abort_unknown(
    log: &dyn TransactionalLog,
    producer_id: i64,
    found: crate::Unfinished,
    known: Option<&Transaction>,
) {
    let mut partitions = found.partitions;
    if let Some(known) = known {
        partitions.retain(|of| !known.partitions().contains(of));
    }
    if partitions.is_empty() && (known.is_some() || !found.staged) {
        return;
    }
    events::nobodys(producer_id, partitions.len());
    let producer = Producer::new(producer_id, found.epoch);
    let markers = log.end(producer, Outcome::Abort, partitions.into_iter().collect());
    for marker in markers.await {
        if let Err(error) = marker {
            events::nobodys_kept(producer_id, &error);
        }
    }
    if known.is_none()
        && let Err(error) = log.settle(producer_id, Outcome::Abort).await
    {
        events::nobodys_kept(producer_id, &error);
    }
}

/// Runs `work` to its end even if the caller goes away, where there is somebody to run it.
async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return work.await;
    };
    match runtime.spawn(work).await {
        Ok(answer) => answer,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The runtime ends, and this call with it.
        Err(_) => std::future::pending().await,
    }
}
