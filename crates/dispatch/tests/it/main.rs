//! Listeners on a whole broker over a simulated disk: in paused time where they are code, over real sockets where they
//! are webhooks.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod contract;
mod letters;
mod lifecycle;
mod rig;
mod webhooks;
