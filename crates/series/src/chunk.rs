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

use std::sync::Arc;

use crate::bits::{BitReader, BitWriter};
use crate::snapshot::{Reader, SnapshotError, put_u32};

/// Samples of a full chunk. Long enough to make the 72 bytes around the bits small, short enough
/// that a read of the last five minutes unpacks little and a late sample rewrites little.
pub(crate) const CHUNK_SAMPLES: u32 = 240;

// Snapshots hold chunks bit for bit: who changes these tables or the layout above raises the version of
// `ingest::SnapshotFile`.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Integers up to here are exact in a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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

/// A chunk that still grows at its end.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    bits: BitWriter,
    form: Form,
    pub(crate) count: u32,
    pub(crate) first: i64,
    time: TimeState,
    values: ValueState,
    last_value: f64,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            bits: BitWriter::default(),
            form: Form::Scaled(0),
            count: 0,
            first: 0,
            time: TimeState::default(),
            values: ValueState::default(),
            last_value: 0.0,
        }
    }
}

impl Encoder {
    /// The newest timestamp; meaningless while the chunk is empty.
    pub(crate) fn last(&self) -> i64 {
        self.time.last
    }

    /// The newest value; meaningless while the chunk is empty.
    pub(crate) fn last_value(&self) -> f64 {
        self.last_value
    }

    /// An empty chunk that expects values like this one's.
    pub(crate) fn successor(&self) -> Self {
        Self {
            bits: BitWriter::with_capacity(self.bits.words().len()),
            form: match self.form {
                Form::Scaled(power) => Form::Scaled(power),
                // The values may have been odd only for a while; trying again costs one rewrite.
                Form::Xor => Form::Scaled(0),
            },
            ..Self::default()
        }
    }

    /// Appends a sample; `timestamp` must be after [`last`](Self::last).
    pub(crate) fn push(&mut self, timestamp: i64, value: f64) {
        debug_assert!(
            self.count == 0 || timestamp > self.time.last,
            "out of order"
        );
        if let Some(form) = self.form_for(value) {
            self.rewrite(form);
        }
        self.push_time(timestamp);
        match self.form {
            Form::Scaled(power) => self.push_scaled(power, value),
            Form::Xor => self.push_xor(value),
        }
        self.count += 1;
        self.last_value = value;
    }

    /// The finished chunk with what is in it so far.
    pub(crate) fn snapshot(&self) -> Chunk {
        Chunk {
            first: self.first,
            last: self.time.last,
            count: self.count,
            form: self.form,
            words: self.bits.words().into(),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bits.heap_bytes()
    }

    /// The form to change to before `value` can be taken; `None` when the present one holds it.
    fn form_for(&self, value: f64) -> Option<Form> {
        let Form::Scaled(power) = self.form else {
            return None;
        };
        if !value.is_finite() || scaled(value, power).is_some() {
            return None;
        }
        let powers = POWERS.len();
        let higher = (usize::from(power) + 1..powers).filter_map(|p| u8::try_from(p).ok());
        let mut fits = higher.filter(|p| scaled(value, *p).is_some());
        Some(fits.next().map_or(Form::Xor, Form::Scaled))
    }

    /// Writes what is there again in `form`, or in the xor form if `form` cannot hold all of it.
    fn rewrite(&mut self, form: Form) {
        if self.count == 0 {
            self.form = form;
            return;
        }
        let samples: Vec<(i64, f64)> = self.snapshot().iter().collect();
        let holds_all = match form {
            Form::Xor => true,
            Form::Scaled(power) => samples
                .iter()
                .all(|(_, v)| !v.is_finite() || scaled(*v, power).is_some()),
        };
        self.bits.clear();
        self.count = 0;
        self.values = ValueState::default();
        self.form = if holds_all { form } else { Form::Xor };
        for (timestamp, value) in samples {
            self.push(timestamp, value);
        }
    }

    fn push_time(&mut self, timestamp: i64) {
        if self.count == 0 {
            self.first = timestamp;
            self.time = TimeState {
                last: timestamp,
                step: 0,
            };
            return;
        }
        let step = timestamp.wrapping_sub(self.time.last);
        let change = zigzag(step.wrapping_sub(self.time.step));
        if change == 0 {
            self.bits.push(0, 1);
        } else if let Some(bucket) = TIME_WIDTHS.iter().position(|w| change < 1 << w) {
            self.push_bucket(bucket, TIME_WIDTHS[bucket], change);
        } else {
            self.bits.push(0b1111, 4);
            self.bits.push(change, 64);
        }
        self.time = TimeState {
            last: timestamp,
            step,
        };
    }

    /// `bucket + 1` ones, a zero, and `width` bits.
    fn push_bucket(&mut self, bucket: usize, width: u32, value: u64) {
        let ones = u32::try_from(bucket).unwrap_or_default() + 1;
        let prefix = ((1 << ones) - 1) << 1;
        if ones + 1 + width <= 64 {
            self.bits.push(prefix << width | value, ones + 1 + width);
        } else {
            self.bits.push(prefix, ones + 1);
            self.bits.push(value, width);
        }
    }

    fn push_scaled(&mut self, power: u8, value: f64) {
        let Some(integer) = scaled(value, power) else {
            self.bits.push(0b111_1111, 7);
            self.bits.push(value.to_bits(), 64);
            return;
        };
        let step = integer - self.values.integer;
        let change = zigzag(step - self.values.step);
        if change == 0 {
            self.bits.push(0, 1);
        } else {
            let widest = SCALED_WIDTHS.len() - 1;
            let bucket = SCALED_WIDTHS.iter().position(|w| change < 1 << w);
            let bucket = bucket.unwrap_or(widest);
            self.push_bucket(bucket, SCALED_WIDTHS[bucket], change);
        }
        self.values.integer = integer;
        // The first value is no step: what follows is compared with standing still.
        self.values.step = if self.count == 0 { 0 } else { step };
    }

    fn push_xor(&mut self, value: f64) {
        let bits = value.to_bits();
        let change = bits ^ self.values.bits;
        self.values.bits = bits;
        if change == 0 {
            self.bits.push(0, 1);
            return;
        }
        let leading = change.leading_zeros().min(31);
        let trailing = change.trailing_zeros();
        let (kept_leading, kept_width) = (self.values.leading, self.values.width);
        let kept_trailing = 64 - kept_leading - kept_width;
        if kept_width > 0 && leading >= kept_leading && trailing >= kept_trailing {
            self.bits.push(0b10, 2);
            self.bits.push(change >> kept_trailing, kept_width);
            return;
        }
        let width = 64 - leading - trailing;
        self.bits
            .push(0b11 << 11 | u64::from(leading << 6 | (width - 1)), 13);
        self.bits.push(change >> trailing, width);
        self.values.leading = leading;
        self.values.width = width;
    }
}

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
        self.values.step += change;
        self.values.integer += self.values.step;
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
        let step = self.values.step + change;
        self.values.integer += step;
        self.values.step = if self.count == 0 { 0 } else { step };
        Some(self.values.integer as f64 / POWERS[usize::from(power)])
    }

    fn next_xor(&mut self, words: &[u64]) -> Option<f64> {
        match self.reader.ones(words, 2)? {
            0 => return Some(f64::from_bits(self.values.bits)),
            1 => (),
            _ => {
                let window = self.reader.take(words, 11)?;
                self.values.leading = u32::try_from(window >> 6).unwrap_or_default();
                self.values.width = u32::try_from(window & 63).unwrap_or_default() + 1;
            }
        }
        let trailing = 64 - self.values.leading - self.values.width;
        self.values.bits ^= self.reader.take(words, self.values.width)? << trailing;
        Some(f64::from_bits(self.values.bits))
    }
}

/// The integer that is exactly `value` when divided by 10^`power`; `None` if there is none.
fn scaled(value: f64, power: u8) -> Option<i64> {
    let power = POWERS[usize::from(power)];
    let integer = (value * power).round();
    if integer.is_nan() || integer.abs() > EXACT_MAX {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number of at most 2^53"
    )]
    let integer = integer as i64;
    (value.to_bits() == (integer as f64 / power).to_bits()).then_some(integer)
}

/// Small numbers of either sign as small numbers without sign.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Samples out of several chunks in order, within `[from, to]`; owns its chunks.
#[derive(Debug, Clone)]
pub struct Samples {
    chunks: Vec<Arc<Chunk>>,
    at: usize,
    decoder: Decoder,
    from: i64,
    to: i64,
}

impl Samples {
    pub(crate) fn new(chunks: Vec<Arc<Chunk>>, from: i64, to: i64) -> Self {
        Self {
            chunks,
            at: 0,
            decoder: Decoder::default(),
            from,
            to,
        }
    }

    /// At most how many samples there are.
    pub fn len_max(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.count as usize).sum()
    }

    /// Appends milliseconds and values of all samples to `out`: the quick way to read many.
    pub fn read_into(self, out: &mut impl Extend<(i64, f64)>) {
        let (from, to) = (self.from, self.to);
        for chunk in &self.chunks {
            if chunk.first >= from && chunk.last <= to {
                out.extend(chunk.iter());
            } else {
                out.extend(
                    chunk
                        .iter()
                        .skip_while(|s| s.0 < from)
                        .take_while(|s| s.0 <= to),
                );
            }
        }
    }

    /// The newest sample, without unpacking any chunk but the last one or two.
    pub fn newest(&self) -> Option<(model::Timestamp, f64)> {
        self.chunks.iter().rev().find_map(|chunk| {
            let inside = chunk.iter().take_while(|(t, _)| *t <= self.to);
            let newest = inside.filter(|(t, _)| *t >= self.from).last();
            newest.map(|(t, v)| (model::Timestamp::from_millis(t), v))
        })
    }
}

impl Iterator for Samples {
    type Item = (model::Timestamp, f64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let chunk = self.chunks.get(self.at)?;
            match self.decoder.next(chunk) {
                Some((timestamp, _)) if timestamp < self.from => (),
                Some((timestamp, _)) if timestamp > self.to => {
                    self.at = self.chunks.len();
                    return None;
                }
                Some((timestamp, value)) => {
                    return Some((model::Timestamp::from_millis(timestamp), value));
                }
                None => {
                    self.at += 1;
                    self.decoder = Decoder::default();
                }
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.len_max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::STALE_NAN;
    use proptest::prelude::*;

    fn bytes_per_sample(values: impl Fn(u32) -> f64) -> f64 {
        let samples: Vec<_> = (0..CHUNK_SAMPLES)
            .map(|i| (1_700_000_000_000 + i64::from(i) * 1_000, values(i)))
            .collect();
        let chunk = Chunk::of(&samples);
        let same = |(a, b): ((i64, f64), &(i64, f64))| a.0 == b.0 && a.1.to_bits() == b.1.to_bits();
        assert!(chunk.iter().zip(&samples).all(same));
        chunk.heap_bytes() as f64 / f64::from(CHUNK_SAMPLES)
    }

    #[track_caller]
    fn check(values: impl Fn(u32) -> f64, most: f64) {
        let bytes = bytes_per_sample(values);
        assert!(bytes < most, "{bytes} bytes a sample, at most {most}");
    }

    #[test]
    fn regular_series_take_little() {
        check(|_| 1.0, 0.8);
        check(|i| f64::from(i) * 1_024.0, 0.8);
        check(|i| f64::from(i * 13 + i % 7) / 100.0, 2.0);
        check(|i| f64::from(4_000_000 + (i * 7_919) % 1_000), 2.5);
        check(|i| (f64::from(i) * 0.1).sin(), 9.0);
    }

    #[test]
    fn a_stale_marker_does_not_spoil_a_counter() {
        check(|i| if i == 100 { STALE_NAN } else { f64::from(i) }, 0.9);
    }

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_i32..1_000).prop_map(f64::from),
            (-100_000_i32..100_000).prop_map(|v| f64::from(v) / 100.0),
            any::<i64>().prop_map(|v| v as f64),
            Just(0.0),
            Just(-0.0),
            Just(STALE_NAN),
            Just(EXACT_MAX),
            Just(-EXACT_MAX),
            Just(f64::INFINITY),
        ]
    }

    fn steps() -> impl Strategy<Value = i64> {
        prop_oneof![
            6 => Just(1_000_i64),
            2 => 990_i64..1_010,
            1 => 1_i64..100_000_000,
            1 => 1_i64..=1 << 52,
        ]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            start in -(1_i64 << 60)..1 << 60,
            items in prop::collection::vec((steps(), values()), 0..300),
        ) {
            let mut at = start;
            let samples: Vec<(i64, f64)> = items
                .into_iter()
                .map(|(step, value)| {
                    at += step;
                    (at, value)
                })
                .collect();
            let bits = |s: &(i64, f64)| (s.0, s.1.to_bits());
            let chunk = Chunk::of(&samples);
            let read: Vec<_> = chunk.iter().map(|s| bits(&s)).collect();
            prop_assert_eq!(read, samples.iter().map(bits).collect::<Vec<_>>());
        }
    }

    #[test]
    fn samples_are_cut_to_their_window() {
        let chunk = |from: i64| Arc::new(Chunk::of(&[(from, 1.0), (from + 10, 2.0)]));
        let samples = Samples::new(vec![chunk(0), chunk(20), chunk(40)], 10, 40);
        let times: Vec<i64> = samples.clone().map(|(t, _)| t.millis()).collect();
        assert_eq!(times, [10, 20, 30, 40]);
        assert_eq!(
            samples.newest().map(|(t, v)| (t.millis(), v)),
            Some((40, 1.0))
        );
    }
}
