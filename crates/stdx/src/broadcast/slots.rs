//! One version of the slots.

use crate::sync::{AtomicBool, Mutex, Ordering};

/// An item under its number, or nothing.
type Slot<T> = Mutex<Option<(u64, T)>>;

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    /// Its items are in a newer version.
    moved: AtomicBool,
}

impl<T> Slots<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: (0..capacity).map(|_| Mutex::new(None)).collect(),
            moved: AtomicBool::new(false),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, number: u64) -> &Slot<T> {
        let index = number % self.slots.len() as u64;
        let index = usize::try_from(index).expect("less than the number of slots");
        self.slots
            .get(index)
            .expect("less than the number of slots")
    }

    pub(super) fn put(&self, number: u64, item: T) {
        *self.slot(number).lock() = Some((number, item));
    }

    pub(super) fn take(&self, number: u64) -> Option<T> {
        let taken = self.slot(number).lock().take();
        taken.map(|(_, item)| item)
    }

    pub(super) fn is_moved(&self) -> bool {
        self.moved.load(Ordering::Acquire)
    }

    /// Empties it, after its items were put into a newer version that readers can find.
    pub(super) fn retire(&self) {
        // Before the first slot is emptied: who finds one empty learns why.
        self.moved.store(true, Ordering::Release);
        for slot in &self.slots {
            drop(slot.lock().take());
        }
    }
}

impl<T: Clone> Slots<T> {
    /// The item of that number, if it is here.
    pub(super) fn get(&self, number: u64) -> Option<T> {
        match &*self.slot(number).lock() {
            Some((held, item)) if *held == number => Some(item.clone()),
            _ => None,
        }
    }

    /// What `look` says of that item, if it is here.
    pub(super) fn look<R>(&self, number: u64, look: impl FnOnce(&T) -> R) -> Option<R> {
        match &*self.slot(number).lock() {
            Some((held, item)) if *held == number => Some(look(item)),
            _ => None,
        }
    }
}
