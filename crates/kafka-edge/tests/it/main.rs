//! The endpoint over real sockets: what it answers, what it refuses, what it survives.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

mod admin;
mod client;
mod consumers;
mod fetch;
mod groups;
mod hostile;
mod inflating;
mod limits;
mod matrix;
mod own;
mod pressure;
mod produce;
mod runs;
mod service;
mod support;
mod transactions;
