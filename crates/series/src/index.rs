//! Which series there are, and which of them a set of matchers wants.
//!
//! Invariants: a posting list is sorted and holds exactly the slots whose series has the label; a slot
//! is given out again only under a new generation. Not here: samples (`body`), limits (`store`).

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::body::Body;
use crate::labels::{Labels, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};

/// One series of one store, valid until the series is collected; never means another series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: SeriesId,
    pub(crate) labels: Labels,
    pub(crate) body: Mutex<Body>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    entry: Option<Arc<Entry>>,
}

type Postings = HashMap<Box<str>, Vec<u32>, ahash::RandomState>;

#[derive(Debug)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32, BuildHasherDefault<CachedHash>>,
    by_label: HashMap<Box<str>, Postings, ahash::RandomState>,
    watches: Vec<Option<Vec<Matcher>>>,
    watches_free: Vec<u32>,
    /// Watches that ask for one metric name; the others are in `watches_unnamed`.
    watches_by_name: HashMap<Box<str>, Vec<u32>, ahash::RandomState>,
    watches_unnamed: Vec<u32>,
}

/// Labels carry their hash already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CachedHash(u64);

impl Hasher for CachedHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        debug_assert!(false, "only labels are hashed here");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn seeded() -> ahash::RandomState {
    ahash::RandomState::with_seeds(5, 6, 7, 8)
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::default(),
            by_label: HashMap::with_hasher(seeded()),
            watches: Vec::new(),
            watches_free: Vec::new(),
            watches_by_name: HashMap::with_hasher(seeded()),
            watches_unnamed: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    pub(crate) fn find(&self, labels: &Labels) -> Option<&Arc<Entry>> {
        self.slot(*self.by_labels.get(labels)?)
    }

    pub(crate) fn get(&self, id: SeriesId) -> Option<&Arc<Entry>> {
        self.slot(id.slot).filter(|entry| entry.id == id)
    }

    fn slot(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    /// Adds a series that is not there yet.
    pub(crate) fn insert(&mut self, labels: &Labels) -> Arc<Entry> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.slots[slot as usize].generation;
        let body = Body::watched_by(self.watches_of(labels));
        let entry = Arc::new(Entry {
            id: SeriesId { slot, generation },
            labels: labels.clone(),
            body: Mutex::new(body),
        });
        for (name, value) in labels {
            let values = match self.by_label.get_mut(name) {
                Some(values) => values,
                None => self
                    .by_label
                    .entry(name.into())
                    .or_insert_with(|| Postings::with_hasher(seeded())),
            };
            match values.get_mut(value) {
                Some(posting) => insert_sorted(posting, slot),
                None => drop(values.insert(value.into(), vec![slot])),
            }
        }
        self.by_labels.insert(labels.clone(), slot);
        self.slots[slot as usize].entry = Some(Arc::clone(&entry));
        entry
    }

    /// Takes series away. Costs a walk over the posting lists they are in.
    pub(crate) fn remove(&mut self, gone: &[Arc<Entry>]) {
        let mut slots = BTreeSet::new();
        let mut lists = BTreeSet::new();
        for entry in gone {
            let slot = &mut self.slots[entry.id.slot as usize];
            slot.entry = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(entry.id.slot);
            self.by_labels.remove(&entry.labels);
            slots.insert(entry.id.slot);
            lists.extend(entry.labels.iter());
        }
        for (name, value) in lists {
            let Some(values) = self.by_label.get_mut(name) else {
                continue;
            };
            if let Some(posting) = values.get_mut(value) {
                posting.retain(|slot| !slots.contains(slot));
                if posting.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.by_label.remove(name);
            }
        }
    }

    /// The series that fulfil all `matchers`, by slot.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<Arc<Entry>> {
        let fits = |entry: &&Arc<Entry>| fulfils(&entry.labels, matchers);
        match self.candidates(matchers) {
            Some(slots) => {
                let entries = slots.into_iter().filter_map(|slot| self.slot(slot));
                entries.filter(fits).cloned().collect()
            }
            None => self.entries().filter(fits).cloned().collect(),
        }
    }

    /// Slots that include all that fulfil `matchers`; `None` when that would be all there are.
    fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<u32>> {
        let mut exact: Vec<&[u32]> = Vec::new();
        for matcher in matchers
            .iter()
            .filter(|m| m.op() == MatchOp::Equal && !m.matches_empty())
        {
            match self.posting(matcher.name(), matcher.value()) {
                Some(posting) => exact.push(posting),
                None => return Some(Vec::new()),
            }
        }
        exact.sort_unstable_by_key(|posting| posting.len());
        if let Some((smallest, others)) = exact.split_first() {
            let everywhere = |slot: &u32| others.iter().all(|p| p.binary_search(slot).is_ok());
            return Some(smallest.iter().copied().filter(everywhere).collect());
        }
        let needed = matchers.iter().filter(|m| !m.matches_empty());
        needed.map(|m| self.union(m)).min_by_key(Vec::len)
    }

    /// The slots whose label fulfils `matcher`, which must not be fulfilled by the lack of one.
    fn union(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.by_label.get(matcher.name()) else {
            return Vec::new();
        };
        let mut slots: Vec<u32> = if let Some(wanted) = matcher.literal_values() {
            let lists = wanted.into_iter().filter_map(|value| values.get(value));
            lists.flatten().copied().collect()
        } else {
            let lists = values.iter().filter(|(value, _)| matcher.matches(value));
            lists.flat_map(|(_, slots)| slots).copied().collect()
        };
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn posting(&self, name: &str, value: &str) -> Option<&[u32]> {
        self.by_label.get(name)?.get(value).map(Vec::as_slice)
    }

    /// All label names, unsorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_label.keys().map(|name| &**name)
    }

    /// All values of label `name` and how many series have each, unsorted.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        let values = self.by_label.get(name).into_iter().flatten();
        values.map(|(value, slots)| (&**value, slots.len()))
    }

    pub(crate) fn watch(&mut self, matchers: Vec<Matcher>) -> u32 {
        let watch = self.watches_free.pop().unwrap_or_else(|| {
            self.watches.push(None);
            u32::try_from(self.watches.len() - 1).unwrap_or(u32::MAX)
        });
        for entry in self.select(&matchers) {
            entry.body.lock().watches.push(watch);
        }
        match name_of(&matchers) {
            Some(name) => self
                .watches_by_name
                .entry(name.into())
                .or_default()
                .push(watch),
            None => self.watches_unnamed.push(watch),
        }
        self.watches[watch as usize] = Some(matchers);
        watch
    }

    pub(crate) fn unwatch(&mut self, watch: u32) {
        let Some(matchers) = self.watches.get_mut(watch as usize).and_then(Option::take) else {
            return;
        };
        for entry in self.select(&matchers) {
            entry.body.lock().watches.retain(|w| *w != watch);
        }
        match name_of(&matchers) {
            Some(name) => {
                if let Some(list) = self.watches_by_name.get_mut(name) {
                    list.retain(|w| *w != watch);
                    if list.is_empty() {
                        self.watches_by_name.remove(name);
                    }
                }
            }
            None => self.watches_unnamed.retain(|w| *w != watch),
        }
        self.watches_free.push(watch);
    }

    fn watches_of(&self, labels: &Labels) -> Vec<u32> {
        let named = labels
            .metric_name()
            .and_then(|name| self.watches_by_name.get(name));
        let candidates = named.into_iter().flatten().chain(&self.watches_unnamed);
        let wants = |watch: &&u32| {
            let matchers = self.watches[**watch as usize].as_deref();
            matchers.is_some_and(|matchers| fulfils(labels, matchers))
        };
        candidates.filter(wants).copied().collect()
    }
}

fn fulfils(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers
        .iter()
        .all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
}

fn name_of(matchers: &[Matcher]) -> Option<&str> {
    let by_name =
        |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && !m.matches_empty();
    matchers.iter().find(by_name).map(Matcher::value)
}

fn insert_sorted(posting: &mut Vec<u32>, slot: u32) {
    if posting.last().is_none_or(|last| *last < slot) {
        posting.push(slot);
    } else if let Err(at) = posting.binary_search(&slot) {
        posting.insert(at, slot);
    }
}
