//! The listeners of this process: started, changed, paused and stopped as resources come and go.
//!
//! A changed resource takes over without a gap: what is read and waits stays where it is, calls under way end by
//! the old version, the next ones are made by the new. Only another `ordering` needs an end first: the old version
//! stops calling, gets [`DRAIN`] for what is under way, commits, and the new one begins there. A version that
//! cannot be started within [`START`] is refused and the old one stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{DynBroker, TransactionCoordinator};
use delivery::{Healing, HealingOptions, Load, Verdict};
use env::{DynClock, DynEntropy, RealClock, RealEntropy};
use model::{PartitionId, Position, TopicName, TopicPartition};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::{BURIAL_BYTES, Context};
use crate::dead_letter;
use crate::delivery::Listener;
use crate::letters::{self, Filter, LETTERS_MAX, LetterError, LetterTopic, Letters, Walk};
use crate::memory::{Memory, MemoryOptions};
use crate::metrics::Metrics;
use crate::problems::{Problem, Problems};
use crate::replay::{self, Replay, Replayed, Replays};
use crate::spans::Tracing;
use crate::spec::{Kind, ListenerFile, Spec};
use crate::status::Shown;
use crate::supervisor::{Shelf, Supervisor};

/// What a service needs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "listeners are code")]
pub struct Inputs {
    /// Where topics are.
    pub broker: DynBroker,
    /// Time.
    pub clock: DynClock,
    /// Jitter of pauses.
    pub entropy: DynEntropy,
    /// When listeners that are not core pause.
    pub healing: HealingOptions,
    /// What listeners may hold.
    pub memory: MemoryOptions,
    /// Listeners of this process, which resources name as `native: NAME`.
    pub native: BTreeMap<String, Arc<dyn Listener>>,
    /// The coordinator of the broker's transactions, of which there is one for all of the process, and which somebody runs.
    /// Without it no resource may name an `output`.
    pub transactions: Option<Arc<TransactionCoordinator>>,
}

impl Inputs {
    /// With this machine's clock and entropy, and nothing that is optional.
    pub fn new(broker: DynBroker) -> Self {
        Self {
            broker,
            clock: Arc::new(RealClock::new()),
            entropy: Arc::new(RealEntropy),
            healing: HealingOptions::default(),
            memory: MemoryOptions::default(),
            native: BTreeMap::new(),
            transactions: None,
        }
    }

    /// With one more listener of this process.
    #[must_use]
    pub fn with_native(mut self, name: &str, listener: impl Listener) -> Self {
        self.native.insert(name.to_owned(), Arc::new(listener));
        self
    }
}

/// Most listeners of one process.
const LISTENERS_MAX: usize = 1_000;
/// A new version must be ready by then.
pub(crate) const START: Duration = Duration::from_secs(5);
/// What is under way in a listener that is removed or replaced gets this long.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);
/// The same when Lantern stops.
pub(crate) const STOP_DRAIN: Duration = Duration::from_secs(5);

/// How often the lag of listeners is looked at.
const LOOK: Duration = Duration::from_secs(1);

type Specs = Arc<BTreeMap<String, Arc<Spec>>>;

/// Changes and asks a running service.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "listeners are code")]
pub struct Handle {
    context: Arc<Context>,
    specs: watch::Sender<Specs>,
    native: Arc<BTreeMap<String, Arc<dyn Listener>>>,
    shelf: Arc<Mutex<BTreeMap<String, Shelf>>>,
    replays: Replays,
    metrics: Metrics,
}

impl Handle {
    /// Checks all files and puts them in force together.
    ///
    /// # Errors
    /// Every [`Problem`]; then nothing changes.
    pub fn apply(&self, files: &[ListenerFile]) -> Result<(), Problems> {
        let mut specs = BTreeMap::new();
        let mut problems = Vec::new();
        for file in files {
            let problem = |reason| Problem {
                path: file.path.clone(),
                reason,
            };
            match self.parse(file) {
                Ok(spec) if specs.contains_key(&spec.name) => {
                    let name = &spec.name;
                    problems.push(problem(format!(
                        "metadata.name: listener '{name}' comes twice"
                    )));
                }
                Ok(spec) => drop(specs.insert(spec.name.clone(), Arc::new(spec))),
                Err(found) => problems.extend_from_slice(&found),
            }
        }
        if specs.len() > LISTENERS_MAX {
            let path = files
                .first()
                .map(|file| file.path.clone())
                .unwrap_or_default();
            let reason = format!("{} listeners are more than {LISTENERS_MAX}", specs.len());
            problems.push(Problem { path, reason });
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        self.specs.send_replace(Arc::new(specs));
        Ok(())
    }

    /// Whether a file would be taken by itself; answers the name of its listener.
    ///
    /// # Errors
    /// Every [`Problem`].
    pub fn check(&self, file: &ListenerFile) -> Result<String, Problems> {
        Ok(self.parse(file)?.name)
    }

    fn parse(&self, file: &ListenerFile) -> Result<Spec, Problems> {
        let spec = file.parse()?;
        let mut reasons = Vec::new();
        if let Kind::Native(name) = &spec.kind
            && !self.native.contains_key(name)
        {
            reasons.push(format!(
                "spec.native: no listener is registered as '{name}' in this process"
            ));
        }
        let context = &self.context;
        if spec.output.is_some() {
            if !context.broker.capabilities().transactions {
                reasons.push("spec.output: this broker has no transactions".to_owned());
            } else if context.transactions.is_none() {
                reasons.push(
                    "spec.output: nobody coordinates transactions in this process: set `transactions` \
                     of dispatch's inputs"
                        .to_owned(),
                );
            }
        }
        if reasons.is_empty() {
            return Ok(spec);
        }
        let problem = |reason| Problem {
            path: file.path.clone(),
            reason,
        };
        let problems: Vec<Problem> = reasons.into_iter().map(problem).collect();
        Err(problems.into())
    }

    /// All listeners by name, as they are now.
    pub fn list(&self) -> Vec<Shown> {
        self.shelf.lock().values().map(Shelf::show).collect()
    }

    /// Topics of dead letters, by name, with what they hold.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn letter_topics(&self) -> Result<Vec<LetterTopic>, LetterError> {
        let broker = &self.context.broker;
        let mut found = Vec::new();
        for (name, info) in broker
            .topics()
            .iter()
            .filter(|(name, _)| self.holds_letters(name))
        {
            let mut letters = 0;
            for number in (0..info.partitions).map(PartitionId::new) {
                let at = TopicPartition::new(name.clone(), number);
                let walk = Walk::new(&**broker, &at, Position::default()).await?;
                letters += walk.count().await?;
            }
            found.push(LetterTopic {
                topic: name.to_string(),
                letters,
            });
        }
        Ok(found)
    }

    /// Up to `limit` (at most 1,000) dead letters of a topic that meet `filter`, oldest first; of one
    /// partition and from an offset on, if that is said. Not more than 8 MiB of them.
    ///
    /// # Errors
    /// [`LetterError::NoLetters`], and those of the log.
    pub async fn letters(
        &self,
        topic: &TopicName,
        partition: Option<PartitionId>,
        from: Option<u64>,
        limit: usize,
        filter: &Filter,
    ) -> Result<Letters, LetterError> {
        self.check_letters(topic)?;
        let limit = limit.min(LETTERS_MAX);
        Ok(letters::read(&*self.context.broker, topic, partition, from, limit, filter).await?)
    }

    /// Sends dead letters of a topic again, oldest first, each to the listener that gave it up; `told` shows how far it is.
    /// Dropping the future stops it; what was sent since progress was stored last is sent again next time.
    ///
    /// # Errors
    /// [`LetterError::NoLetters`], [`LetterError::ReplayRunning`], [`LetterError::OriginGone`],
    /// [`LetterError::OriginInternal`], [`LetterError::TooScattered`], and those of the log.
    pub async fn replay(
        &self,
        topic: &TopicName,
        replay: &Replay,
        told: &watch::Sender<Replayed>,
    ) -> Result<Replayed, LetterError> {
        self.check_letters(topic)?;
        let Context { broker, clock, .. } = &*self.context;
        let _turn = if replay.dry_run {
            None
        } else {
            Some(self.replays.begin(topic, clock.now(), told)?)
        };
        replay::replay(&**broker, &**clock, topic, replay, told).await
    }

    fn check_letters(&self, topic: &TopicName) -> Result<(), LetterError> {
        if self.holds_letters(topic) {
            return Ok(());
        }
        Err(LetterError::NoLetters {
            topic: topic.clone(),
        })
    }

    fn holds_letters(&self, topic: &TopicName) -> bool {
        let specs = self.specs.borrow();
        dead_letter::is_usual(topic)
            || specs
                .values()
                .any(|spec| spec.dead_letters.as_ref() == Some(topic))
    }

    /// Adds the service's figures.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// Runs listeners.
#[expect(missing_debug_implementations, reason = "listeners are code")]
pub struct Service {
    context: Arc<Context>,
    healing: Healing,
    /// Whether listeners that are not core pause.
    paused: watch::Sender<bool>,
    handle: Handle,
    specs: watch::Receiver<Specs>,
}

/// One supervisor, told what its listener should be.
struct Supervised {
    wanted: watch::Sender<Option<Arc<Spec>>>,
}

impl Service {
    /// A service without listeners yet.
    pub fn new(inputs: Inputs) -> Self {
        let (sender, specs) = watch::channel(Specs::default());
        let context = Arc::new(Context {
            broker: inputs.broker,
            clock: inputs.clock,
            entropy: inputs.entropy,
            transactions: inputs.transactions,
            tracing: None,
            memory: Memory::new(inputs.memory),
            burials: Arc::new(Semaphore::new(BURIAL_BYTES as usize)),
        });
        Self {
            context: Arc::clone(&context),
            healing: Healing::new(inputs.healing),
            paused: watch::Sender::default(),
            handle: Handle {
                context,
                specs: sender,
                native: Arc::new(inputs.native),
                shelf: Arc::default(),
                replays: Replays::default(),
                metrics: Metrics::new(),
            },
            specs,
        }
    }

    /// Makes spans of deliveries.
    #[must_use]
    pub fn with_tracing(mut self, tracing: Tracing) -> Self {
        self.context = Arc::new(Context {
            tracing: Some(Arc::new(tracing)),
            ..Context::clone(&self.context)
        });
        self
    }

    /// Changes and asks this service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until `shutdown`, then lets calls under way end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut supervised: BTreeMap<String, Supervised> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let specs = Specs::clone(&self.specs.borrow_and_update());
            for (name, one) in &supervised {
                let wanted = specs.get(name).cloned();
                one.wanted.send_if_modified(|now| {
                    let changed = *now != wanted;
                    *now = wanted;
                    changed
                });
            }
            for (name, spec) in specs.iter() {
                if !supervised.contains_key(name) {
                    let (wanted, receiver) = watch::channel(Some(Arc::clone(spec)));
                    supervised.insert(name.clone(), Supervised { wanted });
                    tasks.spawn(self.supervisor(name).run(receiver, shutdown.clone()));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = self.specs.changed() => if changed.is_err() { break },
                _ = looks.tick() => self.look(),
                // A supervisor ends when its listener is gone; if it came back meanwhile, another begins.
                Some(ended) = tasks.join_next() => {
                    if let Ok(name) = ended {
                        supervised.remove(&name);
                    }
                }
            }
        }
        shutdown.cancelled().await;
        while tasks.join_next().await.is_some() {}
    }

    /// Pauses listeners that are not core when this machine has too much to do.
    fn look(&mut self) {
        let shelf = self.handle.shelf.lock();
        let loads: Vec<Load<'_>> = shelf.values().map(Shelf::load).collect();
        let verdict = self.healing.look(self.context.clock.monotonic(), &loads);
        drop(shelf);
        match verdict {
            Verdict::Stay => return,
            Verdict::Pause(listener) => warn!(
                listener,
                "A listener stays behind: those that are not core pause, so that core ones keep \
                 their latency."
            ),
            Verdict::Resume => info!("Listeners that are not core go on."),
        }
        self.paused.send_replace(self.healing.is_paused());
    }

    fn supervisor(&self, name: &str) -> Supervisor {
        Supervisor::new(
            name,
            Arc::clone(&self.context),
            Arc::clone(&self.handle.native),
            self.handle.metrics.clone(),
            Arc::clone(&self.handle.shelf),
            self.paused.subscribe(),
        )
    }
}
