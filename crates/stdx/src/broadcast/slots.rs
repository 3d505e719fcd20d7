//! One version of the slots.

use crate::sync::{AtomicBool, Mutex, Ordering};

/// An item under its number, or nothing.
type Slot<T> = Mutex<Option<(u64, T)>>;

/// An item's number and the slot it belongs in: who goes from one to the next need not divide each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    number: u64,
    index: usize,
}

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

    /// Where the item of that number belongs.
    pub(super) fn place(&self, number: u64) -> Place {
        let index = number % self.slots.len() as u64;
        let index = usize::try_from(index).expect("less than the number of slots");
        Place { number, index }
    }

    /// Where the next one belongs.
    pub(super) fn after(&self, place: Place) -> Place {
        let index = place.index + 1;
        Place {
            number: place.number + 1,
            index: if index == self.slots.len() { 0 } else { index },
        }
    }

    fn slot(&self, place: Place) -> &Slot<T> {
        self.slots
            .get(place.index)
            .expect("a place in these very slots")
    }

    /// Puts an item where it belongs, and answers the one that was there.
    pub(super) fn put(&self, place: Place, item: T) -> Option<T> {
        let old = self.slot(place).lock().replace((place.number, item));
        old.map(|(_, item)| item)
    }

    pub(super) fn take(&self, number: u64) -> Option<T> {
        let taken = self.slot(self.place(number)).lock().take();
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
    pub(super) fn get(&self, place: Place) -> Option<T> {
        match &*self.slot(place).lock() {
            Some((held, item)) if *held == place.number => Some(item.clone()),
            _ => None,
        }
    }

    /// What `look` says of that item, if it is here.
    pub(super) fn look<R>(&self, number: u64, look: impl FnOnce(&T) -> R) -> Option<R> {
        match &*self.slot(self.place(number)).lock() {
            Some((held, item)) if *held == number => Some(look(item)),
            _ => None,
        }
    }
}
