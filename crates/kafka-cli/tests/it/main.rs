//! The commands as they are typed, against a Lantern in this process.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

mod consume;
mod group;
mod produce;
mod support;
mod topic;
