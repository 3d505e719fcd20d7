//! One transaction: outputs, dead letters and progress, together or not at all.
//!
//! ```text
//!  init (a start) ──> let in ──> append, stage ──> end: commit ──> let in ──> …
//!                        └───────────┴───────────────┴─ fails ──> abort, and a new start
//! ```
//! By the broker's coordinator, as any producer of transactions. Invariants: one transaction at a time; what may be mended by
//! trying again (a full disk) is tried for [`TIMEOUT`]; after any other failure nothing more is written by this producer: its
//! successor's `init` ends what it left, and progress is read only then.
//! Not here: what goes into a transaction (`outbox`), what becomes of a listener whose transaction failed (`running`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use broker::transaction_coordinator::Init;
use broker::{
    Append, Commit, Durability, Recovery, TopicConfig, TopicInfo, TopicSpec,
    TransactionCoordinator, TransactionError, ensure_topic,
};
use model::{GroupId, Outcome, Producer, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use tracing::warn;
use transactions::TransactionalId;

use crate::context::Context;
use crate::dead_letter::Letter;
use crate::derived::Derived;
use crate::sources::Commits;
use crate::spec::Spec;

/// A transaction that is not committed by then has failed; its coordinator aborts it a little later.
const TIMEOUT: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(10);
/// Pause before something is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of one batch, if its topic takes as many.
const BATCH_BYTES: usize = 1 << 20;

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransactError {
    /// The coordinator or its log says no.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The output topic does, or that of dead letters.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// There is no coordinator.
    #[error("this process has no transactions")]
    Missing,
    /// It took too long.
    #[error("it was not committed within {TIMEOUT:?}")]
    Slow,
}

/// A listener as a producer of transactions.
pub(crate) struct Producing {
    coordinator: Arc<TransactionCoordinator>,
    id: TransactionalId,
    producer: Producer,
    /// Of the next record, by partition.
    sequences: HashMap<TopicPartition, i32>,
}

/// What one transaction does.
pub(crate) struct Work<'w> {
    pub(crate) spec: &'w Spec,
    pub(crate) group: &'w GroupId,
    pub(crate) outputs: &'w [Derived],
    pub(crate) letters: &'w [Letter],
    pub(crate) commits: Commits,
}

impl Producing {
    /// Begins as the listener of this group: ends whatever an earlier one left open, one way or the other.
    pub(crate) async fn begin(context: &Context, group: &GroupId) -> Result<Self, TransactError> {
        let coordinator = context.transactions.clone().ok_or(TransactError::Missing)?;
        // A group's name is 1 to 255 bytes, too.
        let id = TransactionalId::new(group.as_str()).map_err(|_| TransactError::Missing)?;
        let init = Init {
            timeout: TIMEOUT + GRACE,
            expected: None,
        };
        let producer = coordinator.init(&id, init).await?;
        Ok(Self {
            coordinator,
            id,
            producer,
            sequences: HashMap::new(),
        })
    }

    /// Makes outputs, letters and progress count together. After an error this producer must not be used any more.
    pub(crate) async fn run(
        &mut self,
        context: &Context,
        work: Work<'_>,
    ) -> Result<(), TransactError> {
        let done = tokio::time::timeout(TIMEOUT, self.commit(context, work)).await;
        let done = done.unwrap_or(Err(TransactError::Slow));
        if done.is_err() {
            // In vain if it was fenced, or decided already: then its successor finds it so.
            let aborted = self
                .coordinator
                .end(&self.id, self.producer, Outcome::Abort);
            let _ = tokio::time::timeout(AGAIN, aborted).await;
        }
        done
    }

    async fn commit(&mut self, context: &Context, work: Work<'_>) -> Result<(), TransactError> {
        let Work {
            spec,
            group,
            outputs,
            letters,
            commits,
        } = work;
        let at = context.clock.now();
        let commits: Vec<(TopicPartition, Commit)> = commits
            .into_iter()
            // Of a topic that is gone there is no progress.
            .filter(|(name, ..)| exists(context, name))
            .map(|(name, position, metadata)| {
                let commit = Commit {
                    position,
                    leader_epoch: None,
                    metadata,
                    at,
                };
                (name, commit)
            })
            .collect();
        let mut by_partition: BTreeMap<TopicPartition, Records<'_>> = BTreeMap::new();
        if !outputs.is_empty() {
            let topic = output_topic(context, spec).await?;
            let limit = topic.config.batch_bytes.as_usize();
            for output in outputs {
                let number = output.partition(topic.partitions);
                let to = TopicPartition::new(topic.name.clone(), number);
                let records = by_partition
                    .entry(to)
                    .or_insert_with(|| Records::new(limit));
                records.all.push(Appended::Output(output));
            }
        }
        for letter in letters {
            let records = by_partition.entry(letter.to.clone()).or_insert_with(|| {
                // One that is gone since the letter was made ready fails the transaction; the next makes it anew.
                let topic = context.broker.topic(&letter.to.topic);
                Records::new(topic.map_or(BATCH_BYTES, |one| one.config.batch_bytes.as_usize()))
            });
            records.all.push(Appended::Letter(letter));
        }
        let appends = self.appends(by_partition);
        let to: BTreeSet<TopicPartition> = appends.iter().map(|append| append.to.clone()).collect();
        let group_in = (!commits.is_empty()).then_some(group);
        let (coordinator, id, by) = (&self.coordinator, &self.id, self.producer);
        again(|| {
            let (to, group) = (to.iter().cloned().collect(), group_in.cloned());
            async move { Ok(coordinator.let_in(id, by, to, group).await?) }
        })
        .await?;
        let staged = async {
            if group_in.is_none() {
                return Ok(());
            }
            again(|| {
                let (group, commits) = (group.clone(), commits.clone());
                async move { Ok(coordinator.stage(id, by, group, commits).await?) }
            })
            .await
        };
        let (appended, staged) = tokio::join!(append(context, appends), staged);
        appended?;
        staged?;
        again(|| async move { Ok(coordinator.end(id, by, Outcome::Commit).await?) }).await
    }

    /// The records as batches, in their order, by partition.
    fn appends(&mut self, by_partition: BTreeMap<TopicPartition, Records<'_>>) -> Vec<Append> {
        let appends = by_partition
            .into_iter()
            .map(|(to, Records { limit, all })| {
                let sequence = self.sequences.entry(to.clone()).or_default();
                let mut batches = Vec::new();
                let mut rest = all.into_iter().peekable();
                while rest.peek().is_some() {
                    let mut builder = BatchBuilder::new(Compression::None);
                    let fits = |builder: &BatchBuilder, next: &Appended<'_>| {
                        builder.is_empty() || builder.size() + next.size() <= limit
                    };
                    while let Some(record) = rest.next_if(|next| fits(&builder, next)) {
                        record.push(&mut builder);
                    }
                    let Producer { id, epoch } = self.producer;
                    builder.producer(id, epoch, *sequence).transactional();
                    *sequence = sequence_after(*sequence, builder.len());
                    batches.push(builder.build());
                }
                Append {
                    to,
                    batches,
                    durability: Durability::Flushed,
                }
            });
        appends.collect()
    }
}

/// Records of one partition, in their order.
struct Records<'r> {
    /// Bytes of a batch of several.
    limit: usize,
    all: Vec<Appended<'r>>,
}

impl Records<'_> {
    fn new(topic_limit: usize) -> Self {
        Self {
            limit: topic_limit.min(BATCH_BYTES),
            all: Vec::new(),
        }
    }
}

/// Something that becomes a record.
enum Appended<'r> {
    Output(&'r Derived),
    Letter(&'r Letter),
}

impl Appended<'_> {
    /// Bytes of it in a batch, at most.
    fn size(&self) -> usize {
        match self {
            Self::Output(output) => output.size(),
            Self::Letter(letter) => letter.size(),
        }
    }

    fn push(&self, builder: &mut BatchBuilder) {
        match self {
            Self::Output(output) => output.push(builder),
            Self::Letter(letter) => letter.push(builder),
        }
    }
}

/// The sequence so many records later: after the largest comes 0.
fn sequence_after(sequence: i32, count: usize) -> i32 {
    let sum = i64::from(sequence) + i64::try_from(count).unwrap_or(i64::MAX);
    i32::try_from(sum & i64::from(i32::MAX)).unwrap_or(0)
}

fn exists(context: &Context, of: &TopicPartition) -> bool {
    let topic = context.broker.topic(&of.topic);
    topic.is_some_and(|topic| of.partition.get() < topic.partitions)
}

/// The output topic; a missing one is made with as many partitions as the widest of the topics it is made of.
async fn output_topic(context: &Context, spec: &Spec) -> Result<Arc<TopicInfo>, TransactError> {
    let name: &TopicName = spec.output.as_ref().ok_or(TransactError::Missing)?;
    let sources = spec.topics.iter();
    let sources = sources.filter_map(|topic| context.broker.topic(topic));
    let topic = TopicSpec {
        name: name.clone(),
        partitions: sources.map(|topic| topic.partitions).max().unwrap_or(1),
        config: TopicConfig::default(),
    };
    again(|| {
        let topic = topic.clone();
        async move { Ok(ensure_topic(&*context.broker, topic).await?) }
    })
    .await
}

/// Appends all; those that fail in a way that may pass are tried again. Their sequences tell the log what it has already.
async fn append(context: &Context, mut appends: Vec<Append>) -> Result<(), TransactError> {
    while !appends.is_empty() {
        let answers = context.broker.append_each(appends.clone()).await;
        let mut left = Vec::new();
        for (append, answer) in appends.into_iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(error) if error.recovery() == Recovery::Retry => {
                    warn!(partition = %append.to, %error, "Outputs or dead letters cannot be appended; trying again.");
                    left.push(append);
                }
                Err(error) => return Err(error.into()),
            }
        }
        appends = left;
        if !appends.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(())
}

/// Does `step` until it succeeds, or fails in a way that does not pass.
async fn again<T, F>(mut step: impl FnMut() -> F) -> Result<T, TransactError>
where
    F: Future<Output = Result<T, TransactError>>,
{
    loop {
        match step().await {
            Err(error) if error.may_pass() => {
                warn!(%error, "A step of a transaction failed; trying again.");
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

impl TransactError {
    /// The same step may succeed later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Broker(error) | Self::Transaction(TransactionError::Storage(error)) => {
                error.recovery() == Recovery::Retry
            }
            Self::Transaction(error) => error.is_soon_over(),
            Self::Missing | Self::Slow => false,
        }
    }

    /// Nothing is wrong: the coordinator reads its state back, or still ends what was before.
    pub(crate) fn is_soon_over(&self) -> bool {
        match self {
            Self::Transaction(error) => error.is_soon_over(),
            Self::Broker(_) | Self::Missing | Self::Slow => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_begin_again_after_the_largest() {
        assert_eq!(sequence_after(5, 3), 8);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
    }
}
