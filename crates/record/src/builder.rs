//! Makes a batch out of records.

use bytes::Bytes;
use model::Timestamp;

use crate::header::{CRC_AT, CRC_FROM, HEADER_BYTES, Header, PREFIX_BYTES};
use crate::{CheckedBatch, Compression, varint};

/// Collects records and encodes them as one batch with base offset 0; the log gives it its offset.
///
/// Callers keep a batch below the topic's limit by [`BatchBuilder::size`].
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    compression: Compression,
    records: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    attributes: i16,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            records: Vec::new(),
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            attributes: compression.number(),
        }
    }

    /// Adds a record. A time before 1970 counts as none (-1): readers refuse a batch that has one.
    ///
    /// # Panics
    /// If a key, value or header is longer than 2 GiB, or the batch has `i32::MAX` records.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut Self {
        assert!(
            self.count < i32::MAX.cast_unsigned(),
            "a batch counts its records in 31 bits"
        );
        let millis = timestamp.millis().max(-1);
        if self.count == 0 {
            self.base_timestamp = millis;
        }
        self.max_timestamp = self.max_timestamp.max(millis);
        let timestamp_delta = millis.saturating_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        self.count += 1;

        let header_size: usize = headers
            .iter()
            .map(|(name, value)| nullable_size(Some(name.as_bytes())) + nullable_size(*value))
            .sum();
        let size = 1
            + varint::size(timestamp_delta)
            + varint::size(offset_delta)
            + nullable_size(key)
            + nullable_size(value)
            + varint::size(length_of(headers.len()))
            + header_size;

        let to = &mut self.records;
        varint::write(to, length_of(size));
        to.push(0);
        varint::write(to, timestamp_delta);
        varint::write(to, offset_delta);
        put_nullable(to, key);
        put_nullable(to, value);
        varint::write(to, length_of(headers.len()));
        for (name, value) in headers {
            put_nullable(to, Some(name.as_bytes()));
            put_nullable(to, *value);
        }
        self
    }

    /// Marks the batch as an idempotent producer's.
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(&mut self) -> &mut Self {
        self.attributes |= 0x10;
        self
    }

    /// Marks the batch as one that no application sees.
    pub(crate) fn control(&mut self) -> &mut Self {
        self.attributes |= 0x20;
        self
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The batch.
    ///
    /// # Panics
    /// If it has no records, or more than 2 GiB of them: neither can be a batch.
    #[expect(clippy::expect_used, reason = "each states its proof")]
    pub fn build(&self) -> CheckedBatch {
        assert!(self.count > 0, "a batch has at least one record");
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.reserve(self.records.len());
        self.compression
            .compress(&self.records, &mut bytes)
            .expect("compressing into memory does not fail");
        let count = i32::try_from(self.count).expect("push keeps the count in 31 bits");
        let length = bytes.len() - PREFIX_BYTES;
        let mut header = Header {
            base_offset: 0,
            length: i32::try_from(length).expect("callers keep a batch below 2 GiB"),
            leader_epoch: -1,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: count,
        };
        seal(&mut bytes, &mut header);
        CheckedBatch::from_checked(Bytes::from(bytes), header).expect("the codec is one of ours")
    }
}

/// Writes the header in front of the records, with its checksum.
pub(crate) fn seal(bytes: &mut [u8], header: &mut Header) {
    write_header(bytes, header);
    header.crc = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(CRC_AT..CRC_FROM) {
        place.copy_from_slice(&header.crc.to_be_bytes());
    }
}

fn write_header(bytes: &mut [u8], header: &Header) {
    let fields: [&[u8]; 13] = [
        &header.base_offset.to_be_bytes(),
        &header.length.to_be_bytes(),
        &header.leader_epoch.to_be_bytes(),
        &[2],
        &header.crc.to_be_bytes(),
        &header.attributes.to_be_bytes(),
        &header.last_offset_delta.to_be_bytes(),
        &header.base_timestamp.to_be_bytes(),
        &header.max_timestamp.to_be_bytes(),
        &header.producer_id.to_be_bytes(),
        &header.producer_epoch.to_be_bytes(),
        &header.base_sequence.to_be_bytes(),
        &header.record_count.to_be_bytes(),
    ];
    for (place, byte) in bytes.iter_mut().zip(fields.iter().copied().flatten()) {
        *place = *byte;
    }
}

#[expect(
    clippy::expect_used,
    reason = "a caller's bug: no such record can be encoded"
)]
fn length_of(length: usize) -> i64 {
    i32::try_from(length)
        .expect("a length in a record has 31 bits")
        .into()
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| {
        varint::size(length_of(bytes.len())) + bytes.len()
    })
}

fn put_nullable(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(to, -1),
        Some(bytes) => {
            varint::write(to, length_of(bytes.len()));
            to.extend_from_slice(bytes);
        }
    }
}
