//! Records that come again within a window: known by an id, forgotten when the window is over.
//!
//! Time is that of the records, not of the machine, so that a topic read again gives the same answer.
//! Invariants: holds at most `capacity` ids; past it the oldest are forgotten early, so that a
//! duplicate may pass but nothing is ever taken for one wrongly (but for a collision of 64-bit hashes).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Ids seen in a window.
#[derive(Debug)]
pub struct Dedup {
    window: Duration,
    capacity: usize,
    seen: HashMap<u64, i64, ahash::RandomState>,
    /// Ids by arrival, to forget.
    order: VecDeque<(i64, u64)>,
}

impl Dedup {
    /// Remembers ids for `window`, at most `capacity` of them.
    pub fn new(window: Duration, capacity: usize) -> Self {
        Self {
            window,
            capacity: capacity.max(1),
            seen: HashMap::with_hasher(crate::queue::hasher()),
            order: VecDeque::new(),
        }
    }

    /// Whether `id` came in the window before `millis`; if not, it is remembered. A duplicate does not
    /// prolong the window: what comes again and again passes once a window.
    pub fn is_duplicate(&mut self, id: &[u8], millis: i64) -> bool {
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        while let Some((at, id)) = self.order.front().copied() {
            if self.order.len() < self.capacity && millis.saturating_sub(at) <= window {
                break;
            }
            self.order.pop_front();
            if self.seen.get(&id) == Some(&at) {
                self.seen.remove(&id);
            }
        }
        let id = crate::queue::key_hash(id);
        if let Some(at) = self.seen.get(&id)
            && millis.abs_diff(*at) <= window.unsigned_abs()
        {
            return true;
        }
        self.seen.insert(id, millis);
        self.order.push_back((millis, id));
        false
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_duplicate_inside_its_window_only() {
        let mut dedup = Dedup::new(Duration::from_millis(500), 100);
        assert!(!dedup.is_duplicate(b"a", 1_000));
        assert!(dedup.is_duplicate(b"a", 1_400));
        assert!(dedup.is_duplicate(b"a", 1_500));
        assert!(!dedup.is_duplicate(b"a", 1_501), "the window began at 1000");
        assert!(!dedup.is_duplicate(b"b", 1_501));
        // Another partition may be a little behind.
        assert!(dedup.is_duplicate(b"a", 1_200));
        assert!(!dedup.is_duplicate(b"c", 10_000));
        assert_eq!(dedup.len(), 1, "what is old is forgotten");
    }

    #[test]
    fn a_flood_of_ids_is_bounded() {
        let mut dedup = Dedup::new(Duration::from_millis(500), 1_000);
        for id in 0..100_000_u32 {
            assert!(!dedup.is_duplicate(&id.to_le_bytes(), 7));
        }
        assert!(dedup.len() <= 1_000);
        assert!(dedup.is_duplicate(&99_999_u32.to_le_bytes(), 7));
    }
}
