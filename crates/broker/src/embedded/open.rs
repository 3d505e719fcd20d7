//! How a data directory comes to life.
//!
//! In this order: lock; read the catalog; find the log directories; forget the clean mark; read the journals; redo their
//! entries of each partition and recover it, several at a time; empty the journals; replay group progress; finish deletions that were interrupted; look at directories
//! the catalog does not name; take room for a full disk. Nothing is served before all of it.
//!
//! Invariants: a damaged partition keeps nobody else from opening; a damaged catalog stops
//! everything, because without it nobody knows what is missing.

mod journals;
mod leftovers;
mod logs;
mod replay;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use env::{DiskLock, Reserve};
use model::limits::GROUPS_TOPIC;
use model::{TopicId, TopicName, TopicPartition};
use parking_lot::Mutex;
use stdx::ByteSize;
use tokio::sync::Semaphore;

use super::catalog::{Catalog, DATA_DIR, TopicEntry};
use super::errors::OpenError;
use super::log_dirs::{self, LogDir};
use super::memory::Memory;
use super::metrics::Metrics;
use super::progress::Progress;
use super::report::RecoveryReport;
use super::{Options, ProducerIds, SEARCHES_MAX, Shared, errors, events, groups, store};
use crate::TopicConfig;
use journals::Found;
pub(crate) use journals::length;

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
    let topics = logs::open_topics(
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
    let groups = replay::groups_partition(&topics)?;
    if loaded.fresh {
        // Nothing else may come into the catalog before it is there.
        let made = groups.check_readable();
        made.map_err(|source| OpenError::Groups { source })?;
    }
    let mut progress = Progress::default();
    if groups.check_readable().is_ok() {
        replay::replay(&groups, &mut progress, &mut report)
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
    leftovers::finish_deletions(&shared, &mut report);
    if shared.groups.check_readable().is_ok() {
        groups::forget_at_open(&shared).map_err(|source| OpenError::Groups { source })?;
    }
    leftovers::look_at_unknown(&shared, &mut report)?;
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
