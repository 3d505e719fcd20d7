//! The value of a record: who sent it, where to, its number, and a checksum over all of it.
//!
//! ```text
//! byte 0      4         6          8       16
//!      crc32c  producer  partition  number  filler up to the size of the value
//! ```
//! Big-endian; the checksum covers everything after itself. The same bytes go to every peer.

/// The smallest value that holds all fields.
pub(super) const BYTES_MIN: usize = 16;

/// What a value says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer: u16,
    pub(super) partition: u16,
    /// Counts from 0 within one producer and partition, in the order of sending.
    pub(super) number: u64,
}

/// A value of `bytes` bytes that no stamp was written into yet.
///
/// # Panics
/// Below [`BYTES_MIN`].
pub(super) fn blank(bytes: usize) -> Vec<u8> {
    assert!(bytes >= BYTES_MIN, "a value holds its stamp");
    (0..bytes).map(|at| b'a' + (at % 26) as u8).collect()
}

/// Writes the stamp and the checksum into a blank value.
pub(super) fn write(value: &mut [u8], stamp: Stamp) {
    value[4..6].copy_from_slice(&stamp.producer.to_be_bytes());
    value[6..8].copy_from_slice(&stamp.partition.to_be_bytes());
    value[8..16].copy_from_slice(&stamp.number.to_be_bytes());
    let crc = crc32c::crc32c(&value[4..]);
    value[..4].copy_from_slice(&crc.to_be_bytes());
}

/// The stamp of a value; `None` when any byte of it is not what was sent.
pub(super) fn read(value: &[u8]) -> Option<Stamp> {
    let (crc, rest) = value.split_first_chunk::<4>()?;
    if crc32c::crc32c(rest) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (producer, rest) = rest.split_first_chunk::<2>()?;
    let (partition, rest) = rest.split_first_chunk::<2>()?;
    Some(Stamp {
        producer: u16::from_be_bytes(*producer),
        partition: u16::from_be_bytes(*partition),
        number: u64::from_be_bytes(*rest.first_chunk::<8>()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_byte_is_seen() {
        let stamp = Stamp {
            producer: 7,
            partition: 3,
            number: 1 << 40,
        };
        let mut value = blank(100);
        write(&mut value, stamp);
        assert_eq!(read(&value), Some(stamp));
        for at in 0..value.len() {
            value[at] ^= 1;
            assert_eq!(read(&value), None, "byte {at}");
            value[at] ^= 1;
        }
        assert_eq!(read(&value[..99]), None);
        assert_eq!(read(&[]), None);
    }
}
