//! The states of all transactional ids in memory, each behind a lock of its own.
//!
//! Invariants: an id has one slot at a time; a slot that was forgotten is never stored into, whoever
//! waited for it looks again; at most `ids_max` slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use transactions::{Error, Phase, Transaction, TransactionalId};

use super::TransactionError;

#[derive(Debug)]
pub(super) struct Slots {
    inside: Mutex<Inside>,
    ids_max: usize,
}

#[derive(Debug)]
struct Inside {
    mode: Mode,
    slots: BTreeMap<TransactionalId, Arc<Slot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Loading,
    Serving,
    Stopped,
}

#[derive(Debug)]
pub(super) struct Slot {
    id: TransactionalId,
    state: Arc<tokio::sync::Mutex<State>>,
    /// A transaction is open or being ended: time may have something to do.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    transaction: Option<Transaction>,
    /// Partitions that have the marker of the transaction that is being ended.
    marked: BTreeSet<TopicPartition>,
    /// It was said that the end could not be brought everywhere.
    said: bool,
    forgotten: bool,
}

/// A slot whose lock is held.
#[derive(Debug)]
pub(super) struct Held {
    slot: Arc<Slot>,
    state: OwnedMutexGuard<State>,
}

impl Slots {
    pub(super) fn new(ids_max: usize) -> Self {
        Self {
            inside: Mutex::new(Inside {
                mode: Mode::Loading,
                slots: BTreeMap::new(),
            }),
            ids_max,
        }
    }

    /// Whether calls are served.
    pub(super) fn check(&self) -> Result<(), TransactionError> {
        self.inside.lock().serving().map(|_| ())
    }

    pub(super) fn serve(&self) {
        self.inside.lock().mode = Mode::Serving;
    }

    pub(super) fn stop(&self) {
        self.inside.lock().mode = Mode::Stopped;
    }

    /// Takes in a state that was read back.
    pub(super) fn insert(&self, id: &TransactionalId, transaction: Transaction) {
        let slot = Slot::new(id.clone());
        slot.note(&transaction);
        if let Ok(mut state) = slot.state.try_lock() {
            state.transaction = Some(transaction);
        }
        self.inside.lock().slots.insert(id.clone(), Arc::new(slot));
    }

    pub(super) fn slot(&self, id: &TransactionalId) -> Option<Arc<Slot>> {
        self.inside.lock().slots.get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.inside.lock().slots.values().cloned().collect()
    }

    /// Slots for which time may have something to do.
    pub(super) fn busy(&self) -> Vec<Arc<Slot>> {
        let inside = self.inside.lock();
        let slots = inside.slots.values();
        slots
            .filter(|slot| slot.busy.load(Ordering::Relaxed))
            .cloned()
            .collect()
    }

    /// Waits for the slot of an id; `None` when there is none.
    pub(super) async fn hold(
        &self,
        id: &TransactionalId,
    ) -> Result<Option<Held>, TransactionError> {
        loop {
            let Some(slot) = self.inside.lock().serving()?.slots.get(id).cloned() else {
                return Ok(None);
            };
            let held = slot.hold().await;
            if !held.state.forgotten {
                return Ok(Some(held));
            }
        }
    }

    /// Waits for the slot of an id, which is made if there is none.
    pub(super) async fn hold_or_make(
        &self,
        id: &TransactionalId,
    ) -> Result<Fresh<'_>, TransactionError> {
        loop {
            let slot = self.slot_or_new(id)?;
            let held = slot.hold().await;
            if !held.state.forgotten {
                return Ok(Fresh { slots: self, held });
            }
        }
    }

    fn slot_or_new(&self, id: &TransactionalId) -> Result<Arc<Slot>, TransactionError> {
        let mut inside = self.inside.lock();
        let slots = &mut inside.serving()?.slots;
        if let Some(slot) = slots.get(id) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.ids_max {
            let limit = self.ids_max;
            return Err(Error::TooManyIds { limit }.into());
        }
        let slot = Arc::new(Slot::new(id.clone()));
        slots.insert(id.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    pub(super) fn forget(&self, held: &mut Held) {
        held.state.forgotten = true;
        held.state.transaction = None;
        self.inside.lock().slots.remove(held.id());
    }
}

/// A slot that goes again if nothing was stored in it.
#[derive(Debug)]
pub(super) struct Fresh<'a> {
    slots: &'a Slots,
    held: Held,
}

impl std::ops::Deref for Fresh<'_> {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl std::ops::DerefMut for Fresh<'_> {
    fn deref_mut(&mut self) -> &mut Held {
        &mut self.held
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if self.held.state.transaction.is_none() {
            self.slots.forget(&mut self.held);
        }
    }
}

impl Inside {
    fn serving(&mut self) -> Result<&mut Self, TransactionError> {
        match self.mode {
            Mode::Loading => Err(TransactionError::Loading),
            Mode::Serving => Ok(self),
            Mode::Stopped => Err(TransactionError::Stopping),
        }
    }
}

impl Slot {
    fn new(id: TransactionalId) -> Self {
        Self {
            id,
            state: Arc::default(),
            busy: AtomicBool::new(false),
        }
    }

    pub(super) async fn hold(self: &Arc<Self>) -> Held {
        Held {
            state: Arc::clone(&self.state).lock_owned().await,
            slot: Arc::clone(self),
        }
    }

    /// `None` when somebody holds it.
    pub(super) fn try_hold(self: &Arc<Self>) -> Option<Held> {
        Some(Held {
            state: Arc::clone(&self.state).try_lock_owned().ok()?,
            slot: Arc::clone(self),
        })
    }

    fn note(&self, transaction: &Transaction) {
        let busy = matches!(transaction.phase(), Phase::Open | Phase::Ending(_));
        self.busy.store(busy, Ordering::Relaxed);
    }
}

impl Held {
    pub(super) fn id(&self) -> &TransactionalId {
        &self.slot.id
    }

    pub(super) fn transaction(&self) -> Option<&Transaction> {
        self.state.transaction.as_ref()
    }

    /// The state, which somebody must have begun.
    pub(super) fn known(&self, by: model::Producer) -> Result<&Transaction, Error> {
        let unknown = Error::WrongProducer { asked: by.id };
        self.transaction().ok_or(unknown)
    }

    /// Whether a partition has the marker of the transaction that is being ended.
    pub(super) fn is_marked(&self, of: &TopicPartition) -> bool {
        self.state.marked.contains(of)
    }

    pub(super) fn note_marked(&mut self, of: TopicPartition) {
        self.state.marked.insert(of);
    }

    /// Whether it was not said yet that the end could not be brought everywhere.
    pub(super) fn say(&mut self) -> bool {
        !std::mem::replace(&mut self.state.said, true)
    }

    /// Takes a state that is stored.
    pub(super) fn set(&mut self, next: Transaction) {
        self.slot.note(&next);
        self.state.marked.clear();
        self.state.said = false;
        self.state.transaction = Some(next);
    }
}
