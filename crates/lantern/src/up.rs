//! `lantern up`: the life of one run, from the configuration to the last flush.
//!
//! Services start from the ground up and stop from the roof down: first who takes in from outside, then
//! who works on it, last the broker, which flushes what is written.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admission::Admission;
use anyhow::{Context, Result, anyhow};
use broker::coordinator::GroupCoordinator;
use broker::{DynBroker, EmbeddedBroker, OpenError};
use env::{DynClock, DynDisk, DynEntropy, RealClock, RealDisk, RealEntropy};
use prometheus_client::registry::Registry;
use series::{Store, StoreOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cli::UpFlags;
use crate::config::Config;
use crate::loaded::{Loaded, Targets};
use crate::spans::Spans;
use crate::{alert_lanes, banner, logging, metrics};

/// How long the services of one floor get to stop before the next floor is told.
const FLOOR_DRAIN: Duration = Duration::from_secs(8);

/// Runs Lantern until a signal ends it.
pub(crate) fn run(flags: &UpFlags) -> Result<ExitCode> {
    let started = Instant::now();
    let (config, origins) = Config::load(flags)?;
    logging::start(config.log_format);
    open_files_as_many_as_allowed();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = stop_on_signal()?;
        let running = tokio::select! {
            running = Running::start(&config, origins, started) => running?,
            // Nothing was promised yet: what is written is as after a kill, which the next start expects.
            () = stop.cancelled() => return Ok(()),
        };
        stop.cancelled().await;
        running.stop().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Raises the soft limit of open files to the hard one: shells and service managers start programs with 1,024, which is
/// for programs that use `select`, and a log with many partitions and clients needs more.
pub(crate) fn open_files_as_many_as_allowed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, limit = current, "The limit of open files cannot be raised.");
    }
}

/// As many Kafka connections as are allowed anyway, and at most half of the open files: the log must
/// always get one, since without it a partition would take no more.
fn kafka_connections() -> usize {
    use rustix::process::{Resource, getrlimit};
    let most = kafka_edge::Options::default().connections_max;
    let files = getrlimit(Resource::Nofile).current;
    let half = files.map_or(most, |files| usize::try_from(files / 2).unwrap_or(most));
    if half < most {
        warn!(
            connections = half,
            "The limit of open files allows fewer Kafka connections than usual: raise it (ulimit -n, LimitNOFILE) for more."
        );
    }
    half.clamp(1, most)
}

/// Tells of the first Ctrl-C or SIGTERM; the second one ends the process at once.
fn stop_on_signal() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                info!("Stopping; once more ends at once.");
                told.cancel();
            }
        }
        #[expect(clippy::exit, reason = "the second signal asks for exactly this")]
        std::process::exit(130);
    });
    Ok(stop)
}

/// Services that stop together.
struct Floor {
    shutdown: CancellationToken,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Floor {
    fn new() -> Self {
        Self {
            shutdown: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        service: impl FnOnce(CancellationToken) -> F,
    ) {
        let task = tokio::spawn(service(self.shutdown.clone()));
        self.tasks.push((name, task));
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let deadline = tokio::time::Instant::now() + FLOOR_DRAIN;
        for (service, mut task) in self.tasks {
            match tokio::time::timeout_at(deadline, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => error!(service, error = %panic, "A service ended by a panic."),
                Err(_) => {
                    error!(service, "A service did not stop in time and is cut off.");
                    task.abort();
                }
            }
        }
    }
}

/// Everything that runs.
struct Running {
    edges: Floor,
    services: Floor,
    spine: Floor,
    broker: Arc<EmbeddedBroker>,
    spans: Option<Spans>,
}

impl Running {
    async fn start(
        config: &Config,
        origins: std::collections::BTreeMap<String, String>,
        started: Instant,
    ) -> Result<Self> {
        let clock: DynClock = Arc::new(RealClock::new());
        let entropy: DynEntropy = Arc::new(RealEntropy);
        let mut registry = Registry::default();
        let (mut edges, mut services, mut spine) = (Floor::new(), Floor::new(), Floor::new());

        // The ports and the data first: what is wrong with them should be said before any work.
        let http = http_edge::Service::bind(config.http)
            .await
            .map_err(|error| elsewhere(&error, "--http"))?;
        let embedded = open_broker(config, &clock, &entropy).await?;
        embedded.register(&mut registry);
        let broker: DynBroker = Arc::<EmbeddedBroker>::clone(&embedded);
        let groups = GroupCoordinator::new(
            Arc::clone(&broker),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            config.groups.options(),
        );
        groups.register(&mut registry);
        let transactions = broker::TransactionCoordinator::new(
            Arc::clone(&broker),
            Arc::clone(&clock),
            config.transactions.options(),
        );
        transactions.register(&mut registry);
        let admission = Admission::new(config.admission(), Arc::clone(&clock));
        admission.register(&mut registry);
        let kafka = kafka_edge::Service::new(
            kafka_edge::Options {
                connections_max: kafka_connections(),
                ..config.kafka_edge()
            },
            Arc::clone(&broker),
            Arc::clone(&groups),
            Arc::clone(&clock),
        )?;
        let mut kafka = kafka
            .with_transactions(Arc::clone(&transactions))
            .with_admission(Arc::clone(&admission));
        kafka.register(&mut registry);
        let kafka_address = kafka
            .bind()
            .await
            .map_err(|error| elsewhere(&error, "--kafka"))?;
        spine.spawn("groups", |shutdown| groups.run(shutdown));
        let coordinator = Arc::clone(&transactions);
        spine.spawn("transactions", |shutdown| coordinator.run(shutdown));

        // Samples.
        let retention = config.series_retention.get();
        let store = Arc::new(Store::new(StoreOptions {
            retention,
            ..StoreOptions::default()
        }));
        ingest::ensure_metrics_topic(&*broker, retention).await?;
        let ingest =
            ingest::Service::new(Arc::clone(&broker), Arc::clone(&store), Arc::clone(&clock))
                .with_snapshot(ingest::SnapshotFile::new(
                    Arc::new(RealDisk),
                    config.data_dir.join("samples"),
                ));
        ingest.metrics().register(&mut registry);
        let mut replayed = ingest.progress();
        let touches = ingest.subscribe();
        let rule_touches = ingest.subscribe();
        spine.spawn("ingest", |shutdown| ingest.run(shutdown));

        // What works on them.
        let meters = meter::Service::new(
            meter::Options::default(),
            Arc::clone(&broker),
            Arc::clone(&clock),
        );
        let listeners = dispatch::Service::new(dispatch::Inputs {
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            memory: config.listener_memory,
            transactions: Some(transactions),
            ..dispatch::Inputs::new(Arc::clone(&broker))
        });
        let spans = Spans::start(&config.tracing)?;
        if let Some(spans) = &spans {
            spans.register(&mut registry);
        }
        let listeners = match &spans {
            Some(spans) => listeners.with_tracing(spans.of_dispatch()),
            None => listeners,
        };
        let listeners_handle = listeners.handle();
        listeners_handle.register(&mut registry);
        alerting::ensure_alerts_topic(&*broker).await?;
        let external_url = config.alerting.external_url.clone();
        let alerting = alerting::Service::new(
            alerting::Options {
                webhooks: config.alerting.webhooks.clone(),
                external_labels: config.alerting.external_labels.clone(),
                external_url: external_url.unwrap_or_else(|| format!("http://{}", http.address())),
                ..alerting::Options::default()
            },
            alerting::Inputs {
                broker: Arc::clone(&broker),
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                touches: rule_touches,
                replayed: replayed.clone(),
            },
        );
        let alerting_handle = alerting.handle();
        alerting_handle.register(&mut registry);
        services.spawn("alerting", |shutdown| alerting.run(shutdown));
        let (board_alerts, shown_alerts) = tokio::sync::watch::channel(Arc::default());
        let alerts = alerting_handle.watch_alerts();
        services.spawn("alert lanes", |shutdown| {
            alert_lanes::follow(alerts, board_alerts, shutdown)
        });
        let boards = board::Service::new(board::Inputs {
            broker: Arc::clone(&broker),
            store: Arc::clone(&store),
            alerts: shown_alerts,
            touches: Some(touches),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        });
        let board_handle = boards.handle();
        board_handle.register(&mut registry);
        services.spawn("boards", |shutdown| boards.run(shutdown));
        let targets = Targets {
            boards: board_handle.clone(),
            meters: meters.handle(),
            listeners: listeners_handle.clone(),
            alerting: alerting_handle.clone(),
        };
        services.spawn("meters", |shutdown| meters.run(shutdown));
        services.spawn("listeners", |shutdown| listeners.run(shutdown));
        let loaded = Loaded::new(config, targets, &mut registry);
        let watch = loaded.load_at_start();

        let registry = Arc::new(registry);
        let (ready_sender, ready) = tokio::sync::watch::channel(false);
        let parts = http_edge::Parts {
            store,
            broker: Arc::clone(&broker),
            admission,
            clock: Arc::clone(&clock),
            alerting: alerting_handle,
            boards: board_handle,
            listeners: listeners_handle,
            closing: edges.shutdown.clone(),
            metrics: {
                let registry = Arc::clone(&registry);
                Box::new(move || metrics::render(&registry))
            },
            reload: loaded.reload_on_request(),
            ready,
            flags: origins,
            bodies: http_edge::Bodies::default(),
            query_turns: http_edge::Parts::query_turns(),
        };
        let http_address = http.address();
        edges.spawn("http", |shutdown| http.run(Arc::new(parts), shutdown));
        edges.spawn("kafka", async move |shutdown| {
            if let Err(error) = kafka.run(shutdown).await {
                error!(%error, "The Kafka endpoint ended.");
            }
        });
        edges.spawn("reload", |shutdown| {
            Arc::clone(&loaded).follow(watch, shutdown)
        });

        replayed
            .wait_for(|progress| progress.replayed)
            .await
            .context("samples are replayed")?;
        if config.agent {
            let extra: agent::Extra = Arc::new(move |sink| metrics::put(&registry, sink));
            let agent = agent::Service::new(agent::Options::default(), broker, clock, extra);
            edges.spawn("agent", |shutdown| agent.run(shutdown));
        }
        ready_sender.send_replace(true);
        let addresses = banner::Addresses {
            http: http_address,
            kafka: kafka_address,
        };
        if let Some(file) = &config.ready_file {
            addresses.write(file)?;
        }
        banner::print(config, &addresses, &loaded.summary(), started.elapsed());
        Ok(Self {
            edges,
            services,
            spine,
            broker: embedded,
            spans,
        })
    }

    async fn stop(self) -> Result<()> {
        let started = Instant::now();
        self.edges.stop().await;
        self.services.stop().await;
        if let Some(spans) = self.spans {
            spans.stop().await;
        }
        self.spine.stop().await;
        self.broker
            .shutdown()
            .await
            .context("the log could not be closed orderly")?;
        info!(took = ?started.elapsed(), "Stopped.");
        Ok(())
    }
}

/// Opens the log off the runtime's threads, since recovery reads files.
async fn open_broker(
    config: &Config,
    clock: &DynClock,
    entropy: &DynEntropy,
) -> Result<Arc<EmbeddedBroker>> {
    let disk: DynDisk = Arc::new(RealDisk);
    let data_dir = &config.data_dir;
    let defaults = broker::Options::new(data_dir, disk, Arc::clone(clock), Arc::clone(entropy));
    let options = broker::Options {
        log_dirs: crate::config::absolute(&config.log_dirs)?,
        journal_bytes: config.journal_size,
        preallocate_bytes: config.preallocate_size,
        page_cache_bytes: config.page_cache_size,
        clean_interval: config.compaction.interval.get(),
        clean_memory: config.compaction.memory,
        clean_rate: config.compaction.rate,
        retention_interval: config.retention_interval.get(),
        ..config.ring_memory.bounds(defaults)
    };
    let opened = tokio::task::spawn_blocking(move || EmbeddedBroker::open(options)).await?;
    let flag_of = |dir: &Path| {
        if dir == data_dir {
            "--data-dir"
        } else {
            "--log-dir"
        }
    };
    opened.map_err(|error| match error {
        OpenError::Locked { ref dir, .. } => {
            let flag = flag_of(dir);
            anyhow!("{error}: stop it, or choose another with {flag}")
        }
        OpenError::Unwritable { ref dir, .. } => {
            let flag = flag_of(dir);
            anyhow!("{error}: choose another with {flag}")
        }
        error => anyhow::Error::new(error).context(format!(
            "cannot use the data directory {}",
            data_dir.display()
        )),
    })
}

/// An error of an address, with the flag that leads out of it.
fn elsewhere(error: &dyn std::fmt::Display, flag: &str) -> anyhow::Error {
    anyhow!("{error}: choose another address with {flag}")
}
