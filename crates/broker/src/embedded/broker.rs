//! [`EmbeddedBroker`]: the [`Broker`] trait over one data directory.
//!
//! Invariant: no call blocks an async thread on the disk; what must, runs on the blocking pool (or,
//! under [`Drive::Manual`], on the calling thread).
//!
//! Not here: the work itself, which is in the modules beside this one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use env::DiskLock;
use model::{GroupId, Offset, Position, TopicName, TopicPartition};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use record::{BatchBuilder, CheckedBatch, Compression};
use stdx::ByteSize;
use tokio::sync::watch;

use super::catalog::DATA_DIR;
use super::feed::RingFeed;
use super::retention::Bell;
use super::writer::Writer;
use super::{
    Drive, OpenError, Options, RecoveryReport, Shared, delays, events, groups, open, reads,
};
use super::{cleaner, retention, store, topics};
use crate::{
    Append, Appended, AppendsFuture, Broker, BrokerFuture, Capabilities, Commit, DelayFilter,
    Delays, Demand, Durability, Error, Feed, Fetched, Found, Kept, LogDirInfo, Marks, Place,
    ReadLimit, TopicConfig, TopicInfo, TopicSpec, TransactionalLog, Wanted, Wish,
};

/// The broker inside Lantern: durable topics in a directory of this machine, or in several.
///
/// Made by [`EmbeddedBroker::open`], which also starts its threads, and ended by
/// [`EmbeddedBroker::shutdown`]. Dropping it without a shutdown writes what is queued and leaves no
/// clean mark, as a crash would; nothing acknowledged is lost.
#[derive(Debug)]
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
    recovery: RecoveryReport,
    /// Taken by whoever ends the broker.
    running: Mutex<Option<Running>>,
    /// The writers under [`Drive::Manual`].
    manual: Mutex<Vec<Writer>>,
}

/// What must end before the data directory may be opened again.
#[derive(Debug)]
struct Running {
    threads: Vec<JoinHandle<()>>,
    bell: Arc<Bell>,
    locks: Vec<Box<dyn DiskLock>>,
}

impl EmbeddedBroker {
    /// Opens the data directory, creating it when it is missing, and recovers every partition.
    ///
    /// Blocks on the disk; a fresh or orderly closed directory is open within milliseconds.
    ///
    /// # Errors
    /// [`OpenError`]: the options cannot be, another process holds the directory, it cannot be
    /// written, or its catalog is damaged. A damaged partition is no error: it is reported in
    /// [`EmbeddedBroker::recovery`] and the others go on.
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let opened = open::open(options, &mut |_| ())?;
        let shared = Arc::new(opened.shared);
        delays::begin(&shared);
        let writers = shared.log_dirs.in_use().map(|log_dir| {
            let number = log_dir.number;
            (
                number,
                Writer::new(Arc::clone(&shared), Arc::clone(log_dir)),
            )
        });
        let writers: Vec<(u16, Writer)> = writers.collect();
        let bell = Arc::new(Bell::default());
        let mut threads = Vec::new();
        let mut manual = Vec::new();
        match shared.options.drive {
            Drive::Manual => manual.extend(writers.into_iter().map(|(_, writer)| writer)),
            Drive::Threads => {
                shared.bell.hang();
                for (number, writer) in writers {
                    let name = match number {
                        DATA_DIR => "lantern-writer".to_owned(),
                        // The system keeps fifteen bytes of it.
                        _ => format!("lantern-write{number}"),
                    };
                    threads.push(spawn(&name, move || writer.run())?);
                }
                let learner = Arc::clone(&shared);
                threads.push(spawn("lantern-delays", move || delays::learn(&learner))?);
                let (cleaned, clean_bell) = (Arc::clone(&shared), Arc::clone(&bell));
                for log_dir in shared.log_dirs.in_use() {
                    let (shared, bell) = (Arc::clone(&shared), Arc::clone(&bell));
                    let log_dir = Arc::clone(log_dir);
                    threads.push(spawn("lantern-retain", move || {
                        retention::run(&shared, &log_dir, &bell);
                    })?);
                }
                threads.push(spawn("lantern-clean", move || {
                    cleaner::run(&cleaned, &clean_bell);
                })?);
            }
        }
        Ok(Arc::new(Self {
            shared,
            recovery: opened.report,
            running: Mutex::new(Some(Running {
                threads,
                bell,
                locks: opened.locks,
            })),
            manual: Mutex::new(manual),
        }))
    }

    /// What recovery found when the directory was opened.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Lets go of memory that followers and buffers need no more, which otherwise happens every
    /// [`Options::retention_interval`].
    pub fn let_memory_go(&self) {
        retention::let_memory_go(&self.shared);
    }

    /// What [`Options::defaults`] said, for callers that create topics.
    pub fn defaults(&self) -> &TopicConfig {
        &self.shared.options.defaults
    }

    /// Appends one record, stamped now; flushed when ready. Answers its offset.
    ///
    /// For a record at a time. Many together, or some with headers, are a batch
    /// ([`record::BatchBuilder`]) for [`Broker::append`].
    ///
    /// # Errors
    /// Those of [`Broker::append`].
    pub async fn produce(
        &self,
        to: &TopicPartition,
        key: &[u8],
        value: &[u8],
    ) -> Result<Offset, Error> {
        let now = self.shared.options.clock.now();
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push(now, Some(key), Some(value), &[]);
        let appended = self.append(to, vec![batch.build()], Durability::Flushed);
        Ok(appended.await?.base_offset)
    }

    /// Adds the broker's numbers, named `lantern_broker_*`, and what is known by partition and group.
    pub fn register(&self, registry: &mut Registry) {
        delays::register(registry, &self.shared);
        self.shared.metrics.register(registry, &self.shared);
    }

    /// Writes, flushes and answers what is queued; answers how many appends there were.
    ///
    /// Only under [`Drive::Manual`]; does nothing otherwise.
    pub fn run_round(&self) -> usize {
        self.manual.lock().iter_mut().map(Writer::round).sum()
    }

    /// Learns from the log since when records wait that groups have not read, as a thread does after the start;
    /// for [`Drive::Manual`]. Blocks on the disk.
    pub fn learn_delays_now(&self) {
        delays::learn(&self.shared);
    }

    /// Applies retention now; answers the bytes removed. Blocks on the disk.
    pub fn retain_now(&self) -> u64 {
        retention::turn(&self.shared)
    }

    /// Compacts what is due now; answers the bytes that are gone. Blocks on the disk.
    pub fn clean_now(&self) -> u64 {
        cleaner::turn(&self.shared, &Bell::default())
    }

    /// Why compaction gave up partitions until the next start, a reason each.
    pub fn uncleanable(&self) -> Vec<Arc<str>> {
        self.shared.uncleanable.lock().values().cloned().collect()
    }

    /// Takes no more appends, finishes those queued, flushes, closes every log, leaves the clean
    /// mark and lets the directory go. The second call does nothing.
    ///
    /// # Errors
    /// [`Error`] when a flush or the mark failed; the directory is let go all the same.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let Some(running) = self.running.lock().take() else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let writers = std::mem::take(&mut *self.manual.lock());
        blocking(&self.shared, move || end(&shared, running, writers, true)).await
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        let writers = std::mem::take(&mut *self.manual.lock());
        if let Some(running) = self.running.lock().take() {
            // Without the clean mark nothing here can fail in a way anybody could act on.
            let _ended = end(&self.shared, running, writers, false);
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Thread { source })
}

fn end(
    shared: &Shared,
    running: Running,
    mut writers: Vec<Writer>,
    orderly: bool,
) -> Result<(), Error> {
    shared.stopping.store(true, Ordering::Release);
    for log_dir in shared.log_dirs.in_use() {
        log_dir.queue.close();
    }
    running.bell.ring();
    if orderly {
        while writers.iter_mut().map(Writer::round).sum::<usize>() > 0 {}
        writers.iter_mut().for_each(Writer::flush_all);
    }
    drop(writers);
    for thread in running.threads {
        // A panic of the thread was counted where it was fenced.
        let _ended = thread.join();
    }
    for log_dir in shared.log_dirs.in_use() {
        // Nobody takes these any more: they are answered, and let go of their partitions.
        log_dir.queue.drain(&mut Vec::new());
    }
    shared.bell.take_down();
    // Whoever changes topics finishes first.
    let catalog = shared.catalog.lock();
    let mut closed = Ok(());
    // Without room for checkpoints nothing is lost: the next start reads more.
    let mut no_room = None;
    for topic in shared.topics.load().in_order() {
        for partition in &topic.partitions {
            match partition.close(orderly) {
                Err(error) if is_full(&error) => no_room = Some(error),
                result => closed = closed.and(result),
            }
        }
    }
    if orderly && closed.is_ok() && no_room.is_none() {
        // Every log is synced: the next start has nothing to redo. If this fails it does so in vain.
        for log_dir in shared.log_dirs.in_use() {
            if let Some(journal) = log_dir.journal.lock().take()
                && let Err(error) = journal.close()
            {
                events::journal_kept(&error);
            }
        }
        // What a missing disk has was not closed.
        let topics = shared.topics.load();
        let mut all = topics.live.values().flat_map(|topic| &topic.partitions);
        let marked = if all.all(|partition| partition.log_dir().missing().is_none()) {
            store::mark_clean(&shared.options)
        } else {
            Ok(())
        };
        match marked {
            Err(error) if is_full(&error) => no_room = Some(error),
            result => {
                closed = result;
                events::closed(&shared.options.data_dir);
            }
        }
    }
    if let Some(error) = no_room {
        events::closed_without_room(&shared.options.data_dir, &error);
    }
    drop(catalog);
    drop(running.locks);
    closed
}

fn is_full(error: &Error) -> bool {
    match error {
        Error::DiskFull { .. } => true,
        Error::Io { source, .. } => env::is_full(source),
        _ => false,
    }
}

/// Runs `work` where it may block on the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if shared.options.drive == Drive::Manual {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}

impl Broker for EmbeddedBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            positions_are_offsets: true,
            durable_append: true,
            idempotent_append: true,
            transactions: true,
        }
    }

    fn topics(&self) -> Arc<BTreeMap<TopicName, Arc<TopicInfo>>> {
        Arc::clone(&self.shared.topics.load().infos)
    }

    fn topic(&self, name: &TopicName) -> Option<Arc<TopicInfo>> {
        self.shared.topics.load().infos.get(name).cloned()
    }

    fn topic_named(&self, name: &str) -> Option<Arc<TopicInfo>> {
        let topics = self.shared.topics.load();
        let topic = topics.live.get(name);
        topic.map(|topic| Arc::clone(&topic.info))
    }

    fn create_topic(&self, spec: TopicSpec) -> BrokerFuture<'_, Arc<TopicInfo>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // Progress in an older topic of this name is gone before the new one is there.
            groups::forget_topics_gone(&shared).await?;
            let work = Arc::clone(&shared);
            blocking(&shared, move || topics::create(&work, spec)).await
        })
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BrokerFuture<'a, ()> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        Box::pin(async move {
            let deleted = name.clone();
            let work = Arc::clone(&shared);
            blocking(&self.shared, move || topics::delete(&work, &name)).await?;
            if let Err(error) = groups::forget_topics_gone(&shared).await {
                events::stale_progress_kept(&deleted, &error);
            }
            Ok(())
        })
    }

    fn add_partitions<'a>(
        &'a self,
        name: &'a TopicName,
        count: u32,
    ) -> BrokerFuture<'a, Arc<TopicInfo>> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        Box::pin(blocking(&self.shared, move || {
            topics::grow(&shared, &name, count)
        }))
    }

    fn configure_topic<'a>(
        &'a self,
        name: &'a TopicName,
        config: TopicConfig,
    ) -> BrokerFuture<'a, Arc<TopicInfo>> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        Box::pin(blocking(&self.shared, move || {
            topics::configure(&shared, &name, config)
        }))
    }

    fn append<'a>(
        &'a self,
        to: &'a TopicPartition,
        batches: Vec<CheckedBatch>,
        durability: Durability,
    ) -> BrokerFuture<'a, Appended> {
        Box::pin(reads::append(&self.shared, to, batches, durability))
    }

    fn append_each(&self, appends: Vec<Append>) -> AppendsFuture<'_> {
        reads::append_each(&self.shared, appends)
    }

    fn read<'a>(
        &'a self,
        at: &'a TopicPartition,
        from: Position,
        limit: ReadLimit,
    ) -> BrokerFuture<'a, Fetched> {
        Box::pin(async move {
            let partition = self.shared.partition(at)?;
            if let Some(fetched) = reads::warm(&self.shared, &partition, from, limit, false)? {
                return Ok(fetched);
            }
            let shared = Arc::clone(&self.shared);
            blocking(&self.shared, move || {
                reads::cold(&shared, &partition, from, limit, false)
            })
            .await
        })
    }

    fn marks<'a>(&'a self, of: &'a TopicPartition) -> BrokerFuture<'a, Marks> {
        Box::pin(async move {
            let partition = self.shared.partition(of)?;
            partition.check_readable()?;
            Ok(partition.marks())
        })
    }

    fn kept(&self, of: &TopicPartition) -> Option<Kept> {
        let partition = self.shared.partition(of).ok()?;
        let log_dir = partition.log_dir();
        Some(Kept {
            log_dir: Arc::clone(&log_dir.name),
            offline: log_dir.missing().is_some(),
            size: ByteSize::from_bytes(partition.size_bytes()),
        })
    }

    fn log_dirs(&self) -> Vec<LogDirInfo> {
        let disk = &self.shared.options.disk;
        let all = self.shared.log_dirs.iter().map(|dir| {
            let offline = dir.missing().is_some();
            LogDirInfo {
                name: Arc::clone(&dir.name),
                offline,
                space: (!offline).then(|| disk.space(&dir.root).ok()).flatten(),
            }
        });
        all.collect()
    }

    fn is_offline(&self, of: &TopicPartition) -> bool {
        let partition = self.shared.partition(of);
        partition.is_ok_and(|partition| partition.log_dir().missing().is_some())
    }

    fn watch(&self, of: &TopicPartition) -> Result<watch::Receiver<Position>, Error> {
        Ok(self.shared.partition(of)?.watch())
    }

    fn want(&self, of: &TopicPartition, wish: Wish, demand: &Arc<Demand>) -> Result<Wanted, Error> {
        Ok(self.shared.partition(of)?.want(wish, demand))
    }

    fn feed(&self, of: &TopicPartition) -> Result<Option<Box<dyn Feed>>, Error> {
        let partition = self.shared.partition(of)?;
        let feed = RingFeed::new(partition, Arc::clone(&self.shared.memory));
        Ok(feed.map(|feed| -> Box<dyn Feed> { Box::new(feed) }))
    }

    fn find<'a>(&'a self, at: &'a TopicPartition, place: Place) -> BrokerFuture<'a, Option<Found>> {
        Box::pin(async move {
            let partition = self.shared.partition(at)?;
            partition.check_readable()?;
            let found = |position| Found {
                position,
                timestamp: None,
            };
            match place {
                Place::Earliest => Ok(Some(found(partition.marks().log_start))),
                Place::Latest => Ok(Some(found(partition.marks().high_watermark))),
                Place::Time(_) | Place::MaxTimestamp => {
                    let leave = Arc::clone(&self.shared.searches).acquire_owned().await;
                    let find = move || {
                        // Kept until it is done, also when nobody waits for it any more.
                        let _leave = leave;
                        partition.find(place)
                    };
                    blocking(&self.shared, find).await
                }
            }
        })
    }

    fn delete_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        until: Position,
    ) -> BrokerFuture<'a, Position> {
        Box::pin(async move {
            topics::refuse_reserved(&of.topic, "its records are Lantern's to remove")?;
            let partition = self.shared.partition(of)?;
            let until = partition.offset_to_delete_before(until)?;
            blocking(&self.shared, move || {
                partition.delete_before(until).map(Position::from)
            })
            .await
        })
    }

    fn commit<'a>(
        &'a self,
        group: &'a GroupId,
        commits: Vec<(TopicPartition, Commit)>,
    ) -> BrokerFuture<'a, ()> {
        Box::pin(groups::commit(&self.shared, group, commits))
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, Vec<(TopicPartition, Option<Commit>)>> {
        Box::pin(async move { groups::committed(&self.shared, group, of) })
    }

    fn committed_groups(&self) -> BrokerFuture<'_, Vec<GroupId>> {
        Box::pin(async move { Ok(self.shared.progress()?.groups()) })
    }

    fn forget_group<'a>(
        &'a self,
        group: &'a GroupId,
        of: Option<Vec<TopicPartition>>,
    ) -> BrokerFuture<'a, ()> {
        Box::pin(groups::forget(&self.shared, group, of))
    }

    fn new_producer_id(&self) -> BrokerFuture<'_, i64> {
        Box::pin(async move {
            if let Some(id) = self.shared.producer_id_at_hand() {
                return Ok(id);
            }
            let shared = Arc::clone(&self.shared);
            blocking(&self.shared, move || shared.new_producer_id()).await
        })
    }

    fn transactional(&self) -> Option<&dyn TransactionalLog> {
        Some(&self.shared)
    }

    fn delays(&self, filter: &DelayFilter) -> Option<Delays> {
        Some(delays::look(&self.shared, filter))
    }
}
