//! What a broker writes into a batch it stores: its offset, the leader's term, and, where the topic
//! asks for it, the time of arrival. Offset and term are outside the checksum, so that nothing else
//! changes; a new time costs a new checksum.

use bytes::Bytes;
use model::{Offset, Timestamp};

use crate::header::{CRC_AT, CRC_FROM, HEADER_BYTES, Header};
use crate::{CheckedBatch, Error};

const LEADER_EPOCH_AT: usize = 12;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
/// The attribute bit that says the broker stamped the batch, in the low byte.
const LOG_APPEND_BIT: u8 = 0x08;

/// What to do with the timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampTime {
    /// Leave them.
    Keep,
    /// Put the header's largest timestamp right.
    Max(Timestamp),
    /// Stamp the whole batch with the broker's time (`LogAppendTime`).
    LogAppend(Timestamp),
}

/// What a broker writes into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The leader's term.
    pub leader_epoch: i32,
    /// The timestamps.
    pub time: StampTime,
}

/// Stamps the whole batch in `batch`, in place.
///
/// # Errors
/// [`Error::Incomplete`] if it has no whole header; nothing else is checked.
pub fn restamp(batch: &mut [u8], stamp: &Stamp) -> Result<(), Error> {
    if batch.len() < HEADER_BYTES {
        return Err(Error::Incomplete {
            needed: HEADER_BYTES,
            available: batch.len(),
        });
    }
    put(batch, 0, &stamp.base_offset.as_i64().to_be_bytes());
    put(batch, LEADER_EPOCH_AT, &stamp.leader_epoch.to_be_bytes());
    let max = match stamp.time {
        StampTime::Keep => return Ok(()),
        StampTime::Max(max) => max,
        StampTime::LogAppend(now) => {
            if let Some(low) = batch.get_mut(ATTRIBUTES_AT + 1) {
                *low |= LOG_APPEND_BIT;
            }
            now
        }
    };
    put(batch, MAX_TIMESTAMP_AT, &max.millis().to_be_bytes());
    let crc = crc32c::crc32c(batch.get(CRC_FROM..).unwrap_or_default());
    put(batch, CRC_AT, &crc.to_be_bytes());
    Ok(())
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

impl CheckedBatch {
    /// A copy of the batch, stamped.
    #[must_use]
    pub fn restamped(&self, stamp: &Stamp) -> Self {
        let mut bytes = self.as_bytes().to_vec();
        // A checked batch has a header and a codec, so neither call fails; if one did, the batch
        // would stay as it is.
        let restamped = restamp(&mut bytes, stamp).and_then(|()| {
            let header = Header::read(&bytes)?;
            Self::from_checked(Bytes::from(bytes), header)
        });
        restamped.unwrap_or_else(|_| self.clone())
    }
}
