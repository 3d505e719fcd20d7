//! Where the bytes of a connection arrive: how much room a read is given, and in which memory.
//!
//! Problem: small requests come one by one, or many at a time. A large buffer for each small request costs more than
//! reading it does, and so does a new one for each.
//!
//! Answer: room grows and shrinks with what comes; and memory that no request needs any more takes the next one.
//!
//! Invariant: while nothing arrives the buffer has no more than [`FREE_BYTES`]. Not here: what is charged for it (`reader`).

use bytes::BytesMut;

/// Bytes each connection may buffer without asking the budget.
pub(super) const FREE_BYTES: usize = 16 << 10;

/// Room for a read at first: a request of one small record.
const ROOM_MIN: usize = 1 << 10;

/// Room grows and shrinks by this factor, with reads that fill it and with a run of reads that leave it empty.
const ROOM_STEP: usize = 4;
const ROOM_SHRINKS_AFTER: u32 = 16;

/// Room for the rest of a large request grows by this factor, as bytes really arrive: who announces
/// much and sends little holds little.
const GROWTH: usize = 4;

/// What has arrived of the next request, and room for more.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) bytes: BytesMut,
    /// The memory's size, with what requests that were cut off still share of it; never less than that.
    allocated: usize,
    room: Room,
}

/// How much comes with a read: small requests come one by one, or many at a time.
#[derive(Debug)]
struct Room {
    bytes: usize,
    /// Reads in a row that needed far less.
    spare: u32,
}

impl Arriving {
    /// Nothing yet, and no memory.
    pub(super) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            allocated: 0,
            room: Room {
                bytes: ROOM_MIN,
                spare: 0,
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How large the buffer should be for the next read, if so much of the request at the front is known to be missing.
    pub(super) fn wanted(&self, missing: Option<usize>) -> usize {
        let arrived = self.len();
        let whole = arrived + missing.unwrap_or(self.room.bytes);
        let target = whole.min(FREE_BYTES.max(arrived.saturating_mul(GROWTH)));
        // More may come behind it.
        target.max((arrived + self.room.bytes).min(FREE_BYTES))
    }

    /// Makes the buffer so large; answers the room there is now.
    pub(super) fn make_room(&mut self, wanted: usize) -> usize {
        let arrived = self.len();
        if arrived > 0 {
            self.bytes.reserve(wanted.saturating_sub(arrived));
            self.allocated = self.allocated.max(self.bytes.capacity());
        } else if self.allocated < wanted || !self.bytes.try_reclaim(wanted) {
            // Not `reserve`, which allocates as much as it once did, however little is wanted now.
            self.bytes = BytesMut::with_capacity(wanted);
            self.allocated = wanted;
        }
        self.bytes.capacity() - arrived
    }

    /// A read took `read` of the `given` bytes.
    pub(super) fn took(&mut self, read: usize, given: usize) {
        self.room.took(read, given);
    }

    /// Lets memory go that is larger than what a read is given when nothing is known of what comes.
    pub(super) fn let_go(&mut self) {
        if self.bytes.is_empty() && self.allocated > self.room.bytes {
            self.bytes = BytesMut::new();
            self.allocated = 0;
        }
    }
}

impl Room {
    fn took(&mut self, read: usize, given: usize) {
        if read >= given {
            self.bytes = (self.bytes * ROOM_STEP).min(FREE_BYTES);
        } else if read * ROOM_STEP < self.bytes {
            self.spare += 1;
            if self.spare < ROOM_SHRINKS_AFTER {
                return;
            }
            self.bytes = (self.bytes / ROOM_STEP).max(ROOM_MIN);
        }
        self.spare = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn room_follows_what_comes() {
        let mut room = Room {
            bytes: ROOM_MIN,
            spare: 0,
        };
        // Small requests, one at a time.
        for _ in 0..100 {
            room.took(250, room.bytes);
        }
        assert_eq!(room.bytes, ROOM_MIN);
        // As much as there is room for: many at a time.
        room.took(ROOM_MIN, ROOM_MIN);
        room.took(4 * ROOM_MIN, 4 * ROOM_MIN);
        room.took(FREE_BYTES, FREE_BYTES);
        assert_eq!(room.bytes, FREE_BYTES);
        // One that is small among larger ones changes nothing, a run of them does.
        for _ in 0..100 {
            room.took(250, room.bytes);
            room.took(10_000, room.bytes);
        }
        assert_eq!(room.bytes, FREE_BYTES);
        for _ in 0..2 * ROOM_SHRINKS_AFTER {
            room.took(250, room.bytes);
        }
        assert_eq!(room.bytes, ROOM_MIN);
    }

    /// Takes in one request of so many bytes.
    fn arrives(arriving: &mut Arriving, bytes: usize) -> Bytes {
        while arriving.len() < bytes {
            let missing = bytes - arriving.len();
            let known = (arriving.len() >= 4).then_some(missing);
            let given = arriving.make_room(arriving.wanted(known));
            let read = given.min(missing);
            arriving.bytes.extend_from_slice(&vec![7; read]);
            arriving.took(read, given);
        }
        let request = arriving.bytes.split_to(bytes).freeze();
        arriving.let_go();
        request
    }

    #[test]
    fn a_request_takes_the_memory_of_one_that_is_done() {
        let mut arriving = Arriving::new();
        let first = arrives(&mut arriving, 200);
        let at = first.as_ptr();
        let second = arrives(&mut arriving, 200);
        assert_ne!(second.as_ptr(), at, "the first is not done");
        let at = second.as_ptr();
        drop((first, second));
        for _ in 0..10 {
            assert_eq!(arrives(&mut arriving, 200).as_ptr(), at);
        }
    }

    #[test]
    fn a_large_request_leaves_no_large_buffer() {
        let mut arriving = Arriving::new();
        for bytes in [200, 5_000, 1_000_000, 200] {
            drop(arrives(&mut arriving, bytes));
            assert!(arriving.allocated <= FREE_BYTES, "{}", arriving.allocated);
            let held = arriving.bytes.try_reclaim(FREE_BYTES + 1);
            assert!(!held, "more than it says after {bytes}");
        }
    }
}
