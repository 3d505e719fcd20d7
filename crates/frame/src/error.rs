//! Why bytes are not a frame.

/// Why bytes are not a frame. All of them mean: keep the last good state, ask for a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the header or a block says.
    #[error("the frame ends at byte {found}, its content at byte {needed}")]
    Truncated {
        /// Bytes there must be.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// More bytes than a frame may have.
    #[error("a frame of {found} bytes is larger than {limit}")]
    TooLarge {
        /// Bytes there are.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not a frame at all.
    #[error("magic is {found:#010x}, not LTF1")]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// A frame of another version.
    #[error("frame version {found} is not known")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Flags that this version does not define.
    #[error("frame flags {found:#04x} are not known")]
    Flags {
        /// The flags byte.
        found: u8,
    },
    /// The bytes were changed on the way.
    #[error("frame crc is {found:#010x}, its bytes have {computed:#010x}")]
    Crc {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A keyframe that names a base, or a delta that names none. The checksum begins behind the
    /// flags; this is what shows a flipped keyframe bit.
    #[error("base {base_seq} does not go with the flags: keyframes have base 0, deltas another")]
    Base {
        /// The base the header names; 0 is none.
        base_seq: u64,
    },
    /// A block whose columns contradict each other.
    #[error("block {index} (kind {kind}) is malformed: {reason}")]
    Block {
        /// Its place in the frame, from 0.
        index: u16,
        /// Its kind.
        kind: u32,
        /// What does not hold.
        reason: &'static str,
    },
    /// Bytes behind the last block.
    #[error("{count} bytes follow the last block")]
    LeftOver {
        /// How many.
        count: usize,
    },
}

impl Error {
    /// One word for the kind of error, as the golden files spell it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::Magic { .. } => "magic",
            Self::Version { .. } => "version",
            Self::Flags { .. } => "flags",
            Self::Crc { .. } => "crc",
            Self::Base { .. } => "base",
            Self::Block { .. } => "block",
            Self::LeftOver { .. } => "left_over",
        }
    }
}
