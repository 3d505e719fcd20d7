//! How a data directory comes to life.
//!
//! In this order: lock; read the catalog; find the log directories; forget the clean mark; read the journals; redo their
//! entries of each partition and recover it, several at a time; empty the journals; replay group progress; finish deletions that were interrupted; look at directories
//! the catalog does not name; take room for a full disk. Nothing is served before all of it.
//!
//! Invariants: a damaged partition keeps nobody else from opening; a damaged catalog stops
//! everything, because without it nobody knows what is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use commitlog::{Journal, LogId, Write};
use env::{DiskLock, Reserve};
use model::limits::GROUPS_TOPIC;
use model::{Offset, PartitionId, TopicId, TopicName, TopicPartition};
use parking_lot::Mutex;
use stdx::ByteSize;
use tokio::sync::Semaphore;

use super::catalog::{Catalog, DATA_DIR, TopicEntry, parse_id};
use super::errors::OpenError;
use super::log_dirs::{self, LogDir, LogDirs};
use super::memory::Memory;
use super::metrics::Metrics;
use super::partition::{OpenedPartition, Partition, log_id};
use super::progress::Progress;
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
    pub(crate) locks: Vec<Box<dyn DiskLock>>,
    /// Entries that stay in a journal until their logs can be opened: where it is, and how many, if any.
    pub(crate) kept_entries: Vec<(PathBuf, usize)>,
}

/// What became of one log of the catalog.
#[derive(Debug)]
pub(crate) struct OpenedLog {
    pub(crate) id: TopicPartition,
    pub(crate) topic: TopicId,
    /// Its log directory.
    pub(crate) root: PathBuf,
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
    let lock = store::lock(&options, &options.data_dir)?;
    let metrics = Metrics::new();
    let memory = Arc::new(Memory::new(&options, &metrics));
    let first = LogDir::at(&options, &options.data_dir);
    let mut loaded = load_catalog(&options, &first.reserve)?;
    let (log_dirs, mut locks) = log_dirs::open(&options, &mut loaded.catalog, first)?;
    locks.push(lock);
    // Not before: a start that is refused changes nothing.
    let clean = store::take_clean_mark(&options)? || loaded.fresh;
    let mut report = RecoveryReport {
        clean,
        ..RecoveryReport::default()
    };
    let partitions = loaded.catalog.partitions_by_place();
    let mut found = Vec::new();
    for log_dir in log_dirs.iter().filter(|dir| dir.missing().is_none()) {
        let read = Found::read(&options, log_dir, &loaded.catalog, &mut report);
        match read {
            Ok(journal) => found.push(journal),
            // The others do not wait for it.
            Err(error) if log_dir.number != DATA_DIR => {
                let partitions = partitions.get(&log_dir.number).copied().unwrap_or(0);
                let reason = format!(
                    "its log directory is out of service: {}",
                    errors::chain(&error)
                );
                log_dir.out_of_service(partitions, reason.into());
            }
            Err(error) => return Err(error),
        }
    }
    let topics = open_topics(
        &options,
        &memory,
        &log_dirs,
        &loaded,
        &mut found,
        &mut report,
        note,
    )?;
    let mut kept_entries = Vec::new();
    for found in found {
        kept_entries.extend(found.begin(&options, &mut report)?);
    }
    let groups = groups_partition(&topics)?;
    if loaded.fresh {
        // Nothing else may come into the catalog before it is there.
        let made = groups.check_readable();
        made.map_err(|source| OpenError::Groups { source })?;
    }
    let mut progress = Progress::default();
    if groups.check_readable().is_ok() {
        replay(&groups, &mut progress, &mut report)
            .map_err(|source| OpenError::Groups { source })?;
    }
    let catalog = loaded.catalog;
    let shared = Shared {
        log_dirs,
        bell: Arc::default(),
        topics: ArcSwap::from_pointee(topics),
        producer_ids: Mutex::new(ProducerIds {
            next: catalog.producer_ids_until,
            until: catalog.producer_ids_until,
        }),
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
    for log_dir in shared.log_dirs.in_use() {
        let catalog = if log_dir.number == DATA_DIR {
            catalog
        } else {
            0
        };
        store::take_room(&log_dir.reserve, catalog);
    }
    report.took = shared.options.clock.monotonic().saturating_sub(start);
    let dir = &shared.options.data_dir;
    events::opened(dir, report.topics, report.partitions, clean, report.took);
    Ok(Opened {
        shared,
        report,
        locks,
        kept_entries,
    })
}

/// A journal, and what it has for the logs of its directory.
struct Found {
    log_dir: Arc<LogDir>,
    journal: Journal,
    /// Bytes it holds altogether.
    file_bytes: ByteSize,
    writes: Vec<(LogId, Write)>,
    /// The same by log, while logs are opened.
    redo: AHashMap<LogId, Vec<Write>>,
    /// Writes that were not redone.
    passed_over: AtomicUsize,
}

impl Found {
    fn read(
        options: &Options,
        log_dir: &Arc<LogDir>,
        catalog: &Catalog,
        report: &mut RecoveryReport,
    ) -> Result<Self, OpenError> {
        let dir = log_dir.root.join(store::JOURNAL_DIR);
        let mut secret = [0; 8];
        options.entropy.fill(&mut secret);
        let opened = Journal::open(
            Arc::clone(&options.disk),
            &dir,
            options.journal_bytes,
            u64::from_le_bytes(secret),
        );
        let (journal, found) = opened.map_err(|source| OpenError::Journal { source })?;
        for path in &found.damaged {
            events::journal_damaged(path);
        }
        report.journal_damaged.extend(found.damaged);
        let unknown = unknown_logs(options, &log_dir.root, catalog, &found.writes)?;
        let mut read = Self {
            log_dir: Arc::clone(log_dir),
            journal,
            file_bytes: found.file_bytes,
            writes: Vec::new(),
            redo: AHashMap::new(),
            passed_over: AtomicUsize::new(0),
        };
        for (log, write) in found.writes {
            if unknown.contains(&log.topic) {
                // Somebody may put the right catalog back.
                read.writes.push((log, write));
            } else {
                read.redo.entry(log).or_default().push(write);
            }
        }
        Ok(read)
    }

    /// Begins the journal anew with what is left in it; answers how much that is.
    fn begin(
        mut self,
        options: &Options,
        report: &mut RecoveryReport,
    ) -> Result<Option<(PathBuf, usize)>, OpenError> {
        let passed_over = self.passed_over.into_inner();
        if passed_over > 0 {
            keep_journal(&mut self.journal, passed_over, report);
        }
        let dir = self.log_dir.root.join(store::JOURNAL_DIR);
        let kept = (!self.writes.is_empty()).then_some((dir, self.writes.len()));
        if let Err(source) = self.journal.begin(&self.writes) {
            if self.log_dir.number == DATA_DIR {
                return Err(OpenError::Journal { source });
            }
            // The others do not wait for it. Redoing what stays once more at the next start changes nothing.
            events::journal_not_begun(&self.log_dir.root, &source);
            return Ok(kept);
        }
        *self.log_dir.journal.lock() = (options.journal_bytes.bytes() > 0).then_some(self.journal);
        Ok(kept)
    }
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

/// A catalog that was read or begun.
struct Loaded {
    catalog: Catalog,
    /// The directory is.
    fresh: bool,
    /// The topic of the groups is: its log need not be there yet.
    new_groups: bool,
}

/// The catalog, made new in a fresh directory, always with the topic of the groups.
fn load_catalog(options: &Options, reserve: &Reserve) -> Result<Loaded, OpenError> {
    let groups = TopicName::new(GROUPS_TOPIC).expect("the name is one of ours");
    let loaded = store::load(options)?;
    let fresh = loaded.is_none();
    let mut catalog = loaded.unwrap_or_default();
    if catalog.topics.contains_key(&groups) {
        // Where it is all there is, the run that named it may have ended before it was made.
        let new_groups = catalog.topics.len() == 1;
        return Ok(Loaded {
            catalog,
            fresh,
            new_groups,
        });
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
        places: Vec::new(),
    };
    catalog.topics.insert(groups, entry);
    catalog.generation += 1;
    store::save(options, reserve, &catalog).map_err(|source| OpenError::Groups { source })?;
    Ok(Loaded {
        catalog,
        fresh,
        new_groups: true,
    })
}

fn open_topics(
    options: &Options,
    memory: &Arc<Memory>,
    log_dirs: &LogDirs,
    loaded: &Loaded,
    found: &mut [Found],
    report: &mut RecoveryReport,
    note: &mut dyn FnMut(OpenedLog),
) -> Result<Topics, OpenError> {
    let Loaded {
        catalog,
        new_groups,
        ..
    } = loaded;
    let journals = &*found;
    let work: Vec<Work<'_>> = catalog
        .topics
        .iter()
        .flat_map(|(name, entry)| {
            (0..entry.partitions).map(move |number| {
                let log_dir = log_dirs.get(entry.place(number));
                let number = PartitionId::new(number);
                let id = TopicPartition::new(name.clone(), number);
                let mut journals = journals.iter();
                let journal = journals.find(|journal| Arc::ptr_eq(&journal.log_dir, log_dir));
                let writes = journal.and_then(|found| found.redo.get(&log_id(entry.id, number)));
                Work {
                    dir: store::partition_dir(&log_dir.root, &id, entry.id),
                    id,
                    topic: entry.id,
                    log_dir,
                    config: &entry.config,
                    redo: writes.map_or(&[], Vec::as_slice),
                    journal,
                    new_groups: *new_groups,
                }
            })
        })
        .collect();
    let redone = work.iter().filter(|item| !item.redo.is_empty());
    let (redone, bytes) = redone.fold((0, 0), |(count, bytes), item| {
        (count + 1, bytes + length(item.redo))
    });
    let opened = in_parallel(options, memory, &work)?;
    report.topics = catalog.topics.len();
    report.partitions = work.len();
    if redone > 0 {
        events::journal_redone(redone, bytes);
    }
    let mut topics = Topics::default();
    let mut infos = std::collections::BTreeMap::new();
    let mut live = AHashMap::new();
    let mut unusable = Vec::new();
    let mut opened = work.iter().zip(opened);
    for (name, entry) in &catalog.topics {
        let count = usize::try_from(entry.partitions).unwrap_or(usize::MAX);
        let mut partitions = Vec::with_capacity(count);
        for (item, (id, result)) in opened.by_ref().take(count) {
            note(OpenedLog {
                root: item.log_dir.root.clone(),
                dir: item.dir.clone(),
                topic: entry.id,
                journal_bytes: length(item.redo),
                recovery: match &result {
                    Ok(opened) => Ok(opened.report.clone()),
                    Err(error) => Err(errors::chain(error).into()),
                },
                id: id.clone(),
            });
            if result.is_err() {
                unusable.push((item.log_dir.number, log_id(entry.id, id.partition)));
            }
            let partition = settle(memory, item.log_dir, id, entry.id, result, report);
            partitions.push(Arc::new(partition));
        }
        let info = Arc::new(entry.info(name));
        infos.insert(name.clone(), Arc::clone(&info));
        live.insert(name.clone(), Arc::new(Topic { info, partitions }));
    }
    topics.infos = Arc::new(infos);
    topics.live = live;
    drop(opened);
    drop(work);
    for journal in found {
        // What it has of partitions that cannot be used stays in it.
        for (_, log) in unusable
            .iter()
            .filter(|(number, _)| *number == journal.log_dir.number)
        {
            let writes = journal.redo.remove(log).unwrap_or_default();
            journal
                .writes
                .extend(writes.into_iter().map(|write| (*log, write)));
        }
    }
    Ok(topics)
}

/// Bytes in entries of the journal.
pub(crate) fn length(writes: &[Write]) -> u64 {
    let bytes = writes.iter().map(|write| write.bytes.len() as u64);
    bytes.sum()
}

/// Topics that the journal names and the catalog does not, though they have a directory.
fn unknown_logs(
    options: &Options,
    root: &Path,
    catalog: &Catalog,
    promised: &[(LogId, Write)],
) -> Result<Vec<[u8; 16]>, OpenError> {
    let known = |topic: [u8; 16]| {
        let id = TopicId::from_bytes(topic);
        let deleting = catalog.deleting.iter().any(|deleted| deleted.id == id);
        deleting || catalog.topics.values().any(|entry| entry.id == id)
    };
    let mut unknown: Vec<[u8; 16]> = promised.iter().map(|(log, _)| log.topic).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown.retain(|topic| !known(*topic));
    if !unknown.is_empty() {
        let there = store::topic_dirs(options, root)?;
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
    log_dir: &'a Arc<LogDir>,
    dir: PathBuf,
    config: &'a TopicConfig,
    /// The journal of its directory.
    journal: Option<&'a Found>,
    /// What that has of it.
    redo: &'a [Write],
    /// As [`Loaded::new_groups`].
    new_groups: bool,
}

impl Work<'_> {
    fn open(&self, options: &Options, memory: &Arc<Memory>) -> OpenResult {
        let mut opened = self.try_open(options, memory);
        // What only the journal has was promised, and a disk that was full before a power cut may have no room left for it.
        if opened.as_ref().is_err_and(errors::wants_room)
            && self.log_dir.reserve.release().unwrap_or(false)
        {
            opened = self.try_open(options, memory);
        }
        (self.id.clone(), opened)
    }

    fn try_open(&self, options: &Options, memory: &Arc<Memory>) -> Result<OpenedPartition, Error> {
        if let Some(reason) = self.log_dir.missing() {
            return Err(Error::Offline {
                partition: self.id.clone(),
                reason: Arc::clone(reason),
            });
        }
        self.check_there(options)?;
        if let Some(journal) = self.journal {
            let redone = commitlog::redo(&*options.disk, &self.dir, self.redo, journal.file_bytes);
            let passed_over = redone.map_err(|error| errors::of_log(&self.id, error))?;
            journal
                .passed_over
                .fetch_add(passed_over, Ordering::Relaxed);
        }
        let (id, log_dir) = (self.id.clone(), self.log_dir);
        Partition::open(options, memory, log_dir, id, self.topic, self.config)
    }
}

impl Work<'_> {
    /// A log was durable before the catalog named it, so one that is not there was taken away; a new one in its place would give
    /// its offsets out again. But for the topic of the groups, which a first start names before it is there, and which nobody can
    /// delete: where its directory is empty somebody made that, to do without it.
    fn check_there(&self, options: &Options) -> Result<(), Error> {
        if self.new_groups && self.id.topic.as_str() == GROUPS_TOPIC {
            return Ok(());
        }
        let there = commitlog::is_there(&*options.disk, &self.dir);
        if there.map_err(|error| errors::of_log(&self.id, error))? {
            return Ok(());
        }
        let instead = if self.id.topic.as_str() == GROUPS_TOPIC {
            let listed = options.disk.read_dir(&self.dir);
            if listed.is_ok_and(|entries| entries.is_empty()) {
                return Ok(());
            }
            "have nothing but that directory, empty: all groups begin anew then"
        } else {
            "delete the topic"
        };
        let dir = self.dir.display();
        Err(Error::Corrupt {
            partition: self.id.clone(),
            reason: format!("there is no log in {dir}: put it back and start again, or {instead}")
                .into(),
            until: None,
        })
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
    log_dir: &Arc<LogDir>,
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
            let reason: Arc<str> = if let Error::Offline { reason, .. } = &error {
                // Said once for all of them.
                Arc::clone(reason)
            } else {
                let reason: Arc<str> = errors::chain(&error).into();
                events::partition_unusable(&memory.metrics, &id, &reason);
                reason
            };
            report.touched.push(PartitionReport {
                partition: id.clone(),
                log: None,
                unusable: Some(Arc::clone(&reason)),
            });
            Partition::unusable(memory, log_dir, id, topic, reason)
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
    for deletion in catalog.deleting.clone() {
        if finish_deletion(shared, &mut catalog, &deletion) {
            events::deletion_finished(&deletion.name, deletion.id);
            report.deletions_finished.push(deletion.name);
        }
    }
}

/// Directories of topics the catalog does not name: creations that never finished go, what holds
/// records stays and is reported.
fn look_at_unknown(shared: &Shared, report: &mut RecoveryReport) -> Result<(), OpenError> {
    let options = &shared.options;
    let catalog = shared.catalog.lock();
    let mut dirs = Vec::new();
    for log_dir in shared.log_dirs.in_use() {
        let there = match store::topic_dirs(options, &log_dir.root) {
            Ok(there) => there.into_iter(),
            Err(error) if log_dir.number != DATA_DIR => {
                events::not_listed(&log_dir.root, &error);
                continue;
            }
            Err(error) => return Err(error),
        };
        dirs.extend(there.map(|(name, id, path)| (log_dir, name, id, path)));
    }
    for (log_dir, name, id, path) in dirs {
        let known = parse_id(&id).is_some_and(|id| {
            let topic = catalog
                .topics
                .iter()
                .any(|(topic, entry)| topic.as_str() == name && entry.id == id);
            topic || catalog.deleting.iter().any(|deleted| deleted.id == id)
        });
        if known {
            continue;
        }
        if holds_records(shared, log_dir, &name, &id, &path)? {
            events::directory_unknown(&path);
            report.unknown_directories.push(path);
        } else if let Err(error) = store::remove_topic_dir(options, &path) {
            events::files_left(&path, "remove", &error);
        }
    }
    Ok(())
}

/// Whether any partition in a directory nobody knows has records; when in doubt it has.
fn holds_records(
    shared: &Shared,
    log_dir: &Arc<LogDir>,
    name: &str,
    id: &str,
    dir: &Path,
) -> Result<bool, OpenError> {
    let options = &shared.options;
    let (Ok(name), Some(topic)) = (TopicName::new(name), parse_id(id)) else {
        return Ok(true);
    };
    for number in store::names(options, dir)? {
        let Ok(number) = number.parse() else {
            return Ok(true);
        };
        let id = TopicPartition::new(name.clone(), PartitionId::new(number));
        let config = TopicConfig::default();
        match Partition::open(options, &shared.memory, log_dir, id, topic, &config) {
            Ok(opened) if opened.partition.end() == Offset::ZERO => (),
            Ok(_) | Err(_) => return Ok(true),
        }
    }
    Ok(false)
}
