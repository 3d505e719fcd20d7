//! The agent's loop: a reading on each beat of the interval, one record a reading.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::DynBroker;
use env::DynClock;
use ingest::Origin;
use probe::{Host, Sink};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::table::Table;

/// Puts values of somebody else into each reading: Lantern's own metrics.
pub type Extra = Arc<dyn Fn(&mut dyn Sink) + Send + Sync>;

/// How the agent reads.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time between two readings. Default 1 s.
    pub interval: Duration,
    /// Mount point of procfs. Default `/proc`.
    pub procfs: PathBuf,
    /// Mount point of sysfs. Default `/sys`.
    pub sysfs: PathBuf,
    /// Label `job` of every series. Default `lantern`.
    pub job: String,
    /// Label `instance` of every series. Default the host's name.
    pub instance: String,
}

impl Default for Options {
    fn default() -> Self {
        let probe = probe::Options::default();
        Self {
            interval: Duration::from_secs(1),
            procfs: probe.procfs,
            sysfs: probe.sysfs,
            job: "lantern".to_owned(),
            instance: probe::host_name(),
        }
    }
}

/// What the agent did since it started; shared.
#[derive(Debug, Default)]
pub struct Metrics {
    readings: AtomicU64,
    samples: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Metrics {
    /// Puts the counters, so that they stand among the samples themselves.
    pub fn put(&self, sink: &mut dyn Sink) {
        let mut counter = |name: &str, value: &AtomicU64| {
            sink.put(name, &[], value.load(Ordering::Relaxed) as f64);
        };
        counter("lantern_agent_readings_total", &self.readings);
        counter("lantern_agent_samples_total", &self.samples);
        counter("lantern_agent_readings_dropped_total", &self.dropped);
        counter("lantern_agent_samples_refused_total", &self.refused);
    }
}

/// The host agent.
pub struct Service {
    options: Options,
    broker: DynBroker,
    clock: DynClock,
    extra: Extra,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// An agent that writes through `broker`. `extra` is called once in every reading.
    pub fn new(options: Options, broker: DynBroker, clock: DynClock, extra: Extra) -> Self {
        Self {
            options,
            broker,
            clock,
            extra,
            metrics: Arc::default(),
        }
    }

    /// What it did so far; shared with the running service.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Reads and writes until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            options,
            broker,
            clock,
            extra,
            metrics,
        } = self;
        info!(interval = ?options.interval, instance = %options.instance, "Reading this host.");
        let host = Host::open(probe::Options {
            procfs: options.procfs,
            sysfs: options.sysfs,
        });
        let table = Table::new(&[("job", &options.job), ("instance", &options.instance)]);
        let mut state = Some((host, table));
        let mut beat = tokio::time::interval(options.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut refusing = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = beat.tick() => {}
            }
            let Some((mut host, mut table)) = state.take() else {
                return;
            };
            let (clock, extra, shared) =
                (Arc::clone(&clock), Arc::clone(&extra), Arc::clone(&metrics));
            // Files of procfs can take the kernel milliseconds: not on a thread that serves others.
            let read = tokio::task::spawn_blocking(move || {
                table.begin();
                let now = clock.now();
                let reading = host.read(&mut table);
                shared.put(&mut table);
                extra(&mut table);
                let samples = table.finish(now);
                shared.refused.store(table.refused(), Ordering::Relaxed);
                (host, table, reading, samples)
            });
            let Ok((host, table, reading, samples)) = read.await else {
                warn!("A reading of this host panicked; the agent stops.");
                return;
            };
            state = Some((host, table));
            if metrics.readings.fetch_add(1, Ordering::Relaxed) == 0 {
                for (collector, error) in &reading.failures {
                    warn!(collector, %error, "A collector cannot read this host.");
                }
            }
            let count = samples.len() as u64;
            match ingest::write(&broker, &samples, Origin::Samples).await {
                Ok(()) => {
                    metrics.samples.fetch_add(count, Ordering::Relaxed);
                    refusing = false;
                }
                Err(error) => {
                    metrics.dropped.fetch_add(1, Ordering::Relaxed);
                    if !refusing {
                        warn!(%error, "A reading could not be written and is dropped.");
                    }
                    refusing = true;
                }
            }
        }
    }
}
