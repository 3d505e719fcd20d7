//! The 61 bytes before the records, as fields.
//!
//! ```text
//!  0        8     12     16    17   21   23     27        35        43        51   53     57     61
//!  ├────────┼──────┼──────┼─────┼────┼────┼──────┼─────────┼─────────┼─────────┼────┼──────┼──────┤
//!  base     length leader magic crc  attr last   base      max       producer  epoch base   count  records
//!  offset          epoch             ibut delta  timestamp timestamp id              sequ.
//!                                    └──────────────── covered by the CRC32C ─────────────────────>
//! ```
//! All integers are big-endian. Source: Kafka's `DefaultRecordBatch`, KIP-98; `docs/format/batch.md`.

use model::limits::BATCH_BYTES_MAX;

use crate::{Compression, Error};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;

/// Bytes before those that the length field counts: base offset and the length itself.
pub const PREFIX_BYTES: usize = 12;

/// Where the CRC is.
pub(crate) const CRC_AT: usize = 17;

/// Where the bytes covered by the CRC begin.
pub(crate) const CRC_FROM: usize = 21;

/// The shortest record: length, attributes, two deltas, key length, value length, header count.
pub(crate) const RECORD_BYTES_MIN: usize = 7;

/// Whose clock stamped the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's, each record its own.
    Create,
    /// The broker's, on arrival: all records of a batch have its maximum timestamp.
    LogAppend,
}

/// The fields before the records, as they stand in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    /// The leader's term; -1 or 0 where nobody counts them.
    pub leader_epoch: i32,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// Codec (bits 0–2), timestamp kind (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; with a delete horizon it is that.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch.
    pub max_timestamp: i64,
    /// The idempotent producer, -1 for none.
    pub producer_id: i64,
    /// The producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Number of records; less than the offsets the batch stands for where compaction took some.
    pub record_count: i32,
}

/// The attribute that says that the base timestamp is the delete horizon (KIP-534).
pub(crate) const HORIZON: i16 = 0x40;

impl Header {
    /// Reads the fields; checks the magic and nothing else.
    ///
    /// # Errors
    /// [`Error::Incomplete`] below 61 bytes, [`Error::Magic`].
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(Error::Incomplete {
                needed: HEADER_BYTES,
                available: bytes.len(),
            });
        };
        let mut fields = Fields(fixed);
        let base_offset = i64::from_be_bytes(fields.take());
        let length = i32::from_be_bytes(fields.take());
        let leader_epoch = i32::from_be_bytes(fields.take());
        let [magic] = fields.take();
        if magic != 2 {
            return Err(Error::Magic { magic });
        }
        Ok(Self {
            base_offset,
            length,
            leader_epoch,
            crc: u32::from_be_bytes(fields.take()),
            attributes: i16::from_be_bytes(fields.take()),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: i64::from_be_bytes(fields.take()),
            max_timestamp: i64::from_be_bytes(fields.take()),
            producer_id: i64::from_be_bytes(fields.take()),
            producer_epoch: i16::from_be_bytes(fields.take()),
            base_sequence: i32::from_be_bytes(fields.take()),
            record_count: i32::from_be_bytes(fields.take()),
        })
    }

    /// Bytes of the whole batch.
    ///
    /// # Errors
    /// [`Error::Length`] unless it lies between the header and [`BATCH_BYTES_MAX`].
    pub fn size(&self) -> Result<usize, Error> {
        let size = usize::try_from(self.length).map(|length| length + PREFIX_BYTES);
        match size {
            Ok(size) if (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&size) => Ok(size),
            _ => Err(Error::Length {
                length: self.length,
                min: HEADER_BYTES - PREFIX_BYTES,
                max: BATCH_BYTES_MAX - PREFIX_BYTES,
            }),
        }
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`Error::Codec`].
    pub fn compression(&self) -> Result<Compression, Error> {
        Compression::from_number(self.attributes & 0x07)
    }

    /// Whose clock stamped the records.
    pub const fn timestamp_kind(&self) -> TimestampKind {
        if self.attributes & 0x08 == 0 {
            TimestampKind::Create
        } else {
            TimestampKind::LogAppend
        }
    }

    /// Offsets the batch stands for, at least 1: those of its records and of records that compaction
    /// took out of it.
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.last_offset_delta).map_or(1, |delta| delta + 1)
    }

    /// When compaction may remove the tombstones, or the marker, in the batch; `None` if it has not
    /// seen them yet.
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.attributes & HORIZON == 0 {
            None
        } else {
            Some(self.base_timestamp)
        }
    }

    /// Checks the fields against each other and against the size, all but the CRC. There may be fewer
    /// records than offsets, as compaction leaves it, and none at all.
    ///
    /// # Errors
    /// [`Error::Codec`], [`Error::Count`], [`Error::Offset`], [`Error::Timestamp`].
    pub fn check(&self, size: usize) -> Result<(), Error> {
        let bytes = size.saturating_sub(HEADER_BYTES);
        let compression = self.compression()?;
        let count = usize::try_from(self.record_count);
        let fits = count.is_ok_and(|count| match count {
            0 => bytes == 0,
            _ => compression != Compression::None || count <= bytes / RECORD_BYTES_MIN,
        });
        let offsets = self.last_offset_delta.checked_add(1);
        let placed = offsets.is_some_and(|offsets| offsets > 0 && offsets >= self.record_count);
        if !fits || !placed {
            return Err(Error::Count {
                count: self.record_count,
                delta: self.last_offset_delta,
                bytes,
            });
        }
        let last = self
            .base_offset
            .checked_add(i64::from(self.last_offset_delta) + 1);
        if self.base_offset < 0 || last.is_none() {
            return Err(Error::Offset {
                offset: self.base_offset,
                delta: self.last_offset_delta,
            });
        }
        // -1 stands for "none", as old clients send it.
        let earliest = self.base_timestamp.min(self.max_timestamp);
        if earliest < -1 {
            return Err(Error::Timestamp {
                timestamp: earliest,
            });
        }
        Ok(())
    }
}

/// Takes fields of constant length off the front. The header is long enough by its type, so the
/// defaults are never seen.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}
