//! Creating, growing, configuring and deleting topics, durably and one at a time.
//!
//! Invariants: the catalog on disk is replaced before a change is visible or acknowledged; a
//! partition directory is flushed before the catalog names it, and the catalog forgets a topic
//! before its files go (see `docs/decisions/0006-topic-metadata.md`).
//!
//! All functions here block on the disk; callers run them off the async threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::AHashMap;
use model::limits::{GROUPS_TOPIC, PARTITIONS_MAX};
use model::{PartitionId, TopicId, TopicName, TopicPartition};

use super::catalog::{Catalog, DATA_DIR, Deletion, TopicEntry};
use super::partition::Partition;
use super::{Shared, events, store};
use crate::{Error, TopicConfig, TopicInfo, TopicSpec};

/// A topic with its open partitions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) info: Arc<TopicInfo>,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn size_bytes(&self) -> u64 {
        self.partitions.iter().map(|part| part.size_bytes()).sum()
    }

    /// Sum of the partitions' high watermarks.
    pub(crate) fn readable_until(&self) -> u64 {
        let marks = self.partitions.iter().map(|part| part.readable().get());
        marks.sum()
    }
}

/// All topics at one moment, replaced whole.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    /// As callers see them.
    pub(crate) infos: Arc<BTreeMap<TopicName, Arc<TopicInfo>>>,
    pub(crate) live: AHashMap<TopicName, Arc<Topic>>,
}

impl Topics {
    /// All topics by name.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.infos.keys().filter_map(|name| self.live.get(name))
    }

    /// A partition and its topic.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    pub(crate) fn find(&self, of: &TopicPartition) -> Result<(&Topic, &Arc<Partition>), Error> {
        let topic = self.live.get(&of.topic);
        let topic = topic.ok_or_else(|| Error::UnknownTopic {
            topic: of.topic.clone(),
        })?;
        let index = usize::try_from(of.partition.get()).unwrap_or(usize::MAX);
        match topic.partitions.get(index) {
            Some(partition) => Ok((topic, partition)),
            None => Err(Error::UnknownPartition {
                topic: of.topic.clone(),
                partition: of.partition,
            }),
        }
    }

    fn with(&self, topic: Topic) -> Self {
        let mut infos = BTreeMap::clone(&self.infos);
        let mut live = self.live.clone();
        infos.insert(topic.info.name.clone(), Arc::clone(&topic.info));
        live.insert(topic.info.name.clone(), Arc::new(topic));
        Self {
            infos: Arc::new(infos),
            live,
        }
    }

    fn without(&self, name: &TopicName) -> Self {
        let mut infos = BTreeMap::clone(&self.infos);
        let mut live = self.live.clone();
        infos.remove(name);
        live.remove(name);
        Self {
            infos: Arc::new(infos),
            live,
        }
    }
}

pub(crate) fn create(shared: &Shared, spec: TopicSpec) -> Result<Arc<TopicInfo>, Error> {
    check_partitions(&spec.name, spec.partitions)?;
    check_config(&spec.name, &spec.config)?;
    let mut catalog = shared.admin()?;
    if catalog.topics.contains_key(&spec.name) {
        return Err(Error::TopicExists { topic: spec.name });
    }
    let mut random = [0; 16];
    shared.options.entropy.fill(&mut random);
    let mut entry = TopicEntry {
        id: TopicId::from_random(random),
        partitions: 0,
        config: spec.config,
        places: Vec::new(),
    };
    let id = entry.id;
    let opened = open_new(shared, &catalog, &spec.name, &mut entry, spec.partitions);
    let info = Arc::new(entry.info(&spec.name));
    let partitions = match opened {
        Ok(partitions) => partitions,
        Err(error) => {
            remove_files(shared, &spec.name, id);
            return Err(error);
        }
    };
    let mut next = catalog.clone();
    next.topics.insert(spec.name.clone(), entry);
    if let Err(error) = replace(shared, &mut catalog, next) {
        // Which catalog a restart finds is not known now. If it is the new one, the logs must be there, so they go only if the
        // old one is back; empty ones that nobody knows go at the next start.
        let old = catalog.clone();
        if replace(shared, &mut catalog, old).is_ok() {
            remove_files(shared, &spec.name, id);
        }
        return Err(error);
    }
    let topic = Topic {
        info: Arc::clone(&info),
        partitions,
    };
    shared
        .topics
        .store(Arc::new(shared.topics.load().with(topic)));
    events::topic_created(&info.name, info.id, info.partitions);
    Ok(info)
}

pub(crate) fn grow(shared: &Shared, name: &TopicName, count: u32) -> Result<Arc<TopicInfo>, Error> {
    refuse_reserved(name, "it has one partition")?;
    check_partitions(name, count)?;
    let mut catalog = shared.admin()?;
    let topic = shared.live(name)?;
    let now = topic.info.partitions;
    if count <= now {
        return Err(Error::InvalidPartitions {
            topic: name.clone(),
            asked: count,
            reason: "it has at least as many already, and it cannot shrink",
        });
    }
    let mut next = catalog.clone();
    let entry = next.topics.get_mut(name);
    let entry = entry.ok_or_else(|| Error::UnknownTopic {
        topic: name.clone(),
    })?;
    let new = open_new(shared, &catalog, name, entry, count)?;
    let info = Arc::new(entry.info(name));
    replace(shared, &mut catalog, next)?;
    let partitions = topic.partitions.iter().cloned().chain(new).collect();
    let topic = Topic {
        info: Arc::clone(&info),
        partitions,
    };
    shared
        .topics
        .store(Arc::new(shared.topics.load().with(topic)));
    events::topic_grown(name, count);
    Ok(info)
}

pub(crate) fn configure(
    shared: &Shared,
    name: &TopicName,
    config: TopicConfig,
) -> Result<Arc<TopicInfo>, Error> {
    refuse_reserved(name, "its configuration is fixed")?;
    check_config(name, &config)?;
    let mut catalog = shared.admin()?;
    let topic = shared.live(name)?;
    let mut next = catalog.clone();
    if let Some(entry) = next.topics.get_mut(name) {
        entry.config = config.clone();
    }
    replace(shared, &mut catalog, next)?;
    for partition in &topic.partitions {
        partition.configure(&config);
    }
    let info = Arc::new(TopicInfo {
        config,
        ..TopicInfo::clone(&topic.info)
    });
    let topic = Topic {
        info: Arc::clone(&info),
        partitions: topic.partitions.clone(),
    };
    shared
        .topics
        .store(Arc::new(shared.topics.load().with(topic)));
    events::topic_configured(name);
    Ok(info)
}

pub(crate) fn delete(shared: &Shared, name: &TopicName) -> Result<(), Error> {
    refuse_reserved(name, "it cannot be deleted")?;
    let mut catalog = shared.admin()?;
    let topic = shared.live(name)?;
    let id = topic.info.id;
    let mut next = catalog.clone();
    let entry = next.topics.remove(name);
    let entry = entry.ok_or_else(|| Error::UnknownTopic {
        topic: name.clone(),
    })?;
    let deletion = entry.deletion(name, !catalog.log_dirs.is_empty());
    next.deleting.push(deletion.clone());
    if let Err(error) = replace(shared, &mut catalog, next) {
        // Which catalog a restart finds is not known now. If it is the new one, records appended
        // from here on would go with the topic, so none are taken unless the old one is back.
        let old = catalog.clone();
        if replace(shared, &mut catalog, old).is_err() {
            for partition in &topic.partitions {
                partition.freeze("its deletion failed half way");
            }
        }
        return Err(error);
    }
    shared
        .topics
        .store(Arc::new(shared.topics.load().without(name)));
    for partition in &topic.partitions {
        partition.remove();
    }
    events::topic_deleted(name, id);
    finish_deletion(shared, &mut catalog, &deletion);
    Ok(())
}

/// Removes the files of a deleted topic and then its entry; whether that is done. What fails is left to the next start.
pub(crate) fn finish_deletion(shared: &Shared, catalog: &mut Catalog, deletion: &Deletion) -> bool {
    let Deletion { name, id, .. } = deletion;
    // What is on a disk that is not there goes when it is back.
    let mut missing = shared.log_dirs.missing();
    let left = missing.any(|log_dir| deletion.may_be_in(log_dir.number));
    if !remove_files(shared, name, *id) || left {
        return false;
    }
    let mut next = catalog.clone();
    next.deleting.retain(|deleted| deleted.id != *id);
    if let Err(error) = replace(shared, catalog, next) {
        let dir = store::topic_dir(&shared.options.data_dir, name, *id);
        events::files_left(&dir, "forget", &error);
        return false;
    }
    true
}

/// Places and opens partitions until a topic has `count`; the catalog does not say so yet. Where a disk has no room, or
/// fails, another one takes its part.
fn open_new(
    shared: &Shared,
    catalog: &Catalog,
    name: &TopicName,
    entry: &mut TopicEntry,
    count: u32,
) -> Result<Vec<Arc<Partition>>, Error> {
    let before = entry.clone();
    let mut without = BTreeSet::new();
    loop {
        *entry = before.clone();
        place(shared, catalog, name, entry, count, &without);
        let mut partitions = Vec::new();
        let mut failed = None;
        for number in before.partitions..count {
            let log_dir = shared.log_dirs.get(entry.place(number));
            let id = TopicPartition::new(name.clone(), PartitionId::new(number));
            let (options, memory) = (&shared.options, &shared.memory);
            match Partition::open(options, memory, log_dir, id, entry.id, &entry.config) {
                Ok(opened) => partitions.push(Arc::new(opened.partition)),
                Err(error) => {
                    failed = Some((log_dir.number, error));
                    break;
                }
            }
        }
        let Some((number, error)) = failed else {
            return Ok(partitions);
        };
        // Where no other is left, the data directory is asked once more.
        if !without.insert(number) {
            return Err(error);
        }
        events::not_placed(name, &shared.log_dirs.get(number).root, &error);
    }
}

/// Gives a topic `count` partitions, each a place. Lantern's own are in the data directory.
fn place(
    shared: &Shared,
    catalog: &Catalog,
    name: &TopicName,
    entry: &mut TopicEntry,
    count: u32,
    without: &BTreeSet<u16>,
) {
    let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let more = index(count - entry.partitions);
    if !name.is_internal() {
        // Those without a place of their own are in the data directory.
        entry.places.resize(index(entry.partitions), DATA_DIR);
        let new = shared.log_dirs.place(catalog, more, without);
        entry.places.extend(new);
        while entry.places.last() == Some(&DATA_DIR) {
            entry.places.pop();
        }
    }
    entry.partitions = count;
}

/// Writes `next` and, when it is durable, makes it the catalog.
pub(crate) fn replace(shared: &Shared, catalog: &mut Catalog, next: Catalog) -> Result<(), Error> {
    let next = Catalog {
        generation: catalog.generation + 1,
        ..next
    };
    let start = shared.options.clock.monotonic();
    store::save(&shared.options, &shared.log_dirs.first().reserve, &next)?;
    let took = shared.options.clock.monotonic().saturating_sub(start);
    shared.metrics.catalog_seconds.observe(took.as_secs_f64());
    *catalog = next;
    Ok(())
}

/// Removes a topic's files from all disks that are there; whether they are gone.
fn remove_files(shared: &Shared, name: &TopicName, id: TopicId) -> bool {
    let mut gone = true;
    for log_dir in shared.log_dirs.in_use() {
        let dir = store::topic_dir(&log_dir.root, name, id);
        if let Err(error) = store::remove_topic_dir(&shared.options, &dir) {
            events::files_left(&dir, "remove", &error);
            gone = false;
        }
    }
    gone
}

/// Checks the values, and that Lantern's own topics are not compacted: their records have no keys, or the
/// order of all of them matters.
fn check_config(topic: &TopicName, config: &TopicConfig) -> Result<(), Error> {
    if topic.is_internal() && config.cleanup.policy.compacts() {
        return Err(Error::InvalidConfig {
            key: "cleanup.policy".to_owned(),
            value: "compact".to_owned(),
            reason: format!("'{topic}' is Lantern's own, which shortens it itself"),
        });
    }
    config.validate()
}

fn check_partitions(topic: &TopicName, asked: u32) -> Result<(), Error> {
    if (1..=PARTITIONS_MAX).contains(&asked) {
        return Ok(());
    }
    Err(Error::InvalidPartitions {
        topic: topic.clone(),
        asked,
        reason: "a topic has 1 to 10000 partitions",
    })
}

const _: () = assert!(
    PARTITIONS_MAX == 10_000,
    "the message above names the bound"
);

pub(crate) fn refuse_reserved(topic: &TopicName, reason: &'static str) -> Result<(), Error> {
    if topic.as_str() == GROUPS_TOPIC {
        return Err(Error::Reserved {
            topic: topic.clone(),
            reason,
        });
    }
    Ok(())
}
