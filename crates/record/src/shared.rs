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
        let mut walk = records.iter();
        std::iter::from_fn(move || {
            let place = records.size() - walk.rest().len();
            walk.next()?.ok()?;
            Some(Self {
                records: Arc::clone(records),
                place,
            })
        })
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
        }
    }
}
