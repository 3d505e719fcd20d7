//! Following one partition: read what is there, then wait for more.
//!
//! Invariants: every batch readable and committed after the start is handed out once and in order, and
//! no other (markers and aborted batches are passed over); waiting costs
//! nothing until the high watermark moves; dropping the future of [`Tail::next`] loses nothing.
//!
//! Not here: sharing one read among many followers, and leases or acknowledgements.

use model::{Position, TopicPartition};
use tokio::sync::watch;

use crate::{DynBroker, Error, Fetched, Place, ReadLimit, read_committed};

/// Bytes one [`Tail::next`] returns at most, unless told otherwise; one larger batch still comes.
pub const TAIL_BYTES: usize = 1 << 20;

/// Reads one partition to its end and then waits for what is appended.
///
/// ```
/// # async fn example(broker: broker::DynBroker) -> Result<(), broker::Error> {
/// use model::{PartitionId, Position, TopicPartition};
/// let orders = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(0));
/// let mut tail = broker::Tail::new(broker, orders, Position::default())?;
/// let fetched = tail.next().await?;
/// assert!(!fetched.batches.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tail {
    broker: DynBroker,
    partition: TopicPartition,
    next: Position,
    limit: ReadLimit,
    watch: watch::Receiver<Position>,
}

impl Tail {
    /// Follows `partition` from `start`.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] or [`Error::UnknownPartition`].
    pub fn new(
        broker: DynBroker,
        partition: TopicPartition,
        start: Position,
    ) -> Result<Self, Error> {
        let watch = broker.watch(&partition)?;
        Ok(Self {
            broker,
            partition,
            next: start,
            limit: ReadLimit {
                bytes: TAIL_BYTES,
                at_least_one: true,
            },
            watch,
        })
    }

    /// Follows `partition` from a place by its meaning; from the end when there is no such place.
    ///
    /// # Errors
    /// As [`Tail::new`], and those of the search.
    pub async fn from_place(
        broker: DynBroker,
        partition: TopicPartition,
        place: Place,
    ) -> Result<Self, Error> {
        let found = broker.find(&partition, place).await?;
        let start = match found {
            Some(found) => found.position,
            None => broker.marks(&partition).await?.high_watermark,
        };
        Self::new(broker, partition, start)
    }

    /// Returns at most `bytes` per call from now on, or one batch if that is larger.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.limit.bytes = bytes;
        self
    }

    /// The partition followed.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Where the next read starts.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Goes on from `position` instead.
    pub fn seek(&mut self, position: Position) {
        self.next = position;
    }

    /// The next batches, at least one; waits until there is one.
    ///
    /// Batches are whole: the first may begin before the position when that lies inside it.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when retention removed what was to be read next: [`Tail::seek`] to its
    /// `log_start` and go on, knowing what was missed. [`Error::UnknownTopic`] when the topic is
    /// deleted, [`Error::Stopping`] when the broker stops.
    pub async fn next(&mut self) -> Result<Fetched, Error> {
        loop {
            // Seen before the read: whatever is published after this line wakes the wait below.
            self.watch.borrow_and_update();
            if let Some(fetched) = self.try_next().await? {
                return Ok(fetched);
            }
            if self.watch.changed().await.is_err() {
                return Err(self.why_closed());
            }
        }
    }

    /// What is readable now without waiting; `None` at the high watermark, or where a transaction is
    /// open.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub async fn try_next(&mut self) -> Result<Option<Fetched>, Error> {
        loop {
            let read = read_committed(&*self.broker, &self.partition, self.next, self.limit);
            let fetched = read.await?;
            if !fetched.batches.is_empty() {
                self.next = fetched.next;
                return Ok(Some(fetched));
            }
            if fetched.next <= self.next {
                return Ok(None);
            }
            // All of it was markers, or aborted.
            self.next = fetched.next;
        }
    }

    fn why_closed(&self) -> Error {
        if self.broker.topic(&self.partition.topic).is_none() {
            return Error::UnknownTopic {
                topic: self.partition.topic.clone(),
            };
        }
        Error::Stopping
    }
}
