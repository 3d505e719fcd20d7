//! The tasks that follow a topic's partitions for one board.
//!
//! They live as long as somebody looks at the board; dropping their futures ends them, nothing is lost
//! by that. A topic that does not exist yet, or is deleted and made again, is looked for once a second.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{DynBroker, Error, Fetched, Place, Tail};
use env::DynClock;
use model::{Offset, PartitionId, Position, TopicPartition};
use parking_lot::Mutex;
use record::Batches;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Intake;

/// How often a topic is looked for, and looked at for new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows all partitions of the intake's topic for ever.
pub(crate) async fn follow_topic(broker: DynBroker, clock: DynClock, intake: Arc<Mutex<Intake>>) {
    let topic = intake.lock().topic.clone();
    let mut running = BTreeSet::new();
    let mut tasks = JoinSet::new();
    // One place per partition is enough: a task says goodbye once.
    let (goodbye, mut ended) = mpsc::channel::<u32>(16);
    loop {
        let partitions = broker.topic(&topic).map_or(0, |info| info.partitions);
        intake.lock().expect_history(partitions);
        for partition in 0..partitions {
            if !running.insert(partition) {
                continue;
            }
            let of = TopicPartition::new(topic.clone(), PartitionId::new(partition));
            let follower = Follower {
                broker: Arc::clone(&broker),
                clock: Arc::clone(&clock),
                intake: Arc::clone(&intake),
                next: None,
            };
            let goodbye = goodbye.clone();
            tasks.spawn(async move {
                follower.run(of).await;
                let _ = goodbye.send(partition).await;
            });
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => (),
            Some(partition) = ended.recv() => {
                // Not at once again: whatever ended it may still be so.
                tokio::time::sleep(LOOK_EVERY).await;
                running.remove(&partition);
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => (),
        }
    }
}

struct Follower {
    broker: DynBroker,
    clock: DynClock,
    intake: Arc<Mutex<Intake>>,
    /// The next record not yet taken: batches may begin before it.
    next: Option<Offset>,
}

impl Follower {
    async fn run(mut self, partition: TopicPartition) {
        match self.follow(&partition).await {
            Err(Error::Stopping | Error::UnknownTopic { .. } | Error::UnknownPartition { .. }) => {
                debug!(%partition, "Topic is not there for a board; looking for it again.");
            }
            Err(error) => warn!(%partition, %error, "Board cannot follow a topic; trying again."),
            Ok(()) => (),
        }
    }

    async fn follow(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        let (start, live_from) = self.start(partition).await?;
        let mut tail = Tail::new(Arc::clone(&self.broker), partition.clone(), start)?;
        let mut was_live = false;
        loop {
            let live = tail.position() >= live_from;
            if live && !was_live {
                was_live = true;
                self.intake.lock().history_read();
            }
            match tail.next().await {
                Ok(fetched) => self.take(&fetched, live, live_from),
                Err(Error::OutOfRange { log_start, .. }) => tail.seek(log_start),
                Err(error) => return Err(error),
            }
        }
    }

    /// Where to read from, for tickers and rates to be full at once, and where news begin.
    async fn start(&self, partition: &TopicPartition) -> Result<(Position, Position), Error> {
        let marks = self.broker.marks(partition).await?;
        let end = marks.high_watermark;
        let (rows, span) = self.intake.lock().history();
        let mut start = end;
        if !span.is_zero() {
            let since = Place::Time(self.clock.now().minus(span));
            let found = self.broker.find(partition, since).await?;
            start = found.map_or(end, |found| found.position).min(end);
        }
        if self.broker.capabilities().positions_are_offsets {
            let rows = Position::from_bits(end.bits().saturating_sub(rows as u128));
            start = start.min(rows).max(marks.log_start);
            let count = u64::try_from(end.bits()).unwrap_or(0);
            self.intake.lock().add_total(count);
        }
        Ok((start, end))
    }

    fn take(&mut self, fetched: &Fetched, live: bool, live_from: Position) {
        let now_ns = self.clock.unix_nanos();
        for batch in Batches::new(fetched.batches.clone()) {
            let Ok(batch) = batch else { return };
            if batch.is_control() {
                continue;
            }
            let Ok(records) = batch.records() else {
                continue;
            };
            let mut left = u64::from(batch.record_count());
            let mut intake = self.intake.lock();
            for record in &records {
                let Ok(record) = record else { break };
                left = left.saturating_sub(1);
                if self.next.is_some_and(|next| record.offset < next) {
                    continue;
                }
                // A read of history may run over into news.
                let live = live || Position::from(record.offset) >= live_from;
                intake.take(&record, left, live, now_ns);
                self.next = Some(record.offset.next());
            }
        }
    }
}
