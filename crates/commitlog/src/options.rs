//! What a log is told when it opens.

use std::time::Duration;

use env::Reserve;
use model::limits::BATCH_BYTES_DEFAULT;
use stdx::{BufferPool, ByteSize};

/// How a log works. All of it but the pool and the reserve may change while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A segment is closed when a batch would make it larger. Default 256 MiB, at most 1 GiB; a
    /// batch that is larger alone gets a segment of its own.
    pub segment_bytes: ByteSize,
    /// A segment is closed this long after its first append. Default 7 days.
    pub segment_age: Duration,
    /// The largest batch taken. Default 1 MiB and 12 bytes.
    pub batch_bytes: ByteSize,
    /// When appended records become readable. Default after the flush.
    pub publish: Publish,
    /// Whose clock stamps records. Default the producer's.
    pub stamp: StampKind,
    /// The term written into batches. Default 0.
    pub leader_epoch: i32,
    /// The newest appends kept in memory for readers, in bytes. Default 256 KiB; 0 keeps none.
    pub tail_bytes: ByteSize,
    /// Appends of at most so many bytes between two flushes may be made durable by a journal instead
    /// ([`Log::pending`](crate::Log::pending)). Default 0: none.
    pub journal_bytes: ByteSize,
    /// Zeros are written up to so many bytes behind the newest segment's end, so that flushes of little need not
    /// make the file longer. Default 0: none.
    pub preallocate_bytes: ByteSize,
    /// The newest flushed bytes that stay in the kernel's page cache; older ones are given back as the log grows, some MiB at a
    /// time. Default 64 MiB.
    pub page_cache_bytes: ByteSize,
    /// A checkpoint is written after this many bytes were flushed: bounds what recovery scans.
    /// Default 32 MiB.
    pub checkpoint_bytes: ByteSize,
    /// Idempotent producers remembered; when there are more the longest silent are forgotten.
    /// Default 10,000, at least 1.
    pub producers_max: usize,
    /// An idempotent producer is forgotten after this much silence. Default 1 day.
    pub producer_expiry: Duration,
    /// Where the buffers of appends and of reads from the disk come from. Default a pool that keeps none.
    pub pool: BufferPool,
    /// Room for a new log start on a full disk. Default none: then nothing can be removed there.
    pub reserve: Option<Reserve>,
}

/// Largest segment: positions in it are kept in 32 bits, with room for one more batch.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: ByteSize::from_mib(256),
            segment_age: Duration::from_hours(7 * 24),
            batch_bytes: ByteSize::from_bytes(
                u64::try_from(BATCH_BYTES_DEFAULT).unwrap_or(u64::MAX),
            ),
            publish: Publish::Flushed,
            stamp: StampKind::Create,
            leader_epoch: 0,
            tail_bytes: ByteSize::from_kib(256),
            journal_bytes: ByteSize::from_bytes(0),
            preallocate_bytes: ByteSize::from_bytes(0),
            page_cache_bytes: ByteSize::from_mib(64),
            checkpoint_bytes: ByteSize::from_mib(32),
            producers_max: 10_000,
            producer_expiry: Duration::from_hours(24),
            pool: BufferPool::new(0),
            reserve: None,
        }
    }
}

/// When appended records become readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Publish {
    /// After the flush: no reader sees a record that a crash may take back.
    #[default]
    Flushed,
    /// After the write.
    Written,
}

/// Whose clock stamps records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StampKind {
    /// The producer's.
    #[default]
    Create,
    /// The log's, on arrival.
    LogAppend,
}

/// What may be removed from a log's old end, in whole segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Segments whose newest record is older than this go; `None` keeps them.
    pub age: Option<Duration>,
    /// The oldest segments go while the rest still has this many bytes; `None` is no limit.
    pub bytes: Option<ByteSize>,
}
