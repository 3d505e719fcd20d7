//! Rules and webhooks on a whole broker over a simulated disk.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod engine;
mod rig;
mod shipped;
mod webhooks;
