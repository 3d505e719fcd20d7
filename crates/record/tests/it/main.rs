//! Batches against an encoder written a second time, golden bytes, and hostile bytes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test that panics has failed, and its numbers are small"
)]

mod golden;
mod hostile;
mod plain;
mod round_trip;
mod thin;
