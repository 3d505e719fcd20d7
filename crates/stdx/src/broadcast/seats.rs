//! The readers of a ring: where each stands, and who waits.

use std::task::Waker;

use crate::sync::{Arc, AtomicU64, Ordering};

/// The cursor of a reader that takes nothing from the ring now, and counts for nothing.
pub(super) const AWAY: u64 = u64::MAX;

#[derive(Debug)]
struct Seat {
    cursor: Arc<AtomicU64>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: Vec<Option<Seat>>,
}

impl Seats {
    /// A seat for a reader with this cursor; answers its number.
    pub(super) fn take(&mut self, cursor: Arc<AtomicU64>) -> usize {
        let seat = Some(Seat {
            cursor,
            waker: None,
        });
        if let Some(free) = self.seats.iter().position(Option::is_none)
            && let Some(place) = self.seats.get_mut(free)
        {
            *place = seat;
            return free;
        }
        self.seats.push(seat);
        self.seats.len() - 1
    }

    /// Frees a seat; answers whether its reader was waiting.
    pub(super) fn leave(&mut self, number: usize) -> bool {
        let seat = self.seats.get_mut(number).and_then(Option::take);
        seat.is_some_and(|seat| seat.waker.is_some())
    }

    /// Puts a waker into a seat; answers whether there was none.
    pub(super) fn wait(&mut self, number: usize, waker: &Waker) -> bool {
        let Some(Some(seat)) = self.seats.get_mut(number) else {
            return false;
        };
        match &mut seat.waker {
            Some(old) => {
                old.clone_from(waker);
                false
            }
            none => {
                *none = Some(waker.clone());
                true
            }
        }
    }

    /// Takes the waker of a seat away; answers whether there was one.
    pub(super) fn stop_waiting(&mut self, number: usize) -> bool {
        let seat = self.seats.get_mut(number).and_then(Option::as_mut);
        seat.is_some_and(|seat| seat.waker.take().is_some())
    }

    /// Takes all wakers.
    pub(super) fn wakers(&mut self, into: &mut Vec<Waker>) {
        let seats = self.seats.iter_mut().flatten();
        into.extend(seats.filter_map(|seat| seat.waker.take()));
    }

    /// Readers there are.
    pub(super) fn count(&self) -> usize {
        self.seats.iter().flatten().count()
    }

    /// The cursor of the slowest reader that takes from the ring.
    pub(super) fn slowest(&self) -> Option<u64> {
        let cursors = self.seats.iter().flatten();
        let cursors = cursors.map(|seat| seat.cursor.load(Ordering::Acquire));
        cursors.filter(|cursor| *cursor != AWAY).min()
    }
}
