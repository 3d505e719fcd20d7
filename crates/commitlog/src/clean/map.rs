//! Where the last record of each key is, in bounded memory.
//!
//! Keys are not kept: the first 128 bits of their SHA-256 stand for them. Two keys of a partition that
//! share them would be taken for one, and the older one's record would be lost; among a thousand million
//! keys the odds of that are one in 10^21, and nobody can make such keys on purpose. Reading the
//! other key back from the disk would make it exact, at the price of a seek for each repeated key.
//!
//! Open addressing, 24 bytes a place, at most nine tenths of them taken. It never grows: the caller
//! cleans as far as it reaches and begins anew.

use model::Offset;
use sha2::{Digest as _, Sha256};

/// Bytes a place takes.
const PLACE_BYTES: u64 = 24;

/// The fewest places, so that every pass gets on.
const PLACES_MIN: u64 = 16;

#[derive(Debug)]
pub(crate) struct OffsetMap {
    digests: Vec<u128>,
    /// Offset and 1; 0 for a place that is free.
    offsets: Vec<u64>,
    taken: usize,
    taken_max: usize,
}

impl OffsetMap {
    /// A map for at most `keys` keys that takes at most `bytes` bytes.
    pub(crate) fn new(keys: u64, bytes: u64) -> Self {
        let wanted = keys.saturating_add(keys / 8).saturating_add(1);
        let places = wanted.min(bytes / PLACE_BYTES).max(PLACES_MIN);
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        Self {
            digests: vec![0; places],
            offsets: vec![0; places],
            taken: 0,
            taken_max: places - places / 10,
        }
    }

    /// Notes that `key` is at `offset`, after all it was noted at before; answers whether there was room.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let digest = digest(key);
        let place = self.place(digest);
        let (Some(known), Some(at)) = (self.digests.get_mut(place), self.offsets.get_mut(place))
        else {
            return false;
        };
        if *at == 0 {
            if self.taken >= self.taken_max {
                return false;
            }
            self.taken += 1;
        }
        *known = digest;
        *at = offset.get().saturating_add(1);
        true
    }

    /// Where `key` was noted last.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let at = self.offsets.get(self.place(digest(key)))?;
        at.checked_sub(1).map(Offset::new)
    }

    /// The place that has `digest`, or the free one where it would be. There is always one that is free.
    fn place(&self, digest: u128) -> usize {
        let places = self.digests.len();
        let start = digest % u128::try_from(places).unwrap_or(u128::MAX);
        let mut place = usize::try_from(start).unwrap_or_default();
        loop {
            let free = self.offsets.get(place).is_none_or(|at| *at == 0);
            if free || self.digests.get(place) == Some(&digest) {
                return place;
            }
            place = if place + 1 < places { place + 1 } else { 0 };
        }
    }
}

fn digest(key: &[u8]) -> u128 {
    let digest = Sha256::digest(key);
    let first = digest.first_chunk::<16>().copied();
    u128::from_le_bytes(first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_found_and_a_full_map_takes_no_more() {
        for (keys, bytes) in [(1_000, 1 << 20), (1_000, 24 * 300), (3, 0)] {
            let mut map = OffsetMap::new(keys, bytes);
            let mut model = BTreeMap::new();
            let mut refused = 0;
            for offset in 0..5_000_u64 {
                let key = (offset * 7_919 % keys).to_string();
                if map.put(key.as_bytes(), Offset::new(offset)) {
                    model.insert(key, offset);
                } else {
                    assert!(!model.contains_key(&key), "a known key has room");
                    refused += 1;
                }
            }
            assert_eq!(refused == 0, model.len() as u64 == keys);
            assert!(map.digests.len() as u64 * PLACE_BYTES <= bytes.max(PLACES_MIN * PLACE_BYTES));
            for number in 0..keys + 10 {
                let key = number.to_string();
                let found = map.get(key.as_bytes()).map(Offset::get);
                assert_eq!(found, model.get(&key).copied());
            }
        }
    }
}
