//! What a log promises, tried on the simulated disk and on the real one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test that panics has failed, and its numbers are small"
)]

mod basics;
mod cached;
mod clean;
mod cleaned;
mod faults;
mod fuzzlike;
mod journal;
mod kit;
mod preallocate;
mod recovery;
mod rot;
mod simulation;
mod spare;
mod transactions;
mod verify;
mod vouched;
