//! Just enough protobuf to read and write remote write: tags, varints, lengths and doubles.
//!
//! Unknown fields are skipped, as protobuf wants. Groups are refused.

use model::Timestamp;

use super::DECODED_BYTES_MAX;

/// Why bytes are no remote-write request. The sender is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A message ends inside a field.
    #[error("the message ends inside field {field} at byte {position}")]
    Truncated {
        /// Number of the field, 0 when it is not known yet.
        field: u32,
        /// Where in its message.
        position: usize,
    },
    /// A number takes more than 64 bits.
    #[error("the number at byte {position} has more than 64 bits")]
    LongNumber {
        /// Where in its message.
        position: usize,
    },
    /// A field has a wire type that does not fit it or that does not exist.
    #[error("field {field} has wire type {wire_type}, which it cannot have")]
    WireType {
        /// Number of the field.
        field: u32,
        /// The wire type.
        wire_type: u8,
    },
    /// A text is not UTF-8.
    #[error("field {field} is not UTF-8")]
    NotUtf8 {
        /// Number of the field.
        field: u32,
    },
    /// The symbol table of a 2.0 request does not start with the empty text.
    #[error("the first symbol must be the empty text")]
    FirstSymbol,
    /// A 2.0 series refers to a symbol that is not there.
    #[error("series {series} refers to symbol {symbol} of {count}")]
    UnknownSymbol {
        /// Number of the series in the request, from 0.
        series: usize,
        /// The reference.
        symbol: u32,
        /// Symbols there are.
        count: usize,
    },
    /// A 2.0 series has a label name without a value.
    #[error("series {series} has an odd number of label references")]
    OddLabels {
        /// Number of the series in the request, from 0.
        series: usize,
    },
    /// The snappy block is malformed.
    #[error("the body is not a snappy block: {reason}")]
    Snappy {
        /// What snappy says.
        reason: String,
    },
    /// The body is or inflates to more than is allowed.
    #[error("the body has {length} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes it has or claims to inflate to.
        length: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// The request takes more memory than is allowed.
    #[error(
        "the request takes more than {} MiB of memory once it is decoded: send it in parts, or with shorter labels",
        DECODED_BYTES_MAX >> 20
    )]
    Heavy,
}

/// A value of one field of a protobuf message.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number of one to ten bytes.
    Varint(u64),
    /// A number of eight bytes.
    Fixed64(u64),
    /// A text, bytes, a message, or many numbers.
    Bytes(&'a [u8]),
    /// Four bytes, which nothing here needs.
    Fixed32,
}

/// The fields of one protobuf message, in the order they come, read in place.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next field's number and value; `None` at the end.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no message.
    #[expect(
        clippy::should_implement_trait,
        reason = "it fails: an iterator would go on"
    )]
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.position >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint(0)?;
        let wire_type = u8::try_from(tag & 7).unwrap_or_default();
        let field = u32::try_from(tag >> 3).unwrap_or_default();
        let value = match wire_type {
            0 => Value::Varint(self.varint(field)?),
            1 => {
                let bytes = self.take(field, 8)?;
                Value::Fixed64(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            }
            2 => {
                let length = self.varint(field)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Value::Bytes(self.take(field, length)?)
            }
            5 => {
                self.take(field, 4)?;
                Value::Fixed32
            }
            _ => return Err(WireError::WireType { field, wire_type }),
        };
        if field == 0 {
            return Err(WireError::WireType { field, wire_type });
        }
        Ok(Some((field, value)))
    }

    fn varint(&mut self, field: u32) -> Result<u64, WireError> {
        let position = self.position;
        let rest = &self.bytes[position..];
        let (value, length) = read_varint(rest).map_err(|fault| fault.at(field, position))?;
        self.position += length;
        Ok(value)
    }

    fn take(&mut self, field: u32, length: usize) -> Result<&'a [u8], WireError> {
        let position = self.position;
        let rest = &self.bytes[position..];
        let taken = rest
            .get(..length)
            .ok_or(WireError::Truncated { field, position })?;
        self.position += length;
        Ok(taken)
    }
}

/// What can be wrong with a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadVarint {
    TooLong,
    CutOff,
}

impl BadVarint {
    pub(crate) fn at(self, field: u32, position: usize) -> WireError {
        match self {
            Self::TooLong => WireError::LongNumber { position },
            Self::CutOff => WireError::Truncated { field, position },
        }
    }
}

/// A varint and its length; or what is wrong with it.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<(u64, usize), BadVarint> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return Err(BadVarint::TooLong);
        }
        value |= bits << (index * 7);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() >= 10 {
        BadVarint::TooLong
    } else {
        BadVarint::CutOff
    })
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self, field: u32) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.misfit(field)),
        }
    }

    pub(crate) fn text(self, field: u32) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| WireError::NotUtf8 { field })
    }

    pub(crate) fn double(self, field: u32) -> Result<f64, WireError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            other => Err(other.misfit(field)),
        }
    }

    pub(crate) fn int64(self, field: u32) -> Result<i64, WireError> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            other => Err(other.misfit(field)),
        }
    }

    fn misfit(self, field: u32) -> WireError {
        let wire_type = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        };
        WireError::WireType { field, wire_type }
    }
}

/// A sample of either version: `double value = 1; int64 timestamp = 2`.
pub(crate) fn read_sample(bytes: &[u8]) -> Result<(i64, f64), WireError> {
    let mut fields = Fields::new(bytes);
    let (mut timestamp, mut number) = (0, 0.0);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => number = value.double(field)?,
            2 => timestamp = value.int64(field)?,
            _ => (),
        }
    }
    Ok((timestamp, number))
}

/// The samples of a series of either version, field 2, which was read to its end once and is not broken.
pub(crate) fn read_samples(series: &[u8]) -> impl Iterator<Item = (Timestamp, f64)> {
    let mut fields = Fields::new(series);
    std::iter::from_fn(move || {
        while let Ok(Some((field, value))) = fields.next() {
            if let (2, Value::Bytes(bytes)) = (field, value) {
                let (timestamp, value) = read_sample(bytes).ok()?;
                return Some((Timestamp::from_millis(timestamp), value));
            }
        }
        None
    })
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Field `field` with the bytes of a text or a message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_their_borders() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            assert_eq!(read_varint(&out), Ok((value, out.len())));
            assert_eq!(read_varint(&out[..out.len() - 1]), Err(BadVarint::CutOff));
        }
        assert_eq!(read_varint(&[0xff; 10]), Err(BadVarint::TooLong));
    }

    #[test]
    fn broken_fields_are_told_apart() {
        let error = |bytes: &[u8]| Fields::new(bytes).next().unwrap_err();
        assert_eq!(
            error(&[0x0a, 5, 1]),
            WireError::Truncated {
                field: 1,
                position: 2
            }
        );
        assert_eq!(
            error(&[0x0b]),
            WireError::WireType {
                field: 1,
                wire_type: 3
            }
        );
        assert_eq!(
            error(&[0x00, 0]),
            WireError::WireType {
                field: 0,
                wire_type: 0
            }
        );
        assert_eq!(error(&[0xff; 11]), WireError::LongNumber { position: 0 });
    }
}
