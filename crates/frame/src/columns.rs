//! Columns of a checked block, read in place.

/// A column of whole numbers.
#[derive(Debug, Clone, Copy)]
pub struct U32s<'a>(pub(crate) &'a [[u8; 4]]);

impl<'a> U32s<'a> {
    /// The numbers in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        self.0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// A column of numbers.
#[derive(Debug, Clone, Copy)]
pub struct F64s<'a>(pub(crate) &'a [[u8; 8]]);

impl<'a> F64s<'a> {
    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The numbers in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = f64> + Clone + use<'a> {
        self.0.iter().map(|bytes| f64::from_le_bytes(*bytes))
    }
}

/// A column of texts: ends in a blob.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    pub(crate) ends: U32s<'a>,
    pub(crate) blob: &'a str,
}

impl<'a> Texts<'a> {
    /// The texts in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let blob = self.blob;
        spans(self.ends).map(move |(from, to)| blob.get(from..to).unwrap_or_default())
    }
}

/// `(from, to)` of each entry of a column of ends.
pub(crate) fn spans(ends: U32s<'_>) -> impl Iterator<Item = (usize, usize)> + Clone {
    ends.iter().scan(0, |from, end| {
        let to = usize::try_from(end).unwrap_or(usize::MAX);
        Some((std::mem::replace(from, to), to))
    })
}

/// Reads columns off the front of a block's body.
///
/// Bodies start aligned, so alignment inside the body is alignment in the frame.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

const SHORT: &str = "a column is longer than the block";

impl<'a> Cursor<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, &'static str> {
        let bytes = self.take(4)?;
        Ok(bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    pub(crate) fn size(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.u32()?).map_err(|_| SHORT)
    }

    pub(crate) fn u32s(&mut self, n: usize) -> Result<U32s<'a>, &'static str> {
        Ok(U32s(self.column(n, 4)?.as_chunks().0))
    }

    pub(crate) fn f64s(&mut self, n: usize) -> Result<F64s<'a>, &'static str> {
        Ok(F64s(self.column(n, 8)?.as_chunks().0))
    }

    pub(crate) fn u8s(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        self.column(n, 1)
    }

    /// A column of ends that grow to exactly `total`.
    pub(crate) fn ends(&mut self, n: usize, total: usize) -> Result<U32s<'a>, &'static str> {
        let ends = self.u32s(n)?;
        let mut last = 0;
        for (from, to) in spans(ends) {
            if to < from {
                return Err("an end is before the one before it");
            }
            last = to;
        }
        if last == total {
            Ok(ends)
        } else {
            Err("the last end is not the total")
        }
    }

    /// The blob that `ends` cut, as texts.
    pub(crate) fn texts(
        &mut self,
        ends: U32s<'a>,
        total: usize,
    ) -> Result<Texts<'a>, &'static str> {
        let blob = std::str::from_utf8(self.u8s(total)?).map_err(|_| "a text is not UTF-8")?;
        if spans(ends).all(|(_, to)| blob.is_char_boundary(to)) {
            Ok(Texts { ends, blob })
        } else {
            Err("a text ends inside a character")
        }
    }

    /// Nothing but padding may be left.
    pub(crate) fn end(self) -> Result<(), &'static str> {
        if self.body.len() - self.at < crate::limits::ALIGN {
            Ok(())
        } else {
            Err("the block is longer than its columns")
        }
    }

    fn column(&mut self, n: usize, width: usize) -> Result<&'a [u8], &'static str> {
        self.at = self
            .at
            .next_multiple_of(crate::limits::ALIGN)
            .min(self.body.len());
        self.take(n.checked_mul(width).ok_or(SHORT)?)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.body.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }
}
