//! Listeners on a whole broker over a simulated disk: in paused time where they are code, over real sockets where they
//! are webhooks.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod bounds;
mod contract;
mod delays;
mod examples;
mod faults;
mod faulty;
mod hostile;
mod letters;
mod lifecycle;
mod output;
mod output_kills;
mod output_webhooks;
mod rig;
mod traces;
mod webhooks;
