//! A string of bits in 64-bit words, first bit highest.

/// Writes bits, at most 64 at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitWriter {
    words: Vec<u64>,
    /// Unused low bits of the last word; 0 when there is no word or it is full.
    free: u32,
}

impl BitWriter {
    pub(crate) fn with_capacity(words: usize) -> Self {
        Self {
            words: Vec::with_capacity(words),
            free: 0,
        }
    }

    /// Appends the low `count` bits of `value`, which has no bit above them; `count` is 1 to 64.
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        debug_assert!(count == 64 || value >> count == 0, "stray bits");
        if let (Some(last), true) = (self.words.last_mut(), self.free > 0) {
            if count <= self.free {
                *last |= value << (self.free - count);
                self.free -= count;
                return;
            }
            let rest = count - self.free;
            *last |= value >> rest;
            self.words.push(value << (64 - rest));
            self.free = 64 - rest;
            return;
        }
        self.words.push(value << (64 - count));
        self.free = 64 - count;
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.free = 0;
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

/// Reads bits; past the end everything is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BitReader {
    position: usize,
}

impl BitReader {
    /// Goes `count` bits on.
    #[inline]
    pub(crate) fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// The next `count` bits, 1 to 64.
    pub(crate) fn take(&mut self, words: &[u64], count: u32) -> Option<u64> {
        let bits = self.peek(words)?;
        self.position += count as usize;
        Some(bits >> (64 - count))
    }

    /// Counts ones up to a zero, which is taken too, or up to `most` ones.
    pub(crate) fn ones(&mut self, words: &[u64], most: u32) -> Option<u32> {
        let ones = self.peek(words)?.leading_ones().min(most);
        self.position += ones as usize + usize::from(ones < most);
        Some(ones)
    }

    /// The next 64 bits, zeros after the end; `None` at the end.
    #[inline]
    pub(crate) fn peek(self, words: &[u64]) -> Option<u64> {
        let (word, offset) = (self.position / 64, self.position % 64);
        let first = words.get(word)? << offset;
        if offset == 0 {
            return Some(first);
        }
        let second = words.get(word + 1).copied().unwrap_or_default();
        Some(first | second >> (64 - offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(items in prop::collection::vec((any::<u64>(), 1_u32..=64), 0..200)) {
            let mut writer = BitWriter::default();
            let cut = |(value, count): (u64, u32)| (value >> (64 - count), count);
            for (value, count) in items.iter().copied().map(cut) {
                writer.push(value, count);
            }
            let mut reader = BitReader::default();
            for (value, count) in items.iter().copied().map(cut) {
                prop_assert_eq!(reader.take(writer.words(), count), Some(value));
            }
        }
    }

    #[test]
    fn ones_stop_at_zero_or_at_the_bound() {
        let mut writer = BitWriter::default();
        writer.push(0b1110, 4);
        writer.push(0b111, 3);
        writer.push(0b0, 1);
        let mut reader = BitReader::default();
        assert_eq!(reader.ones(writer.words(), 7), Some(3));
        assert_eq!(reader.ones(writer.words(), 3), Some(3));
        assert_eq!(reader.ones(writer.words(), 3), Some(0));
    }
}
