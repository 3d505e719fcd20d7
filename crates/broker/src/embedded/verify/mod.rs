//! Checking a data directory offline: what a start would do to it, and every byte of every log.
//!
//! **Problem.** After a power cut, a copy from a backup or a disk that grows old, somebody wants to know what
//! is in a data directory before Lantern touches it. A start would answer by repairing it, and it reads
//! only what no checkpoint describes.
//!
//! **Answer.** First the start itself is tried ([`open`](super::open::open), all of it: catalog, journal, recovery
//! of every partition, group progress) on an [`env::Overlay`], which keeps all changes in memory: its report
//! is what a start would do, because it is what a start does. Then every segment is walked as that start
//! would leave it, by several threads; records are taken apart, indexes held against the log; group records
//! are read and committed offsets held against their partitions; names nobody knows are listed. If the
//! start fails (a damaged catalog), logs are opened directory by directory, so that what they hold is known.
//!
//! Invariants: nothing is written, created, removed or renamed in the directory; its lock file is locked
//! as it is, so that no Lantern starts meanwhile. Memory is bounded by what a start takes, and some megabytes
//! a thread.
//! Not here: the decisions (`commitlog::recovery`), files of services above the broker, text for people.

mod groups;
mod logs;
mod progress;
mod report;
mod strangers;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::AHashMap;
use commitlog::{Journal, LogId, Write};
use env::{Disk, DiskLock, DynClock, DynDisk, LockError, Overlay, SeededEntropy};
use model::{PartitionId, TopicId, TopicName, TopicPartition};
use stdx::ByteSize;

pub use progress::{VerifyProgress, VerifyStage};
pub use report::{Finding, GroupsVerified, PartitionVerified, StartAction, Verified};

use super::catalog::parse_id;
use super::log_dirs::LogDir;
use super::memory::Memory;
use super::metrics::Metrics;
use super::open::{self, Opened, OpenedLog};
use super::partition::{Partition, log_id};
use super::store::Mark;
use super::{Drive, OpenError, Options, errors, store};
use crate::TopicConfig;

/// What [`verify`] is told.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The directory.
    pub data_dir: PathBuf,
    /// Where further log directories are now; others are looked for where they were last.
    pub log_dirs: Vec<PathBuf>,
    /// Where files are.
    pub disk: DynDisk,
    /// What time it is, for memory that expires.
    pub clock: DynClock,
    /// Segments looked at at the same time. At least 1.
    pub threads: usize,
    /// Files in the directory that services above the broker keep there.
    pub others: Vec<&'static str>,
}

/// Why a data directory was not checked at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such directory, or it cannot be listed.
    #[error("the data directory {} cannot be read: {source}", dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing in it is Lantern's.
    #[error(
        "{} holds no data of Lantern: there is neither a catalog nor a folder of topics in it",
        dir.display()
    )]
    NotData {
        /// The directory.
        dir: PathBuf,
    },
    /// A Lantern runs on it.
    #[error(
        "the data directory {} is in use by {}: stop it, or check a copy",
        dir.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The process that holds it, if its mark is legible.
        holder: Option<u32>,
    },
    /// The system gives no more threads.
    #[error("a thread could not be started: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

/// Checks a data directory and changes nothing.
///
/// # Errors
/// [`VerifyError`] if it was not checked. Whatever is wrong in it is a finding.
pub fn verify(options: &VerifyOptions, progress: &VerifyProgress) -> Result<Verified, VerifyError> {
    let start = options.clock.monotonic();
    let roots = roots(options);
    let _locks = lock(options, &roots)?;
    let mut found = Verified::default();
    let mut dry = commitlog::dry_disk(Arc::clone(&options.disk));
    progress.try_on(&dry);
    let mut logs = Vec::new();
    let opened = open::open(dry_options(options, &dry), &mut |log| logs.push(log));
    let opened = match opened {
        Ok(opened) => {
            found.opens = true;
            found.clean = opened.report.clean;
            start_findings(options, &dry, &opened, &mut found);
            Some(opened)
        }
        Err(error) => {
            note_refusal(options, &error, &mut found);
            dry = commitlog::dry_disk(Arc::clone(&options.disk));
            progress.try_on(&dry);
            let dry = dry_options(options, &dry);
            for root in &roots {
                logs.extend(each_directory(&dry, root, &mut found));
            }
            None
        }
    };
    found.journal_bytes = logs.iter().map(|log| log.journal_bytes).sum();
    note_redo(&logs, &roots, &mut found);
    // What the start itself appended to the topic of the groups counts too.
    let groups_end = opened.as_ref().map(|opened| opened.shared.groups_end());
    logs::check(options, &dry, &logs, groups_end, progress, &mut found)?;
    if let Some(opened) = &opened {
        groups::check(&opened.shared, &mut found);
    }
    for (at, root) in roots.iter().enumerate() {
        let (ours, others) = match at {
            0 => (strangers::IN_DATA_DIR, &*options.others),
            _ => (strangers::IN_LOG_DIR, &[][..]),
        };
        strangers::look(&*options.disk, root, ours, others, &mut found);
    }
    found.took = options.clock.monotonic().saturating_sub(start);
    Ok(found)
}

/// The directories there are, the data directory first: the others where they are named or where the catalog had them last,
/// if their mark is the right one.
fn roots(options: &VerifyOptions) -> Vec<PathBuf> {
    let below = below_options(options);
    // Why it cannot be read is said by the start.
    let catalog = store::load(&below).ok().flatten();
    let known = catalog.iter().flat_map(|catalog| catalog.log_dirs.values());
    let last = known.clone().map(|entry| PathBuf::from(&entry.path));
    let mut roots = vec![options.data_dir.clone()];
    for path in options.log_dirs.iter().cloned().chain(last) {
        let ours = match store::read_mark(&below, &path) {
            Ok(Mark::Of(id)) => catalog.is_none() || known.clone().any(|entry| entry.id == id),
            Ok(Mark::Damaged) => {
                catalog.is_none() || known.clone().any(|entry| Path::new(&entry.path) == path)
            }
            Ok(Mark::None) | Err(_) => false,
        };
        if ours && !roots.contains(&path) {
            roots.push(path);
        }
    }
    roots
}

/// Keeps a Lantern from starting meanwhile.
fn lock(
    options: &VerifyOptions,
    roots: &[PathBuf],
) -> Result<Vec<Option<Box<dyn DiskLock>>>, VerifyError> {
    let dir = &options.data_dir;
    let names = options.disk.read_dir(dir);
    let names = names.map_err(|source| VerifyError::Unreadable {
        dir: dir.clone(),
        source,
    })?;
    let ours = [store::CATALOG_FILE, store::TOPICS_DIR];
    if !names.iter().any(|entry| ours.contains(&&*entry.name)) {
        return Err(VerifyError::NotData { dir: dir.clone() });
    }
    let lock = |dir: &PathBuf| match options.disk.lock_shared(&dir.join(store::LOCK_FILE)) {
        Ok(lock) => Ok(lock),
        Err(LockError::Held { holder, .. }) => Err(VerifyError::Locked {
            dir: dir.clone(),
            holder,
        }),
        Err(LockError::Io { source, .. }) => Err(VerifyError::Unreadable {
            dir: dir.clone(),
            source,
        }),
    };
    roots.iter().map(lock).collect()
}

/// What a start with the default configuration is told; configuration decides nothing about what is kept.
fn dry_options(options: &VerifyOptions, dry: &Overlay) -> Options {
    Options {
        log_dirs: options.log_dirs.clone(),
        drive: match options.threads {
            0 | 1 => Drive::Manual,
            _ => Drive::Threads,
        },
        // What the start itself writes is looked at, too, and has to end with its last batch.
        preallocate_bytes: ByteSize::from_bytes(0),
        ..Options::new(
            &options.data_dir,
            dry.shared(),
            Arc::clone(&options.clock),
            // Nothing that is made here lasts.
            Arc::new(SeededEntropy::new(0)),
        )
    }
}

/// A finding about a file as a whole.
fn about(path: impl Into<PathBuf>, what: impl Into<String>, start: StartAction) -> Finding {
    Finding {
        partition: None,
        path: path.into(),
        position: None,
        bytes: None,
        what: what.into(),
        start,
    }
}

/// What a start would do to the directory as a whole.
fn start_findings(options: &VerifyOptions, dry: &Overlay, opened: &Opened, found: &mut Verified) {
    let report = &opened.report;
    for path in &report.journal_damaged {
        found.note(about(
            path,
            "the journal lost entries that were promised",
            StartAction::SetAside,
        ));
    }
    for (journal, count) in &opened.kept_entries {
        found.note(about(
            journal,
            format!("{count} entries are of logs that cannot be opened: they stay"),
            StartAction::Leave,
        ));
    }
    for path in &report.unknown_directories {
        found.note(about(
            path,
            "it holds records and no topic of the catalog owns it",
            StartAction::Abandon,
        ));
    }
    let below = below_options(options);
    let log_dirs = opened.shared.log_dirs.in_use();
    let there = log_dirs.map(|dir| store::topic_dirs(&below, &dir.root).unwrap_or_default());
    for (_, _, path) in there.flatten() {
        if !dry.exists(&path).unwrap_or(true) {
            found.note(about(
                path,
                "left by a topic that was deleted, or never quite created",
                StartAction::Remove,
            ));
        }
    }
}

/// For looking at the directory as it is. Only for what does not write.
fn below_options(options: &VerifyOptions) -> Options {
    Options::new(
        &options.data_dir,
        Arc::clone(&options.disk),
        Arc::clone(&options.clock),
        Arc::new(SeededEntropy::new(0)),
    )
}

fn note_refusal(options: &VerifyOptions, error: &OpenError, found: &mut Verified) {
    let path = match error {
        OpenError::Catalog { path, .. }
        | OpenError::CatalogMissing { path }
        | OpenError::Io { path, .. } => path.clone(),
        OpenError::Journal { .. } => options.data_dir.join(store::JOURNAL_DIR),
        OpenError::LogDirForeign { dir } => dir.clone(),
        OpenError::Groups { .. }
        | OpenError::LogDirs { .. }
        | OpenError::Options { .. }
        | OpenError::Locked { .. }
        | OpenError::Unwritable { .. }
        | OpenError::Thread { .. } => options.data_dir.clone(),
    };
    found.note(about(path, errors::chain(error), StartAction::Refuse));
}

fn note_redo(logs: &[OpenedLog], roots: &[PathBuf], found: &mut Verified) {
    for root in roots {
        let of_it = logs.iter().filter(|log| log.root == *root);
        let redone = of_it.filter(|log| log.journal_bytes > 0);
        let partitions = redone.clone().count();
        if partitions == 0 {
            continue;
        }
        let mut finding = about(
            root.join(store::JOURNAL_DIR),
            format!("entries of {}", stdx::Counted(partitions, "partition")),
            StartAction::Redo,
        );
        finding.bytes = Some(redone.map(|log| log.journal_bytes).sum());
        found.note(finding);
    }
}

/// Opens every log there is by its directory, when nobody knows what topics there are.
fn each_directory(dry: &Options, root: &Path, found: &mut Verified) -> Vec<OpenedLog> {
    let (mut redo, journal_bytes) = journal_entries(dry, root, found);
    let log_dir = Arc::new(LogDir::at(dry, root));
    let mut logs = Vec::new();
    for (name, id, path) in store::topic_dirs(dry, root).unwrap_or_default() {
        let (Ok(name), Some(topic)) = (TopicName::new(&name), parse_id(&id)) else {
            continue;
        };
        let mut numbers: Vec<u32> = store::names(dry, &path)
            .unwrap_or_default()
            .iter()
            .filter_map(|number| number.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            let number = PartitionId::new(number);
            let writes = redo.remove(&log_id(topic, number)).unwrap_or_default();
            let id = TopicPartition::new(name.clone(), number);
            logs.push(open_one(dry, &log_dir, id, topic, &writes, journal_bytes));
        }
    }
    logs
}

fn open_one(
    dry: &Options,
    log_dir: &Arc<LogDir>,
    id: TopicPartition,
    topic: TopicId,
    writes: &[Write],
    journal_bytes: ByteSize,
) -> OpenedLog {
    let dir = store::partition_dir(&log_dir.root, &id, topic);
    let opened = commitlog::redo(&*dry.disk, &dir, writes, journal_bytes)
        .map_err(|error| errors::of_log(&id, error))
        .and_then(|_passed_over| {
            let memory = Arc::new(Memory::new(dry, &Metrics::new()));
            let config = TopicConfig::default();
            Partition::open(dry, &memory, log_dir, id.clone(), topic, &config)
        });
    OpenedLog {
        id,
        topic,
        root: log_dir.root.clone(),
        dir,
        journal_bytes: open::length(writes),
        recovery: match opened {
            Ok(opened) => Ok(opened.report),
            Err(error) => Err(errors::chain(&error).into()),
        },
    }
}

/// What the journal has of each log, and what it holds altogether.
fn journal_entries(
    dry: &Options,
    root: &Path,
    found: &mut Verified,
) -> (AHashMap<LogId, Vec<Write>>, ByteSize) {
    let dir = root.join(store::JOURNAL_DIR);
    let mut entries: AHashMap<LogId, Vec<Write>> = AHashMap::new();
    let mut journal_bytes = ByteSize::default();
    match Journal::open(Arc::clone(&dry.disk), &dir, dry.journal_bytes, 0) {
        Ok((_, journal)) => {
            journal_bytes = journal.file_bytes;
            for (log, write) in journal.writes {
                entries.entry(log).or_default().push(write);
            }
        }
        Err(error) => found.note(about(dir, errors::chain(&error), StartAction::Refuse)),
    }
    (entries, journal_bytes)
}
