//! Replays `lantern.metrics` into the store, then follows it.

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
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::pending::{Pending, Subscription};
use crate::topic::partition;
use crate::write::Origin;
use crate::{Metrics, ORIGIN_HEADER};

/// How often old samples are let go.
const GC_EVERY: Duration = Duration::from_mins(1);
/// Bytes of the log read at once.
const READ_BYTES: usize = 1 << 20;
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
        }
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

    /// Replays and follows until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut worker = Worker {
            applier: Applier::new(),
            touched: Touched::new(),
        };
        let mut next = None;
        loop {
            match self.follow_from(&mut worker, &mut next).await {
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
    ) -> Result<std::convert::Infallible, Error> {
        let at = partition();
        let end = self.broker.marks(&at).await?.high_watermark;
        let start = if let Some(next) = *next {
            next
        } else {
            let oldest = self.clock.now().minus(self.store.options().retention);
            let found = self.broker.find(&at, Place::Time(oldest)).await?;
            found.map_or(end, |found| found.position)
        };
        let mut tail = Tail::new(Arc::clone(&self.broker), at, start)?.with_bytes(READ_BYTES);
        *next = Some(start);
        self.replay(worker, &mut tail, end).await?;
        let mut gc = tokio::time::interval(GC_EVERY);
        loop {
            let fetched = tokio::select! {
                fetched = tail.next() => fetched?,
                _ = gc.tick() => {
                    self.store.gc(self.clock.now());
                    continue;
                }
            };
            self.take(worker, &fetched, true);
            *next = Some(fetched.next);
        }
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
