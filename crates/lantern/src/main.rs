//! Lantern.
fn main() {}
