//! Who wants to hear which series move.

use std::fmt;

/// One watch of a store. Numbers of dropped watches are given out again, so whoever holds an old
/// [`Touched`] may be woken once too often after the rules changed, never too seldom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub(crate) u32);

impl WatchId {
    /// The number, small and dense: usable as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The watches that got new samples: a small set of bits, filled by appends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Touched {
    words: Vec<u64>,
}

impl Touched {
    /// Nothing touched.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    pub(crate) fn set(&mut self, watch: u32) {
        let word = (watch / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (watch % 64);
    }

    /// Marks `watch` as touched.
    pub fn insert(&mut self, watch: WatchId) {
        self.set(watch.0);
    }

    /// Whether `watch` got samples.
    pub fn contains(&self, watch: WatchId) -> bool {
        let word = self.words.get(watch.index() / 64);
        word.is_some_and(|word| word >> (watch.0 % 64) & 1 == 1)
    }

    /// Whether no watch got samples.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Takes in what `other` has.
    pub fn merge(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Forgets everything, keeps its memory.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The watches, by number.
    pub fn iter(&self) -> impl Iterator<Item = WatchId> + '_ {
        (0_u32..).zip(&self.words).flat_map(|(base, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| WatchId(base * 64 + bit))
        })
    }
}

impl fmt::Debug for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|watch| watch.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_any_size_merge() {
        let (mut a, mut b) = (Touched::new(), Touched::new());
        assert!(a.is_empty());
        a.set(3);
        b.set(200);
        a.merge(&b);
        assert_eq!(format!("{a:?}"), "{3, 200}");
        assert!(a.contains(WatchId(200)) && !a.contains(WatchId(4)) && !b.contains(WatchId(3)));
        a.clear();
        assert!(a.is_empty());
    }
}
