//! Replays `lantern.metrics` into the store, from the last snapshot on where there is one, then follows it.

use std::sync::Arc;
use std::time::Duration;

use broker::{DynBroker, Error, Fetched, Marks, Place, Tail};
use env::DynClock;
use model::Position;
use parking_lot::Mutex;
use record::Batches;
use series::write::Applier;
use series::{Store, Touched};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::pending::{Pending, Subscription};
use crate::snapshot::SnapshotFile;
use crate::topic::partition;
use crate::write::Origin;
use crate::{Metrics, ORIGIN_HEADER};

/// How often old samples are let go.
const GC_EVERY: Duration = Duration::from_mins(1);
/// Bytes of the log read at once.
const READ_BYTES: usize = 1 << 20;
/// Samples after which a snapshot is worth its writing: they are replayed in a third of a second.
const SNAPSHOT_SAMPLES: u64 = 1_000_000;
/// How often that is looked at: what comes in between is replayed, too.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(1);
/// After a snapshot there is none for so many times what it took, so that samples which come fast do not keep
/// the disk busy with them.
const SNAPSHOT_REST: u32 = 10;
/// After one that could not be written, at least.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(10);
/// Pause after a failed read.
const RETRY: Duration = Duration::from_secs(1);

/// How far the replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything that was there at the start is in the store.
    pub replayed: bool,
    /// Next position to read.
    pub next: Position,
    /// End of what was there at the start.
    pub end: Position,
}

/// The way of samples from the log into the store.
#[derive(Debug)]
pub struct Service {
    broker: DynBroker,
    store: Arc<Store>,
    clock: DynClock,
    progress: watch::Sender<Progress>,
    subscribers: Arc<Mutex<Vec<Arc<Pending>>>>,
    metrics: Metrics,
    snapshot: Option<SnapshotFile>,
    /// What the store holds all of: every record before this, since the first one was read.
    reached: Mutex<Option<Position>>,
}

impl Service {
    /// A service that has read nothing yet. `lantern.metrics` must exist:
    /// [`crate::ensure_metrics_topic`].
    pub fn new(broker: DynBroker, store: Arc<Store>, clock: DynClock) -> Self {
        Self {
            broker,
            store,
            clock,
            progress: watch::Sender::new(Progress::default()),
            subscribers: Arc::default(),
            metrics: Metrics::default(),
            snapshot: None,
            reached: Mutex::new(None),
        }
    }

    /// Keeps the store in `file` between two runs.
    #[must_use]
    pub fn with_snapshot(mut self, file: SnapshotFile) -> Self {
        self.snapshot = Some(file);
        self
    }

    /// Counters, shared with the running service.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// How far the replay is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// A subscription to the watches of the store that get samples from now on. What is replayed
    /// touches none.
    pub fn subscribe(&self) -> Subscription {
        let pending = Arc::<Pending>::default();
        self.subscribers.lock().push(Arc::clone(&pending));
        Subscription(pending)
    }

    /// Replays and follows until `shutdown`, and then leaves a snapshot.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut saver = Saver::default();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow(&mut saver) => {}
        }
        if self.progress.borrow().replayed {
            saver.finish(&self.metrics).await;
            self.save(&mut saver);
            saver.finish(&self.metrics).await;
        }
    }

    async fn follow(&self, saver: &mut Saver) {
        let mut worker = Worker {
            applier: Applier::new(),
            touched: Touched::new(),
        };
        let mut next = None;
        loop {
            match self.follow_from(&mut worker, &mut next, saver).await {
                Err(Error::OutOfRange { log_start, .. }) => next = Some(log_start),
                Err(Error::Stopping) => return,
                Err(error) => {
                    warn!(%error, "Samples cannot be read from the log; trying again.");
                    tokio::time::sleep(RETRY).await;
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn follow_from(
        &self,
        worker: &mut Worker,
        next: &mut Option<Position>,
        saver: &mut Saver,
    ) -> Result<std::convert::Infallible, Error> {
        let at = partition();
        let end = self.broker.marks(&at).await?.high_watermark;
        let start = if let Some(next) = *next {
            next
        } else if let Some(position) = self.load(end).await {
            saver.samples = taken(&self.store);
            position
        } else {
            let oldest = self.clock.now().minus(self.store.options().retention);
            let found = self.broker.find(&at, Place::Time(oldest)).await?;
            found.map_or(end, |found| found.position)
        };
        let mut tail = Tail::new(Arc::clone(&self.broker), at, start)?.with_bytes(READ_BYTES);
        *next = Some(start);
        self.replay(worker, &mut tail, end).await?;
        let mut gc = tokio::time::interval(GC_EVERY);
        let mut look = tokio::time::interval(SNAPSHOT_LOOK);
        loop {
            let fetched = tokio::select! {
                fetched = tail.next() => fetched?,
                _ = gc.tick() => {
                    self.store.gc(self.clock.now());
                    continue;
                }
                _ = look.tick() => {
                    if saver.is_due(&self.store, &self.metrics, self.clock.monotonic()).await {
                        self.save(saver);
                    }
                    continue;
                }
            };
            self.take(worker, &fetched, true);
            *next = Some(fetched.next);
        }
    }

    /// Fills the store from the snapshot; answers from where to read on.
    async fn load(&self, end: Position) -> Option<Position> {
        let file = self.snapshot.clone()?;
        let topic = self.broker.topic(&partition().topic)?.id;
        let store = Arc::clone(&self.store);
        let path = file.path().display().to_string();
        let loading = tokio::task::spawn_blocking(move || file.load(&store, topic, end));
        match loading.await {
            Ok(Ok(position)) => position,
            Ok(Err(reason)) => {
                self.metrics.snapshot_failed();
                warn!(path, %reason, "The snapshot of the samples is passed over; all of them are replayed.");
                None
            }
            Err(error) => {
                self.metrics.snapshot_failed();
                warn!(path, %error, "The snapshot of the samples cannot be loaded; all of them are replayed.");
                None
            }
        }
    }

    /// Begins to write a snapshot, beside everything else.
    fn save(&self, saver: &mut Saver) {
        let position = *self.reached.lock();
        let topic = self.broker.topic(&partition().topic);
        let (Some(file), Some(position), Some(topic)) = (self.snapshot.clone(), position, topic)
        else {
            return;
        };
        let store = Arc::clone(&self.store);
        let samples = taken(&store);
        let (metrics, clock) = (self.metrics.clone(), self.clock.clone());
        saver.writing = Some(tokio::task::spawn_blocking(move || {
            let begun = clock.monotonic();
            let saved = file.save(&store, topic.id, position);
            let ended = clock.monotonic();
            let rest = SNAPSHOT_REST * ended.saturating_sub(begun);
            match saved {
                Ok(()) => {
                    metrics.snapshot(clock.now());
                    Written {
                        samples: Some(samples),
                        rest_until: ended + rest,
                    }
                }
                Err(error) => {
                    let path = file.path().display().to_string();
                    metrics.snapshot_failed();
                    warn!(path, %error, "The snapshot of the samples cannot be written; the next start replays more.");
                    Written {
                        samples: None,
                        rest_until: ended + rest.max(SNAPSHOT_RETRY),
                    }
                }
            }
        }));
    }

    /// Reads what is there already; touches nobody.
    async fn replay(
        &self,
        worker: &mut Worker,
        tail: &mut Tail,
        end: Position,
    ) -> Result<(), Error> {
        let started = self.clock.monotonic();
        let first = !self.progress.borrow().replayed;
        while tail.position() < end {
            let Some(fetched) = tail.try_next().await? else {
                break;
            };
            self.take(worker, &fetched, !first);
            self.progress.send_replace(Progress {
                replayed: !first,
                next: fetched.next,
                end,
            });
            tokio::task::yield_now().await;
        }
        if first {
            let stats = self.store.stats();
            let took = self.clock.monotonic().saturating_sub(started);
            info!(
                series = stats.series,
                samples = stats.samples,
                ?took,
                "Samples are replayed."
            );
        }
        self.progress.send_replace(Progress {
            replayed: true,
            next: tail.position(),
            end,
        });
        Ok(())
    }

    fn take(&self, worker: &mut Worker, fetched: &Fetched, tell: bool) {
        self.store.advance(self.clock.now());
        worker.touched.clear();
        for batch in Batches::new(fetched.batches.clone()) {
            let records = match batch.and_then(|batch| batch.records()) {
                Ok(records) => records,
                Err(error) => {
                    self.metrics.broken();
                    warn!(%error, "A batch of samples cannot be read and is passed over.");
                    continue;
                }
            };
            for record in &records {
                let value = record.as_ref().ok().and_then(|record| record.value);
                let Some(value) = value else {
                    self.metrics.broken();
                    continue;
                };
                let origin = record
                    .ok()
                    .and_then(|record| record.headers.get(ORIGIN_HEADER));
                let of_rules = origin.flatten() == Some(Origin::Rules.as_str().as_bytes());
                let mut unheard = Touched::new();
                let touched = if of_rules {
                    &mut unheard
                } else {
                    &mut worker.touched
                };
                match worker.applier.apply(&self.store, value, touched) {
                    Ok(applied) => {
                        self.metrics.applied(&applied);
                        if let Some(reason) = &applied.first_refusal {
                            warn!(series = applied.refused, %reason, "Series were refused.");
                        }
                    }
                    Err(error) => {
                        self.metrics.broken();
                        warn!(%error, "A record of lantern.metrics holds no samples.");
                    }
                }
            }
        }
        *self.reached.lock() = Some(fetched.next);
        self.metrics.lag(left(fetched.marks, fetched.next));
        if tell && !worker.touched.is_empty() {
            for pending in &*self.subscribers.lock() {
                pending.add(&worker.touched);
            }
        }
    }
}

fn left(marks: Marks, next: Position) -> u128 {
    marks.high_watermark.bits().saturating_sub(next.bits())
}

#[derive(Debug)]
struct Worker {
    applier: Applier,
    touched: Touched,
}

/// Samples the store ever took.
fn taken(store: &Store) -> u64 {
    let counters = store.counters();
    counters.stored + counters.stored_late
}

/// What became of writing a snapshot.
#[derive(Debug)]
struct Written {
    /// Samples the store had taken when it began; `None` if it failed.
    samples: Option<u64>,
    /// Monotonic time before which there is no other.
    rest_until: Duration,
}

/// When a snapshot is to be written, and the one that is being written.
#[derive(Debug, Default)]
struct Saver {
    /// Samples the store had taken at the last one.
    samples: u64,
    rest_until: Duration,
    writing: Option<JoinHandle<Written>>,
}

impl Saver {
    /// Asked at every look.
    async fn is_due(&mut self, store: &Store, metrics: &Metrics, now: Duration) -> bool {
        if self
            .writing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return false;
        }
        self.finish(metrics).await;
        now >= self.rest_until && taken(store) - self.samples >= SNAPSHOT_SAMPLES
    }

    /// Waits for the one that is being written.
    async fn finish(&mut self, metrics: &Metrics) {
        if let Some(writing) = self.writing.take() {
            match writing.await {
                Ok(written) => {
                    self.samples = written.samples.unwrap_or(self.samples);
                    self.rest_until = written.rest_until;
                }
                // A panic, which its hook told, or a runtime that ends.
                Err(_) => metrics.snapshot_failed(),
            }
        }
    }
}
