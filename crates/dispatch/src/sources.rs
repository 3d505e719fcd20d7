//! The partitions of one listener: where each begins, what was read of it, what is committed.
//!
//! A listener is a consumer group like any other, `lantern-listener-NAME`: its lag can be read by any Kafka tool.
//! With the position, a commit carries a note of what is finished behind it (see [`delivery::Progress`]).
//!
//! Invariants: a position is committed before the first record behind it is delivered, so that a restart never
//! begins elsewhere; nothing is read that has no room.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use broker::{Commit, Error, Place};
use delivery::{Dedup, Finished, Queue, SourceId};
use model::{GroupId, Offset, PartitionId, Position, TopicId, TopicName, TopicPartition};
use record::{Batches, SharedRecord};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::aside::{Aside, NEAR};
use crate::context::Context;
use crate::headers;
use crate::intake::{Read, Reader};
use crate::meaning::{Now, deliver_at, is_for_another, offer};
use crate::metrics::ListenerMetrics;
use crate::spec::{From, Spec};

/// Unfinished records of one partition that are held. Past it the partition is read no further: the log is the queue.
pub(crate) const RECORDS_MAX: usize = 1_024;
/// Records of one partition between the first unfinished and the last one read: how far others may run ahead
/// of a key that is stuck.
pub(crate) const WINDOW_MAX: usize = 65_536;
/// Ids remembered to know duplicates, a topic.
const IDS_MAX: usize = 100_000;
/// Answers of readers that wait.
const READS_MAX: usize = 64;

/// What the queue holds of a record.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) partition: Arc<TopicPartition>,
    pub(crate) offset: Offset,
    pub(crate) shared: SharedRecord,
}

/// One partition.
struct Source {
    id: SourceId,
    name: Arc<TopicPartition>,
    topic: TopicId,
    reader: Reader,
    /// Was asked for more and has not answered.
    asked: bool,
    committed: (Position, String),
}

/// What is to be committed, and for whom.
pub(crate) type Commits = Vec<(TopicPartition, Position, String)>;

/// The partitions of a listener.
pub(crate) struct Sources {
    group: GroupId,
    by_name: BTreeMap<TopicPartition, Source>,
    duplicates: HashMap<TopicName, Dedup>,
    sender: mpsc::Sender<(SourceKey, Read)>,
    pub(crate) reads: mpsc::Receiver<(SourceKey, Read)>,
    /// Topics that were there, or subscribed to, from the beginning.
    began: bool,
}

/// A reader's answers are for the source they were read for: after a topic was made anew there is another.
pub(crate) type SourceKey = (Arc<TopicPartition>, SourceId);

impl Sources {
    pub(crate) fn new(group: GroupId) -> Self {
        let (sender, reads) = mpsc::channel(READS_MAX);
        Self {
            group,
            by_name: BTreeMap::new(),
            duplicates: HashMap::new(),
            sender,
            reads,
            began: false,
        }
    }

    /// Takes up partitions that came to be and lets go of those that are gone.
    pub(crate) async fn refresh(
        &mut self,
        context: &Context,
        spec: &Spec,
        queue: &mut Queue<Held>,
    ) -> Result<(), Error> {
        let topics = context.broker.topics();
        let gone: Vec<TopicPartition> = self
            .by_name
            .iter()
            .filter(|(name, source)| {
                let info = topics
                    .get(&name.topic)
                    .filter(|_| spec.topics.contains(&name.topic));
                info.is_none_or(|info| info.id != source.topic)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(source) = self.by_name.remove(&name) {
                queue.remove_source(source.id);
            }
            // What is read again must not be taken for its own duplicate.
            self.duplicates.remove(&name.topic);
        }
        let mut new = Vec::new();
        for topic in &spec.topics {
            let Some(info) = topics.get(topic) else {
                continue;
            };
            let all = (0..info.partitions).map(PartitionId::new);
            let all = all.map(|partition| TopicPartition::new(topic.clone(), partition));
            new.extend(
                all.filter(|name| !self.by_name.contains_key(name))
                    .map(|name| (name, info.id)),
            );
        }
        if !new.is_empty() {
            self.begin(context, spec, queue, new).await?;
        }
        self.began = true;
        Ok(())
    }

    /// Begins where the group stopped, or where a new one is to.
    async fn begin(
        &mut self,
        context: &Context,
        spec: &Spec,
        queue: &mut Queue<Held>,
        new: Vec<(TopicPartition, TopicId)>,
    ) -> Result<(), Error> {
        let broker = &context.broker;
        let names = new.iter().map(|(name, _)| name.clone()).collect();
        let committed = broker.committed(&self.group, Some(names)).await?;
        let mut committed: BTreeMap<TopicPartition, Option<Commit>> =
            committed.into_iter().collect();
        let mut begins = Vec::new();
        let mut first = Commits::new();
        for (name, topic) in new {
            let marks = broker.marks(&name).await?;
            let (position, note) = if let Some(commit) = committed.remove(&name).flatten() {
                (commit.position, commit.metadata)
            } else {
                // What came to be while the listener ran is read whole.
                let place = if self.began {
                    Place::Earliest
                } else {
                    place(spec.from)
                };
                let found = broker.find(&name, place).await?;
                let position = found.map_or(marks.high_watermark, |found| found.position);
                first.push((name.clone(), position, String::new()));
                (position, String::new())
            };
            // A topic that was deleted and made anew begins anew.
            let (position, note) = if position > marks.log_end {
                (marks.log_start, String::new())
            } else {
                (position, note)
            };
            begins.push((name, topic, position, note));
        }
        if !first.is_empty() {
            commit(context, &self.group, first).await?;
        }
        for (name, topic, position, note) in begins {
            let id = queue.resume_source(position, Finished::read(position, &note));
            let shared = Arc::new(name.clone());
            info!(listener = spec.name, partition = %name, ?position, "A listener takes up a partition.");
            let reader = Reader::start(
                Arc::clone(&context.broker),
                name.clone(),
                position,
                (Arc::clone(&shared), id),
                self.sender.clone(),
            );
            let source = Source {
                id,
                name: shared,
                topic,
                reader,
                asked: false,
                committed: (position, note),
            };
            self.by_name.insert(name, source);
        }
        Ok(())
    }

    /// Topics that are new to the listener begin where its resource says.
    pub(crate) fn subscribe_anew(&mut self) {
        self.began = false;
    }

    pub(crate) fn forget_duplicates(&mut self) {
        self.duplicates.clear();
    }

    /// Asks every partition for more that has room for it.
    pub(crate) fn ask(&mut self, queue: &Queue<Held>) {
        for source in self.by_name.values_mut().filter(|source| !source.asked) {
            if queue.room(source.id, RECORDS_MAX, WINDOW_MAX) > 0 {
                source.asked = true;
                source.reader.more();
            }
        }
    }

    /// Offers what was read; answers what is due later and must be put aside.
    pub(crate) fn take(
        &mut self,
        (name, id): &SourceKey,
        read: Read,
        spec: &Spec,
        queue: &mut Queue<Held>,
        metrics: &ListenerMetrics,
        now: Now,
    ) -> Vec<Aside> {
        let mut asides = Vec::new();
        let Some(source) = self
            .by_name
            .get_mut(&**name)
            .filter(|source| source.id == *id)
        else {
            return asides;
        };
        source.asked = false;
        match read {
            Read::Batches { from, fetched } => {
                let duplicates = spec.deduplicate.as_ref().map(|rule| {
                    let made = || Dedup::new(rule.window, IDS_MAX);
                    let known = self
                        .duplicates
                        .entry(name.topic.clone())
                        .or_insert_with(made);
                    (rule.header.as_str(), known)
                });
                let mut offers = Offers {
                    source,
                    spec,
                    queue,
                    metrics,
                    now,
                    duplicates,
                    asides: &mut asides,
                };
                offers.all(&fetched.batches, from);
                queue.read_to(source.id, fetched.next);
            }
            Read::Missed { log_start } => {
                metrics.missed.inc();
                warn!(
                    listener = spec.name,
                    partition = %name,
                    "Retention removed records before they were delivered."
                );
                queue.read_to(source.id, log_start);
            }
            Read::Ended(error) => {
                if !matches!(error, Error::Stopping | Error::UnknownTopic { .. }) {
                    warn!(listener = spec.name, partition = %name, %error, "A partition cannot be read; trying again.");
                }
                queue.remove_source(source.id);
                self.by_name.remove(&**name);
                self.duplicates.remove(&name.topic);
            }
        }
        asides
    }

    /// What changed since it was committed.
    pub(crate) fn commits(&self, queue: &Queue<Held>) -> Commits {
        let all = self.by_name.values().filter_map(|source| {
            let position = queue.position(source.id);
            let note = queue.finished(source.id).note();
            let changed = source.committed.0 != position || source.committed.1 != note;
            changed.then(|| (TopicPartition::clone(&source.name), position, note))
        });
        all.collect()
    }

    /// These are committed.
    pub(crate) fn committed(&mut self, commits: Commits) {
        for (name, position, note) in commits {
            if let Some(source) = self.by_name.get_mut(&name) {
                source.committed = (position, note);
            }
        }
    }

    pub(crate) fn group(&self) -> &GroupId {
        &self.group
    }

    /// Where each partition stands.
    pub(crate) fn positions<'s>(
        &'s self,
        queue: &'s Queue<Held>,
    ) -> impl Iterator<Item = (TopicPartition, Position)> + 's {
        let sources = self.by_name.iter();
        sources.map(|(name, source)| (name.clone(), queue.position(source.id)))
    }
}

fn place(from: From) -> Place {
    match from {
        From::Earliest => Place::Earliest,
        From::Latest => Place::Latest,
    }
}

/// Stores positions, durable when ready.
pub(crate) async fn commit(
    context: &Context,
    group: &GroupId,
    commits: Commits,
) -> Result<(), Error> {
    let at = context.clock.now();
    let commits = commits.into_iter().map(|(name, position, metadata)| {
        let commit = Commit {
            position,
            leader_epoch: None,
            metadata,
            at,
        };
        (name, commit)
    });
    context.broker.commit(group, commits.collect()).await
}

/// Offering the records of one answer.
struct Offers<'o> {
    source: &'o Source,
    spec: &'o Spec,
    queue: &'o mut Queue<Held>,
    metrics: &'o ListenerMetrics,
    now: Now,
    duplicates: Option<(&'o str, &'o mut Dedup)>,
    asides: &'o mut Vec<Aside>,
}

impl Offers<'_> {
    fn all(&mut self, batches: &bytes::Bytes, from: Position) {
        for batch in Batches::new(batches.clone()) {
            let records = match batch {
                Ok(batch) if batch.is_control() => continue,
                Ok(batch) => batch.records(),
                Err(error) => Err(error),
            };
            let records = match records {
                Ok(records) => Arc::new(records),
                Err(error) => {
                    let partition = &self.source.name;
                    warn!(%partition, %error, "A batch cannot be read and is not delivered.");
                    continue;
                }
            };
            for shared in SharedRecord::all(&records) {
                self.one(&shared, from);
            }
        }
    }

    fn one(&mut self, shared: &SharedRecord, from: Position) {
        let Some(record) = shared.get() else { return };
        if Position::from(record.offset) < from || is_for_another(&record, &self.spec.name) {
            return;
        }
        // A record that was sent again for this listener is meant to come again.
        let sent_again = record.headers.get(headers::LISTENER).is_some();
        if let Some((header, known)) = &mut self.duplicates
            && !sent_again
            && let Some(Some(id)) = record.headers.get(header)
            && known.is_duplicate(id, record.timestamp.millis())
        {
            self.metrics.duplicate.inc();
            return;
        }
        let held = Held {
            partition: Arc::clone(&self.source.name),
            offset: record.offset,
            shared: shared.clone(),
        };
        let soon = self.now.wall.plus(NEAR).millis();
        if let Some(due) = deliver_at(&record).filter(|due| *due > soon) {
            let (source, position) = (self.source.id, Position::from(record.offset));
            if self.queue.hold(source, position) {
                self.asides.push(Aside {
                    source,
                    position,
                    due: due.unsigned_abs(),
                    held,
                });
            }
            return;
        }
        let offer = offer(&record, held, self.source.id, self.spec, self.now);
        self.queue.offer(self.now.monotonic, offer);
    }
}
