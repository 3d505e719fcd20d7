//! Boards from outside: a broker on a simulated disk, a store, a service, and displays that apply frames
//! as a browser does. Time is tokio's, paused: it moves when everybody waits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod rig;

mod built_in;
mod delays;
mod edits;
mod events;
mod restart;
mod values;
mod viewers;
