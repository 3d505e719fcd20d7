//! The bounded queue between async callers and the writer thread.
//!
//! Invariants: at most `bytes` of batches and `jobs` jobs are queued or being written; a caller that
//! finds no room waits, in order; jobs leave in the order they came; after [`Queue::close`] nothing
//! is taken in, and what is inside still comes out.
//!
//! Both bounds are one count of bytes: a job costs its bytes, but never less than its share of
//! the bound on jobs, so that many small jobs fill the queue too. While there is room and nobody waits for some, a push is
//! one lock and does not wait ([`Queue::try_push`]).

use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Mutex as Line, Notify};

/// The queue was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// What ended [`Queue::wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There are jobs.
    Jobs,
    /// The time is over and there are none.
    Timeout,
    /// The queue is closed and empty.
    Closed,
}

/// Why jobs were not put in; `M` makes them.
#[derive(Debug)]
pub(crate) enum NotPushed<M> {
    /// The queue is closed.
    Closed,
    /// There is no room, or others wait for some.
    Full(M),
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    inside: Mutex<Inside<T>>,
    ready: Condvar,
    /// Callers without room; who has it is the next.
    line: Line<()>,
    /// There is more room, for who is the next.
    more: Notify,
    capacity: u32,
    job_cost_min: u32,
}

#[derive(Debug)]
struct Inside<T> {
    jobs: Vec<T>,
    /// What jobs may still cost.
    room: usize,
    /// Callers in the line: whoever comes later stands behind them, also when there is room again.
    waiting: usize,
    closed: bool,
    asleep: bool,
}

/// A place in the line.
struct Place<'a, T>(&'a Queue<T>);

impl<T> Queue<T> {
    /// A queue for `bytes` bytes and `jobs` jobs, each at least 1.
    pub(crate) fn new(bytes: usize, jobs: usize) -> Self {
        let capacity = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        let job_cost_min = capacity / u32::try_from(jobs).unwrap_or(u32::MAX).max(1);
        Self {
            inside: Mutex::new(Inside {
                jobs: Vec::new(),
                room: usize::try_from(capacity).unwrap_or(usize::MAX),
                waiting: 0,
                closed: false,
                asleep: false,
            }),
            ready: Condvar::new(),
            line: Line::new(()),
            more: Notify::new(),
            capacity,
            job_cost_min: job_cost_min.max(1),
        }
    }

    /// Puts `count` jobs of together `bytes` bytes in, waiting for room; `make` gets what they cost,
    /// which goes back by [`Queue::release`] when they are done.
    ///
    /// Jobs larger than the whole queue wait until they are alone. Cancel safe: a dropped future put
    /// nothing in. The place in the line is taken with the first poll, in the order of these.
    pub(crate) async fn push<I: IntoIterator<Item = T>>(
        &self,
        bytes: usize,
        count: usize,
        make: impl FnOnce(u32) -> I,
    ) -> Result<(), Closed> {
        let cost = self.cost(bytes, count);
        let room = usize::try_from(cost).unwrap_or(usize::MAX);
        // Its drop comes after that of the turn: until then nobody passes.
        let _place = Place::take(self);
        let _turn = self.line.lock().await;
        loop {
            {
                let inside = self.inside.lock();
                if inside.closed {
                    return Err(Closed);
                }
                if room <= inside.room {
                    self.put(inside, cost, make(cost));
                    return Ok(());
                }
            }
            self.more.notified().await;
        }
    }

    /// As [`Queue::push`], but only if that needs no waiting.
    pub(crate) fn try_push<I: IntoIterator<Item = T>, M: FnOnce(u32) -> I>(
        &self,
        bytes: usize,
        count: usize,
        make: M,
    ) -> Result<(), NotPushed<M>> {
        let cost = self.cost(bytes, count);
        let inside = self.inside.lock();
        if inside.closed {
            return Err(NotPushed::Closed);
        }
        if inside.waiting > 0 || usize::try_from(cost).unwrap_or(usize::MAX) > inside.room {
            return Err(NotPushed::Full(make));
        }
        self.put(inside, cost, make(cost));
        Ok(())
    }

    fn cost(&self, bytes: usize, count: usize) -> u32 {
        let least = u32::try_from(count).unwrap_or(u32::MAX);
        let least = self.job_cost_min.saturating_mul(least);
        u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .max(least)
            .min(self.capacity.max(self.job_cost_min))
    }

    /// Puts jobs in for which there is room.
    fn put(
        &self,
        mut inside: MutexGuard<'_, Inside<T>>,
        cost: u32,
        jobs: impl IntoIterator<Item = T>,
    ) {
        inside.room -= usize::try_from(cost).unwrap_or(usize::MAX);
        inside.jobs.extend(jobs);
        let asleep = std::mem::take(&mut inside.asleep);
        drop(inside);
        if asleep {
            self.ready.notify_one();
        }
    }

    /// Gives back what done jobs cost.
    pub(crate) fn release(&self, cost: usize) {
        let mut inside = self.inside.lock();
        inside.room += cost;
        let waited_for = inside.waiting > 0;
        drop(inside);
        if waited_for {
            self.more.notify_one();
        }
    }

    /// Moves all jobs to the end of `into`; answers how many.
    pub(crate) fn drain(&self, into: &mut Vec<T>) -> usize {
        let mut inside = self.inside.lock();
        let count = inside.jobs.len();
        if into.is_empty() {
            std::mem::swap(into, &mut inside.jobs);
        } else {
            into.append(&mut inside.jobs);
        }
        count
    }

    /// Waits until there are jobs, the queue is closed, or `timeout` is over; for ever without one.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Woken {
        let mut inside = self.inside.lock();
        loop {
            if !inside.jobs.is_empty() {
                return Woken::Jobs;
            }
            if inside.closed {
                return Woken::Closed;
            }
            inside.asleep = true;
            let Some(timeout) = timeout else {
                self.ready.wait(&mut inside);
                continue;
            };
            if self.ready.wait_for(&mut inside, timeout).timed_out() && inside.jobs.is_empty() {
                inside.asleep = false;
                return if inside.closed {
                    Woken::Closed
                } else {
                    Woken::Timeout
                };
            }
        }
    }

    /// Takes nothing in from now on and wakes everyone who waits.
    pub(crate) fn close(&self) {
        self.inside.lock().closed = true;
        // Whoever is the next gives the turn on.
        self.more.notify_one();
        self.ready.notify_all();
    }

    /// Jobs that wait now.
    pub(crate) fn len(&self) -> usize {
        self.inside.lock().jobs.len()
    }
}

impl<'a, T> Place<'a, T> {
    fn take(queue: &'a Queue<T>) -> Self {
        queue.inside.lock().waiting += 1;
        Self(queue)
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.0.inside.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_full<M>(pushed: &Result<(), NotPushed<M>>) -> bool {
        matches!(pushed, Err(NotPushed::Full(_)))
    }

    fn room<T>(queue: &Queue<T>) -> usize {
        queue.inside.lock().room
    }

    #[test]
    fn jobs_leave_in_order_and_a_full_queue_makes_callers_wait() {
        let queue = Queue::new(100, 10);
        let mut first = pin!(queue.push(60, 1, |cost| [(1, cost)]));
        let mut second = pin!(queue.push(60, 1, |cost| [(2, cost)]));
        let mut third = pin!(queue.push(1, 1, |cost| [(3, cost)]));
        assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert_eq!(poll(third.as_mut()), Poll::Pending, "no overtaking");
        let mut jobs = Vec::new();
        assert_eq!(queue.drain(&mut jobs), 1);
        queue.release(60);
        assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(poll(third.as_mut()), Poll::Ready(Ok(())));
        queue.drain(&mut jobs);
        assert_eq!(jobs, [(1, 60), (2, 60), (3, 10)]);
    }

    #[test]
    fn who_comes_later_does_not_pass_who_was_given_room_and_still_sleeps() {
        let queue = Queue::new(100, 100);
        assert_eq!(poll(pin!(queue.push(100, 1, |_| [1]))), Poll::Ready(Ok(())));
        let mut sleeper = pin!(queue.push(10, 1, |_| [2]));
        assert_eq!(poll(sleeper.as_mut()), Poll::Pending);
        queue.release(100);
        let mut later = pin!(queue.push(10, 1, |_| [3]));
        assert_eq!(poll(later.as_mut()), Poll::Pending);
        assert_eq!(poll(sleeper.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(poll(later.as_mut()), Poll::Ready(Ok(())));
        let mut jobs = Vec::new();
        queue.drain(&mut jobs);
        assert_eq!(jobs, [1, 2, 3]);
    }

    #[test]
    fn who_does_not_wait_does_not_pass_who_does() {
        let queue = Queue::new(100, 100);
        assert!(queue.try_push(60, 1, |cost| [cost]).is_ok());
        assert!(is_full(&queue.try_push(60, 1, |cost| [cost])));
        let mut sleeper = pin!(queue.push(60, 1, |cost| [cost]));
        assert_eq!(poll(sleeper.as_mut()), Poll::Pending);
        queue.release(60);
        let late = queue.try_push(10, 1, |cost| [cost]);
        assert!(is_full(&late), "there is room, but not for it");
        assert_eq!(poll(sleeper.as_mut()), Poll::Ready(Ok(())));
        assert!(queue.try_push(40, 1, |cost| [cost]).is_ok());
        let mut jobs = Vec::new();
        queue.drain(&mut jobs);
        assert_eq!(jobs, [60, 60, 40]);
        queue.close();
        let closed = queue.try_push(1, 1, |cost| [cost]);
        assert!(matches!(closed, Err(NotPushed::Closed)));
    }

    #[test]
    fn who_gives_up_waiting_holds_up_nobody() {
        let queue = Queue::new(100, 100);
        assert!(queue.try_push(100, 1, |cost| [cost]).is_ok());
        let mut second = Box::pin(queue.push(100, 1, |cost| [cost]));
        let mut third = Box::pin(queue.push(50, 1, |cost| [cost]));
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert_eq!(poll(third.as_mut()), Poll::Pending);
        queue.release(100);
        drop(second);
        assert_eq!(poll(third.as_mut()), Poll::Ready(Ok(())));
        assert!(queue.try_push(50, 1, |cost| [cost]).is_ok());
    }

    #[test]
    fn the_bound_on_jobs_holds_for_empty_ones() {
        let queue = Queue::new(100, 4);
        for _ in 0..4 {
            assert_eq!(poll(pin!(queue.push(0, 1, |_| [()]))), Poll::Ready(Ok(())));
        }
        assert_eq!(poll(pin!(queue.push(0, 1, |_| [()]))), Poll::Pending);
        assert_eq!((queue.len(), room(&queue)), (4, 0));
    }

    #[test]
    fn jobs_put_in_together_cost_what_they_would_alone() {
        let queue = Queue::new(100, 10);
        let mut together = pin!(queue.push(35, 5, |cost| [cost, 0, 0, 0, 0]));
        assert_eq!(poll(together.as_mut()), Poll::Ready(Ok(())));
        assert_eq!((queue.len(), room(&queue)), (5, 50));
    }

    #[test]
    fn a_job_larger_than_the_queue_passes_alone() {
        let queue = Queue::new(100, 10);
        assert_eq!(
            poll(pin!(queue.push(5_000, 1, |_| [()]))),
            Poll::Ready(Ok(()))
        );
        assert_eq!(room(&queue), 0);
    }

    #[test]
    fn closing_refuses_new_jobs_and_lets_the_others_out() {
        let queue = Queue::new(10, 10);
        assert_eq!(poll(pin!(queue.push(10, 1, |_| [1]))), Poll::Ready(Ok(())));
        let mut waiting = pin!(queue.push(10, 1, |_| [2]));
        assert_eq!(poll(waiting.as_mut()), Poll::Pending);
        queue.close();
        assert_eq!(poll(waiting.as_mut()), Poll::Ready(Err(Closed)));
        assert_eq!(queue.wait(None), Woken::Jobs);
        let mut jobs = Vec::new();
        queue.drain(&mut jobs);
        assert_eq!(jobs, [1]);
        assert_eq!(queue.wait(None), Woken::Closed);
    }

    #[test]
    fn waiting_ends_in_time() {
        let queue = Queue::<()>::new(10, 10);
        assert_eq!(queue.wait(Some(Duration::from_millis(1))), Woken::Timeout);
    }
}
