//! Reading over several chunks.

use std::sync::Arc;

use super::{Chunk, Decoder};

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
