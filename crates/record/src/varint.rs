//! Zig-zag variable-length integers, as protobuf has them: seven bits a byte, least first.
//!
//! Bounds: an `i32` has at most 5 bytes and an `i64` at most 10, and bits beyond the type's width are
//! refused rather than dropped. Longer spellings of small numbers inside these bounds are taken, as
//! Kafka takes them.

/// Reads an `i32`; `None` at the end of the bytes or beyond the bounds.
#[inline]
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    if let Some(raw) = read_short(bytes) {
        return Some(unzigzag_32(raw));
    }
    read_long(bytes, 5, 0x0f).and_then(|raw| u32::try_from(raw).ok().map(unzigzag_32))
}

/// Reads an `i64`; `None` at the end of the bytes or beyond the bounds.
#[inline]
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    if let Some(raw) = read_short(bytes) {
        return Some(unzigzag_64(u64::from(raw)));
    }
    read_long(bytes, 10, 0x01).map(unzigzag_64)
}

/// Reads one or two bytes, which nearly all lengths and deltas are; `None` for anything else.
#[inline]
fn read_short(bytes: &mut &[u8]) -> Option<u32> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(u32::from(first))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(u32::from(first & 0x7f) | u32::from(second) << 7)
        }
        _ => None,
    }
}

/// Reads at most `limit` bytes, the last of them at most `last_max`.
fn read_long(bytes: &mut &[u8], limit: u32, last_max: u8) -> Option<u64> {
    let mut raw = 0_u64;
    let mut rest = *bytes;
    for index in 0..limit {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if index + 1 == limit && byte > last_max {
            return None;
        }
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = rest;
            return Some(raw);
        }
    }
    None
}

#[inline]
const fn unzigzag_32(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

#[inline]
const fn unzigzag_64(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Appends `value`; for an `i32` the bytes are the same as for the `i64` of the same value.
pub(crate) fn write(to: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        let [low, ..] = raw.to_le_bytes();
        to.push(low | 0x80);
        raw >>= 7;
    }
    let [low, ..] = raw.to_le_bytes();
    to.push(low);
}

/// Bytes that [`write`] appends.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_spellings() {
        let check = |value: i64, bytes: &[u8]| {
            let mut written = Vec::new();
            write(&mut written, value);
            assert_eq!(written, bytes, "{value}");
            assert_eq!(read_i64(&mut &written[..]), Some(value));
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 0x01]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(
            i64::MIN,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        );
    }

    #[test]
    fn bits_beyond_the_width_and_endless_bytes_are_refused() {
        assert_eq!(read_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        assert_eq!(read_i32(&mut &[0x80; 5][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 10][..]), None);
        assert_eq!(read_i64(&mut &[0x80; 3][..]), None);
        assert_eq!(read_i32(&mut &[][..]), None);
        assert_eq!(read_i32(&mut &[0x82, 0x00][..]), Some(1));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, small: i32) {
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size(value));
            write(&mut bytes, i64::from(small));
            let mut rest = &bytes[..];
            prop_assert_eq!(read_i64(&mut rest), Some(value));
            prop_assert_eq!(read_i32(&mut rest), Some(small));
            prop_assert!(rest.is_empty());
        }
    }
}
