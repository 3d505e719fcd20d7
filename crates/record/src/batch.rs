//! A checked batch, and runs of batches one after another.

use bytes::Bytes;
use model::{Offset, Timestamp};

use crate::header::{CRC_FROM, HEADER_BYTES, Header, TimestampKind};
use crate::{Compression, Error, Records};

/// One whole batch whose length, magic, checksum, codec, counts and header timestamps were checked.
///
/// The records inside were not walked; [`crate::validate_records`] does that, once, on entry.
/// Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct CheckedBatch {
    bytes: Bytes,
    header: Header,
    compression: Compression,
    /// Records without a key, where somebody counted them.
    pub(crate) keyless: Option<u32>,
}

impl PartialEq for CheckedBatch {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for CheckedBatch {}

impl CheckedBatch {
    /// Takes the first batch off `bytes` and answers what comes after it. Nothing is copied.
    ///
    /// # Errors
    /// [`Error`] by what is wrong; [`Error::Incomplete`] if the bytes end inside the batch.
    pub fn parse(mut bytes: Bytes) -> Result<(Self, Bytes), Error> {
        let (header, size) = check(&bytes)?;
        let rest = bytes.split_off(size);
        Ok((Self::from_checked(bytes, header)?, rest))
    }

    /// Wraps a batch that this crate has just made or checked.
    pub(crate) fn from_checked(bytes: Bytes, header: Header) -> Result<Self, Error> {
        let compression = header.compression()?;
        Ok(Self {
            bytes,
            header,
            compression,
            keyless: None,
        })
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        Offset::from_i64(self.header.base_offset).unwrap_or_default()
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset().plus(u64::from(self.last_offset_delta()))
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Offset of the last record minus that of the first.
    pub fn last_offset_delta(&self) -> u32 {
        u32::try_from(self.header.last_offset_delta).unwrap_or_default()
    }

    /// Number of records; fewer than offsets, maybe 0, where compaction took some.
    pub fn record_count(&self) -> u32 {
        u32::try_from(self.header.record_count).unwrap_or_default()
    }

    /// Timestamp of the first record (by the producer's clock, also after a broker's stamp); -1 if
    /// the producer gave none; something else in a batch that compaction was at.
    pub fn first_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.header.base_timestamp)
    }

    /// The largest timestamp in the batch, as its header says; -1 if the producer gave none.
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.header.max_timestamp)
    }

    /// The idempotent producer; negative for none.
    pub fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// The idempotent producer's epoch; negative for none.
    pub fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// The idempotent producer's number of the first record; negative for none.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// The leader's term that the bytes carry.
    pub fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.attributes & 0x10 != 0
    }

    /// Whether the batch marks the end of a transaction and is not for applications.
    pub fn is_control(&self) -> bool {
        self.header.attributes & 0x20 != 0
    }

    /// Whose clock stamped the records.
    pub fn timestamp_kind(&self) -> TimestampKind {
        self.header.timestamp_kind()
    }

    /// Records without a key, known after [`CheckedBatch::validated`]; `None` for a batch whose records were not walked.
    pub fn keyless(&self) -> Option<u32> {
        self.keyless
    }

    /// The header's fields.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the batch, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as it is on the wire and on disk.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch as it is on the wire and on disk.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records, decompressed if need be; an uncompressed batch is not copied.
    ///
    /// # Errors
    /// [`Error::Decompress`], [`Error::Inflated`].
    pub fn records(&self) -> Result<Records, Error> {
        self.records_within(model::limits::INFLATED_BYTES_MAX)
    }

    /// As [`CheckedBatch::records`], with at most `limit` bytes of decompressed records.
    ///
    /// # Errors
    /// [`Error::Decompress`], [`Error::Inflated`].
    pub fn records_within(&self, limit: usize) -> Result<Records, Error> {
        let body = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        let body = self.compression.decompress(body, limit)?;
        Ok(Records::new(self, body))
    }
}

/// Checks the first batch in `bytes` as [`CheckedBatch::parse`] does, in place; answers its header
/// and its size.
///
/// # Errors
/// As [`CheckedBatch::parse`].
pub fn check(bytes: &[u8]) -> Result<(Header, usize), Error> {
    let header = Header::read(bytes)?;
    let size = header.size()?;
    header.check(size)?;
    let Some(covered) = bytes.get(CRC_FROM..size) else {
        return Err(Error::Incomplete {
            needed: size,
            available: bytes.len(),
        });
    };
    let computed = crc32c::crc32c(covered);
    if computed != header.crc {
        return Err(Error::Crc {
            expected: header.crc,
            computed,
        });
    }
    Ok((header, size))
}

/// Takes `bytes` apart into batches, all of it, each at most `batch_bytes_max` long.
///
/// # Errors
/// The first batch's [`Error`] that is not good; [`Error::TooLarge`].
pub fn parse_all(mut bytes: Bytes, batch_bytes_max: usize) -> Result<Vec<CheckedBatch>, Error> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let size = Header::read(&bytes)?.size()?;
        if size > batch_bytes_max {
            return Err(Error::TooLarge {
                size,
                limit: batch_bytes_max,
            });
        }
        let (batch, rest) = CheckedBatch::parse(bytes)?;
        batches.push(batch);
        bytes = rest;
    }
    Ok(batches)
}

/// Batches one after another, as a fetch answers them, each checked when it is reached.
///
/// Ends quietly at an incomplete last batch, which Kafka's protocol allows a fetch to cut;
/// [`Batches::rest`] tells what is left. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// The batches in `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self {
            rest: bytes,
            failed: false,
        }
    }

    /// What was not answered yet.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<CheckedBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        match CheckedBatch::parse(self.rest.clone()) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(Error::Incomplete { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
