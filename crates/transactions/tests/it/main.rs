//! One transactional id under several producers, calls in any order, and kills at any point.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod model;
mod rules;
