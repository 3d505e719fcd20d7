//! The partitions of one listener: where each begins, what was read of it, what is committed.
//!
//! A listener is a consumer group like any other, `lantern-listener-NAME`: its lag can be read by any Kafka tool.
//! With the position, a commit carries a note of what is finished behind it (see [`delivery::Progress`]).
//!
//! Who leaves duplicates out first reads what lies before its position again, as far as the window goes, to know what
//! came there.
//!
//! Invariants: a position is committed before the first record behind it is delivered, so that a restart never
//! begins elsewhere; nothing is read that has no room; what a source is survives that it cannot be read for a while.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use broker::{Broker, Commit, Error, Place, ReadLimit};
use delivery::{Dedup, Finished, Queue, SourceId};
use model::{GroupId, PartitionId, Position, TopicId, TopicName, TopicPartition};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::aside_log::Aside;
use crate::context::Context;
use crate::held::Held;
use crate::intake::{Read, Reader};
use crate::letters::records;
use crate::meaning::Now;
use crate::memory::Budget;
use crate::metrics::ListenerMetrics;
use crate::offers::{Offers, Unread};
use crate::spec::{Deduplicate, From, Spec};

/// Unfinished records of one partition that are held. Past it the partition is read no further: the log is the queue.
pub(crate) const RECORDS_MAX: usize = 1_024;
/// Records of one partition between the first unfinished and the last one read: how far others may run ahead
/// of a key that is stuck.
pub(crate) const WINDOW_MAX: usize = 65_536;
/// Ids remembered to know duplicates, a topic.
const IDS_MAX: usize = 100_000;
/// Longest note of a listener with an output. It is never cut: what it left out would be answered twice. At most
/// [`RECORDS_MAX`] unfinished records make one run more than that, each of two numbers; 23 bytes are enough for both as long
/// as a partition has fewer than 2^42 records.
const WHOLE_NOTE_BYTES: usize = 24 << 10;
/// Answers of readers that wait.
const READS_MAX: usize = 64;

/// One partition.
struct Source {
    id: SourceId,
    name: Arc<TopicPartition>,
    topic: TopicId,
    reader: Reader,
    /// Where the reader goes on.
    next: Position,
    /// Where deliveries begin; what is read before it is looked at for duplicates only.
    begin: Position,
    /// Was asked for more and has not answered.
    asked: bool,
    /// Read, and not offered yet for want of room.
    unread: Option<Unread>,
    /// Since it cannot be read.
    unreadable: bool,
    committed: (Position, String),
}

impl Source {
    /// It still reads what came before its beginning, and can.
    fn looks_back(&self) -> bool {
        let at = self.unread.as_ref().map_or(self.next, Unread::resume);
        at < self.begin && !self.unreadable
    }
}

/// What is to be committed, and for whom.
pub(crate) type Commits = Vec<(TopicPartition, Position, String)>;

/// The partitions of a listener.
pub(crate) struct Sources {
    group: GroupId,
    budget: Arc<Budget>,
    by_name: BTreeMap<TopicPartition, Source>,
    duplicates: HashMap<TopicName, Dedup>,
    sender: mpsc::Sender<(SourceKey, Read)>,
    pub(crate) reads: mpsc::Receiver<(SourceKey, Read)>,
    /// Partitions that cannot be taken up, for damage or a disk that is missing.
    without: BTreeSet<TopicPartition>,
    /// Topics that were there, or subscribed to, from the beginning.
    began: bool,
}

/// A reader's answers are for the source they were read for: after a topic was made anew there is another.
pub(crate) type SourceKey = (Arc<TopicPartition>, SourceId);

impl Sources {
    pub(crate) fn new(group: GroupId, budget: Arc<Budget>) -> Self {
        let (sender, reads) = mpsc::channel(READS_MAX);
        Self {
            group,
            budget,
            by_name: BTreeMap::new(),
            duplicates: HashMap::new(),
            sender,
            reads,
            without: BTreeSet::new(),
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
        self.without
            .retain(|name| new.iter().any(|(new, _)| new == name));
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
            let marks = match broker.marks(&name).await {
                Ok(marks) => marks,
                // The others do not wait for it.
                Err(error @ (Error::Offline { .. } | Error::Corrupt { .. })) => {
                    if self.without.insert(name.clone()) {
                        warn!(listener = spec.name, partition = %name, %error, "A listener cannot take up a partition; it goes on with the others.");
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.without.remove(&name);
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
            let from = match &spec.deduplicate {
                Some(rule) if position > marks.log_start => {
                    look_back(&**broker, &name, position, rule).await?
                }
                _ => position,
            };
            begins.push((
                name,
                topic,
                position,
                note,
                from.max(marks.log_start).min(position),
            ));
        }
        if !first.is_empty() {
            commit(context, &self.group, first).await?;
        }
        for (name, topic, position, note, from) in begins {
            let id = queue.resume_source(position, Finished::read(position, &note));
            let shared = Arc::new(name.clone());
            info!(listener = spec.name, partition = %name, ?position, "A listener takes up a partition.");
            let reader = Reader::start(
                Arc::clone(&context.broker),
                Arc::clone(&self.budget),
                name.clone(),
                (Arc::clone(&shared), id),
                self.sender.clone(),
            );
            let source = Source {
                id,
                name: shared,
                topic,
                reader,
                next: from,
                begin: position,
                asked: false,
                unread: None,
                unreadable: false,
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

    /// Offers what was read, and asks every partition for more that has room for it; answers what is due later and must
    /// be put aside.
    pub(crate) fn go_on(
        &mut self,
        spec: &Spec,
        queue: &mut Queue<Held>,
        metrics: &ListenerMetrics,
        now: Now,
    ) -> Vec<Aside> {
        let mut asides = Vec::new();
        // A duplicate may come by another partition: nothing is offered before all know what came before.
        let looks_back = self.by_name.values().any(Source::looks_back);
        for source in self.by_name.values_mut() {
            if looks_back && !source.looks_back() {
                continue;
            }
            if let Some(mut unread) = source.unread.take() {
                let topic = &source.name.topic;
                let duplicates = spec.deduplicate.as_ref().map(|rule| {
                    let made = || Dedup::new(rule.window, IDS_MAX);
                    let known = self.duplicates.entry(topic.clone());
                    (rule.header.as_str(), known.or_insert_with(made))
                });
                let mut offers = Offers {
                    id: source.id,
                    partition: &source.name,
                    begin: source.begin,
                    spec,
                    room: queue.room(source.id, RECORDS_MAX, WINDOW_MAX),
                    queue,
                    budget: &self.budget,
                    metrics,
                    now,
                    duplicates,
                    asides: &mut asides,
                };
                if !offers.all(&mut unread) {
                    source.unread = Some(unread);
                }
            }
            let has_room = || queue.room(source.id, RECORDS_MAX, WINDOW_MAX) > 0;
            if source.unread.is_none() && !source.asked && has_room() {
                source.asked = true;
                source.reader.more(source.next);
            }
        }
        asides
    }

    /// Takes in what was read.
    pub(crate) fn take(
        &mut self,
        (name, id): &SourceKey,
        read: Read,
        spec: &Spec,
        queue: &mut Queue<Held>,
        metrics: &ListenerMetrics,
    ) {
        let Some(source) = self
            .by_name
            .get_mut(&**name)
            .filter(|source| source.id == *id)
        else {
            return;
        };
        match read {
            Read::Batches {
                from,
                fetched,
                charge,
            } => {
                source.asked = false;
                source.next = fetched.next;
                source.unread = Some(Unread::new(from, fetched, charge));
            }
            Read::Passed { next } => {
                source.asked = false;
                source.next = next;
                queue.read_to(source.id, next);
            }
            Read::Missed { log_start } => {
                source.asked = false;
                source.next = log_start;
                metrics.missed.inc();
                warn!(
                    listener = spec.name,
                    partition = %name,
                    "Retention removed records before they were delivered."
                );
                queue.read_to(source.id, log_start);
            }
            Read::Unreadable(error) => {
                source.unreadable = true;
                warn!(listener = spec.name, partition = %name, %error, "A partition cannot be read; trying again.");
            }
            Read::Readable => {
                source.unreadable = false;
                info!(listener = spec.name, partition = %name, "A partition can be read again.");
            }
            Read::Ended => {
                queue.remove_source(source.id);
                self.by_name.remove(&**name);
                self.duplicates.remove(&name.topic);
            }
        }
    }

    /// Partitions that cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        let sources = self.by_name.values();
        sources.filter(|source| source.unreadable).count() + self.without.len()
    }

    /// Lets go of what was read for partitions that have no room; it is read again when they have.
    pub(crate) fn let_go(&mut self, queue: &Queue<Held>) {
        for source in self.by_name.values_mut() {
            if queue.room(source.id, RECORDS_MAX, WINDOW_MAX) == 0
                && let Some(unread) = source.unread.take()
            {
                source.next = unread.resume();
            }
        }
    }

    /// What changed since it was committed; with all that is finished out of order, if it must be `whole`.
    ///
    /// # Panics
    /// If that has no room, which cannot be: it would be said to be unfinished.
    pub(crate) fn commits(&self, queue: &Queue<Held>, whole: bool) -> Commits {
        let all = self.by_name.values().filter_map(|source| {
            let position = queue.position(source.id);
            let finished = queue.finished(source.id);
            let note = if whole {
                let note = finished.note_within(usize::MAX);
                assert!(
                    note.len() <= WHOLE_NOTE_BYTES,
                    "runs are bounded by what is unfinished"
                );
                note
            } else {
                finished.note()
            };
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

/// Where to begin so that duplicates of what came in the window before `position` are known: at the first record stamped in
/// it, and at most as many records before as are remembered.
async fn look_back(
    broker: &dyn Broker,
    at: &TopicPartition,
    position: Position,
    rule: &Deduplicate,
) -> Result<Position, Error> {
    // What comes next decides; at the end it is the last one, which the next can only follow.
    let before = Position::from_bits(position.bits().saturating_sub(1));
    let limit = ReadLimit {
        bytes: 1,
        at_least_one: true,
    };
    let mut stamped = None;
    for place in [position, before] {
        let fetched = broker.read(at, place, limit).await?;
        let shared = records(&fetched.batches);
        let mut times = shared.iter().filter_map(|one| {
            let record = one.get()?;
            (Position::from(record.offset) >= place).then_some(record.timestamp)
        });
        stamped = times.next();
        if stamped.is_some() {
            break;
        }
    }
    if stamped.is_none() {
        // Nothing comes next, and the end is no record but a marker.
        let latest = broker.find(at, Place::MaxTimestamp).await?;
        stamped = latest.and_then(|found| found.timestamp);
    }
    let Some(stamped) = stamped else {
        return Ok(position);
    };
    let begin = stamped.minus(rule.window);
    let found = broker.find(at, Place::Time(begin)).await?;
    let ids = u128::try_from(IDS_MAX).unwrap_or(u128::MAX);
    let oldest = Position::from_bits(position.bits().saturating_sub(ids));
    Ok(found.map_or(position, |found| found.position.max(oldest)))
}
