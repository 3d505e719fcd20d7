//! How a data directory comes to life.
//!
//! In this order: lock; forget the clean mark; read the catalog and the journal; redo the journal's
//! entries of each partition and recover it, several at a time; empty the journal; replay group progress; finish deletions that were interrupted; look at directories
//! the catalog does not name; take room for a full disk. Nothing is served before all of it.
//!
//! Invariants: a damaged partition keeps nobody else from opening; a damaged catalog stops
//! everything, because without it nobody knows what is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use commitlog::{Journal, JournalFound, LogId, Write};
use env::DiskLock;
use model::limits::GROUPS_TOPIC;
use model::{Offset, PartitionId, TopicId, TopicName, TopicPartition};
use parking_lot::Mutex;
use stdx::ByteSize;
use tokio::sync::Semaphore;

use super::catalog::{Catalog, TopicEntry, parse_id};
use super::errors::OpenError;
use super::memory::Memory;
use super::metrics::Metrics;
use super::partition::{OpenedPartition, Partition, log_id};
use super::progress::Progress;
use super::queue::Queue;
use super::report::{PartitionReport, RecoveryReport};
use super::topics::{Topic, Topics, finish_deletion};
use super::{Options, ProducerIds, SEARCHES_MAX, Shared, errors, events, groups, store};
use crate::{Error, ReadLimit, TopicConfig};

/// Threads that recover partitions at most; recovery waits for the disk, not for processors.
const RECOVERY_THREADS: usize = 8;

/// Bytes read at once when group progress is replayed.
const REPLAY_BYTES: usize = 1 << 20;

/// Everything [`open`] made.
pub(crate) struct Opened {
    pub(crate) shared: Shared,
    pub(crate) report: RecoveryReport,
    pub(crate) lock: Box<dyn DiskLock>,
    /// Entries that stay in the journal until their logs can be opened.
    pub(crate) kept_entries: usize,
}

/// What became of one log of the catalog.
#[derive(Debug)]
pub(crate) struct OpenedLog {
    pub(crate) id: TopicPartition,
    pub(crate) topic: TopicId,
    pub(crate) dir: PathBuf,
    /// Bytes that the journal brought back, or could not.
    pub(crate) journal_bytes: u64,
    /// Or why it cannot be used.
    pub(crate) recovery: Result<commitlog::RecoveryReport, Arc<str>>,
}

/// Opens the data directory; `note` hears of every log, in order.
pub(crate) fn open(options: Options, note: &mut dyn FnMut(OpenedLog)) -> Result<Opened, OpenError> {
    let problems = options.validate();
    if !problems.is_empty() {
        return Err(OpenError::Options { problems });
    }
    let start = options.clock.monotonic();
    let lock = store::lock(&options)?;
    let clean = store::take_clean_mark(&options)?;
    let metrics = Metrics::new();
    let memory = Arc::new(Memory::new(&options, &metrics));
    let catalog = load_catalog(&options, &memory)?;
    let mut report = RecoveryReport {
        clean,
        ..RecoveryReport::default()
    };
    let (mut journal, mut promised) = read_journal(&options, &mut report)?;
    let (topics, passed_over) = open_topics(
        &options,
        &memory,
        &catalog,
        &mut promised,
        &mut report,
        note,
    )?;
    if passed_over > 0 {
        keep_journal(&mut journal, passed_over, &mut report);
    }
    journal
        .begin(&promised.writes)
        .map_err(|source| OpenError::Journal { source })?;
    let journal = (options.journal_bytes.bytes() > 0).then_some(journal);
    let groups = groups_partition(&topics)?;
    let mut progress = Progress::default();
    if groups.check_readable().is_ok() {
        replay(&groups, &mut progress, &mut report)
            .map_err(|source| OpenError::Groups { source })?;
    }
    let shared = Shared {
        queue: Queue::new(options.queue_bytes.as_usize(), options.queue_appends),
        bell: Arc::default(),
        topics: ArcSwap::from_pointee(topics),
        producer_ids: Mutex::new(ProducerIds {
            next: catalog.producer_ids_until,
            until: catalog.producer_ids_until,
        }),
        journal: Mutex::new(journal),
        catalog: Mutex::new(catalog),
        groups,
        progress: Mutex::new(progress),
        uncleanable: Mutex::default(),
        places: Mutex::default(),
        searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
        stopping: AtomicBool::new(false),
        memory,
        metrics,
        options,
    };
    finish_deletions(&shared, &mut report);
    if shared.groups.check_readable().is_ok() {
        groups::forget_at_open(&shared).map_err(|source| OpenError::Groups { source })?;
    }
    look_at_unknown(&shared, &mut report)?;
    // Last, so that it takes no room from what is to be recovered.
    let catalog = shared.catalog.lock().encode().len();
    store::take_room(&shared.memory.reserve, catalog);
    report.took = shared.options.clock.monotonic().saturating_sub(start);
    let dir = &shared.options.data_dir;
    events::opened(dir, report.topics, report.partitions, clean, report.took);
    Ok(Opened {
        shared,
        report,
        lock,
        kept_entries: promised.writes.len(),
    })
}

fn read_journal(
    options: &Options,
    report: &mut RecoveryReport,
) -> Result<(Journal, JournalFound), OpenError> {
    let dir = options.data_dir.join(store::JOURNAL_DIR);
    let mut secret = [0; 8];
    options.entropy.fill(&mut secret);
    let opened = Journal::open(
        Arc::clone(&options.disk),
        &dir,
        options.journal_bytes,
        u64::from_le_bytes(secret),
    );
    let (journal, mut found) = opened.map_err(|source| OpenError::Journal { source })?;
    for path in &found.damaged {
        events::journal_damaged(path);
    }
    report.journal_damaged = std::mem::take(&mut found.damaged);
    Ok((journal, found))
}

/// Keeps the journal's files aside: there are no other copies of what was passed over.
fn keep_journal(journal: &mut Journal, passed_over: usize, report: &mut RecoveryReport) {
    events::journal_passed_over(passed_over);
    for path in journal.keep_aside() {
        if !report.journal_damaged.contains(&path) {
            events::journal_damaged(&path);
            report.journal_damaged.push(path);
        }
    }
}

/// The catalog, made new in a fresh directory, always with the topic of the groups.
fn load_catalog(options: &Options, memory: &Memory) -> Result<Catalog, OpenError> {
    let groups = TopicName::new(GROUPS_TOPIC).expect("the name is one of ours");
    let mut catalog = store::load(options)?.unwrap_or_default();
    if catalog.topics.contains_key(&groups) {
        return Ok(catalog);
    }
    let mut random = [0; 16];
    options.entropy.fill(&mut random);
    let entry = TopicEntry {
        id: TopicId::from_random(random),
        partitions: 1,
        config: TopicConfig {
            retention: None,
            segment_bytes: ByteSize::from_mib(16),
            // The assignments of one large group are one record.
            batch_bytes: ByteSize::from_mib(16),
            ..TopicConfig::default()
        },
    };
    catalog.topics.insert(groups, entry);
    catalog.generation += 1;
    store::save(options, &memory.reserve, &catalog)
        .map_err(|source| OpenError::Groups { source })?;
    Ok(catalog)
}

fn open_topics(
    options: &Options,
    memory: &Arc<Memory>,
    catalog: &Catalog,
    promised: &mut JournalFound,
    report: &mut RecoveryReport,
    note: &mut dyn FnMut(OpenedLog),
) -> Result<(Topics, usize), OpenError> {
    let mut redo: AHashMap<LogId, Vec<Write>> = AHashMap::new();
    let unknown = unknown_logs(options, catalog, &promised.writes)?;
    for (log, write) in std::mem::take(&mut promised.writes) {
        if unknown.contains(&log.topic) {
            // Somebody may put the right catalog back.
            promised.writes.push((log, write));
        } else {
            redo.entry(log).or_default().push(write);
        }
    }
    let passed_over = &AtomicUsize::new(0);
    let work: Vec<Work<'_>> = catalog
        .topics
        .iter()
        .flat_map(|(name, entry)| {
            let dir = store::topic_dir(options, name, entry.id);
            let (redo, journal_bytes) = (&redo, promised.file_bytes);
            (0..entry.partitions).map(move |number| {
                let number = PartitionId::new(number);
                let writes = redo.get(&log_id(entry.id, number));
                Work {
                    id: TopicPartition::new(name.clone(), number),
                    topic: entry.id,
                    dir: dir.clone(),
                    config: &entry.config,
                    redo: writes.map_or(&[], Vec::as_slice),
                    journal_bytes,
                    passed_over,
                }
            })
        })
        .collect();
    let redone = work.iter().filter(|item| !item.redo.is_empty());
    let (redone, bytes) = redone.fold((0, 0), |(count, bytes), item| {
        (count + 1, bytes + length(item.redo))
    });
    let mut opened = in_parallel(options, memory, &work)?;
    report.topics = catalog.topics.len();
    report.partitions = work.len();
    if redone > 0 {
        events::journal_redone(redone, bytes);
    }
    let mut topics = Topics::default();
    let mut infos = std::collections::BTreeMap::new();
    let mut live = AHashMap::new();
    for (name, entry) in &catalog.topics {
        let count = usize::try_from(entry.partitions).unwrap_or(usize::MAX);
        let mut partitions = Vec::with_capacity(count);
        for (id, result) in opened.drain(..count) {
            let log = log_id(entry.id, id.partition);
            note(OpenedLog {
                dir: store::topic_dir(options, name, entry.id).join(id.partition.to_string()),
                topic: entry.id,
                journal_bytes: redo.get(&log).map_or(0, |writes| length(writes)),
                recovery: match &result {
                    Ok(opened) => Ok(opened.report.clone()),
                    Err(error) => Err(errors::chain(error).into()),
                },
                id: id.clone(),
            });
            if let (Err(_), Some(writes)) = (&result, redo.get(&log)) {
                // What the journal has of a partition that cannot be used stays in the journal.
                promised
                    .writes
                    .extend(writes.iter().map(|write| (log, write.clone())));
            }
            partitions.push(Arc::new(settle(memory, id, entry.id, result, report)));
        }
        let info = Arc::new(entry.info(name));
        infos.insert(name.clone(), Arc::clone(&info));
        live.insert(name.clone(), Arc::new(Topic { info, partitions }));
    }
    topics.infos = Arc::new(infos);
    topics.live = live;
    Ok((topics, passed_over.load(Ordering::Relaxed)))
}

/// Bytes in entries of the journal.
pub(crate) fn length(writes: &[Write]) -> u64 {
    let bytes = writes.iter().map(|write| write.bytes.len() as u64);
    bytes.sum()
}

/// Topics that the journal names and the catalog does not, though they have a directory.
fn unknown_logs(
    options: &Options,
    catalog: &Catalog,
    promised: &[(LogId, Write)],
) -> Result<Vec<[u8; 16]>, OpenError> {
    let known = |topic: [u8; 16]| {
        let id = TopicId::from_bytes(topic);
        let deleting = catalog.deleting.iter().any(|(_, deleted)| *deleted == id);
        deleting || catalog.topics.values().any(|entry| entry.id == id)
    };
    let mut unknown: Vec<[u8; 16]> = promised.iter().map(|(log, _)| log.topic).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown.retain(|topic| !known(*topic));
    if !unknown.is_empty() {
        let there = store::topic_dirs(options)?;
        let there: Vec<TopicId> = there.iter().filter_map(|(_, id, _)| parse_id(id)).collect();
        unknown.retain(|topic| there.contains(&TopicId::from_bytes(*topic)));
    }
    for topic in &unknown {
        events::journal_of_unknown(TopicId::from_bytes(*topic));
    }
    Ok(unknown)
}

/// One partition to open.
struct Work<'a> {
    id: TopicPartition,
    topic: TopicId,
    dir: PathBuf,
    config: &'a TopicConfig,
    /// What the journal has of it.
    redo: &'a [Write],
    /// And what it holds altogether.
    journal_bytes: ByteSize,
    /// Writes that were not redone.
    passed_over: &'a AtomicUsize,
}

impl Work<'_> {
    fn open(&self, options: &Options, memory: &Arc<Memory>) -> OpenResult {
        let mut opened = self.try_open(options, memory);
        // What only the journal has was promised, and a disk that was full before a power cut may have no room left for it.
        if opened.as_ref().is_err_and(errors::wants_room)
            && memory.reserve.release().unwrap_or(false)
        {
            opened = self.try_open(options, memory);
        }
        (self.id.clone(), opened)
    }

    fn try_open(&self, options: &Options, memory: &Arc<Memory>) -> Result<OpenedPartition, Error> {
        let dir = self.dir.join(self.id.partition.to_string());
        let passed_over = commitlog::redo(&*options.disk, &dir, self.redo, self.journal_bytes)
            .map_err(|error| errors::of_log(&self.id, error))?;
        self.passed_over.fetch_add(passed_over, Ordering::Relaxed);
        let id = self.id.clone();
        Partition::open(options, memory, id, self.topic, &self.dir, self.config)
    }
}

type OpenResult = (TopicPartition, Result<OpenedPartition, Error>);

/// Opens all partitions, in the order of `work`.
fn in_parallel(
    options: &Options,
    memory: &Arc<Memory>,
    work: &[Work<'_>],
) -> Result<Vec<OpenResult>, OpenError> {
    let threads = match options.drive {
        super::Drive::Manual => 1,
        super::Drive::Threads => RECOVERY_THREADS.min(work.len() / 4),
    };
    if threads <= 1 {
        return Ok(work.iter().map(|item| item.open(options, memory)).collect());
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(work.len()));
    std::thread::scope(|scope| -> Result<(), OpenError> {
        for _ in 0..threads {
            std::thread::Builder::new()
                .name("lantern-recover".to_owned())
                .spawn_scoped(scope, || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = work.get(index) else { break };
                        let result = item.open(options, memory);
                        done.lock().push((index, result));
                    }
                })
                .map_err(|source| OpenError::Thread { source })?;
        }
        Ok(())
    })?;
    let mut done = done.into_inner();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Takes one partition in, whatever recovery made of it, and notes what must be said.
fn settle(
    memory: &Arc<Memory>,
    id: TopicPartition,
    topic: TopicId,
    result: Result<OpenedPartition, Error>,
    report: &mut RecoveryReport,
) -> Partition {
    match result {
        Ok(opened) => {
            if let Some(what) = opened.changed {
                events::log_repaired(&id, &what);
                report.touched.push(PartitionReport {
                    partition: id,
                    log: Some(opened.report),
                    unusable: None,
                });
            }
            opened.partition
        }
        Err(error) => {
            let reason: Arc<str> = errors::chain(&error).into();
            events::partition_unusable(&memory.metrics, &id, &reason);
            report.touched.push(PartitionReport {
                partition: id.clone(),
                log: None,
                unusable: Some(Arc::clone(&reason)),
            });
            Partition::unusable(memory, id, topic, reason)
        }
    }
}

fn groups_partition(topics: &Topics) -> Result<Arc<Partition>, OpenError> {
    let name = TopicName::new(GROUPS_TOPIC).expect("the name is one of ours");
    let topic = topics.live.get(&name);
    let partition = topic.and_then(|topic| topic.partitions.first()).cloned();
    partition.ok_or(OpenError::Groups {
        source: Error::UnknownTopic { topic: name },
    })
}

/// Reads the whole topic of the groups into memory, and passes over damage: of what is lost there the
/// records before it count, and groups read again what they had done since.
fn replay(
    groups: &Partition,
    progress: &mut Progress,
    report: &mut RecoveryReport,
) -> Result<(), Error> {
    let mut from = groups.log_start();
    let mut unreadable = 0;
    let limit = ReadLimit {
        bytes: REPLAY_BYTES,
        at_least_one: true,
    };
    while from < groups.readable() {
        let bytes = match groups.read(from, limit, groups.readable()) {
            Ok(bytes) => bytes,
            Err(error) => {
                let Some(until) = readable_behind(&error, from) else {
                    return Err(error);
                };
                events::groups_damaged(&error);
                report.groups_damaged.push(error.to_string().into());
                from = until;
                continue;
            }
        };
        let before = from;
        for batch in record::Batches::new(bytes) {
            let batch = batch.map_err(|error| groups.corrupt(&error))?;
            unreadable += groups::apply_batch(progress, &batch);
            from = batch.last_offset().next();
        }
        if from == before {
            break;
        }
    }
    if unreadable > 0 {
        events::group_record_unreadable(unreadable);
    }
    Ok(())
}

/// Where reading goes on behind damage found at `from`.
fn readable_behind(error: &Error, from: Offset) -> Option<Offset> {
    let Error::Corrupt { until, .. } = error else {
        return None;
    };
    let until = u64::try_from((*until)?.bits()).ok().map(Offset::new)?;
    (until > from).then_some(until)
}

fn finish_deletions(shared: &Shared, report: &mut RecoveryReport) {
    let mut catalog = shared.catalog.lock();
    for (name, id) in catalog.deleting.clone() {
        finish_deletion(shared, &mut catalog, &name, id);
        events::deletion_finished(&name, id);
        report.deletions_finished.push(name);
    }
}

/// Directories of topics the catalog does not name: creations that never finished go, what holds
/// records stays and is reported.
fn look_at_unknown(shared: &Shared, report: &mut RecoveryReport) -> Result<(), OpenError> {
    let options = &shared.options;
    let catalog = shared.catalog.lock();
    for (name, id, path) in store::topic_dirs(options)? {
        let known = parse_id(&id).is_some_and(|id| {
            let topic = catalog
                .topics
                .iter()
                .any(|(topic, entry)| topic.as_str() == name && entry.id == id);
            topic || catalog.deleting.iter().any(|(_, deleted)| *deleted == id)
        });
        if known {
            continue;
        }
        if holds_records(shared, &name, &path)? {
            events::directory_unknown(&path);
            report.unknown_directories.push(path);
        } else if let Err(error) = store::remove_topic_dir(options, &path) {
            events::files_left(&path, "remove", &error);
        }
    }
    Ok(())
}

/// Whether any partition in a directory nobody knows has records; when in doubt it has.
fn holds_records(shared: &Shared, name: &str, dir: &Path) -> Result<bool, OpenError> {
    let options = &shared.options;
    let Ok(name) = TopicName::new(name) else {
        return Ok(true);
    };
    for number in store::names(options, dir)? {
        let Ok(number) = number.parse() else {
            return Ok(true);
        };
        let id = TopicPartition::new(name.clone(), PartitionId::new(number));
        let nobody = TopicId::from_bytes([0; 16]);
        let config = TopicConfig::default();
        match Partition::open(options, &shared.memory, id, nobody, dir, &config) {
            Ok(opened) if opened.partition.end() == Offset::ZERO => (),
            Ok(_) | Err(_) => return Ok(true),
        }
    }
    Ok(false)
}
