//! Answers to appends that were queued together: their caller is woken once, when the last is there.
//!
//! One allocation for a request of one append: a sheet that has a place for each answer and the caller's waker. Writing an
//! answer down wakes nobody by itself: whoever answers many collects the wakers and wakes them together (`bell`).
//!
//! Invariants: each [`Reply`] gives one answer; one that is dropped says that the broker stops, and wakes the caller
//! there and then; a caller is woken after its last answer is on the sheet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::{AppendAnswers, Appended, Error};

type Answer = Result<Appended, Error>;

/// Where the answer to one append goes. A caller that went away does not undo it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// `None` once it is answered.
    sheet: Option<Arc<Mutex<Sheet>>>,
    index: usize,
}

/// Where the answers arrive, all together, in the order of the appends.
#[derive(Debug)]
pub(crate) struct Answers {
    sheet: Arc<Mutex<Sheet>>,
}

/// The answers so far, in the order of the appends.
#[derive(Debug)]
struct Sheet {
    answers: SmallVec<[Option<Answer>; 1]>,
    missing: usize,
    caller: Option<Waker>,
}

/// `count` replies, and where all their answers arrive.
pub(crate) fn replies(count: usize) -> (impl Iterator<Item = Reply>, Answers) {
    let sheet = Arc::new(Mutex::new(Sheet {
        answers: (0..count).map(|_| None).collect(),
        missing: count,
        caller: None,
    }));
    let answers = Answers {
        sheet: Arc::clone(&sheet),
    };
    let reply = move |index| Reply {
        sheet: Some(Arc::clone(&sheet)),
        index,
    };
    ((0..count).map(reply), answers)
}

impl Reply {
    /// Gives the answer; the caller is to be woken if this was the last one it waits for.
    #[must_use = "a caller that nobody wakes waits for ever"]
    pub(crate) fn send(mut self, answer: Answer) -> Option<Waker> {
        self.note(answer)
    }

    fn note(&mut self, answer: Answer) -> Option<Waker> {
        self.sheet.take()?.lock().note(self.index, answer)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(caller) = self.note(Err(Error::Stopping)) {
            caller.wake();
        }
    }
}

impl Sheet {
    fn note(&mut self, index: usize, answer: Answer) -> Option<Waker> {
        if let Some(place) = self.answers.get_mut(index) {
            *place = Some(answer);
        }
        self.missing -= 1;
        self.caller.take_if(|_| self.missing == 0)
    }
}

impl Future for Answers {
    type Output = AppendAnswers;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AppendAnswers> {
        let mut sheet = self.sheet.lock();
        if sheet.missing == 0 {
            return Poll::Ready(sheet.answers.drain(..).flatten().collect());
        }
        match &mut sheet.caller {
            Some(caller) => caller.clone_from(context.waker()),
            caller @ None => *caller = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use test_kit::wakes::Wakes;

    use super::*;

    #[test]
    fn the_caller_hears_all_answers_at_once_and_in_order() {
        let woken = Arc::<Wakes>::default();
        let (mut replies, mut answers) = replies(3);
        let (first, second, third) = (replies.next(), replies.next(), replies.next());
        let stale = || Error::UnknownTopic {
            topic: "orders".parse().unwrap(),
        };
        assert!(third.unwrap().send(Err(stale())).is_none());
        drop(first);
        assert!(woken.poll(&mut answers).is_pending(), "one is missing");
        let caller = second.unwrap().send(Err(stale())).unwrap();
        assert_eq!(woken.count(), 0, "waking is the sender's part");
        caller.wake();
        assert_eq!(woken.count(), 1);
        let Poll::Ready(answers) = woken.poll(&mut answers) else {
            panic!("all are there");
        };
        assert!(matches!(
            answers[..],
            [
                Err(Error::Stopping),
                Err(Error::UnknownTopic { .. }),
                Err(Error::UnknownTopic { .. })
            ]
        ));
    }

    #[test]
    fn a_reply_that_is_dropped_wakes_who_waits_for_it() {
        let woken = Arc::<Wakes>::default();
        let (mut replies, mut answers) = replies(1);
        let reply = replies.next();
        assert!(woken.poll(&mut answers).is_pending());
        drop(reply);
        assert_eq!(woken.count(), 1);
        let answered = woken.poll(&mut answers);
        assert!(
            matches!(answered, Poll::Ready(answers) if matches!(answers[..], [Err(Error::Stopping)]))
        );
    }

    #[test]
    fn no_appends_are_answered_at_once() {
        let (_, mut answers) = replies(0);
        let answered = Arc::<Wakes>::default().poll(&mut answers);
        assert!(matches!(answered, Poll::Ready(answers) if answers.is_empty()));
    }
}
