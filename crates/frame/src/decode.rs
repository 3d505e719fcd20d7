//! Reading frames: checked once in [`Frame::parse`], then walked freely.

use crate::Error;
use crate::head::{FLAG_KEYFRAME, Head, at};
use crate::limits::{ALIGN, BLOCK_HEAD_BYTES, FRAME_BYTES_MAX, HEAD_BYTES, MAGIC, VERSION};
use crate::view::Block;

/// A frame whose length, checksum and columns hold.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    head: Head,
    blocks: u16,
    content: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks `bytes` whole: magic, version, checksum, and every column of every block.
    ///
    /// # Errors
    /// One variant of [`Error`] per thing that does not hold; the first one found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let found = bytes.len();
        if found > FRAME_BYTES_MAX {
            return Err(Error::TooLarge {
                found,
                limit: FRAME_BYTES_MAX,
            });
        }
        let Some((header, content)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(Error::Truncated {
                needed: HEAD_BYTES,
                found,
            });
        };
        let magic = u32::from_le_bytes(part(header, at::MAGIC));
        if magic != MAGIC {
            return Err(Error::Magic { found: magic });
        }
        let [version] = part(header, at::VERSION);
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        let [flags] = part(header, at::FLAGS);
        if flags & !FLAG_KEYFRAME != 0 {
            return Err(Error::Flags { found: flags });
        }
        let crc = u32::from_le_bytes(part(header, at::CRC));
        let computed = crc32c::crc32c(bytes.get(at::GENERATION..).unwrap_or_default());
        if crc != computed {
            return Err(Error::Crc {
                found: crc,
                computed,
            });
        }
        let head = read_head(header, flags & FLAG_KEYFRAME != 0);
        if head.keyframe != (head.base_seq == 0) {
            return Err(Error::Base {
                base_seq: head.base_seq,
            });
        }
        let frame = Self {
            head,
            blocks: u16::from_le_bytes(part(header, at::BLOCKS)),
            content,
        };
        frame.check()?;
        Ok(frame)
    }

    /// What the header says.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The blocks in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut rest = self.content;
        (0..self.blocks).map_while(move |index| {
            let (block, behind) = next_block(index, rest, 0).ok()?;
            rest = behind;
            Some(block)
        })
    }

    /// Walks all blocks once, so that [`Self::blocks`] cannot fail.
    fn check(&self) -> Result<(), Error> {
        let mut rest = self.content;
        for index in 0..self.blocks {
            let place = HEAD_BYTES + self.content.len() - rest.len();
            rest = next_block(index, rest, place)?.1;
        }
        match rest.len() {
            0 => Ok(()),
            count => Err(Error::LeftOver { count }),
        }
    }
}

/// Takes the block at the front of `rest`, which starts at byte `place` of the frame.
fn next_block(index: u16, rest: &[u8], place: usize) -> Result<(Block<'_>, &[u8]), Error> {
    let found = place + rest.len();
    let Some((head, behind)) = rest.split_first_chunk::<BLOCK_HEAD_BYTES>() else {
        let needed = place + BLOCK_HEAD_BYTES;
        return Err(Error::Truncated { needed, found });
    };
    let kind = u32::from_le_bytes(part(head, 0));
    let length = usize::try_from(u32::from_le_bytes(part(head, 4))).unwrap_or(usize::MAX);
    let needed = length.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX);
    let (Some(body), Some(behind)) = (behind.get(..length), behind.get(needed..)) else {
        let needed = place
            .saturating_add(BLOCK_HEAD_BYTES)
            .saturating_add(needed);
        return Err(Error::Truncated { needed, found });
    };
    match Block::parse(kind, body) {
        Ok(block) => Ok((block, behind)),
        Err(reason) => Err(Error::Block {
            index,
            kind,
            reason,
        }),
    }
}

fn read_head(header: &[u8; HEAD_BYTES], keyframe: bool) -> Head {
    Head {
        keyframe,
        generation: u32::from_le_bytes(part(header, at::GENERATION)),
        seq: u64::from_le_bytes(part(header, at::SEQ)),
        base_seq: u64::from_le_bytes(part(header, at::BASE_SEQ)),
        sent_ns: u64::from_le_bytes(part(header, at::SENT)),
        stamp_ns: u64::from_le_bytes(part(header, at::STAMP)),
        stamp_newest_ns: u64::from_le_bytes(part(header, at::STAMP_NEWEST)),
        events: u32::from_le_bytes(part(header, at::EVENTS)),
    }
}

/// The `N` bytes at `place`; the callers' places are constants inside the array.
fn part<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes
        .get(place..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .unwrap_or([0; N])
}
