//! The 64-byte header of a frame.

/// What the header says about a frame.
///
/// ```text
///  0 u32 magic | 4 u8 version | 5 u8 flags (bit 0 keyframe) | 6 u16 block count
///  8 u32 crc32c of bytes 12.. | 12 u32 layout generation
/// 16 u64 seq | 24 u64 base_seq | 32 u64 sent | 40 u64 stamp | 48 u64 newest stamp
/// 56 u32 events | 60 u32 zero
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Whether the frame stands alone.
    pub keyframe: bool,
    /// The layout its cells belong to.
    pub generation: u32,
    /// Its number: one more than the frame before, per board and server run.
    pub seq: u64,
    /// The frame this delta applies on; 0 in a keyframe, and only there.
    pub base_seq: u64,
    /// When it was encoded, nanoseconds since 1970.
    pub sent_ns: u64,
    /// Arrival of the oldest event first shown in this frame, nanoseconds since 1970; 0 for none.
    pub stamp_ns: u64,
    /// Arrival of the newest event first shown in this frame; 0 for none.
    pub stamp_newest_ns: u64,
    /// Events first shown in this frame.
    pub events: u32,
}

/// Bit 0 of the flags byte.
pub(crate) const FLAG_KEYFRAME: u8 = 1;

pub(crate) mod at {
    //! Byte places in the header.
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 4;
    pub(crate) const FLAGS: usize = 5;
    pub(crate) const BLOCKS: usize = 6;
    pub(crate) const CRC: usize = 8;
    pub(crate) const GENERATION: usize = 12;
    pub(crate) const SEQ: usize = 16;
    pub(crate) const BASE_SEQ: usize = 24;
    pub(crate) const SENT: usize = 32;
    pub(crate) const STAMP: usize = 40;
    pub(crate) const STAMP_NEWEST: usize = 48;
    pub(crate) const EVENTS: usize = 56;
}
