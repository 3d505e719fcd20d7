//! Hearing of the endpoint's stop without asking for it again and again.
//!
//! Problem: who waits for a cancellation takes two locks that all connections share, each time it is polled, and a third when
//! it starts or ceases to wait. A connection that serves a request is polled twice for it.
//!
//! Answer: it is waited for once in a connection's life, with a waker of its own that leaves a mark and passes the call
//! on to the connection's task. The rest is one look at the mark.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whether what was waited for has come.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    inside: Arc<Mark>,
}

#[derive(Debug, Default)]
struct Mark {
    set: AtomicBool,
    task: AtomicWaker,
}

impl Stopping {
    /// Waits for `stop` on behalf of the task of `context`; to be called once.
    pub(super) fn wait_for<F: Future<Output = ()>>(
        &self,
        stop: Pin<&mut F>,
        context: &Context<'_>,
    ) {
        self.heed(context);
        let waker = Waker::from(Arc::clone(&self.inside));
        if stop.poll(&mut Context::from_waker(&waker)).is_ready() {
            self.inside.set.store(true, Ordering::Release);
        }
    }

    /// Which task is woken, if it is another one now.
    pub(super) fn heed(&self, context: &Context<'_>) {
        self.inside.task.register(context.waker());
    }

    pub(super) fn is_set(&self) -> bool {
        self.inside.set.load(Ordering::Acquire)
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn a_stop_wakes_the_task_and_leaves_its_mark() {
        for early in [true, false] {
            let (token, stopping) = (CancellationToken::new(), Stopping::default());
            if early {
                token.cancel();
            }
            let mut stop = pin!(token.cancelled());
            let mut begun = false;
            let waiting = std::future::poll_fn(|context| {
                if !std::mem::replace(&mut begun, true) {
                    stopping.wait_for(stop.as_mut(), context);
                }
                if stopping.is_set() {
                    return std::task::Poll::Ready(());
                }
                token.cancel();
                std::task::Poll::Pending
            });
            waiting.await;
        }
    }
}
