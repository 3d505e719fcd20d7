//! Reading what a listener listens to: a task a partition, each asked for more when there is room.
//!
//! Invariant: at most one answer of a partition is on its way, of [`FETCH_BYTES`] or one batch.

use std::sync::Arc;

use broker::{DynBroker, Error, Fetched, Tail};
use model::{Position, TopicPartition};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// Bytes of one read.
const FETCH_BYTES: usize = 256 << 10;

/// What a reader has to say.
#[derive(Debug)]
pub(crate) enum Read {
    /// Batches, the first of which may begin before `from`.
    Batches { from: Position, fetched: Fetched },
    /// Retention took what was to be read; it goes on at `log_start`.
    Missed { log_start: Position },
    /// It cannot go on.
    Ended(Error),
}

/// The reader of one partition; ends when dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    turns: Arc<Semaphore>,
    task: AbortHandle,
}

impl Reader {
    /// Reads from `start` on, tagging what it reads with `tag`; waits for [`Self::more`] before each read.
    pub(crate) fn start<T: Clone + Send + 'static>(
        broker: DynBroker,
        partition: TopicPartition,
        start: Position,
        tag: T,
        to: mpsc::Sender<(T, Read)>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(0));
        let asked = Arc::clone(&turns);
        let task = tokio::spawn(async move {
            let mut tail = match Tail::new(broker, partition, start) {
                Ok(tail) => tail.with_bytes(FETCH_BYTES),
                Err(error) => return drop(to.send((tag, Read::Ended(error))).await),
            };
            while let Ok(turn) = asked.acquire().await {
                turn.forget();
                let from = tail.position();
                let read = match tail.next().await {
                    Ok(fetched) => Read::Batches { from, fetched },
                    Err(Error::OutOfRange { log_start, .. }) => {
                        tail.seek(log_start);
                        Read::Missed { log_start }
                    }
                    Err(error) => return drop(to.send((tag, Read::Ended(error))).await),
                };
                if to.send((tag.clone(), read)).await.is_err() {
                    return;
                }
            }
        });
        Self {
            turns,
            task: task.abort_handle(),
        }
    }

    /// Asks for one more answer.
    pub(crate) fn more(&self) {
        self.turns.add_permits(1);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
