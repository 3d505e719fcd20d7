//! What can be wrong with a batch. All of it is the sender's doing, or rot.

use crate::Compression;

/// Why bytes are not a good batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes end inside the batch.
    #[error("batch of {needed} bytes ends after {available}")]
    Incomplete {
        /// Bytes the batch has, as far as is known.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The length field cannot be true.
    #[error("batch length {length} is outside {min}..={max}")]
    Length {
        /// The field's value.
        length: i32,
        /// The least it can be.
        min: usize,
        /// The most it may be.
        max: usize,
    },
    /// Another batch format, or no batch at all.
    #[error("batch has magic {magic}, only 2 is known")]
    Magic {
        /// The byte found.
        magic: u8,
    },
    /// The checksum does not fit the bytes.
    #[error("batch crc is {computed:#010x}, its header says {expected:#010x}")]
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The base offset is negative or its last record's would overflow.
    #[error("batch base offset {offset} with last delta {delta} is out of range")]
    Offset {
        /// The base offset.
        offset: i64,
        /// The last offset delta.
        delta: i32,
    },
    /// Number of records and last offset delta disagree, or there cannot be that many.
    #[error("batch claims {count} records with last offset delta {delta} in {bytes} bytes")]
    Count {
        /// The record count.
        count: i32,
        /// The last offset delta.
        delta: i32,
        /// Bytes of records.
        bytes: usize,
    },
    /// A batch from outside says when its tombstones may go, which only compaction does.
    #[error("batch has a delete horizon, which only compaction writes")]
    Horizon,
    /// A codec number nobody gave a meaning.
    #[error("batch has unknown compression codec {codec}")]
    Codec {
        /// The number.
        codec: i16,
    },
    /// A timestamp below -1.
    #[error("timestamp {timestamp} is negative")]
    Timestamp {
        /// The value.
        timestamp: i64,
    },
    /// The records do not decompress.
    #[error("records do not decompress as {compression}")]
    Decompress {
        /// The codec.
        compression: Compression,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The records decompress to more than is allowed.
    #[error("records decompress to more than {limit} bytes")]
    Inflated {
        /// The limit.
        limit: usize,
    },
    /// A record is malformed.
    #[error("record {index} of the batch: {what}")]
    Record {
        /// Its place in the batch, from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes after the last record.
    #[error("{count} bytes are left over after the last record")]
    LeftOver {
        /// How many.
        count: usize,
    },
    /// More bytes of batches than allowed.
    #[error("batch of {size} bytes is larger than {limit}")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// The limit.
        limit: usize,
    },
}
