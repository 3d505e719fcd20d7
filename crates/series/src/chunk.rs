//! A run of samples of one series, compressed: about a byte per sample for regular series.
//!
//! Timestamps are written as the change of their step (Gorilla, VLDB 2015, section 4.1.1, with
//! buckets for milliseconds). Values come in one of two forms, chosen per chunk by trying:
//!
//! - *scaled*: every finite value is an integer divided by 10^k, bit for bit (counters, bytes, and
//!   seconds counted in ticks are); the integers are written as the change of their step, so a steady
//!   counter costs one bit. NaN and infinities are written raw as exceptions;
//! - *xor*: any values, Gorilla's way (section 4.1.2).
//!
//! A chunk that meets a value its form cannot hold is rewritten in the next form that can.
//! Invariants: timestamps grow strictly; what is read is what was written, bit for bit.
//!
//! ```text
//! timestamp   0                  step unchanged
//!             10    + 6 bits     change of step, zigzag
//!             110   + 12 bits
//!             1110  + 20 bits
//!             1111  + 64 bits
//! scaled      0                  change of step unchanged
//!             10 110 1110 11110 111110 1111110  + 4, 8, 13, 20, 32, 57 bits, zigzag
//!             1111111 + 64 bits  raw value, the integer state is left as it is
//! xor         0                  same bits
//!             10 + window        inside the last window
//!             11 + 5 + 6 + n     leading zeros, n - 1, the bits
//! ```

mod decode;
mod encode;
mod samples;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub use samples::Samples;

use crate::snapshot::{Reader, SnapshotError, put_u32};

/// Samples of a full chunk. Long enough to make the 72 bytes around the bits small, short enough
/// that a read of the last five minutes unpacks little and a late sample rewrites little.
pub(crate) const CHUNK_SAMPLES: u32 = 240;

// Snapshots hold chunks bit for bit: who changes these tables or the layout above raises the version of
// `ingest::SnapshotFile`.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// How a snapshot writes [`Form::Xor`].
const FORM_XOR: u8 = 255;

const TIME_WIDTHS: [u32; 3] = [6, 12, 20];
const SCALED_WIDTHS: [u32; 6] = [4, 8, 13, 20, 32, 57];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Integers over 10^k.
    Scaled(u8),
    Xor,
}

/// A finished chunk; never changes, so readers share it.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: u32,
    form: Form,
    words: Box<[u64]>,
}

impl Chunk {
    /// The chunks of `samples`, which must be in order without equal timestamps.
    pub(crate) fn of(samples: &[(i64, f64)]) -> Self {
        let mut encoder = Encoder::default();
        for (timestamp, value) in samples {
            encoder.push(*timestamp, *value);
        }
        encoder.snapshot()
    }

    /// Writes the chunk for a snapshot.
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.first.to_le_bytes());
        to.extend_from_slice(&self.last.to_le_bytes());
        to.extend_from_slice(&self.count.to_le_bytes());
        to.push(match self.form {
            Form::Scaled(power) => power,
            Form::Xor => FORM_XOR,
        });
        put_u32(to, self.words.len());
        to.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// Reads what [`put`](Self::put) wrote; `None` if it contradicts itself. The samples inside are not
    /// looked at: whoever kept the bytes vouches for them.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, SnapshotError> {
        let (first, last, count) = (reader.i64()?, reader.i64()?, reader.u32()?);
        let form = match reader.u8()? {
            FORM_XOR => Form::Xor,
            power => Form::Scaled(power),
        };
        let words = reader.u32()? as usize;
        let bytes = reader.take(words.saturating_mul(8))?;
        let known = matches!(form, Form::Xor)
            || matches!(form, Form::Scaled(power) if usize::from(power) < POWERS.len());
        // A sample takes two bits at least.
        if !known || count == 0 || count as usize > words.saturating_mul(32) || first > last {
            return Ok(None);
        }
        let words = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .collect();
        Ok(Some(Self {
            first,
            last,
            count,
            form,
            words,
        }))
    }

    /// Bytes the chunk takes, allocator overhead aside.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + 16 + self.words.len() * 8
    }

    pub(crate) fn iter(&self) -> ChunkIter<'_> {
        ChunkIter {
            chunk: self,
            decoder: Decoder::default(),
        }
    }
}

/// The samples of one borrowed chunk.
#[derive(Debug)]
pub(crate) struct ChunkIter<'a> {
    chunk: &'a Chunk,
    decoder: Decoder,
}

impl Iterator for ChunkIter<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<(i64, f64)> {
        self.decoder.next(self.chunk)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.chunk.count as usize))
    }
}

/// What both directions remember of the timestamps so far.
#[derive(Debug, Clone, Copy, Default)]
struct TimeState {
    last: i64,
    step: i64,
}

/// What both directions remember of the values so far.
#[derive(Debug, Clone, Copy, Default)]
struct ValueState {
    integer: i64,
    step: i64,
    bits: u64,
    leading: u32,
    /// Bits of the window; 0 when there is none yet.
    width: u32,
}

#[cfg(test)]
mod tests;
