//! Requests between the two loops of a connection.
//!
//! Both loops run in one task, so nobody has to be woken: who changes the queue while the other waits for that leaves
//! a call, and the task polls the other once more before it sleeps ([`Queue::writer_called`], [`Queue::reader_called`]).
//!
//! Invariants: no more is taken in while `limit` requests are not answered, or one piece of work has more than that; works
//! leave in the order they came; after [`Queue::close`] what is inside still comes out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use parking_lot::Mutex;

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Never contended: the loops take turns.
    inside: Mutex<Inside<T>>,
    limit: usize,
}

#[derive(Debug)]
struct Inside<T> {
    works: VecDeque<T>,
    /// Requests that came and are not answered.
    open: usize,
    closed: bool,
    reader: Side,
    writer: Side,
}

/// What one loop wants of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Nothing.
    Busy,
    /// It waits: the reader for answers, the writer for a request.
    Waiting,
    /// What it waited for is there.
    Called,
}

impl<T> Queue<T> {
    /// An empty queue for `limit` requests, at least 1.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            inside: Mutex::new(Inside {
                works: VecDeque::new(),
                open: 0,
                closed: false,
                reader: Side::Busy,
                writer: Side::Busy,
            }),
            limit,
        }
    }

    /// Puts work of so many requests in, when there is room.
    pub(super) async fn push(&self, work: T, requests: usize) {
        let mut work = Some(work);
        self.inside.lock().open += requests;
        poll_fn(|_| {
            let mut inside = self.inside.lock();
            if inside.open > self.limit.max(requests) {
                inside.reader = Side::Waiting;
                return Poll::Pending;
            }
            inside.works.extend(work.take());
            inside.writer.call();
            Poll::Ready(())
        })
        .await;
    }

    /// The next request, when there is one; `None` when there will be none.
    pub(super) async fn pop(&self) -> Option<T> {
        poll_fn(|_| {
            let mut inside = self.inside.lock();
            match inside.works.pop_front() {
                None if !inside.closed => {
                    inside.writer = Side::Waiting;
                    Poll::Pending
                }
                work => Poll::Ready(work),
            }
        })
        .await
    }

    /// The next request, if there is one.
    pub(super) fn try_pop(&self) -> Option<T> {
        self.inside.lock().works.pop_front()
    }

    /// So many requests are answered.
    pub(super) fn answered(&self, requests: usize) {
        let mut inside = self.inside.lock();
        inside.open = inside.open.saturating_sub(requests);
        inside.reader.call();
    }

    /// Waits until all that came is answered.
    pub(super) async fn drained(&self) {
        poll_fn(|_| {
            let mut inside = self.inside.lock();
            if inside.open == 0 {
                return Poll::Ready(());
            }
            inside.reader = Side::Waiting;
            Poll::Pending
        })
        .await;
    }

    /// Requests that came, also those that wait for room, and are not answered.
    pub(super) fn open(&self) -> usize {
        self.inside.lock().open
    }

    /// No request will come.
    pub(super) fn close(&self) {
        self.inside.lock().closed = true;
    }

    /// Whether the writer waited for a request and one is there.
    pub(super) fn writer_called(&self) -> bool {
        self.inside.lock().writer.answer()
    }

    /// Whether the reader waited for room and there is some.
    pub(super) fn reader_called(&self) -> bool {
        self.inside.lock().reader.answer()
    }
}

impl Side {
    fn call(&mut self) {
        if *self == Self::Waiting {
            *self = Self::Called;
        }
    }

    fn answer(&mut self) -> bool {
        let called = *self == Self::Called;
        if called {
            *self = Self::Busy;
        }
        called
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_writer_is_called_for_what_it_waits_for() {
        let queue = Queue::new(2);
        assert_eq!(poll(pin!(queue.push(1, 1))), Poll::Ready(()));
        assert!(!queue.writer_called(), "it was not waiting");
        assert_eq!(poll(pin!(queue.pop())), Poll::Ready(Some(1)));
        let mut second = pin!(queue.pop());
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert!(!queue.writer_called());
        assert_eq!(poll(pin!(queue.push(2, 1))), Poll::Ready(()));
        assert!(queue.writer_called() && !queue.writer_called(), "once");
        assert_eq!(poll(second.as_mut()), Poll::Ready(Some(2)));
        assert!(!queue.reader_called());
    }

    #[test]
    fn a_full_queue_holds_the_reader_up_until_one_is_taken() {
        let queue = Queue::new(1);
        assert_eq!(poll(pin!(queue.push(1, 1))), Poll::Ready(()));
        let mut second = pin!(queue.push(2, 1));
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert!(!queue.reader_called());
        assert_eq!(queue.try_pop(), Some(1));
        assert!(!queue.reader_called(), "it is not answered");
        queue.answered(1);
        assert!(queue.reader_called() && !queue.reader_called(), "once");
        assert_eq!(poll(second.as_mut()), Poll::Ready(()));
        assert_eq!((queue.try_pop(), queue.try_pop()), (Some(2), None));
    }

    #[test]
    fn requests_that_come_together_count_each() {
        let queue = Queue::new(8);
        assert_eq!(poll(pin!(queue.push(1, 6))), Poll::Ready(()));
        let mut second = pin!(queue.push(2, 3));
        assert_eq!(poll(second.as_mut()), Poll::Pending);
        assert_eq!((queue.try_pop(), queue.open()), (Some(1), 9));
        queue.answered(1);
        assert_eq!(poll(second.as_mut()), Poll::Ready(()));
        queue.answered(5);
        let mut drained = pin!(queue.drained());
        assert_eq!(poll(drained.as_mut()), Poll::Pending);
        assert!(!queue.reader_called());
        // More than there may ever be comes alone.
        let mut third = pin!(queue.push(3, 9));
        assert_eq!(poll(third.as_mut()), Poll::Pending);
        queue.answered(3);
        assert_eq!(poll(third.as_mut()), Poll::Ready(()));
        assert_eq!(poll(drained.as_mut()), Poll::Pending);
        queue.answered(9);
        assert!(queue.reader_called());
        assert_eq!(poll(drained.as_mut()), Poll::Ready(()));
    }

    #[test]
    fn what_is_inside_a_closed_queue_comes_out() {
        let queue = Queue::new(8);
        assert_eq!(poll(pin!(queue.push(1, 1))), Poll::Ready(()));
        queue.close();
        assert_eq!(poll(pin!(queue.pop())), Poll::Ready(Some(1)));
        assert_eq!(poll(pin!(queue.pop())), Poll::Ready(None));
    }
}
