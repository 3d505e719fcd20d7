//! What every disk promises, asked of the real one and of the simulated one; and what only the
//! simulated one can show.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod conformance;
mod crashes;
mod overlay;
mod reserve;
