//! Waking many callers from a thread that is not one of the async runtime.
//!
//! Problem: a task that is woken from outside goes through the one queue that all threads of the runtime share: for
//! each a lock, and maybe a system call for a thread that sleeps. A round of the writer answers a hundred.
//!
//! Answer: their wakers are handed to one task of the runtime, and only that is woken from here. It wakes the others where
//! it runs, into the queue of its own thread, from which idle threads take their share.
//!
//! Invariants: every waker that is handed over is woken, also when the runtime ends before its broker; without a
//! runtime, and for a few, they are woken at once by whoever has them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// So few are woken from where they are: the second hop would take as long as it saves.
const FEW: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Who is to be woken.
    called: Vec<Waker>,
    /// The ringer's, while it sleeps.
    ringer: Option<Waker>,
    /// There is a ringer.
    hung: bool,
}

/// The task that wakes the others.
struct Ringer {
    bell: Arc<Bell>,
    /// Reused from one time to the next.
    called: Vec<Waker>,
}

impl Bell {
    /// Starts the ringer in the runtime this is called from, if it is one.
    pub(crate) fn hang(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current() {
            self.inside.lock().hung = true;
            runtime.spawn(Ringer {
                bell: Arc::clone(self),
                called: Vec::new(),
            });
        }
    }

    /// Wakes all of `called`, now or as soon as the ringer runs; leaves it empty.
    pub(crate) fn ring(&self, called: &mut Vec<Waker>) {
        if called.len() > FEW {
            let mut inside = self.inside.lock();
            if inside.hung {
                inside.called.append(called);
                let ringer = inside.ringer.take();
                drop(inside);
                if let Some(ringer) = ringer {
                    ringer.wake();
                }
                return;
            }
        }
        called.drain(..).for_each(Waker::wake);
    }

    /// Ends the ringer.
    pub(crate) fn take_down(&self) {
        let mut inside = self.inside.lock();
        inside.hung = false;
        let ringer = inside.ringer.take();
        drop(inside);
        if let Some(ringer) = ringer {
            ringer.wake();
        }
    }
}

impl Future for Ringer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let mut inside = this.bell.inside.lock();
            if inside.called.is_empty() {
                if !inside.hung {
                    return Poll::Ready(());
                }
                inside.ringer = Some(context.waker().clone());
                return Poll::Pending;
            }
            std::mem::swap(&mut inside.called, &mut this.called);
            drop(inside);
            this.called.drain(..).for_each(Waker::wake);
        }
    }
}

/// The runtime ended, or the broker did: who was handed over is woken from here.
impl Drop for Ringer {
    fn drop(&mut self) {
        let mut inside = self.bell.inside.lock();
        inside.hung = false;
        inside.ringer = None;
        let called = std::mem::take(&mut inside.called);
        drop(inside);
        called.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use test_kit::wakes::Wakes;

    use super::*;

    fn wakers(woken: &Arc<Wakes>, count: usize) -> Vec<Waker> {
        vec![woken.waker(); count]
    }

    #[test]
    fn without_a_runtime_all_are_woken_at_once() {
        let (bell, woken) = (Arc::new(Bell::default()), Arc::default());
        bell.hang();
        let mut called = wakers(&woken, 100);
        bell.ring(&mut called);
        assert_eq!((woken.count(), called.len()), (100, 0));
    }

    #[tokio::test]
    async fn many_are_woken_by_the_ringer_and_few_at_once() {
        let (bell, woken) = (Arc::new(Bell::default()), Arc::default());
        bell.hang();
        bell.ring(&mut wakers(&woken, FEW));
        assert_eq!(woken.count(), FEW);
        for round in 1..=3 {
            bell.ring(&mut wakers(&woken, 50));
            bell.ring(&mut wakers(&woken, 50));
            assert_eq!(woken.count(), FEW + (round - 1) * 100);
            tokio::task::yield_now().await;
            assert_eq!(woken.count(), FEW + round * 100);
        }
        bell.take_down();
        bell.ring(&mut wakers(&woken, 50));
        assert_eq!(woken.count(), FEW + 350, "no ringer is waited for");
    }

    #[test]
    fn when_the_runtime_ends_nobody_is_left_asleep() {
        let (bell, woken) = (Arc::new(Bell::default()), Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async { bell.hang() });
        bell.ring(&mut wakers(&woken, 50));
        assert_eq!(woken.count(), 0, "the ringer has not run");
        drop(runtime);
        assert_eq!(woken.count(), 50);
        bell.ring(&mut wakers(&woken, 50));
        assert_eq!(woken.count(), 100);
    }
}
