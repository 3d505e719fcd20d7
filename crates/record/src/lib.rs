//! Kafka record batches (format v2): zero-copy view, builder, checksum, compression.
//!
//! Read first: [`CheckedBatch`], a whole batch whose length, magic, checksum and counts were checked
//! once and for all; [`Records`], its records, decompressed if need be; [`BatchBuilder`].
//!
//! Invariants: bytes from outside never cause a panic nor more memory than
//! [`model::limits::INFLATED_BYTES_MAX`]; an uncompressed batch is never copied; iterating does not
//! allocate. Not here: what a record means, files (`commitlog`), the requests that carry batches
//! (`kafka-wire`). Byte map: `docs/format/batch.md`.
//!
//! ```
//! use model::Timestamp;
//! use record::{BatchBuilder, CheckedBatch, Compression};
//!
//! let mut builder = BatchBuilder::new(Compression::Lz4);
//! builder.push(Timestamp::from_millis(1_000), Some(b"k"), Some(b"v"), &[("h", None)]);
//! let batch = builder.build();
//!
//! let (batch, rest) = CheckedBatch::parse(batch.as_bytes().clone()).unwrap();
//! assert!(rest.is_empty());
//! let records = batch.records().unwrap();
//! let record = records.iter().next().unwrap().unwrap();
//! assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
//! assert_eq!(record.headers.get("h"), Some(None));
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

mod batch;
mod builder;
mod codec;
mod control;
mod error;
mod header;
mod iter;
mod shared;
mod stamp;
mod thin;
mod validate;
mod varint;
mod xerial;

pub use batch::{Batches, CheckedBatch, check, parse_all};
pub use builder::BatchBuilder;
pub use codec::Compression;
pub use control::marker;
pub use error::Error;
pub use header::{HEADER_BYTES, Header, PREFIX_BYTES, TimestampKind};
pub use iter::{HeaderIter, Headers, Record, RecordIter, Records};
pub use shared::SharedRecord;
pub use stamp::{Stamp, StampTime, restamp};
pub use thin::{OFFSETS_MAX, Thinned, gap};
pub use validate::{Summary, validate_records};
