//! The logs that the catalog names: opened several at a time, in the order they are told of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::AHashMap;
use commitlog::Write;
use model::limits::GROUPS_TOPIC;
use model::{PartitionId, TopicId, TopicPartition};
use parking_lot::Mutex;

use super::journals::{Found, length};
use super::{Loaded, OpenedLog};
use crate::embedded::errors::OpenError;
use crate::embedded::log_dirs::{LogDir, LogDirs};
use crate::embedded::memory::Memory;
use crate::embedded::partition::{OpenedPartition, Partition, log_id};
use crate::embedded::report::{PartitionReport, RecoveryReport};
use crate::embedded::topics::{Topic, Topics};
use crate::embedded::{Drive, Options, errors, events, store};
use crate::{Error, TopicConfig};

/// Threads that recover partitions at most; recovery waits for the disk, not for processors.
const RECOVERY_THREADS: usize = 8;

pub(super) fn open_topics(
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
    let mut infos = BTreeMap::new();
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
        Drive::Manual => 1,
        Drive::Threads => RECOVERY_THREADS.min(work.len() / 4),
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
