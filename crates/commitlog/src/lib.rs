//! One partition's log: segments of verbatim batches, group commit, recovery; and the journal that makes
//! small appends to many logs durable at once.
//!
//! Read first: [`Log`], which one writer appends to and flushes; [`LogReader`], which anybody clones
//! and reads with; [`RecoveryReport`], what opening found; [`Journal`]; [`clean()`], which keeps the last record of each key.
//!
//! Invariants: offsets are assigned without gaps and only grow;
//! `log_start <= high_watermark <= log_end`; what [`Log::flush`] vouched for is there after any crash,
//! unchanged, or reported as [`Damage`]; a retried idempotent batch gets its original offset, also
//! after a crash; a failed fsync freezes the log. Indexes, the checkpoint's summaries and the flush
//! mark are caches, and so is the index of aborted transactions: the log can be opened without them.
//! After compaction a batch may stand for offsets without a record. Not here: replication, groups, threads, clocks. Bytes: `docs/format/segment.md`; why:
//! `docs/decisions/0004-fsync-failure-and-corruption.md`.
//!
//! ```
//! use std::path::Path;
//! use commitlog::{Log, Options};
//! use model::{Offset, Timestamp};
//! use record::{BatchBuilder, Compression};
//!
//! let disk = env::SimDisk::new(1).shared();
//! let now = Timestamp::from_millis(0);
//! let (mut log, _report) = Log::open(disk, Path::new("/p0"), Options::default(), now).unwrap();
//! let mut builder = BatchBuilder::new(Compression::None);
//! builder.push(now, None, Some(b"hello"), &[]);
//! assert_eq!(log.append(&[builder.build()], now).unwrap().base_offset, Offset::ZERO);
//!
//! let reader = log.reader();
//! let end = log.marks().log_end;
//! assert!(reader.read(Offset::ZERO, 1 << 20, true, end).unwrap().is_empty(), "not durable yet");
//! log.flush().unwrap();
//! assert!(!reader.read(Offset::ZERO, 1 << 20, true, end).unwrap().is_empty());
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::as_conversions)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::as_conversions,
        reason = "a test that panics has failed"
    )
)]

mod aborted;
mod cached;
mod checkpoint;
mod clean;
mod damage;
mod error;
mod files;
mod find;
mod flush_mark;
mod index;
mod journal;
mod journaled;
mod log;
mod names;
mod options;
mod plan;
mod preallocate;
mod producers;
mod reader;
mod recovery;
mod report;
mod retention;
mod scan;
mod segment;
mod shared;
mod spare;
mod tail;
mod transactions;
mod trial;
mod verify;
mod wire;

pub use aborted::AbortedRange;
pub use clean::{CleanOptions, CleanReport, Dirtiness, LogHolder, clean};
pub use damage::Damage;
pub use error::{Error, Recovery};
pub use files::{FileKind, journal_file, log_file};
pub use find::Found;
pub use journal::{
    Committed, Found as JournalFound, JOURNAL_FILE_BYTES_MIN, Journal, JournalError, LogId,
};
pub use journaled::{Unsettled, Write, redo};
pub use log::{AppendOutcome, Log, Marks};
pub use names::segment_path;
pub use options::{Options, Publish, Retention, StampKind};
pub use producers::KnownProducer;
pub use reader::LogReader;
pub use report::{CheckpointState, Cut, RecoveryReport};
pub use retention::Retained;
pub use scan::Bad;
pub use tail::{Chunk, take as take_batches};
pub use transactions::{Enlisted, OpenTransaction};
pub use trial::{open_bytes, open_journal_bytes};
pub use verify::{
    IndexState, SegmentFile, SegmentFinding, SegmentVerified, Verified, dry_disk, is_there,
    segment_files, verify, verify_segment, why_bad,
};
