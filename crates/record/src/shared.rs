//! A record that outlives the loop over its batch, without a copy: the batch is shared, the record is a place in it.

use std::sync::Arc;

use crate::{Record, Records};

/// One record of a batch that is kept as long as any of its records is.
///
/// Reading it walks its bytes again, some nanoseconds; holding it costs one reference count.
#[derive(Debug, Clone)]
pub struct SharedRecord {
    records: Arc<Records>,
    place: usize,
    size: usize,
    /// Records behind it that the batch claims.
    left: u32,
}

impl SharedRecord {
    /// The records of a batch, each as its own; ends at a record that is not legible.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use model::Timestamp;
    /// use record::{BatchBuilder, Compression, SharedRecord};
    ///
    /// let mut builder = BatchBuilder::new(Compression::None);
    /// for value in [b"a", b"b"] {
    ///     builder.push(Timestamp::from_millis(1), None, Some(value), &[]);
    /// }
    /// let records = Arc::new(builder.build().records().unwrap());
    /// let second = SharedRecord::all(&records).nth(1).unwrap();
    /// drop(records);
    /// assert_eq!(second.get().unwrap().value, Some(&b"b"[..]));
    /// ```
    pub fn all(records: &Arc<Records>) -> impl Iterator<Item = Self> + use<'_> {
        let mut next = Self::first(records);
        std::iter::from_fn(move || {
            let this = next.take()?;
            next = this.following();
            Some(this)
        })
    }

    /// The first record of a batch; `None` when there is none, or it is not legible.
    pub fn first(records: &Arc<Records>) -> Option<Self> {
        Self::begin(records, 0, records.count())
    }

    /// The record behind this one in its batch; `None` at the end, or where one is not legible.
    ///
    /// So a walk over a large batch can pause anywhere and go on later.
    #[must_use]
    pub fn following(&self) -> Option<Self> {
        Self::begin(&self.records, self.place + self.size, self.left)
    }

    fn begin(records: &Arc<Records>, place: usize, count: u32) -> Option<Self> {
        let left = count.checked_sub(1)?;
        let size = records.size_at(place)?;
        Some(Self {
            records: Arc::clone(records),
            place,
            size,
            left,
        })
    }

    /// Bytes of this record alone.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A copy that does not keep the batch.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            records: Arc::new(self.records.cut(self.place, self.size)),
            place: 0,
            size: self.size,
            left: 0,
        }
    }

    /// The record. `None` cannot be: it was legible when this was made.
    pub fn get(&self) -> Option<Record<'_>> {
        self.records.at(self.place)
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::{BatchBuilder, Compression};

    #[test]
    fn each_record_is_the_one_the_walk_gives() {
        for compression in [Compression::None, Compression::Zstd] {
            let mut builder = BatchBuilder::new(compression);
            for number in 0..300_i64 {
                let value = vec![7; usize::try_from(number).unwrap()];
                let headers = [("n", Some(&b"x"[..]))];
                builder.push(
                    Timestamp::from_millis(number),
                    Some(b"k"),
                    Some(&value),
                    &headers,
                );
            }
            let records = Arc::new(builder.build().records().unwrap());
            let shared: Vec<_> = SharedRecord::all(&records).collect();
            assert_eq!(shared.len(), 300);
            for (shared, walked) in shared.iter().zip(records.iter()) {
                assert_eq!(shared.get(), Some(walked.unwrap()));
            }
            let sizes: usize = shared.iter().map(SharedRecord::size).sum();
            assert_eq!(sizes, records.size());
            let alone = shared[250].detached();
            let same = shared[250].get();
            assert_eq!((alone.get(), alone.size()), (same, shared[250].size()));
            assert!(alone.following().is_none());
            let batch = Arc::downgrade(&records);
            drop((shared, records));
            assert!(batch.upgrade().is_none(), "a copy keeps no batch");
        }
    }
}
