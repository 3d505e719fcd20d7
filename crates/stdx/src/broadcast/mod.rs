//! A broadcast ring: one publisher, many readers, each with a cursor of its own, and nobody waits for anybody.
//!
//! ```text
//!   oldest                      head
//!     │  3   4   5   6   7   8   │      items by number, item n in slot n % capacity
//!     └──^───────────^───────────┘
//!        a           b                  readers; c, whose cursor is before `oldest`, was lapped
//! ```
//! The publisher writes where the oldest item was. A reader that is too slow is *lapped*: it is told where the
//! ring begins now, fetches what it missed from wherever that is kept, and comes back. So the ring bounds
//! memory, never the truth.
//!
//! Invariants: a reader gets items in the order of their numbers, each once, and none is left out without
//! [`Polled::Lapped`]; an item is seen only when its whole burst is there; one burst wakes a waiting reader at
//! most once, and none that was woken before and did not look yet; a reader that looked and then waits is woken by
//! whatever is published after it looked; items are dropped when they leave the ring, not later.
//!
//! **Slots are locks.** Each holds its item and its number behind a lock of its own, held for one clone. The
//! publisher meets a reader there only in the very slot in which it laps it. A slot without a lock would need to
//! read an item that may be overwritten meanwhile, hence unsafe code and items that may be torn; measured
//! against what an item costs elsewhere (a flush, a wake-up), there is nothing to win.
//!
//! **Resizing makes a new version** of the slots with the same items under the same numbers; then the old one is marked as
//! moved and emptied. A reader that comes to an empty slot of the old version goes on in the new one, at the
//! same number; the last reader that lets go of the old version frees it.
//!
//! Model-checked with loom: `models.rs`. Not here: how large a ring should be
//! ([`Sizing`]); what an item means; weights of items, which the publisher's owner counts with what [`Publisher::publish`] and
//! [`Publisher::evict`] give back.
//!
//! ```
//! use stdx::broadcast::{Polled, Publisher};
//! let mut publisher = Publisher::new(4);
//! let mut reader = publisher.subscribe();
//! publisher.publish_all(["a", "b", "c"]);
//! let mut seen = Vec::new();
//! let polled = reader.poll(2, |item| { seen.push(item); true });
//! assert_eq!((polled, seen), (Polled::Items(2), vec!["a", "b"]));
//! publisher.publish_all(["d", "e", "f", "g"]);
//! assert_eq!(reader.poll(2, |_| true), Polled::Lapped { resume_at: 3 });
//! ```

#[cfg(all(test, loom))]
mod models;
mod publisher;
mod reader;
mod seats;
mod sizing;
mod slots;
#[cfg(all(test, not(loom)))]
mod tests;

pub use publisher::Publisher;
pub use reader::{Polled, Published, Reader};
pub use sizing::{Sizing, Waits, Window};

use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex};
use seats::Seats;
use slots::Slots;

/// What the publisher and the readers share.
#[derive(Debug)]
struct Shared<T> {
    /// The version of the slots in use.
    slots: Mutex<Arc<Slots<T>>>,
    /// The number of the next item; stored when a whole burst is there.
    head: AtomicU64,
    /// The number of the oldest item that is kept; may be ahead of `head` in the midst of a burst.
    oldest: AtomicU64,
    closed: AtomicBool,
    seats: Mutex<Seats>,
    /// Readers with a waker in their seat.
    waiting: AtomicUsize,
}
