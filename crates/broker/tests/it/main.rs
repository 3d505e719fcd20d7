//! The embedded broker: the conformance suite on the machine's disk and on a simulated one, its own
//! promises (lock, bounds, frozen partitions), and whole lives with crashes at random.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod compaction;
mod conformance;
mod delays;
mod directory;
mod examples;
mod follow;
mod full;
mod gate;
mod lazy;
mod log_dirs;
mod pressure;
mod simulation;
mod storage;
mod support;
mod transactions;
mod verify;
