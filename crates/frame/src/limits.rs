//! Sizes of the format, and the limit that keeps a reader's memory bounded.

/// The first four bytes, read as a little-endian number: "LTF1".
pub const MAGIC: u32 = 0x3146_544c;

/// The version this crate writes and reads.
pub const VERSION: u8 = 1;

/// Bytes of the header before the first block.
pub const HEAD_BYTES: usize = 64;

/// Bytes of a block's own header: kind and length.
pub const BLOCK_HEAD_BYTES: usize = 8;

/// Column arrays and blocks start on multiples of this: what a `Float64Array` view needs.
pub const ALIGN: usize = 8;

/// Largest frame a reader takes. A keyframe with 100 charts of 4 series and 3,000 points is 19 MiB.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

const _: () = assert!(
    HEAD_BYTES.is_multiple_of(ALIGN),
    "the first block must be aligned"
);
const _: () = assert!(
    BLOCK_HEAD_BYTES.is_multiple_of(ALIGN),
    "a body starts where its block's header ends"
);
