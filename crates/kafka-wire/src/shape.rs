//! Walks a request body before it is decoded, so that no count in it is believed.
//!
//! Problem: the generated decoder reserves room for as many elements as an array *says* it has. A
//! frame of twenty bytes that claims 2^31 topics would ask the allocator for hundreds of gigabytes,
//! and a failed allocation aborts the process: no panic to catch.
//!
//! Answer: a [`Shape`] says in a few lines what fields a body has in which versions. Walking it
//! visits every element without storing any, and refuses counts and lengths beyond the bytes left.
//! What then reaches the decoder has only true counts, so its memory is bounded by the number of
//! elements times the size of the largest element struct ([`ELEMENT_BYTES`]), and the number of
//! elements (array elements and tagged fields) is limited to [`ELEMENTS_MAX`].
//!
//! A test encodes every request in every version with the generated code and walks it to the last
//! byte: the shapes and the generated code cannot drift apart.

use bytes::{Buf, Bytes};

/// Most array elements and tagged fields one request may have. A fetch of all partitions of a
/// hundred topics with a thousand each fits; so does creating ten thousand partitions by hand.
pub const ELEMENTS_MAX: usize = 131_072;

/// Bytes the decoded form of one element takes at most (checked by a test on the generated types).
pub const ELEMENT_BYTES: usize = 256;

/// What one field is on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A number, boolean or UUID of this many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// Bytes or records, nullable or not.
    Blob,
    /// An array of structs.
    Structs(&'static [Field]),
    /// An array of plain values.
    Values(&'static Self),
    /// A struct after a byte that says whether it is there (1) or not.
    Maybe(&'static [Field]),
}

/// A field and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) since: i16,
    pub(crate) until: i16,
}

/// What a request body is on the wire, in all versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) fields: &'static [Field],
    /// A tagged field with number 0 of this kind, in the body's own tagged fields: the generated
    /// decoder reads it by kind and not by size, so that the two must be seen to agree.
    pub(crate) tag_0: Option<Kind>,
}

/// Why a walk ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalkError {
    /// At this byte of the body something claims more than there is.
    Malformed { position: usize },
    /// More than [`ELEMENTS_MAX`] elements.
    TooManyElements,
}

/// What a walk saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Array elements and tagged fields.
    pub(crate) elements: usize,
    /// Bytes of the body; there may be more behind it.
    pub(crate) length: usize,
}

/// Walks `body` without storing anything of it.
pub(crate) fn walk(
    shape: &Shape,
    version: i16,
    flexible: bool,
    body: &[u8],
) -> Result<Walked, WalkError> {
    let mut walker = Walker {
        rest: body,
        version,
        flexible,
        elements: 0,
        crowded: false,
    };
    let done = walker.fields(shape.fields).and_then(|()| {
        if flexible {
            walker.tags(shape.tag_0)
        } else {
            Some(())
        }
    });
    match done {
        Some(()) => Ok(Walked {
            elements: walker.elements,
            length: body.len() - walker.rest.len(),
        }),
        None if walker.crowded => Err(WalkError::TooManyElements),
        None => Err(WalkError::Malformed {
            position: body.len() - walker.rest.len(),
        }),
    }
}

/// Skips the tagged fields of a header.
pub(crate) fn skip_tags(rest: &mut Bytes) -> Option<()> {
    let mut walker = Walker {
        rest,
        version: 0,
        flexible: true,
        elements: 0,
        crowded: false,
    };
    walker.tags(None)?;
    let skipped = rest.len() - walker.rest.len();
    rest.advance(skipped);
    Some(())
}

struct Walker<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
    crowded: bool,
}

/// `None` everywhere means malformed, or `crowded`.
impl Walker<'_> {
    fn structure(&mut self, fields: &[Field]) -> Option<()> {
        self.fields(fields)?;
        if self.flexible {
            self.tags(None)?;
        }
        Some(())
    }

    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.field(field.kind)?;
            }
        }
        Some(())
    }

    fn field(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::Fixed(bytes) => self.skip(bytes),
            Kind::Text => {
                let length = self.length(2)?;
                self.skip(length)
            }
            Kind::Blob => {
                let length = self.length(4)?;
                self.skip(length)
            }
            Kind::Structs(fields) => {
                for _ in 0..self.count()? {
                    self.structure(fields)?;
                }
                Some(())
            }
            Kind::Values(kind) => {
                for _ in 0..self.count()? {
                    self.field(*kind)?;
                }
                Some(())
            }
            Kind::Maybe(fields) => {
                if self.rest.try_get_i8().ok()? == 1 {
                    self.structure(fields)?;
                }
                Some(())
            }
        }
    }

    /// Elements of an array; none for a null array. Each takes at least one byte.
    fn count(&mut self) -> Option<usize> {
        let count = self.length(4)?;
        if count > self.rest.len() {
            return None;
        }
        self.count_elements(count)?;
        Some(count)
    }

    fn count_elements(&mut self, count: usize) -> Option<()> {
        self.elements = self.elements.saturating_add(count);
        self.crowded = self.elements > ELEMENTS_MAX;
        (!self.crowded).then_some(())
    }

    /// A length: compact in flexible versions, else signed in `width` bytes; 0 for null.
    fn length(&mut self, width: usize) -> Option<usize> {
        if self.flexible {
            let length = self.unsigned_varint()?;
            return usize::try_from(length.saturating_sub(1)).ok();
        }
        let length = match width {
            2 => i64::from(self.rest.try_get_i16().ok()?),
            _ => i64::from(self.rest.try_get_i32().ok()?),
        };
        match length {
            -1 => Some(0),
            _ => usize::try_from(length).ok(),
        }
    }

    fn tags(&mut self, tag_0: Option<Kind>) -> Option<()> {
        let count = usize::try_from(self.unsigned_varint()?).ok()?;
        // A tagged field is at least its number and its size.
        if count > self.rest.len() / 2 {
            return None;
        }
        self.count_elements(count)?;
        for _ in 0..count {
            let number = self.unsigned_varint()?;
            let size = usize::try_from(self.unsigned_varint()?).ok()?;
            let after = self.rest.len().checked_sub(size)?;
            match tag_0 {
                Some(kind) if number == 0 => {
                    self.field(kind)?;
                    (self.rest.len() == after).then_some(())?;
                }
                _ => self.skip(size)?,
            }
        }
        Some(())
    }

    /// At most five bytes, as the generated decoder reads them; bits beyond 32 are dropped likewise.
    fn unsigned_varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for index in 0..5_u32 {
            let byte = u32::from(self.rest.try_get_u8().ok()?);
            value |= (byte & 0x7f) << (index * 7);
            if byte < 0x80 {
                break;
            }
        }
        Some(value)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        if self.rest.len() < bytes {
            return None;
        }
        self.rest.advance(bytes);
        Some(())
    }
}
