//! Counting: reads what came since the last beat; every few beats writes samples, and now and then a
//! snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Durability, DynBroker, TopicConfig, TopicSpec, ensure_topic};
use env::DynClock;
use ingest::Origin;
use model::{PartitionId, Position, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Batches, Compression};
use stdx::ByteSize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::running::{READ_LIMIT, Running};
use crate::snapshot::Snapshot;
use crate::spec::{Meter, MeterFile, Problem};

/// The topic of the snapshots.
const SNAPSHOTS_TOPIC: &str = "lantern.meters";
/// Snapshots kept before older ones are deleted.
const SNAPSHOTS_KEPT: u32 = 64;

/// How meters run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time between two countings. Default 50 ms: little at a time, so that a thread that others
    /// wait for is never taken for long.
    pub counting: Duration,
    /// Time between two samples of what changed. Default 250 ms.
    pub interval: Duration,
    /// Samples of what did not change come this often. Default 5 s.
    pub heartbeat: Duration,
    /// Time between two snapshots. Default 1 s.
    pub snapshot: Duration,
    /// How far back keys that wait are looked for after a restart. Default 10 min.
    pub lookback: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            counting: Duration::from_millis(50),
            interval: Duration::from_millis(250),
            heartbeat: Duration::from_secs(5),
            snapshot: Duration::from_secs(1),
            lookback: Duration::from_mins(10),
        }
    }
}

/// Changes the meters of a running service.
#[derive(Debug, Clone)]
pub struct Handle {
    meters: watch::Sender<Arc<Vec<Meter>>>,
}

impl Handle {
    /// Checks all files and puts them in force together; the values of meters and metrics that stay
    /// are kept.
    ///
    /// # Errors
    /// Every [`Problem`]; then nothing changes.
    pub fn apply(&self, files: &[MeterFile]) -> Result<(), Vec<Problem>> {
        let mut meters: Vec<Meter> = Vec::new();
        let mut problems = Vec::new();
        for file in files {
            match file.parse() {
                Ok(meter) if meters.iter().any(|other| other.name == meter.name) => {
                    let reason = format!("metadata.name: meter '{}' comes twice", meter.name);
                    problems.push(Problem {
                        path: file.path.clone(),
                        reason,
                    });
                }
                Ok(meter) => meters.push(meter),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.meters.send_replace(Arc::new(meters));
        Ok(())
    }
}

/// The service that counts.
#[derive(Debug)]
pub struct Service {
    options: Options,
    broker: DynBroker,
    clock: DynClock,
    meters: watch::Receiver<Arc<Vec<Meter>>>,
    handle: Handle,
}

impl Service {
    /// A service without meters.
    pub fn new(options: Options, broker: DynBroker, clock: DynClock) -> Self {
        let (sender, meters) = watch::channel(Arc::default());
        Self {
            options,
            broker,
            clock,
            meters,
            handle: Handle { meters: sender },
        }
    }

    /// What changes its meters.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Counts until `shutdown`, then writes a last snapshot.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            options,
            broker,
            clock,
            mut meters,
            handle: _handle,
        } = self;
        let mut worker = match Worker::start(options, broker, clock).await {
            Ok(worker) => worker,
            Err(error) => {
                warn!(%error, "Meters cannot read their snapshots and do not run.");
                return;
            }
        };
        let mut beat = tokio::time::interval(worker.options.counting);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = beat.tick() => {}
            }
            let current = Arc::clone(&meters.borrow_and_update());
            worker.adopt(&current);
            worker.beat().await;
        }
        worker.snapshot(true).await;
    }
}

/// Something that is due at every so many beats, however the beats jitter.
#[derive(Debug)]
struct Every {
    interval: Duration,
    beat: Duration,
    due: Duration,
}

impl Every {
    fn new(interval: Duration, beat: Duration) -> Self {
        Self {
            interval,
            beat,
            due: Duration::ZERO,
        }
    }

    /// Whether it is due at the beat nearest to its time; then the next time is set.
    fn is_due(&mut self, now: Duration) -> bool {
        if now + self.beat / 2 < self.due {
            return false;
        }
        let next = self.due + self.interval;
        // After a pause it begins anew and catches nothing up.
        self.due = if next > now {
            next
        } else {
            now + self.interval
        };
        true
    }
}

struct Worker {
    options: Options,
    broker: DynBroker,
    clock: DynClock,
    running: Vec<Running>,
    restored: Snapshot,
    sampling: Every,
    snapshots: TopicPartition,
    snapshot_at: Option<Timestamp>,
    snapshot_due: bool,
    snapshots_written: u32,
    failing: bool,
}

impl Worker {
    async fn start(
        options: Options,
        broker: DynBroker,
        clock: DynClock,
    ) -> Result<Self, broker::Error> {
        let name = TopicName::new(SNAPSHOTS_TOPIC).expect("a constant that is a topic name");
        let config = TopicConfig {
            retention: None,
            segment_bytes: ByteSize::from_mib(8),
            ..TopicConfig::default()
        };
        ensure_topic(
            &*broker,
            TopicSpec {
                name: name.clone(),
                partitions: 1,
                config,
            },
        )
        .await?;
        let snapshots = TopicPartition::new(name, PartitionId::new(0));
        let restored = newest_snapshot(&*broker, &snapshots).await?;
        let sampling = Every::new(options.interval, options.counting);
        Ok(Self {
            options,
            broker,
            clock,
            running: Vec::new(),
            restored,
            sampling,
            snapshots,
            snapshot_at: None,
            snapshot_due: false,
            snapshots_written: 0,
            failing: false,
        })
    }

    /// Makes the running meters those of `meters`, keeping what stays.
    fn adopt(&mut self, meters: &[Meter]) {
        if self.running.iter().map(|running| &running.meter).eq(meters) {
            return;
        }
        let mut old: BTreeMap<String, Running> = self
            .running
            .drain(..)
            .map(|running| (running.meter.name.clone(), running))
            .collect();
        for meter in meters {
            let kept = old
                .remove(&meter.name)
                .filter(|old| old.meter.topic == meter.topic);
            self.running.push(match kept {
                Some(kept) if kept.meter == *meter => kept,
                Some(kept) => {
                    info!(meter = %meter.name, "A meter changed.");
                    kept.changed_to(meter)
                }
                None => Running::new(meter),
            });
        }
    }

    /// Counts what came, and writes what is due.
    async fn beat(&mut self) {
        let result = self.try_beat().await;
        match result {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    warn!(%error, "Meters cannot count; they try again.");
                }
                self.failing = true;
            }
        }
    }

    async fn try_beat(&mut self) -> Result<(), broker::Error> {
        for running in &mut self.running {
            let Some(topic) = self.broker.topic(&running.meter.topic) else {
                continue;
            };
            if running
                .progress
                .as_ref()
                .is_none_or(|p| p.topic != topic.id.to_string())
            {
                let now = self.clock.now();
                running
                    .begin(
                        &*self.broker,
                        &topic,
                        &mut self.restored,
                        now,
                        self.options.lookback,
                    )
                    .await?;
            }
            running.advance(&self.broker, &topic).await?;
        }
        if self.sampling.is_due(self.clock.monotonic()) {
            self.write_samples().await?;
            self.snapshot(false).await;
        }
        Ok(())
    }

    async fn write_samples(&mut self) -> Result<(), broker::Error> {
        let now = self.clock.now();
        let heartbeat = self.options.heartbeat;
        let mut samples = Vec::new();
        for running in &mut self.running {
            let due = running
                .written
                .is_none_or(|written| now.since(written) >= heartbeat);
            if running.caught_up && (running.changed || due) {
                samples.extend(running.tally.samples(now));
                self.snapshot_due |= running.changed;
                running.changed = false;
                running.written = Some(now);
            }
        }
        if !samples.is_empty() {
            ingest::write(&self.broker, &samples, Origin::Samples).await?;
        }
        Ok(())
    }

    /// Writes a snapshot when one is due (`always`: when anything was counted since the last one).
    async fn snapshot(&mut self, always: bool) {
        let now = self.clock.now();
        let early = self
            .snapshot_at
            .is_some_and(|at| now.since(at) < self.options.snapshot);
        if !self.snapshot_due || (early && !always) {
            return;
        }
        let mut snapshot = Snapshot::new();
        for running in &self.running {
            if let Some(progress) = &running.progress {
                snapshot.put(&running.meter.name, progress, &running.tally);
            }
        }
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(now, None, Some(&snapshot.to_bytes()), &[]);
        let batches = vec![builder.build()];
        match self
            .broker
            .append(&self.snapshots, batches, Durability::Written)
            .await
        {
            Ok(appended) => {
                self.snapshot_at = Some(now);
                self.snapshot_due = false;
                self.snapshots_written += 1;
                if self.snapshots_written.is_multiple_of(SNAPSHOTS_KEPT) {
                    let keep_from = Position::from(appended.base_offset);
                    // Older snapshots that stay only cost room; the next round tries again.
                    let _ = self.broker.delete_records(&self.snapshots, keep_from).await;
                }
            }
            Err(error) => warn!(%error, "A snapshot of the meters could not be written."),
        }
    }
}

/// The newest snapshot there is.
async fn newest_snapshot(
    broker: &dyn Broker,
    at: &TopicPartition,
) -> Result<Snapshot, broker::Error> {
    let mut newest = Snapshot::new();
    let mut next = broker.marks(at).await?.log_start;
    loop {
        let fetched = broker.read(at, next, READ_LIMIT).await?;
        if fetched.batches.is_empty() {
            return Ok(newest);
        }
        for batch in Batches::new(fetched.batches.clone()) {
            let records = batch.and_then(|batch| batch.records());
            let Ok(records) = records else { continue };
            let values = records.iter().flatten().filter_map(|record| record.value);
            if let Some(snapshot) = values.filter_map(Snapshot::parse).last() {
                newest = snapshot;
            }
        }
        next = fetched.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_every_five_beats_is_due_at_every_fifth_though_they_jitter() {
        let ms = Duration::from_millis;
        let mut every = Every::new(ms(250), ms(50));
        let start = ms(1_000_000);
        let jitter = [7, 0, 21, 3, 14, 1, 9, 0, 18, 2, 5];
        let mut due = Vec::new();
        for (beat, jitter) in (0_u64..55).zip(jitter.into_iter().cycle()) {
            if every.is_due(start + ms(50 * beat + jitter)) {
                due.push(beat);
            }
        }
        assert_eq!(due, (0..55).step_by(5).collect::<Vec<_>>());
        // A long pause is not caught up.
        let late = start + ms(60_000);
        let after = (0..6).map(|beat| every.is_due(late + ms(50 * beat)));
        assert_eq!(
            after.collect::<Vec<_>>(),
            [true, false, false, false, false, true]
        );
    }
}
