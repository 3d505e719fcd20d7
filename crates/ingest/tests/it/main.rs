//! The store between two runs, on a whole broker over a simulated disk.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::{Drive, DynBroker, EmbeddedBroker};
use env::{Disk, DynClock, SeededEntropy, SimDisk};
use ingest::{Metrics, Origin, Service, SnapshotFile};
use model::Timestamp;
use prometheus_client::registry::Registry;
use series::{Labels, Store, StoreOptions};
use test_kit::clock::{START, TokioClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const FILE: &str = "/data/samples";

struct House {
    broker: DynBroker,
    store: Arc<Store>,
    clock: DynClock,
    metrics: Metrics,
    shutdown: CancellationToken,
    service: JoinHandle<()>,
    pump: JoinHandle<()>,
}

impl House {
    /// Opens the house on what `disk` has, and waits until its samples are replayed.
    async fn open(disk: &SimDisk, now: Timestamp) -> Self {
        let clock = TokioClock::at(now);
        let entropy = Arc::new(SeededEntropy::new(disk.changes()));
        let mut options = broker::Options::new("/data", disk.shared(), Arc::clone(&clock), entropy);
        options.drive = Drive::Manual;
        let embedded = EmbeddedBroker::open(options).unwrap();
        let broker: DynBroker = Arc::<EmbeddedBroker>::clone(&embedded);
        let pump = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                embedded.run_round();
            }
        });
        ingest::ensure_metrics_topic(&*broker, Duration::from_hours(6))
            .await
            .unwrap();
        let store = Arc::new(Store::new(StoreOptions::default()));
        let service = Service::new(Arc::clone(&broker), Arc::clone(&store), Arc::clone(&clock))
            .with_snapshot(SnapshotFile::new(disk.shared(), FILE));
        let metrics = service.metrics();
        let mut progress = service.progress();
        let shutdown = CancellationToken::new();
        let service = tokio::spawn(service.run(shutdown.clone()));
        progress
            .wait_for(|progress| progress.replayed)
            .await
            .unwrap();
        Self {
            broker,
            store,
            clock,
            metrics,
            shutdown,
            service,
            pump,
        }
    }

    /// One record with a sample of each of three series.
    async fn write(&self, count: usize) {
        for _ in 0..count {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let at = self.clock.now();
            let samples: Vec<_> = ["a", "b", "c"]
                .map(|n| (Labels::of(&[("__name__", "x"), ("n", n)]), [(at, 1.0)]))
                .into();
            ingest::write(&self.broker, &samples, Origin::Samples)
                .await
                .unwrap();
        }
    }

    async fn holds(&self, samples: u64) {
        while self.store.stats().samples < samples {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.store.stats().samples, samples);
    }

    /// Records the service read from the log.
    fn records(&self) -> u64 {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("lantern_ingest_records_total "));
        line.unwrap().parse().unwrap()
    }

    /// Ends the service as an orderly stop does.
    async fn stop_service(&mut self) {
        self.shutdown.cancel();
        (&mut self.service).await.unwrap();
    }

    /// Ends everything as `kill -9` does.
    async fn kill(self, disk: &SimDisk) -> Timestamp {
        let now = self.clock.now();
        for task in [self.service, self.pump] {
            if !task.is_finished() {
                task.abort();
                let _ = task.await;
            }
        }
        drop(self.broker);
        disk.restart();
        now
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_only_what_came_after_the_snapshot() {
    let disk = SimDisk::new(5);
    let mut house = House::open(&disk, START).await;
    house.write(50).await;
    house.holds(150).await;
    house.stop_service().await;
    // The log goes on without the service.
    house.write(30).await;
    let now = house.kill(&disk).await;

    let house = House::open(&disk, now).await;
    house.holds(240).await;
    assert_eq!(house.records(), 30);
    house.write(1).await;
    house.holds(243).await;
    let now = house.kill(&disk).await;

    // Without the file, and with a broken one, all is there as well.
    for broken in [false, true] {
        if broken {
            env::write_atomic(&disk, Path::new(FILE), b"LTSS and nothing more").unwrap();
        } else {
            disk.remove_file(Path::new(FILE)).unwrap();
        }
        let house = House::open(&disk, now).await;
        house.holds(243).await;
        assert_eq!(house.records(), 81);
        house.kill(&disk).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_samples_are_in_a_snapshot_seconds_later() {
    const RECORDS: u64 = 51;
    const SERIES: u64 = 100;
    const TIMES: u64 = 200;
    let disk = SimDisk::new(7);
    let house = House::open(&disk, START).await;
    let names: Vec<Labels> = (0..SERIES)
        .map(|n| Labels::of(&[("__name__", "x"), ("n", &n.to_string())]))
        .collect();
    for _ in 0..RECORDS {
        tokio::time::sleep(Duration::from_millis(TIMES)).await;
        let now = house.clock.now().millis();
        let times: Vec<_> = (0..i64::try_from(TIMES).unwrap())
            .map(|back| (Timestamp::from_millis(now - back), 1.0))
            .rev()
            .collect();
        let samples: Vec<_> = names
            .iter()
            .map(|labels| (labels.clone(), times.clone()))
            .collect();
        ingest::write(&house.broker, &samples, Origin::Samples)
            .await
            .unwrap();
    }
    house.holds(RECORDS * SERIES * TIMES).await;
    while disk.open(Path::new(FILE), env::Open::Read).is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let waited = house.clock.now();
    let now = house.kill(&disk).await;
    assert!(waited.millis() - START.millis() < 20_000, "{waited:?}");

    let house = House::open(&disk, now).await;
    house.holds(RECORDS * SERIES * TIMES).await;
    assert!(house.records() <= 1, "{} were replayed", house.records());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_a_topic_that_was_made_anew_is_not_taken() {
    let disk = SimDisk::new(6);
    let mut house = House::open(&disk, START).await;
    house.write(10).await;
    house.holds(30).await;
    house.stop_service().await;
    let topic = model::TopicName::new(model::limits::METRICS_TOPIC).unwrap();
    house.broker.delete_topic(&topic).await.unwrap();
    let now = house.kill(&disk).await;
    let house = House::open(&disk, now).await;
    assert_eq!(house.store.stats().samples, 0);
    house.write(2).await;
    house.holds(6).await;
    house.kill(&disk).await;
}
