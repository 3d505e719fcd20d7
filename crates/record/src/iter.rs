//! The records of a batch, one after another, borrowed from its bytes.
//!
//! ```text
//!  length  attributes  timestamp  offset  key     key  value   value  headers  { name    name  value   value }*
//!  varint  i8          delta      delta   length  …    length  …      count      length  …     length  …
//! ```
//! A length of -1 is "null". Iterating allocates nothing; after an error it ends.

use bytes::Bytes;
use model::{Offset, Timestamp};

use crate::varint::{read_i32, read_i64};
use crate::{CheckedBatch, Error, TimestampKind};

/// The records of one batch, decompressed.
#[derive(Debug, Clone)]
pub struct Records {
    body: Bytes,
    origin: Origin,
    count: u32,
}

/// What the deltas of records count from.
#[derive(Debug, Clone, Copy)]
struct Origin {
    offset: i64,
    timestamp: i64,
    /// The stamp of the broker, which overrules every record's own.
    stamped: Option<i64>,
}

impl Records {
    pub(crate) fn new(batch: &CheckedBatch, body: Bytes) -> Self {
        let header = batch.header();
        Self {
            body,
            origin: Origin {
                offset: header.base_offset,
                timestamp: header.base_timestamp,
                stamped: (header.timestamp_kind() == TimestampKind::LogAppend)
                    .then_some(header.max_timestamp),
            },
            count: batch.record_count(),
        }
    }

    /// Number of records the batch claims.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of all records, decompressed.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The record that begins at byte `place`.
    pub(crate) fn at(&self, place: usize) -> Option<Record<'_>> {
        let mut walk = RecordIter {
            rest: self.body.get(place..)?,
            origin: self.origin,
            index: 0,
            count: 1,
        };
        walk.next()?.ok()
    }

    /// Bytes of the legible record that begins at byte `place`.
    pub(crate) fn size_at(&self, place: usize) -> Option<usize> {
        let rest = self.body.get(place..)?;
        let mut walk = RecordIter {
            rest,
            origin: self.origin,
            index: 0,
            count: 1,
        };
        walk.next()?.ok()?;
        Some(rest.len() - walk.rest.len())
    }

    /// One record alone, as a copy.
    pub(crate) fn cut(&self, place: usize, size: usize) -> Self {
        let end = place.saturating_add(size);
        Self {
            body: Bytes::copy_from_slice(self.body.get(place..end).unwrap_or_default()),
            origin: self.origin,
            count: 1,
        }
    }

    /// The records in order.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            rest: &self.body,
            origin: self.origin,
            index: 0,
            count: self.count,
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, Error>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp: the broker's where the batch was stamped by one.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// Walks records; made by [`Records::iter`].
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    origin: Origin,
    index: u32,
    count: u32,
}

impl<'a> RecordIter<'a> {
    /// Bytes not walked yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let length = read_i32(&mut self.rest).ok_or("its length is not legible")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut record, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("it is longer than the batch")?;
        self.rest = rest;
        let (_attributes, after) = record.split_first().ok_or("it has no attributes")?;
        record = after;
        let timestamp = read_i64(&mut record).ok_or("its timestamp is not legible")?;
        let offset = read_i32(&mut record).ok_or("its offset is not legible")?;
        let key = read_nullable(&mut record).map_err(|_| "its key is not legible")?;
        let value = read_nullable(&mut record).map_err(|_| "its value is not legible")?;
        let headers = read_i32(&mut record).ok_or("its header count is not legible")?;
        let headers = u32::try_from(headers).map_err(|_| "its header count is negative")?;
        let timestamp = match self.origin.stamped {
            Some(stamped) => stamped,
            None => self
                .origin
                .timestamp
                .checked_add(timestamp)
                .ok_or("its timestamp overflows")?,
        };
        let offset = self.origin.offset.checked_add(i64::from(offset));
        Ok(Record {
            offset: offset
                .and_then(Offset::from_i64)
                .ok_or("its offset is out of range")?,
            timestamp: Timestamp::from_millis(timestamp),
            key,
            value,
            headers: Headers {
                bytes: record,
                count: headers,
            },
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let record = self.read();
        Some(record.map_err(|what| {
            self.index = self.count;
            Error::Record { index, what }
        }))
    }
}

/// A length is not legible or runs past the end.
struct Malformed;

/// Bytes behind their length, where -1 means null.
#[inline]
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let length = read_i32(bytes).ok_or(Malformed)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(Some(taken))
}

/// A record's headers in the order they were given; a name may come more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// How many the record claims to have.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order. Ends at a malformed one, which [`crate::validate_records`] refuses.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter {
            rest: self.bytes,
            left: self.count,
        }
    }

    /// The value of the last header of this name, as Kafka's `lastHeader` has it; the inner `None`
    /// is a null value.
    pub fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().filter(|(n, _)| *n == name).last().map(|h| h.1)
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Walks headers; made by [`Headers::iter`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> HeaderIter<'a> {
    /// Walks all headers and tells what is wrong with them.
    pub(crate) fn check(mut self) -> Result<(), &'static str> {
        while self.left > 0 {
            self.read()?;
        }
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("bytes are left over after its headers")
        }
    }

    fn read(&mut self) -> Result<(&'a str, Option<&'a [u8]>), &'static str> {
        self.left -= 1;
        let name = read_nullable(&mut self.rest)
            .ok()
            .flatten()
            .ok_or("a header name is null or not legible")?;
        let name = std::str::from_utf8(name).map_err(|_| "a header name is not UTF-8")?;
        let value = read_nullable(&mut self.rest).map_err(|_| "a header value is not legible")?;
        Ok((name, value))
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if let Ok(header) = self.read() {
            return Some(header);
        }
        self.left = 0;
        None
    }
}
