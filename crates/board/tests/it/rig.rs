//! The house around a board, and displays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use board::{Alert, BoardFile, Handle, Inputs, Service, Viewer, ViewerMessage};
use broker::{Broker as _, Drive, Durability, EmbeddedBroker, Options, TopicConfig, TopicSpec};
use env::{Clock, DynClock, SeededEntropy, SimDisk};
use frame::{Frame, Head, RowPolicy, State};
use model::{PartitionId, Timestamp, TopicPartition};
use record::{BatchBuilder, Compression};
use serde_json::Value;
use series::{Labels, Store, StoreOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The moment at which every rig starts.
pub(crate) const START_MS: i64 = 1_763_690_000_000;

/// Tokio's time as the house's clock. Panics once when armed.
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: Instant,
    unix_ms: i64,
    armed: AtomicBool,
}

impl TokioClock {
    fn new(unix_ms: i64) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            unix_ms,
            armed: AtomicBool::new(false),
        })
    }

    /// The next reader of the wall clock in milliseconds, a board at its beat, panics.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "armed");
        Timestamp::from_millis(self.unix_nanos() / 1_000_000)
    }

    fn unix_nanos(&self) -> i64 {
        self.unix_ms * 1_000_000 + i64::try_from(self.monotonic().as_nanos()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Everything a board lives in.
pub(crate) struct Rig {
    pub(crate) broker: Arc<EmbeddedBroker>,
    pub(crate) store: Arc<Store>,
    pub(crate) handle: Handle,
    pub(crate) alerts: watch::Sender<Arc<Vec<Alert>>>,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) disk: SimDisk,
    shutdown: CancellationToken,
    service: JoinHandle<()>,
    rounds: JoinHandle<()>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(SimDisk::new(7), START_MS)
    }

    /// Opens the house on what `disk` has.
    pub(crate) fn on(disk: SimDisk, unix_ms: i64) -> Self {
        Self::with(disk, unix_ms, false)
    }

    /// With samples that come through the log, as they do at home.
    pub(crate) async fn with_ingest() -> Self {
        let rig = Self::with(SimDisk::new(7), START_MS, true);
        let broker: broker::DynBroker = rig.broker.clone();
        ingest::ensure_metrics_topic(&*broker, Duration::from_hours(6))
            .await
            .unwrap();
        rig
    }

    fn with(disk: SimDisk, unix_ms: i64, ingesting: bool) -> Self {
        let clock = TokioClock::new(unix_ms);
        let shared: DynClock = Arc::clone(&clock) as DynClock;
        let entropy = Arc::new(SeededEntropy::new(1));
        let mut options =
            Options::new("/data", disk.shared(), Arc::clone(&shared), entropy.clone());
        options.drive = Drive::Manual;
        let broker = EmbeddedBroker::open(options).unwrap();
        let writer = Arc::clone(&broker);
        let rounds = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                writer.run_round();
            }
        });
        let store = Arc::new(Store::new(StoreOptions::default()));
        store.advance(Timestamp::from_millis(unix_ms));
        let shutdown = CancellationToken::new();
        let touches = ingesting.then(|| {
            let broker: broker::DynBroker = broker.clone();
            let ingest = ingest::Service::new(broker, Arc::clone(&store), Arc::clone(&shared));
            let touches = ingest.subscribe();
            tokio::spawn(ingest.run(shutdown.clone()));
            touches
        });
        let (alerts, heard) = watch::channel(Arc::default());
        let service = Service::new(Inputs {
            broker: broker.clone(),
            store: Arc::clone(&store),
            alerts: heard,
            touches,
            clock: shared,
            entropy,
        });
        let handle = service.handle();
        let service = tokio::spawn(service.run(shutdown.clone()));
        Self {
            broker,
            store,
            handle,
            alerts,
            clock,
            disk,
            shutdown,
            service,
            rounds,
        }
    }

    /// Applies one board file that must be good.
    pub(crate) fn apply(&self, yaml: &str) {
        let applied = self.handle.apply(vec![file("board.yaml", yaml)]);
        assert_eq!(applied.problems, []);
    }

    /// Ends the house as a shutdown does.
    pub(crate) async fn stop(self) -> SimDisk {
        self.shutdown.cancel();
        self.service.await.unwrap();
        self.broker.shutdown().await.unwrap();
        self.rounds.abort();
        self.disk
    }

    /// Ends the house as `kill -9` does: whatever runs is gone between two of its steps.
    pub(crate) async fn kill(self) -> SimDisk {
        self.service.abort();
        let _ = self.service.await;
        self.rounds.abort();
        let _ = self.rounds.await;
        self.disk.restart();
        self.disk
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.unix_nanos() / 1_000_000)
    }

    /// Samples of one series, one per second, for the last `seconds`, by the second's number.
    pub(crate) fn fill(&self, labels: &[(&str, &str)], seconds: i64, value: impl Fn(i64) -> f64) {
        let labels = Labels::of(labels);
        for second in 0..=seconds {
            let at = self.now().minus(Duration::from_secs(
                u64::try_from(seconds - second).unwrap(),
            ));
            self.store.append(&labels, at, value(second)).unwrap();
        }
    }

    pub(crate) async fn topic(&self, name: &str, partitions: u32) {
        let spec = TopicSpec {
            name: name.parse().unwrap(),
            partitions,
            config: TopicConfig::default(),
        };
        self.broker.create_topic(spec).await.unwrap();
    }

    /// Publishes events `(age in ms, type, key, JSON)` to one partition.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        partition: u32,
        events: &[(u64, &str, &str, &str)],
    ) {
        let mut batch = BatchBuilder::new(Compression::Lz4);
        for (age, kind, key, value) in events {
            let at = self.now().minus(Duration::from_millis(*age));
            let headers = [
                ("ce_type", Some(kind.as_bytes())),
                ("ce_subject", Some(key.as_bytes())),
            ];
            batch.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &headers);
        }
        let to = TopicPartition::new(topic.parse().unwrap(), PartitionId::new(partition));
        self.broker
            .append(&to, vec![batch.build()], Durability::Flushed)
            .await
            .unwrap();
    }

    pub(crate) fn display(&self, board: &str) -> Display {
        Display::new(self.handle.attach(board).unwrap())
    }

    /// One of the board metrics, summed over labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.handle.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let values = text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name));
        values
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

pub(crate) fn file(path: &str, text: &str) -> BoardFile {
    BoardFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// A browser: keeps the layout, applies frames, asks for keyframes as the wire says.
pub(crate) struct Display {
    pub(crate) viewer: Viewer,
    pub(crate) state: State,
    pub(crate) layout: Value,
    pub(crate) hello: Value,
    pub(crate) answers: Vec<Value>,
    pub(crate) heads: Vec<Head>,
}

impl Display {
    pub(crate) fn new(viewer: Viewer) -> Self {
        Self {
            viewer,
            state: State::new([]),
            layout: Value::Null,
            hello: Value::Null,
            answers: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// Takes one message; `false` when there will be no more.
    pub(crate) async fn step(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_secs(10), self.viewer.next());
        let Some(message) = next.await.expect("a board says something every second") else {
            return false;
        };
        self.take(&message);
        true
    }

    fn take(&mut self, message: &ViewerMessage) {
        match message {
            ViewerMessage::Binary(bytes) => {
                let frame = Frame::parse(bytes).unwrap();
                self.heads.push(*frame.head());
                self.state.apply(&frame).unwrap();
            }
            ViewerMessage::Text(bytes) => {
                let value: Value = serde_json::from_slice(bytes).unwrap();
                match value["type"].as_str().unwrap() {
                    "hello" => self.hello = value,
                    "layout" => {
                        self.state = State::new(policies(&value));
                        self.layout = value;
                    }
                    _ => self.answers.push(value),
                }
            }
        }
    }

    /// Takes messages until `done`, at most for `most` of time.
    pub(crate) async fn until(&mut self, most: Duration, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() <= most,
                "not within {most:?}: {}",
                self.state.to_json()
            );
            assert!(self.step().await, "the board is gone");
        }
    }

    /// Takes messages until the first frame is applied.
    pub(crate) async fn open(&mut self) {
        self.until(Duration::from_secs(2), |it| it.state.seq > 0)
            .await;
    }

    /// Takes everything there is without waiting.
    pub(crate) fn catch_up(&mut self) {
        while let Some(message) = self.viewer.next_now() {
            self.take(&message);
        }
    }

    /// The cell of an item, stat, chart or lane, found by its English label or title.
    pub(crate) fn cell(&self, label: &str) -> u32 {
        let found = find(&self.layout["board"]["lanes"], label);
        u32::try_from(found.unwrap_or_else(|| panic!("no cell for {label}: {}", self.layout)))
            .unwrap()
    }

    pub(crate) fn value(&self, label: &str) -> f64 {
        self.state.scalars[&self.cell(label)].0
    }

    pub(crate) fn text(&self, label: &str) -> &str {
        &self.state.texts[&self.cell(label)].0
    }

    /// Series of a chart by name, with their points.
    pub(crate) fn chart(&self, title: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
        let series = &self.state.series[&self.cell(title)];
        let points = |cell| self.state.points.get(cell).into_iter().flatten();
        series
            .iter()
            .map(|(cell, name)| {
                (
                    name.clone(),
                    points(cell).map(|it| (it.t_ms, it.v)).collect(),
                )
            })
            .collect()
    }
}

fn find(value: &Value, label: &str) -> Option<u64> {
    let named = ["label", "title"]
        .iter()
        .any(|key| value[*key]["en"] == label);
    if named {
        return value["cell"].as_u64().or(value["id"].as_u64());
    }
    match value {
        Value::Array(list) => list.iter().find_map(|it| find(it, label)),
        Value::Object(map) => map.values().find_map(|it| find(it, label)),
        _ => None,
    }
}

fn policies(layout: &Value) -> Vec<(u32, RowPolicy)> {
    let lanes = layout["board"]["lanes"].as_array().unwrap();
    lanes
        .iter()
        .filter_map(|lane| {
            let cell = u32::try_from(lane["cell"].as_u64()?).unwrap();
            let keep = lane["rows"]
                .as_u64()
                .map(|rows| RowPolicy::Keep(usize::try_from(rows).unwrap()));
            Some((cell, keep.unwrap_or(RowPolicy::Replace)))
        })
        .collect()
}
