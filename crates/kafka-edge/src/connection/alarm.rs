//! A deadline that moves with every request and is hardly ever reached.
//!
//! Problem: a timer for each wait is put among all timers of its thread and taken out again, under a lock, for each request.
//!
//! Answer: one timer for the connection. It is moved when a deadline comes before it; a later one is left to be seen when
//! it rings.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    /// An alarm that rings at `deadline` at the latest, also if nobody needs that.
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            timer: Box::pin(sleep_until(deadline)),
        }
    }

    /// Ready when `deadline` is over.
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            match self.timer.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if self.timer.deadline() >= deadline => return Poll::Ready(()),
                // It rang for an earlier one.
                Poll::Ready(()) => self.timer.as_mut().reset(deadline),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_however_that_moved() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(after(100));
        for (at, deadline) in [(10, 10), (70, 70), (70, 20), (90, 90), (300, 300)] {
            poll_fn(|context| alarm.poll(after(deadline), context)).await;
            assert_eq!(start.elapsed().as_secs(), at);
        }
    }
}
