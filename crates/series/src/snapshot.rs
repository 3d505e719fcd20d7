//! A store as bytes, and back: so that a start need not unpack hours of samples one by one.
//!
//! The chunks are written as they lie in memory, which is why it is quick both ways. The bytes carry no
//! checksum of their own: whoever keeps them does that, and gives back only what is whole.
//!
//! ```text
//! series*   u32 labels, (u32 length, bytes) for each name and value,
//!           u32 chunks, (i64 first, i64 last, u32 count, u8 form, u32 words, u64 word*)*
//! ```
//!
//! Little-endian. `form` is the power of ten of a scaled chunk, 255 for xor.

use crate::Error;
use crate::chunk::Chunk;
use crate::labels::Labels;
use crate::store::Store;

/// Bytes handed out at once.
const PIECE_BYTES: usize = 1 << 20;

/// Why bytes are no snapshot, or hold what this store does not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes end early or contradict themselves.
    #[error("the bytes are no snapshot of a series store, at byte {at} of {length}")]
    Malformed {
        /// Where.
        at: usize,
        /// How many there are.
        length: usize,
    },
    /// A limit of the store.
    #[error(transparent)]
    Refused(#[from] Error),
}

impl Store {
    /// Hands all series and samples to `write`, a piece of about 1 MiB at a time. Samples that come meanwhile
    /// may be in or not.
    ///
    /// # Errors
    /// The first one of `write`.
    pub fn save<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        for (labels, chunks) in self.contents() {
            put_u32(&mut piece, labels.len());
            for (name, value) in &labels {
                for text in [name, value] {
                    put_u32(&mut piece, text.len());
                    piece.extend_from_slice(text.as_bytes());
                }
            }
            put_u32(&mut piece, chunks.len());
            for chunk in chunks {
                chunk.put(&mut piece);
                if piece.len() >= PIECE_BYTES {
                    write(&piece)?;
                    piece.clear();
                }
            }
        }
        if piece.is_empty() {
            return Ok(());
        }
        write(&piece)
    }

    /// Takes in what [`save`](Self::save) gave, into a store that has none of its series; returns the samples.
    /// After an error some of it may be in.
    ///
    /// # Errors
    /// [`SnapshotError`]; any bytes are safe to give.
    pub fn load(&self, bytes: &[u8]) -> Result<u64, SnapshotError> {
        let mut reader = Reader { bytes, at: 0 };
        let mut samples = 0;
        while reader.at < bytes.len() {
            let labels = reader.labels()?;
            let count = reader.u32()?;
            let mut chunks = Vec::new();
            for _ in 0..count {
                let chunk = reader.chunk()?;
                samples += u64::from(chunk.count);
                chunks.push(chunk);
            }
            if !self.adopt(&labels, chunks)? {
                return Err(reader.malformed());
            }
        }
        Ok(samples)
    }
}

pub(crate) fn put_u32(to: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("labels, chunks and their bytes are far fewer");
    to.extend_from_slice(&number.to_le_bytes());
}

/// Reads a snapshot from front to back.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn malformed(&self) -> SnapshotError {
        SnapshotError::Malformed {
            at: self.at,
            length: self.bytes.len(),
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| self.malformed())?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.array().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, SnapshotError> {
        let length = self.u32()? as usize;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed())
    }

    fn labels(&mut self) -> Result<Labels, SnapshotError> {
        let count = self.u32()?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Labels::new(pairs).map_err(|_| self.malformed())
    }

    fn chunk(&mut self) -> Result<Chunk, SnapshotError> {
        Chunk::read(self)?.ok_or_else(|| self.malformed())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use model::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{Appended, STALE_NAN, StoreOptions};

    fn saved(store: &Store) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(()) = store.save(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        bytes
    }

    fn contents(store: &Store) -> Vec<(String, Vec<(i64, u64)>)> {
        let all = store.select(&[], Timestamp::MIN, Timestamp::MAX);
        let mut read: Vec<_> = all
            .into_iter()
            .map(|series| {
                let samples = series.samples.map(|(t, v)| (t.millis(), v.to_bits()));
                (series.labels.to_string(), samples.collect())
            })
            .collect();
        read.sort_unstable();
        read
    }

    fn store_of(items: &[(u8, i64, f64)]) -> Store {
        let store = Store::new(StoreOptions::default());
        for (series, at, value) in items {
            let job = format!("job {}", series % 5);
            let labels = Labels::of(&[("__name__", "x"), ("job", &job), ("空", "é")]);
            store
                .append(&labels, Timestamp::from_millis(*at), *value)
                .unwrap();
        }
        store
    }

    fn items() -> impl Strategy<Value = Vec<(u8, i64, f64)>> {
        let value = prop_oneof![
            Just(STALE_NAN),
            any::<f64>(),
            (0_i32..1_000).prop_map(f64::from)
        ];
        prop::collection::vec((any::<u8>(), 0_i64..100_000, value), 0..2_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// What was loaded reads the same, and goes on taking samples of any age.
        #[test]
        fn a_loaded_store_is_the_one_that_was_saved(before in items(), after in items()) {
            let store = store_of(&before);
            let loaded = Store::new(StoreOptions::default());
            let samples = loaded.load(&saved(&store)).unwrap();
            prop_assert_eq!(samples, store.stats().samples);
            prop_assert_eq!(contents(&loaded), contents(&store));
            for (series, at, value) in after {
                let labels = Labels::of(&[("__name__", "x"), ("job", &format!("job {}", series % 5)), ("空", "é")]);
                let at = Timestamp::from_millis(at);
                // Whether a sample is the newest is known to the growing chunk alone.
                let stored = |appended: Result<Appended, Error>| appended.unwrap().is_stored();
                prop_assert_eq!(stored(loaded.append(&labels, at, value)), stored(store.append(&labels, at, value)));
            }
            prop_assert_eq!(contents(&loaded), contents(&store));
        }

        #[test]
        fn bytes_that_are_no_snapshot_are_refused(before in items(), cut in any::<prop::sample::Index>()) {
            let bytes = saved(&store_of(&before));
            prop_assume!(!bytes.is_empty());
            let cut = cut.index(bytes.len());
            let loaded = Store::new(StoreOptions::default()).load(&bytes[..cut]);
            // A cut between two series leaves a whole snapshot of fewer.
            prop_assert!(loaded.is_err() || loaded.unwrap() <= store_of(&before).stats().samples);
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200)) {
            // Whatever it says: neither it nor reading what it brought panics, or takes more memory than
            // the bytes are worth.
            let store = Store::new(StoreOptions::default());
            let _ = store.load(&bytes);
            contents(&store);
        }
    }

    #[test]
    fn a_series_that_is_there_already_is_not_mixed_with_another() {
        let store = store_of(&[(1, 5, 1.0)]);
        assert!(store.load(&saved(&store_of(&[(1, 6, 1.0)]))).is_err());
        assert_eq!(store.stats().samples, 1);
    }
}
