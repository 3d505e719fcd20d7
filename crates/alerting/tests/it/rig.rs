//! The house around the service: broker, samples through the log, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use alerting::{
    Alert, AlertState, Handle, Health, Inputs, Options, Problem, Report, RuleFile, Service,
};
use broker::{Drive, DynBroker, EmbeddedBroker, Fetched, Place, Tail};
use env::{DynClock, SeededEntropy, SimDisk};
use ingest::Origin;
use model::{PartitionId, Timestamp, TopicPartition};
use record::Batches;
use serde_json::Value;
use series::{Labels, Store, StoreOptions};
use test_kit::clock::{START, TokioClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Rig {
    pub(crate) broker: DynBroker,
    pub(crate) store: Arc<Store>,
    pub(crate) handle: Handle,
    pub(crate) clock: DynClock,
    pub(crate) disk: SimDisk,
    embedded: Arc<EmbeddedBroker>,
    tasks: Vec<JoinHandle<()>>,
}

impl Rig {
    pub(crate) async fn new(rules: &str) -> Self {
        Self::on(SimDisk::new(3), START, rules, Options::default()).await
    }

    /// Opens the house on what `disk` has.
    pub(crate) async fn on(disk: SimDisk, now: Timestamp, rules: &str, options: Options) -> Self {
        let clock = TokioClock::at(now);
        let entropy = Arc::new(SeededEntropy::new(disk.changes()));
        let mut opening = broker::Options::new("/data", disk.shared(), Arc::clone(&clock), entropy);
        opening.drive = Drive::Manual;
        let embedded = EmbeddedBroker::open(opening).unwrap();
        let writer = Arc::clone(&embedded);
        let pump = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                writer.run_round();
            }
        });
        let broker: DynBroker = Arc::<EmbeddedBroker>::clone(&embedded);
        let store = Arc::new(Store::new(StoreOptions::default()));
        ingest::ensure_metrics_topic(&*broker, Duration::from_hours(6))
            .await
            .unwrap();
        alerting::ensure_alerts_topic(&*broker).await.unwrap();
        let ingest =
            ingest::Service::new(Arc::clone(&broker), Arc::clone(&store), Arc::clone(&clock));
        let inputs = Inputs {
            broker: Arc::clone(&broker),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            touches: ingest.subscribe(),
            replayed: ingest.progress(),
        };
        let service = Service::new(options, inputs);
        let handle = service.handle();
        let tasks = vec![
            tokio::spawn(service.run(CancellationToken::new())),
            tokio::spawn(ingest.run(CancellationToken::new())),
            pump,
        ];
        let rig = Self {
            broker,
            store,
            handle,
            clock,
            disk,
            embedded,
            tasks,
        };
        rig.load(rules).unwrap();
        rig
    }

    pub(crate) fn load(&self, rules: &str) -> Result<Report, Vec<Problem>> {
        let (name, text) = ("desk.yaml".to_owned(), rules.to_owned());
        self.handle.load(
            &[RuleFile {
                path: "rules/desk.yaml".into(),
                name,
                text,
            }],
            true,
        )
    }

    /// Ends the house as `kill -9` does: whatever runs is gone between two of its steps.
    pub(crate) async fn kill(self) -> (SimDisk, Timestamp) {
        let now = self.clock.now();
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        drop((self.handle, self.broker, self.embedded));
        self.disk.restart();
        (self.disk, now)
    }

    /// One sample of `exposure` of a desk, now; never two of one millisecond.
    pub(crate) async fn sample(&self, desk: &str, value: f64) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.write(&[("__name__", "exposure"), ("desk", desk)], value)
            .await;
    }

    /// One sample of any series, now.
    pub(crate) async fn write(&self, labels: &[(&str, &str)], value: f64) {
        let labels = Labels::of(labels);
        let samples = [(labels, [(self.clock.now(), value)])];
        ingest::write(&self.broker, &samples, Origin::Samples)
            .await
            .unwrap();
    }

    /// All records of `lantern.alerts`.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let topic = model::TopicName::new(model::limits::ALERTS_TOPIC).unwrap();
        let at = TopicPartition::new(topic, PartitionId::new(0));
        let mut tail = Tail::from_place(Arc::clone(&self.broker), at, Place::Earliest)
            .await
            .unwrap();
        let mut all = Vec::new();
        while let Some(Fetched { batches, .. }) = tail.try_next().await.unwrap() {
            for batch in Batches::new(batches) {
                for record in &batch.unwrap().records().unwrap() {
                    all.push(serde_json::from_slice(record.unwrap().value.unwrap()).unwrap());
                }
            }
        }
        all
    }

    /// The states recorded, as `desk:state@milliseconds since START`.
    pub(crate) async fn told(&self) -> Vec<String> {
        let told = self.records().await.into_iter().map(|record| {
            let at: jiff::Timestamp = record["recordedAt"].as_str().unwrap().parse().unwrap();
            let desk = record["labels"]["desk"].as_str().unwrap_or("-");
            let state = record["state"].as_str().unwrap();
            format!("{desk}:{state}@{}", at.as_millisecond() - START.millis())
        });
        told.collect()
    }

    /// The states recorded, without their times.
    pub(crate) async fn states(&self) -> Vec<String> {
        let told = self.told().await.into_iter();
        told.map(|told| told.split('@').next().unwrap().to_owned())
            .collect()
    }

    /// Waits until an alert of a desk has this state.
    pub(crate) async fn until(&self, desk: &str, state: AlertState) -> Alert {
        let mut alerts = self.handle.watch_alerts();
        let meant = |alert: &&Alert| alert.labels.get("desk") == Some(desk) && alert.state == state;
        let all = alerts.wait_for(|all| all.iter().any(|alert| meant(&alert)));
        // In paused tests that is no time at all, and `for` may be long.
        match tokio::time::timeout(Duration::from_mins(2), all).await {
            Ok(all) => all.unwrap().iter().find(meant).unwrap().clone(),
            Err(late) => panic!(
                "{desk} is never {state:?} ({late}): {:?}, {:?}",
                self.told().await,
                self.handle.rules()
            ),
        }
    }

    /// Waits until rules hear of samples.
    pub(crate) async fn until_ready(&self) {
        let labels = Labels::of(&[("__name__", "exposure"), ("desk", "probe")]);
        let evaluated = async {
            loop {
                let samples = [(labels.clone(), [(self.clock.now(), 0.0)])];
                ingest::write(&self.broker, &samples, Origin::Samples)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
                let rules = self.handle.rules();
                if rules
                    .iter()
                    .flat_map(|group| &group.rules)
                    .any(|r| r.health() == Health::Ok)
                {
                    return;
                }
            }
        };
        test_kit::within(evaluated).await;
    }

    /// Waits until the one webhook has committed the first `count` records.
    pub(crate) async fn until_committed(&self, count: u128) {
        let committed = async {
            loop {
                for group in self.broker.committed_groups().await.unwrap() {
                    let all = self.broker.committed(&group, None).await.unwrap();
                    let reached = |commit: &broker::Commit| commit.position.bits() >= count;
                    if all
                        .iter()
                        .any(|(_, commit)| commit.as_ref().is_some_and(reached))
                    {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        test_kit::within(committed).await;
    }
}
