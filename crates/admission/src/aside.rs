//! Work on what comes in that takes a processor for long: on few threads of its own, one piece after another.
//!
//! Problem: a few KiB inflate to more than a hundred MiB, and whoever does that in a task that others share a thread
//! with makes all of them wait. Answer: such work goes to threads that serve nobody; there are fewer of them than
//! processors, so that one is always left for those who ask for little, and who wants more of them stands in line.
//!
//! Invariants: at most [`Aside::threads`] pieces of work are done at the same time, also when those who asked for them have
//! gone; first come, first served; a sender has one place in the line, since its edge reads on only afterwards.
//! Not here: which work is heavy, which its edge knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The threads, by permits for tokio's blocking pool.
#[derive(Debug)]
pub(crate) struct Aside {
    permits: Arc<Semaphore>,
    threads: usize,
}

impl Aside {
    /// One thread less than there are processors, and at least one.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.saturating_sub(1).max(1);
        Self {
            permits: Arc::new(Semaphore::new(threads)),
            threads,
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Does `work` when its turn comes; `None` if that takes longer than `patience`, or that is none.
    ///
    /// Cancel safe: work that has begun is finished in vain.
    ///
    /// # Panics
    /// As `work` does.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if patience.is_zero() {
            return None;
        }
        let permit = timeout(patience, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.ok()?.expect("the semaphore is never closed");
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match done.await {
            Ok(answer) => Some(answer),
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test(flavor = "multi_thread")]
    async fn never_more_at_once_than_there_are_threads() {
        let aside = Arc::new(Aside::new());
        assert!(aside.threads() >= 1);
        let (now, most) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let mut tasks = Vec::new();
        for _ in 0..64 {
            let (aside, now, most) = (Arc::clone(&aside), Arc::clone(&now), Arc::clone(&most));
            tasks.push(tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                aside.run(LONG, work).await
            }));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap(), Some(()));
        }
        assert!(most.load(Ordering::SeqCst) <= aside.threads());
    }

    #[tokio::test]
    async fn who_has_no_patience_goes_and_who_went_keeps_its_thread_until_it_is_done() {
        let aside = Aside::new();
        let mut held = Vec::new();
        for _ in 0..aside.threads() {
            let (go, wait) = mpsc::sync_channel::<()>(1);
            let mut running = Box::pin(aside.run(LONG, move || wait.recv().is_err()));
            // Begun, then given up.
            let begun = timeout(Duration::ZERO, &mut running).await;
            assert!(begun.is_err());
            drop(running);
            held.push(go);
        }
        let refused = aside.run(Duration::from_millis(1), || ()).await;
        assert_eq!(refused, None, "the threads are busy for nobody");
        drop(held);
        assert_eq!(aside.run(LONG, || 7).await, Some(7));
    }

    #[tokio::test]
    #[should_panic(expected = "a bad batch")]
    async fn a_panic_is_the_callers() {
        let aside = Aside::new();
        aside.run(LONG, || panic!("a bad batch")).await;
    }
}
