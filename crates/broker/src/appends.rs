//! What [`Broker::append_each`](crate::Broker::append_each) returns.
//!
//! Problem: a call behind `dyn Broker` returns a boxed future, and small appends are so many that the box is felt.
//!
//! Answer: a broker that has queued the appends when the call returns gives the place where the answers arrive, and needs
//! no box; every other case is a boxed future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::embedded::Answers;
use crate::{Appended, Error};

/// The answers to several appends, in their order; of one, without an allocation.
pub type AppendAnswers = SmallVec<[Result<Appended, Error>; 1]>;

/// What several appends return: each its own answer, ready when the last is there.
///
/// The appends begin in the order of the calls, each with the call or with the first poll of what it returned:
/// [`AppendsFuture::begin`] sees to it without waiting for the answers.
#[must_use = "appends that found no room at once begin when this is polled"]
pub struct AppendsFuture<'a>(Appending<'a>);

enum Appending<'a> {
    /// Begun; the answers come here.
    Queued(Answers),
    Boxed(Pin<Box<dyn Future<Output = AppendAnswers> + Send + 'a>>),
    /// Answered when it was begun.
    Done(AppendAnswers),
}

impl<'a> AppendsFuture<'a> {
    /// Answers of a future that does the appends.
    pub fn boxed(appends: impl Future<Output = AppendAnswers> + Send + 'a) -> Self {
        Self(Appending::Boxed(Box::pin(appends)))
    }

    pub(crate) fn queued(answers: Answers) -> Self {
        Self(Appending::Queued(answers))
    }

    /// Whether the appends have begun, or stand in line where nobody who comes later passes them.
    pub fn has_begun(&self) -> bool {
        !matches!(self.0, Appending::Boxed(_))
    }

    /// Begins the appends, or takes their place in line; what wakes `context` is to poll this again.
    ///
    /// Outside of tokio's budget for fairness only (see [`tokio::task::unconstrained`]): within it an append
    /// that finds its budget used up would begin later than it was called.
    pub fn begin(&mut self, context: &mut Context<'_>) {
        if let Appending::Boxed(appends) = &mut self.0
            && let Poll::Ready(answers) = appends.as_mut().poll(context)
        {
            self.0 = Appending::Done(answers);
        }
    }
}

impl Future for AppendsFuture<'_> {
    type Output = AppendAnswers;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AppendAnswers> {
        match &mut self.0 {
            Appending::Queued(answers) => Pin::new(answers).poll(context),
            Appending::Boxed(appends) => appends.as_mut().poll(context),
            Appending::Done(answers) => Poll::Ready(std::mem::take(answers)),
        }
    }
}

impl fmt::Debug for AppendsFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            Appending::Queued(_) => "queued",
            Appending::Boxed(_) => "waiting",
            Appending::Done(_) => "done",
        };
        write!(f, "AppendsFuture({state})")
    }
}
