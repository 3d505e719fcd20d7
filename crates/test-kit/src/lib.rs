//! Suites and fixtures shared by tests.
//!
//! [`broker`] holds the conformance suite every implementation of [`broker::Broker`](::broker::Broker)
//! passes; a broker's own tests name a harness and get one test per case:
//!
//! ```ignore
//! test_kit::broker_conformance!(MyHarness::new());
//! ```
//!
//! [`batches`] makes and reads record batches as short as a test wants to say it.
//!
//! [`wakes`] counts how often a task is woken.
//!
//! [`lines_of_code`] holds examples to their length.
//!
//! Invariant: nothing here sleeps; what waits is bounded by [`within`].

#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]

pub mod batches;
pub mod broker;
pub mod clock;
pub mod wakes;

use std::future::Future;
use std::time::Duration;

/// Lines of a source that are neither empty nor documentation.
pub fn lines_of_code(source: &str) -> usize {
    let lines = source.lines().map(str::trim_start);
    let documents = |line: &str| line.starts_with("//!") || line.starts_with("///");
    lines
        .filter(|line| !line.is_empty() && !documents(line))
        .count()
}

/// Longest a test waits for what must happen: far above any round trip, below any patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The result of `future`.
///
/// # Panics
/// When it is not ready within [`PATIENCE`].
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(late) => panic!("nothing came within {PATIENCE:?} at {caller}: {late}"),
        }
    }
}
