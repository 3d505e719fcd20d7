//! What a listener may rely on, whatever fails in whatever order.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod order;
mod random;
