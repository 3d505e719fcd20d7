//! Labels made of labels, kept from step to step and from evaluation to evaluation.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use series::{Labels, METRIC_NAME};

/// Labels carry their hash; this only mixes it when there are two.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LabelHasher(u64);

impl Hasher for LabelHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = self.0.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash;
    }
}

pub(crate) type LabelHash = BuildHasherDefault<LabelHasher>;
pub(crate) type LabelSet<'a> = HashSet<&'a Labels, LabelHash>;

/// One cache for each node that changes labels.
#[derive(Debug)]
pub(crate) struct Caches {
    singles: Vec<HashMap<Labels, Labels, LabelHash>>,
    pairs: Vec<HashMap<(Labels, Labels), Labels, LabelHash>>,
}

impl Caches {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            singles: vec![HashMap::default(); count],
            pairs: vec![HashMap::default(); count],
        }
    }

    pub(crate) fn clear(&mut self) {
        self.singles.iter_mut().for_each(HashMap::clear);
        self.pairs.iter_mut().for_each(HashMap::clear);
    }

    /// What `make` makes of `labels`, made once.
    pub(crate) fn get(
        &mut self,
        cache: usize,
        labels: &Labels,
        make: impl FnOnce(&Labels) -> Labels,
    ) -> Labels {
        let cache = &mut self.singles[cache];
        if let Some(made) = cache.get(labels) {
            return made.clone();
        }
        let made = make(labels);
        cache.insert(labels.clone(), made.clone());
        made
    }

    /// What `make` makes of two label sets, made once.
    pub(crate) fn of_pair(
        &mut self,
        cache: usize,
        a: &Labels,
        b: &Labels,
        make: impl FnOnce() -> Labels,
    ) -> Labels {
        let made = self.pairs[cache].entry((a.clone(), b.clone()));
        made.or_insert_with(make).clone()
    }

    /// `labels` without the metric name.
    pub(crate) fn nameless(&mut self, cache: usize, labels: &Labels) -> Labels {
        if !labels.iter().any(|(name, _)| is_metadata(name)) {
            return labels.clone();
        }
        self.get(cache, labels, nameless)
    }
}

/// `labels` without what says which metric they belong to.
pub(crate) fn nameless(labels: &Labels) -> Labels {
    labels.filter(|name| !is_metadata(name))
}

/// Labels that say which metric a value belongs to, and so go when the value becomes another.
pub(crate) fn is_metadata(name: &str) -> bool {
    name.starts_with("__") && matches!(name, METRIC_NAME | "__type__" | "__unit__")
}
