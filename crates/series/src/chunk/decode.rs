//! Reading a chunk back. A chunk that was kept on a disk may say anything: what makes no sense reads as
//! wrong samples, or as the chunk's end.

use super::{Chunk, Form, POWERS, SCALED_WIDTHS, TIME_WIDTHS, TimeState, ValueState};
use crate::bits::BitReader;

/// A place in a chunk while it is read. Holds no reference, so it can live beside an `Arc`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Decoder {
    reader: BitReader,
    count: u32,
    time: TimeState,
    values: ValueState,
}

impl Decoder {
    /// The next sample of `chunk`, which must be the same one at every call.
    #[inline]
    pub(crate) fn next(&mut self, chunk: &Chunk) -> Option<(i64, f64)> {
        if self.count >= chunk.count {
            return None;
        }
        if let (Form::Scaled(power), true) = (chunk.form, self.count > 0)
            && let Some(sample) = self.next_short(&chunk.words, power)
        {
            self.count += 1;
            return Some(sample);
        }
        let timestamp = self.next_time(chunk)?;
        let value = match chunk.form {
            Form::Scaled(power) => self.next_scaled(&chunk.words, power)?,
            Form::Xor => self.next_xor(&chunk.words)?,
        };
        self.count += 1;
        Some((timestamp, value))
    }

    /// A sample of a scaled chunk that fits into the next 64 bits, which nearly all do: one look at
    /// the words instead of four. `None` leaves everything to the long way.
    #[inline]
    fn next_short(&mut self, words: &[u64], power: u8) -> Option<(i64, f64)> {
        let bits = self.reader.peek(words)?;
        let (time_change, time_bits) = match bits.leading_ones() {
            0 => (0, 1),
            ones @ 1..=2 => {
                let width = TIME_WIDTHS[ones as usize - 1];
                (
                    unzigzag((bits << (ones + 1)) >> (64 - width)),
                    ones + 1 + width,
                )
            }
            _ => return None,
        };
        let bits = bits << time_bits;
        let (change, value_bits) = match bits.leading_ones() {
            0 => (0, 1),
            ones @ 1..=5 => {
                let width = SCALED_WIDTHS[ones as usize - 1];
                (
                    unzigzag((bits << (ones + 1)) >> (64 - width)),
                    ones + 1 + width,
                )
            }
            _ => return None,
        };
        self.reader.skip(time_bits + value_bits);
        self.time.step = self.time.step.wrapping_add(time_change);
        self.time.last = self.time.last.wrapping_add(self.time.step);
        self.values.step = self.values.step.wrapping_add(change);
        self.values.integer = self.values.integer.wrapping_add(self.values.step);
        Some((
            self.time.last,
            self.values.integer as f64 / POWERS[usize::from(power)],
        ))
    }

    fn next_time(&mut self, chunk: &Chunk) -> Option<i64> {
        if self.count == 0 {
            self.time.last = chunk.first;
            return Some(chunk.first);
        }
        let change = match self.reader.ones(&chunk.words, 4)? {
            0 => 0,
            ones => {
                let width = TIME_WIDTHS.get(ones as usize - 1).copied().unwrap_or(64);
                unzigzag(self.reader.take(&chunk.words, width)?)
            }
        };
        self.time.step = self.time.step.wrapping_add(change);
        self.time.last = self.time.last.wrapping_add(self.time.step);
        Some(self.time.last)
    }

    fn next_scaled(&mut self, words: &[u64], power: u8) -> Option<f64> {
        let change = match self.reader.ones(words, 7)? {
            0 => 0,
            7 => return self.reader.take(words, 64).map(f64::from_bits),
            ones => unzigzag(self.reader.take(words, SCALED_WIDTHS[ones as usize - 1])?),
        };
        let step = self.values.step.wrapping_add(change);
        self.values.integer = self.values.integer.wrapping_add(step);
        self.values.step = if self.count == 0 { 0 } else { step };
        Some(self.values.integer as f64 / POWERS[usize::from(power)])
    }

    fn next_xor(&mut self, words: &[u64]) -> Option<f64> {
        match self.reader.ones(words, 2)? {
            0 => return Some(f64::from_bits(self.values.bits)),
            // The window before it; the first value has none.
            1 if self.values.width == 0 => return None,
            1 => (),
            _ => {
                let window = self.reader.take(words, 11)?;
                self.values.leading = u32::try_from(window >> 6).unwrap_or_default();
                self.values.width = u32::try_from(window & 63).unwrap_or_default() + 1;
            }
        }
        let trailing = 64_u32.checked_sub(self.values.leading + self.values.width)?;
        self.values.bits ^= self.reader.take(words, self.values.width)? << trailing;
        Some(f64::from_bits(self.values.bits))
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
