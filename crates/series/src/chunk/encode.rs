//! Writing a chunk, sample by sample, in the form that fits.

use super::{Chunk, Form, POWERS, SCALED_WIDTHS, TIME_WIDTHS, TimeState, ValueState};
use crate::bits::BitWriter;

/// Integers up to here are exact in a float.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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
