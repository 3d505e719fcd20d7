//! Following one partition: read what is there, then wait for more.
//!
//! ```text
//!   log ──read──> … ──the feed has it──> feed ──wait, take──> … ──lapped, or a transaction──> log ──> …
//! ```
//! What is old comes from the log; what was just published comes from the broker's [`Feed`], where it has one,
//! without a copy and without a look at the log. A follower that is too slow for the feed goes on in the log and comes back.
//!
//! Invariants: every batch readable and committed after the start is handed out once and in order, and
//! no other (markers and aborted batches are passed over); waiting costs
//! nothing until the high watermark moves; dropping the future of [`Tail::next`] loses nothing.
//!
//! Not here: sharing one read among many followers, and leases or acknowledgements.

use std::future::poll_fn;

use model::{Position, TopicPartition};
use tokio::sync::watch;

use crate::{DynBroker, Error, Fed, Feed, Fetched, Place, ReadLimit, read_committed};

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
    source: Source,
}

/// How it hears of what is new.
#[derive(Debug)]
enum Source {
    /// And gets it.
    Feed(Box<dyn Feed>),
    Watch(watch::Receiver<Position>),
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
        let source = match broker.feed(&partition)? {
            Some(feed) => Source::Feed(feed),
            None => Source::Watch(broker.watch(&partition)?),
        };
        Ok(Self {
            broker,
            partition,
            next: start,
            limit: ReadLimit {
                bytes: TAIL_BYTES,
                at_least_one: true,
            },
            source,
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

    /// Looks so many times for something new before it gives up the processor: shorter waits, for a task that
    /// has a processor of its own. Default 0.
    #[must_use]
    pub fn with_spin(mut self, turns: u32) -> Self {
        if let Source::Feed(feed) = &mut self.source {
            feed.set_spin(turns);
        }
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
            if let Source::Watch(watch) = &mut self.source {
                // Seen before the read: whatever is published after this line wakes the wait below.
                watch.borrow_and_update();
            }
            if let Some(fetched) = self.try_next().await? {
                return Ok(fetched);
            }
            if !self.published().await {
                return Err(self.why_closed());
            }
        }
    }

    /// Waits for something new; `false` if there will never be anything.
    async fn published(&mut self) -> bool {
        match &mut self.source {
            Source::Feed(feed) => poll_fn(|context| feed.poll_published(context)).await,
            Source::Watch(watch) => watch.changed().await.is_ok(),
        }
    }

    /// What is readable now without waiting; `None` at the high watermark, or where a transaction is
    /// open.
    ///
    /// # Errors
    /// As [`Tail::next`].
    pub async fn try_next(&mut self) -> Result<Option<Fetched>, Error> {
        loop {
            if let Source::Feed(feed) = &mut self.source {
                match feed.take(self.next, self.limit) {
                    Fed::Batches(fetched) => {
                        self.next = fetched.next;
                        return Ok(Some(fetched));
                    }
                    Fed::End => return Ok(None),
                    Fed::Log => {}
                }
            }
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
