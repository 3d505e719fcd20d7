//! The house around the service: a broker, a listener that does as it is told, and what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{
    Broker, Drive, Durability, DynBroker, EmbeddedBroker, Fetched, Place, Tail, TopicSpec,
    TransactionCoordinator, TransactionOptions,
};
use dispatch::{
    Answer as Answered, Answering, Delivery, Handle, Inputs, Listener, ListenerFile, MemoryOptions,
    Outcome, Output, Problems, Service, Tracing,
};
use env::{DynClock, Faults, SeededEntropy, SimDisk};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use record::{BatchBuilder, Batches, Compression};
use test_kit::clock::{START, TokioClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faulty::Faulty;

/// One delivery, as the listener saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) value: String,
    pub(crate) attempt: u32,
    /// Milliseconds since [`START`].
    pub(crate) at: i64,
    /// Milliseconds.
    pub(crate) remaining: Option<u128>,
}

/// Bytes of a value that the probe remembers.
const VALUE_BYTES: usize = 32;

type Script = Box<dyn Fn(&Delivery, &str) -> Answer + Send + Sync>;

/// What it makes of a record that it takes.
type Making = Box<dyn Fn(&str) -> Vec<Output> + Send + Sync>;

/// What the listener does with a record.
pub(crate) struct Answer {
    pub(crate) after: Duration,
    pub(crate) outcome: Outcome,
}

impl Answer {
    pub(crate) fn done(millis: u64) -> Self {
        Self {
            after: Duration::from_millis(millis),
            outcome: Outcome::Done,
        }
    }

    pub(crate) fn failed(error: &str) -> Self {
        Self {
            after: Duration::ZERO,
            outcome: Outcome::Failed {
                error: error.to_owned(),
                after: None,
            },
        }
    }
}

/// A listener that does what its script says, and remembers.
pub(crate) struct Probe {
    clock: DynClock,
    pub(crate) seen: Mutex<Vec<Seen>>,
    script: Mutex<Arc<Script>>,
    making: Mutex<Option<Making>>,
    /// Calls now, and most at a time.
    under_way: Mutex<(usize, usize)>,
}

impl Probe {
    fn new(clock: DynClock) -> Self {
        let script: Script = Box::new(|_, _| Answer::done(0));
        Self {
            clock,
            seen: Mutex::default(),
            script: Mutex::new(Arc::new(script)),
            making: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    pub(crate) fn script(
        &self,
        script: impl Fn(&Delivery, &str) -> Answer + Send + Sync + 'static,
    ) {
        *self.script.lock() = Arc::new(Box::new(script));
    }

    pub(crate) fn making(&self, making: impl Fn(&str) -> Vec<Output> + Send + Sync + 'static) {
        *self.making.lock() = Some(Box::new(making));
    }

    pub(crate) fn values(&self) -> Vec<String> {
        self.seen
            .lock()
            .iter()
            .map(|seen| seen.value.clone())
            .collect()
    }

    pub(crate) fn most(&self) -> usize {
        self.under_way.lock().1
    }
}

impl Listener for Probe {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Answering<'a> {
        Box::pin(async move {
            {
                let mut under_way = self.under_way.lock();
                under_way.0 += 1;
                under_way.1 = under_way.1.max(under_way.0);
            }
            let mut all = Answered::default();
            for (number, delivery) in deliveries.iter().enumerate() {
                let value = delivery.record().value.unwrap_or_default();
                // Large ones are known by their beginning.
                let value = value.get(..VALUE_BYTES).unwrap_or(value);
                let value = String::from_utf8_lossy(value).into_owned();
                self.seen.lock().push(Seen {
                    value: value.clone(),
                    attempt: delivery.attempt,
                    at: self.clock.now().millis() - START.millis(),
                    remaining: delivery.remaining.map(|left| left.as_millis()),
                });
                let script = Arc::clone(&self.script.lock());
                let answer = script(delivery, &value);
                tokio::time::sleep(answer.after).await;
                if answer.outcome == Outcome::Done
                    && let Some(making) = &*self.making.lock()
                {
                    all.outputs
                        .extend(making(&value).into_iter().map(|one| one.of(number)));
                }
                all.outcomes.push(answer.outcome);
            }
            self.under_way.lock().0 -= 1;
            all
        })
    }
}

pub(crate) struct Rig {
    pub(crate) broker: DynBroker,
    pub(crate) faults: Arc<Faulty>,
    pub(crate) handle: Handle,
    pub(crate) probe: Arc<Probe>,
    pub(crate) clock: DynClock,
    pub(crate) transactions: Arc<TransactionCoordinator>,
    coordinating: JoinHandle<()>,
    stop: CancellationToken,
    disk: SimDisk,
    embedded: Arc<EmbeddedBroker>,
    service: JoinHandle<()>,
    pump: JoinHandle<()>,
}

/// A record to produce: key, value, headers.
pub(crate) type Given<'g> = (&'g str, &'g str, &'g [(&'g str, &'g str)]);

/// A record as it is in a topic: key, value, headers.
pub(crate) type Kept = (String, String, BTreeMap<String, String>);

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(SimDisk::new(5), START)
    }

    /// Makes spans of deliveries.
    pub(crate) fn traced(tracing: Tracing) -> Self {
        Self::changed(
            SimDisk::new(5),
            START,
            MemoryOptions::default(),
            |service| service.with_tracing(tracing),
        )
    }

    /// With listeners that may hold so much.
    pub(crate) fn with_memory(memory: MemoryOptions) -> Self {
        Self::open(SimDisk::new(5), START, memory)
    }

    /// Opens the house on what `disk` has.
    pub(crate) fn on(disk: SimDisk, now: Timestamp) -> Self {
        Self::open(disk, now, MemoryOptions::default())
    }

    pub(crate) fn open(disk: SimDisk, now: Timestamp, memory: MemoryOptions) -> Self {
        Self::changed(disk, now, memory, |service| service)
    }

    fn changed(
        disk: SimDisk,
        now: Timestamp,
        memory: MemoryOptions,
        change: impl FnOnce(Service) -> Service,
    ) -> Self {
        let clock = TokioClock::at(now);
        let entropy = Arc::new(SeededEntropy::new(disk.changes()));
        let random = Arc::<SeededEntropy>::clone(&entropy);
        let mut opening = broker::Options::new("/data", disk.shared(), Arc::clone(&clock), random);
        opening.drive = Drive::Manual;
        let embedded = EmbeddedBroker::open(opening).unwrap();
        let writer = Arc::clone(&embedded);
        let pump = tokio::spawn(async move {
            loop {
                // Simulated hours are made of these rounds.
                tokio::time::sleep(Duration::from_millis(5)).await;
                writer.run_round();
            }
        });
        let faults = Faulty::new(Arc::<EmbeddedBroker>::clone(&embedded));
        let broker: DynBroker = Arc::<Faulty>::clone(&faults);
        let limits = TransactionOptions::default();
        let shared = Arc::<EmbeddedBroker>::clone(&embedded);
        let transactions = TransactionCoordinator::new(shared, Arc::clone(&clock), limits);
        // It outlives whoever needs it.
        let coordinator = Arc::clone(&transactions);
        let coordinating = tokio::spawn(coordinator.run(CancellationToken::new()));
        let probe = Arc::new(Probe::new(Arc::clone(&clock)));
        let listener: Arc<dyn Listener> = Arc::<Probe>::clone(&probe);
        let service = Service::new(Inputs {
            broker: Arc::clone(&broker),
            clock: Arc::clone(&clock),
            entropy,
            healing: dispatch::HealingOptions {
                lag: 100,
                ..dispatch::HealingOptions::default()
            },
            memory,
            // The same by two names, so that a resource can change whom it names.
            native: [
                ("probe".to_owned(), Arc::clone(&listener)),
                ("other".to_owned(), listener),
            ]
            .into(),
            transactions: Some(Arc::clone(&transactions)),
        });
        let service = change(service);
        let handle = service.handle();
        let stop = CancellationToken::new();
        let service = tokio::spawn(service.run(stop.clone()));
        Self {
            broker,
            faults,
            handle,
            probe,
            clock,
            transactions,
            coordinating,
            stop,
            disk,
            embedded,
            service,
            pump,
        }
    }

    pub(crate) async fn topic(&self, name: &str, partitions: u32) {
        let spec = TopicSpec::new(name.parse().unwrap(), partitions);
        self.broker.create_topic(spec).await.unwrap();
    }

    /// Puts listeners in force, each with its spec in one line of YAML.
    pub(crate) fn listen(&self, listeners: &[(&str, &str)]) -> Result<(), Problems> {
        let files = listeners.iter();
        let files: Vec<ListenerFile> = files
            .map(|(name, spec)| ListenerFile::of(name, spec))
            .collect();
        self.handle.apply(&files)
    }

    /// The one listener, `l`, ready when it has taken up its partitions.
    pub(crate) async fn listener(&self, spec: &str) {
        self.listen(&[("l", spec)]).unwrap();
        let group: model::GroupId = "lantern-listener-l".parse().unwrap();
        let begun = async {
            while self
                .broker
                .committed(&group, None)
                .await
                .unwrap()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        test_kit::within(begun).await;
    }

    pub(crate) async fn produce(&self, topic: &str, partition: u32, records: &[Given<'_>]) {
        let mut builder = BatchBuilder::new(Compression::None);
        for (key, value, headers) in records {
            let headers: Vec<(&str, Option<&[u8]>)> = headers
                .iter()
                .map(|(name, value)| (*name, Some(value.as_bytes())))
                .collect();
            let key = (!key.is_empty()).then_some(key.as_bytes());
            builder.push(self.clock.now(), key, Some(value.as_bytes()), &headers);
        }
        let to = TopicPartition::new(topic.parse().unwrap(), PartitionId::new(partition));
        let batches = vec![builder.build()];
        // Whatever the faults are.
        self.embedded
            .append(&to, batches, Durability::Flushed)
            .await
            .unwrap();
    }

    /// What a figure of listener `l` is now.
    pub(crate) fn figure(&self, name: &str) -> i64 {
        self.figure_of(name, "listener=\"l\"")
    }

    /// What a figure with these labels is now.
    pub(crate) fn figure_of(&self, name: &str, labels: &str) -> i64 {
        let mut registry = Registry::default();
        self.handle.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let begin = format!("lantern_dispatch_{name}{{{labels}}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}"))
            .parse()
            .unwrap()
    }

    /// Waits until `holds`; in paused tests that is no time at all.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        let reached = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(10), reached).await;
        let (seen, shown) = (self.probe.values(), self.handle.list());
        assert!(ended.is_ok(), "it never is: {seen:?}, {shown:?}");
    }

    /// Waits until the listener finished everything there is and has said so.
    pub(crate) async fn until_finished(&self) {
        let group: model::GroupId = "lantern-listener-l".parse().unwrap();
        let finished = async {
            'again: loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                for (partition, commit) in self.broker.committed(&group, None).await.unwrap() {
                    let marks = self.broker.marks(&partition).await.unwrap();
                    if commit.is_none_or(|commit| commit.position < marks.high_watermark) {
                        continue 'again;
                    }
                }
                return;
            }
        };
        // Hours where a pause lasts one.
        let patience = Duration::from_hours(3);
        let ended = tokio::time::timeout(patience, finished).await;
        let (seen, shown) = (self.probe.values(), self.handle.list());
        assert!(ended.is_ok(), "it never ends: {seen:?}, {shown:?}");
    }

    /// All records of a topic.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Kept> {
        let topic: TopicName = topic.parse().unwrap();
        let mut all = Vec::new();
        let Some(info) = self.broker.topic(&topic) else {
            return all;
        };
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        for partition in 0..info.partitions {
            let at = TopicPartition::new(topic.clone(), PartitionId::new(partition));
            let broker = Arc::clone(&self.broker);
            let mut tail = Tail::from_place(broker, at, Place::Earliest).await.unwrap();
            while let Some(Fetched { batches, .. }) = tail.try_next().await.unwrap() {
                for batch in Batches::new(batches) {
                    for record in &batch.unwrap().records().unwrap() {
                        let record = record.unwrap();
                        let headers = record.headers.iter();
                        let headers = headers.map(|(name, value)| (name.to_owned(), text(value)));
                        all.push((text(record.key), text(record.value), headers.collect()));
                    }
                }
            }
        }
        all
    }

    /// Ends the listeners in order, then the broker.
    pub(crate) async fn stop(self) -> (SimDisk, Timestamp) {
        self.stop.cancel();
        test_kit::within(self.service).await.unwrap();
        let now = self.clock.now();
        for task in [self.coordinating, self.pump] {
            task.abort();
            let _ = task.await;
        }
        drop((self.handle, self.broker, self.faults, self.embedded));
        drop(self.transactions);
        self.disk.restart();
        (self.disk, now)
    }

    /// Ends the house as `kill -9` does: whatever runs is gone between two of its steps.
    pub(crate) async fn kill(self) -> (SimDisk, Timestamp) {
        self.end(SimDisk::restart).await
    }

    /// The power fails at this change of the disk from now on.
    pub(crate) fn fail_power_after(&self, changes: u64) {
        let faults = Faults {
            power: Some(changes),
            ..Faults::default()
        };
        self.disk.set_faults(faults);
    }

    /// Ends the house as a power cut does: what was not synced survives in any part.
    pub(crate) async fn cut(self) -> (SimDisk, Timestamp) {
        self.end(SimDisk::crash).await
    }

    async fn end(self, how: impl FnOnce(&SimDisk)) -> (SimDisk, Timestamp) {
        let now = self.clock.now();
        for task in [self.service, self.coordinating, self.pump] {
            task.abort();
            let _ = task.await;
        }
        drop((self.handle, self.broker, self.faults, self.embedded));
        drop(self.transactions);
        how(&self.disk);
        (self.disk, now)
    }
}
