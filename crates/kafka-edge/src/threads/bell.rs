//! Calling tasks of a thread from other threads.
//!
//! Problem: who wakes a task from another thread pays for it each time: a lock of its runtime, and a system call that ends the
//! thread's sleep, also if it does not sleep. The log's writer answers a hundred requests at once.
//!
//! Answer: a task's waker knows its thread. There it wakes the task and that is all; from elsewhere it leaves the task with the
//! thread's bell, and only the first one that does so rings: the thread wakes all of them where they are, into its own queue.
//!
//! Invariants: every task that is called runs again, as long as its thread does; what is left with the bell of a thread that has ended
//! is dropped with it.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

thread_local! {
    /// The bell this thread answers, for comparison only.
    static HERE: Cell<*const Bell> = const { Cell::new(ptr::null()) };
}

#[derive(Debug, Default)]
pub(super) struct Bell {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Who is to be woken.
    called: Vec<Arc<Caller>>,
    /// Who wakes them, while asleep.
    answering: Option<Waker>,
    /// Nobody does any more.
    ended: bool,
}

/// What is done when nobody answers a bell any more.
struct Answering(Arc<Bell>);

/// A task of the thread, seen from anywhere.
#[derive(Debug)]
struct Caller {
    bell: Arc<Bell>,
    task: Waker,
}

impl Bell {
    /// Wakes those that are called from other threads. To be awaited by the thread's runtime, all the time.
    pub(super) fn answer(self: Arc<Self>) -> impl Future<Output = ()> {
        let answering = Answering(self);
        // Reused from one time to the next.
        let mut called = Vec::new();
        poll_fn(move |context| {
            HERE.set(Arc::as_ptr(&answering.0));
            loop {
                {
                    let mut inside = answering.0.inside.lock();
                    if inside.called.is_empty() {
                        inside.answering = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                    std::mem::swap(&mut inside.called, &mut called);
                }
                for caller in called.drain(..) {
                    caller.task.wake_by_ref();
                }
            }
        })
    }

    fn ring(&self, caller: Arc<Caller>) {
        let mut inside = self.inside.lock();
        if inside.ended {
            return;
        }
        inside.called.push(caller);
        let answering = inside.answering.take();
        drop(inside);
        if let Some(answering) = answering {
            answering.wake();
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        HERE.set(ptr::null());
        let mut inside = self.0.inside.lock();
        inside.ended = true;
        let called = std::mem::take(&mut inside.called);
        drop(inside);
        drop(called);
    }
}

/// `future`, woken by way of `bell`, whose thread it runs on.
pub(super) async fn called_by<F: Future>(bell: Arc<Bell>, future: F) -> F::Output {
    let mut future = pin!(future);
    // The task's own waker, and what its future sees of it.
    let mut wakers: Option<(Waker, Waker)> = None;
    poll_fn(|context| {
        let (_, seen) = match &mut wakers {
            Some(known) if known.0.will_wake(context.waker()) => known,
            other => {
                let task = context.waker().clone();
                let caller = Caller {
                    bell: Arc::clone(&bell),
                    task: task.clone(),
                };
                other.insert((task, Waker::from(Arc::new(caller))))
            }
        };
        future.as_mut().poll(&mut Context::from_waker(seen))
    })
    .await
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        if HERE.get() == Arc::as_ptr(&self.bell) {
            self.task.wake_by_ref();
        } else {
            let bell = Arc::clone(&self.bell);
            bell.ring(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if HERE.get() == Arc::as_ptr(&self.bell) {
            self.task.wake_by_ref();
        } else {
            self.bell.ring(Arc::clone(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use test_kit::wakes::Wakes;
    use tokio::sync::Notify;

    use super::*;

    fn callers(bell: &Arc<Bell>, task: &Arc<Wakes>, count: usize) -> Vec<Arc<Caller>> {
        let caller = || {
            Arc::new(Caller {
                bell: Arc::clone(bell),
                task: task.waker(),
            })
        };
        (0..count).map(|_| caller()).collect()
    }

    #[test]
    fn calls_from_elsewhere_ring_once_until_they_are_answered() {
        let (bell, thread, task) = (Arc::<Bell>::default(), Arc::default(), Arc::default());
        let mut answer = Box::pin(Arc::clone(&bell).answer());
        for round in 1..=3 {
            assert!(Wakes::poll(&thread, &mut answer).is_pending());
            let calls = callers(&bell, &task, 100);
            thread::spawn(|| calls.into_iter().for_each(Wake::wake))
                .join()
                .unwrap();
            assert_eq!((thread.count(), task.count()), (round, (round - 1) * 100));
            assert!(Wakes::poll(&thread, &mut answer).is_pending());
            assert_eq!(task.count(), round * 100);
        }
    }

    #[test]
    fn on_the_thread_itself_nothing_rings() {
        let (bell, thread, task) = (Arc::<Bell>::default(), Arc::default(), Arc::default());
        let mut answer = Box::pin(Arc::clone(&bell).answer());
        assert!(Wakes::poll(&thread, &mut answer).is_pending());
        callers(&bell, &task, 3).into_iter().for_each(Wake::wake);
        callers(&bell, &task, 2).iter().for_each(Wake::wake_by_ref);
        assert_eq!((thread.count(), task.count()), (0, 5));
    }

    #[test]
    fn what_is_left_with_a_bell_that_nobody_answers_goes_with_it() {
        let (bell, task) = (Arc::<Bell>::default(), Arc::default());
        let before = callers(&bell, &task, 1);
        before.into_iter().for_each(Wake::wake);
        drop(Box::pin(Arc::clone(&bell).answer()));
        callers(&bell, &task, 1).into_iter().for_each(Wake::wake);
        assert_eq!(task.count(), 0);
        assert_eq!(Arc::strong_count(&bell), 1, "nothing keeps it");
    }

    #[tokio::test]
    async fn a_future_is_woken_from_its_own_thread_and_from_others() {
        let bell = Arc::<Bell>::default();
        tokio::spawn(Arc::clone(&bell).answer());
        tokio::task::yield_now().await;
        let (here, there) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let waiting = tokio::spawn(called_by(bell, {
            let (here, there) = (Arc::clone(&here), Arc::clone(&there));
            async move {
                there.notified().await;
                here.notified().await;
            }
        }));
        tokio::task::yield_now().await;
        thread::spawn(move || there.notify_one()).join().unwrap();
        tokio::task::yield_now().await;
        here.notify_one();
        waiting.await.unwrap();
    }
}
