//! Reading what a listener listens to: a task a partition, each asked for more when there is room.
//!
//! A partition that cannot be read is tried again after a pause that doubles; that is said once, and once when it can be
//! read again.
//! Invariants: at most one answer of a partition is on its way, of [`FETCH_BYTES`] or one batch, and its memory is reserved
//! before it is read; nothing is reserved while there is nothing to read.

use std::sync::Arc;
use std::time::Duration;

use broker::{DynBroker, Error, Fetched, Tail};
use model::{Position, TopicPartition};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::memory::{Budget, Charge};

/// Bytes of one read.
const FETCH_BYTES: usize = 256 << 10;
/// Pauses after a partition could not be read: the first, and the longest.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_mins(1);

/// What a reader has to say.
#[derive(Debug)]
pub(crate) enum Read {
    /// Batches, the first of which may begin before `from`.
    Batches {
        from: Position,
        fetched: Fetched,
        charge: Charge,
    },
    /// Nothing up to `next` is anybody's matter: markers, or what was aborted.
    Passed { next: Position },
    /// Retention took what was to be read; it goes on at `log_start`.
    Missed { log_start: Position },
    /// It cannot be read now; the reader goes on trying.
    Unreadable(Error),
    /// It can be read again.
    Readable,
    /// The partition is gone, or the broker stops.
    Ended,
}

/// The reader of one partition; ends when dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    asked: mpsc::Sender<Position>,
    task: AbortHandle,
}

impl Reader {
    /// A reader that tags what it reads with `tag`; waits for [`Self::more`] before each read.
    pub(crate) fn start<T: Clone + Send + 'static>(
        broker: DynBroker,
        budget: Arc<Budget>,
        partition: TopicPartition,
        tag: T,
        to: mpsc::Sender<(T, Read)>,
    ) -> Self {
        let (asked, mut asks) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let Ok(mut reading) = Reading::new(broker, budget, partition) else {
                return drop(to.send((tag, Read::Ended)).await);
            };
            while let Some(from) = asks.recv().await {
                if reading.tail.position() != from {
                    reading.tail.seek(from);
                }
                let read = match reading.next().await {
                    Ok(read) => read,
                    Err(error) => {
                        if to
                            .send((tag.clone(), Read::Unreadable(error)))
                            .await
                            .is_err()
                        {
                            return;
                        }
                        let read = reading.again().await;
                        if to.send((tag.clone(), Read::Readable)).await.is_err() {
                            return;
                        }
                        read
                    }
                };
                let ends = matches!(read, Read::Ended);
                if to.send((tag.clone(), read)).await.is_err() || ends {
                    return;
                }
            }
        });
        Self {
            asked,
            task: task.abort_handle(),
        }
    }

    /// Asks for one more answer, of what lies at `from` and behind.
    pub(crate) fn more(&self, from: Position) {
        // Asked again only after an answer: there is room, or the reader is gone, which its last answer said.
        let _ = self.asked.try_send(from);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One partition being read.
struct Reading {
    broker: DynBroker,
    budget: Arc<Budget>,
    tail: Tail,
    end: watch::Receiver<Position>,
    /// The largest answer there was.
    largest: usize,
}

impl Reading {
    fn new(
        broker: DynBroker,
        budget: Arc<Budget>,
        partition: TopicPartition,
    ) -> Result<Self, Error> {
        let end = broker.watch(&partition)?;
        let tail = Tail::new(Arc::clone(&broker), partition, Position::default())?;
        Ok(Self {
            broker,
            budget,
            tail: tail.with_bytes(FETCH_BYTES),
            end,
            largest: FETCH_BYTES,
        })
    }

    /// The next answer, when there is one and memory for it.
    async fn next(&mut self) -> Result<Read, Error> {
        loop {
            let from = self.tail.position();
            let end = *self.end.borrow_and_update();
            if end > from {
                let mut charge = self.budget.reserve(self.expected()).await;
                match self.tail.try_next().await {
                    Ok(Some(fetched)) => {
                        let size = fetched.batches.len();
                        self.largest = self.largest.max(size);
                        charge.resize(size);
                        return Ok(Read::Batches {
                            from,
                            fetched,
                            charge,
                        });
                    }
                    Ok(None) if self.tail.position() > from => {
                        let next = self.tail.position();
                        return Ok(Read::Passed { next });
                    }
                    Ok(None) => {}
                    Err(Error::OutOfRange { log_start, .. }) => {
                        self.tail.seek(log_start);
                        return Ok(Read::Missed { log_start });
                    }
                    Err(
                        Error::UnknownTopic { .. }
                        | Error::UnknownPartition { .. }
                        | Error::Stopping,
                    ) => return Ok(Read::Ended),
                    Err(error) => return Err(error),
                }
            }
            if self.end.changed().await.is_err() {
                return Ok(Read::Ended);
            }
        }
    }

    /// The next answer, after the last one could not be read.
    async fn again(&mut self) -> Read {
        let mut pause = AGAIN;
        loop {
            tokio::time::sleep(pause).await;
            if let Ok(read) = self.next().await {
                return read;
            }
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// Bytes that the next answer may have.
    fn expected(&self) -> usize {
        let topic = self.broker.topic(&self.tail.partition().topic);
        let batch = topic.map_or(0, |topic| topic.config.batch_bytes.as_usize());
        self.largest.max(batch)
    }
}
