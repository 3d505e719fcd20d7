//! A thread beside the writer, for syncs that nobody waits for (`docs/decisions/0026-lazy-flushes.md`).
//!
//! It starts with the first piece of work. What is given to it is done in order; there is a bound on what may wait, and who
//! meets it does the work himself, as he does where there are no threads.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::{Drive, Shared, events};

#[derive(Debug)]
pub(crate) struct Beside<T> {
    shared: Arc<Shared>,
    name: &'static str,
    waiting_max: usize,
    work: fn(&Shared, &T),
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    NotStarted,
    Running(SyncSender<T>, JoinHandle<()>),
    /// The system refused the thread, or there are to be none.
    Without,
}

impl<T: Send + 'static> Beside<T> {
    /// A thread of that name that does `work`; at most `waiting_max` pieces wait for it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: &'static str,
        waiting_max: usize,
        work: fn(&Shared, &T),
    ) -> Self {
        let state = match shared.options.drive {
            Drive::Manual => State::Without,
            Drive::Threads => State::NotStarted,
        };
        Self {
            shared,
            name,
            waiting_max,
            work,
            state,
        }
    }

    /// Has one piece done; gets it back where nobody else will do it.
    pub(crate) fn give(&mut self, piece: T) -> Result<(), T> {
        if let State::NotStarted = self.state {
            self.state = self.start();
        }
        let State::Running(pieces, _) = &self.state else {
            return Err(piece);
        };
        pieces.try_send(piece).map_err(|error| match error {
            TrySendError::Full(piece) | TrySendError::Disconnected(piece) => piece,
        })
    }

    fn start(&self) -> State<T> {
        let (pieces, received) = sync_channel(self.waiting_max);
        let (shared, work) = (Arc::clone(&self.shared), self.work);
        let thread = std::thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(move || {
                for piece in received {
                    work(&shared, &piece);
                }
            });
        match thread {
            Ok(thread) => State::Running(pieces, thread),
            Err(error) => {
                events::helper_refused(&error);
                State::Without
            }
        }
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        if let State::Running(pieces, thread) = std::mem::replace(&mut self.state, State::Without) {
            drop(pieces);
            // Panics are fenced in the work.
            let _ended = thread.join();
        }
    }
}
