//! The store as its users see it, and remote write as its senders see it.

mod store;
mod write;
