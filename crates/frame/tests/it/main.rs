//! The frame format from outside: golden files, chains of deltas, hostile bytes.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod chain;
mod golden;
mod hostile;
