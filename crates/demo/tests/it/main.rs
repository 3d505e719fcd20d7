//! The demo against a real Kafka endpoint over an embedded broker in memory.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod orders;
mod server;
