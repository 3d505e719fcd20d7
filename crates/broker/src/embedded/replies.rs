//! Answers to appends that were queued together: their caller is woken once, when the last is there.
//!
//! Invariant: each [`Reply`] gives one answer; one that is dropped says that the broker stops.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Appended, Error};

type Answer = Result<Appended, Error>;

/// Where the answer to one append goes. A caller that went away does not undo it.
#[derive(Debug)]
pub(crate) struct Reply {
    sheet: Arc<Mutex<Sheet>>,
    index: usize,
    sent: bool,
}

/// The answers so far, in the order of the appends.
#[derive(Debug)]
struct Sheet {
    answers: Vec<Option<Answer>>,
    missing: usize,
    caller: Option<oneshot::Sender<Vec<Answer>>>,
}

/// `count` replies, at least one, and where all their answers arrive.
pub(crate) fn replies(count: usize) -> (Vec<Reply>, oneshot::Receiver<Vec<Answer>>) {
    let (caller, answers) = oneshot::channel();
    let sheet = Arc::new(Mutex::new(Sheet {
        answers: (0..count).map(|_| None).collect(),
        missing: count,
        caller: Some(caller),
    }));
    let reply = |index| Reply {
        sheet: Arc::clone(&sheet),
        index,
        sent: false,
    };
    ((0..count).map(reply).collect(), answers)
}

impl Reply {
    pub(crate) fn send(mut self, answer: Answer) {
        self.sent = true;
        self.sheet.lock().note(self.index, answer);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.sent {
            self.sheet.lock().note(self.index, Err(Error::Stopping));
        }
    }
}

impl Sheet {
    fn note(&mut self, index: usize, answer: Answer) {
        if let Some(place) = self.answers.get_mut(index) {
            *place = Some(answer);
        }
        self.missing -= 1;
        if self.missing == 0
            && let Some(caller) = self.caller.take()
        {
            let answers = self.answers.drain(..).flatten().collect();
            let _heard = caller.send(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_hears_all_answers_at_once_and_in_order() {
        let (replies, mut answers) = replies(3);
        let mut replies = replies.into_iter();
        let (first, second, third) = (replies.next(), replies.next(), replies.next());
        let stale = || Error::UnknownTopic {
            topic: "orders".parse().unwrap(),
        };
        third.unwrap().send(Err(stale()));
        drop(first);
        assert!(answers.try_recv().is_err(), "one is missing");
        second.unwrap().send(Err(stale()));
        let answers = answers.try_recv().unwrap();
        assert!(matches!(
            answers[..],
            [
                Err(Error::Stopping),
                Err(Error::UnknownTopic { .. }),
                Err(Error::UnknownTopic { .. })
            ]
        ));
    }
}
