//! All boards: which there are, one task for each, restarted when it panics.
//!
//! Invariants: a file with a problem changes nothing; a board is replaced whole, under a new generation,
//! and its viewers stay connected; a panic of one board ends that board's task only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use broker::DynBroker;
use env::{DynClock, DynEntropy};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::Serialize;
use series::{Store, Touched};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::alerts::Alert;
use crate::channel::Channel;
use crate::compile::compile;
use crate::events::{BoardApplied, BoardPanicked, BoardRefused, BoardRemoved, LanesNotKept};
use crate::lanes::{LaneStore, WRITE_EVERY};
use crate::layout::layout;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::runner::{Current, Runner, Sources};
use crate::text::Text;
use crate::viewer::Viewer;

/// How long a board that panicked rests before it starts again.
const REST_AFTER_PANIC: Duration = Duration::from_secs(1);

/// Sets of touched series that wait for one board; one that falls behind evaluates all its queries.
const TOUCHES_WAITING: usize = 64;

/// Why a board cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no board '{board}'")]
    UnknownBoard {
        /// The name asked for.
        board: String,
    },
}

/// What boards need of the rest of the house.
#[derive(Debug)]
pub struct Inputs {
    /// Topics for tickers and counts, and where lane positions are kept.
    pub broker: DynBroker,
    /// Series for queries.
    pub store: Arc<Store>,
    /// All alerts, replaced whenever one changes.
    pub alerts: watch::Receiver<Arc<Vec<Alert>>>,
    /// Which series got samples. Without it queries are evaluated four times a second.
    pub touches: Option<ingest::Subscription>,
    /// The time.
    pub clock: DynClock,
    /// For the id of this run.
    pub entropy: DynEntropy,
}

/// One file of boards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardFile {
    /// Its path, as problems should name it.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A board in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoardInfo {
    /// Its name: part of its address.
    pub name: String,
    /// Its title.
    pub title: Text,
    /// Which version of it: grows with every change of any board, within one run of the server.
    pub generation: u32,
    /// The file it comes from.
    pub file: String,
    /// Beats per second.
    pub beat_hz: u32,
    /// Displays connected now.
    pub viewers: usize,
}

/// What applying files did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "it says what was refused"]
pub struct Applied {
    /// Boards that are new or changed, by name.
    pub changed: Vec<String>,
    /// Boards that are gone.
    pub removed: Vec<String>,
    /// What is wrong with files that were refused. Their boards stay as they were.
    pub problems: Vec<Problem>,
}

/// Runs the boards.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    touches: Option<ingest::Subscription>,
}

/// Applies boards and attaches displays. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sources: Arc<Sources>,
    lanes: Arc<LaneStore>,
    metrics: Metrics,
    boards: Mutex<Boards>,
    changed: Notify,
    epoch: String,
}

#[derive(Debug, Default)]
struct Boards {
    by_name: BTreeMap<String, Board>,
    generation: u32,
}

#[derive(Debug)]
struct Board {
    file: BoardFile,
    channel: Arc<Channel>,
    current: watch::Sender<Current>,
}

impl Service {
    /// Boards over these inputs, none yet.
    pub fn new(inputs: Inputs) -> Self {
        let mut epoch = [0; 8];
        inputs.entropy.fill(&mut epoch);
        let Inputs {
            broker,
            store,
            alerts,
            touches,
            clock,
            entropy: _,
        } = inputs;
        let spread = touches
            .is_some()
            .then(|| broadcast::Sender::new(TOUCHES_WAITING));
        let sources = Sources {
            broker,
            store,
            alerts,
            touches: spread,
            clock,
        };
        let shared = Shared {
            sources: Arc::new(sources),
            lanes: Arc::default(),
            metrics: Metrics::default(),
            boards: Mutex::default(),
            changed: Notify::new(),
            epoch: format!("{:016x}", u64::from_be_bytes(epoch)),
        };
        Self {
            shared: Arc::new(shared),
            touches,
        }
    }

    /// A handle to it.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Runs until `shutdown`; then keeps where lanes are, and ends.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, touches } = self;
        let mut touches = Touches {
            heard: touches,
            spread: shared.sources.touches.clone(),
        };
        let broker: &dyn broker::Broker = &*shared.sources.broker;
        if let Err(error) = shared.lanes.load(broker).await {
            LanesNotKept { error: &error }.log();
        }
        let mut tasks = Tasks {
            running: HashMap::new(),
            set: JoinSet::new(),
            stop: shutdown.child_token(),
        };
        let keeping = keep_lanes(&shared);
        tokio::pin!(keeping);
        loop {
            tasks.start_missing(&shared);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = shared.changed.notified() => (),
                () = touches.spread() => (),
                () = &mut keeping => (),
                Some(ended) = tasks.set.join_next_with_id() => tasks.ended(ended, &shared),
            }
        }
        while tasks.set.join_next().await.is_some() {}
        shared.write_lanes().await;
    }
}

/// Writes where lanes are whenever one turned, for ever, and not too often.
async fn keep_lanes(shared: &Shared) {
    loop {
        shared.lanes.changed().await;
        shared.write_lanes().await;
        tokio::time::sleep(WRITE_EVERY).await;
    }
}

/// Hands on to all boards which series got samples.
struct Touches {
    heard: Option<ingest::Subscription>,
    spread: Option<broadcast::Sender<Arc<Touched>>>,
}

impl Touches {
    /// Hears once and hands it on; never ready without somebody to hear. Cancel safe.
    async fn spread(&mut self) {
        match (&mut self.heard, &self.spread) {
            (Some(heard), Some(spread)) => {
                // Nobody listens while nobody looks at a board.
                let _ = spread.send(Arc::new(heard.touched().await));
            }
            _ => std::future::pending().await,
        }
    }
}

impl Shared {
    async fn write_lanes(&self) {
        let now = self.sources.clock.now();
        if let Err(error) = self.lanes.write(&*self.sources.broker, now).await {
            LanesNotKept { error: &error }.log();
        }
    }
}

/// The tasks of boards.
struct Tasks {
    /// Whose task it is.
    running: HashMap<Id, String>,
    set: JoinSet<()>,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts boards that have no task.
    fn start_missing(&mut self, shared: &Arc<Shared>) {
        let boards = shared.boards.lock();
        for (name, board) in &boards.by_name {
            if !self.running.values().any(|running| running == name) {
                self.start(shared, name, board, Duration::ZERO);
            }
        }
    }

    fn start(&mut self, shared: &Arc<Shared>, name: &str, board: &Board, rest: Duration) {
        let runner = Runner {
            sources: Arc::clone(&shared.sources),
            channel: Arc::clone(&board.channel),
            metrics: shared.metrics.board(name),
            lanes: Arc::clone(&shared.lanes),
            current: board.current.subscribe(),
        };
        let stop = self.stop.clone();
        let task = self.set.spawn(async move {
            tokio::time::sleep(rest).await;
            runner.run(stop).await;
        });
        self.running.insert(task.id(), name.to_owned());
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>, shared: &Arc<Shared>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(name) = self.running.remove(&id) else {
            return;
        };
        let Some(error) = error else { return };
        let reason = error.to_string();
        BoardPanicked {
            board: &name,
            reason: &reason,
        }
        .log(&shared.metrics.board(&name));
        let boards = shared.boards.lock();
        if let Some(board) = boards.by_name.get(&name) {
            self.start(shared, &name, board, REST_AFTER_PANIC);
        }
    }
}

impl Handle {
    /// Makes these files the boards in force. Files that are refused change nothing: their boards stay,
    /// the others are applied. Boards of files that are no longer given are removed; equal ones go on
    /// undisturbed.
    pub fn apply(&self, files: Vec<BoardFile>) -> Applied {
        let mut applied = Applied::default();
        let mut boards = self.shared.boards.lock();
        let mut wanted: BTreeMap<String, (BoardFile, Plan)> = BTreeMap::new();
        let mut refused: Vec<String> = Vec::new();
        for file in files {
            match compile(&file.path, &file.text) {
                Ok(plans) => {
                    for plan in plans {
                        if let Some((first, _)) = wanted.get(&plan.name) {
                            applied
                                .problems
                                .push(twice(&file.path, &plan.name, &first.path));
                            continue;
                        }
                        wanted.insert(plan.name.clone(), (file.clone(), plan));
                    }
                }
                Err(mut problems) => {
                    applied.problems.append(&mut problems);
                    refused.push(file.path);
                }
            }
        }
        let gone = |name: &String, board: &Board| {
            !wanted.contains_key(name) && !refused.contains(&board.file.path)
        };
        applied.removed = boards
            .by_name
            .iter()
            .filter(|(name, board)| gone(name, board))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &applied.removed {
            if let Some(board) = boards.by_name.remove(name) {
                board.channel.remove();
                BoardRemoved { board: name }.log();
            }
        }
        for (name, (file, plan)) in wanted {
            if boards.put(file, plan) {
                BoardApplied {
                    board: &name,
                    generation: boards.generation,
                }
                .log();
                applied.changed.push(name);
            }
        }
        drop(boards);
        for problem in &applied.problems {
            BoardRefused { problem }.log();
        }
        self.shared.changed.notify_one();
        applied
    }

    /// What is wrong with one file, without applying it.
    ///
    /// # Errors
    /// All problems.
    pub fn check(file: &BoardFile) -> Result<(), Vec<Problem>> {
        compile(&file.path, &file.text).map(|_| ())
    }

    /// The boards in force, by name.
    pub fn list(&self) -> Vec<BoardInfo> {
        let boards = self.shared.boards.lock();
        boards
            .by_name
            .iter()
            .map(|(name, board)| board.info(name))
            .collect()
    }

    /// Connects a display.
    ///
    /// # Errors
    /// [`Error::UnknownBoard`].
    pub fn attach(&self, board: &str) -> Result<Viewer, Error> {
        let boards = self.shared.boards.lock();
        let Some(found) = boards.by_name.get(board) else {
            return Err(Error::UnknownBoard {
                board: board.to_owned(),
            });
        };
        let clock = Arc::clone(&self.shared.sources.clock);
        let metrics = self.shared.metrics.board(board);
        Ok(Viewer::new(
            Arc::clone(&found.channel),
            clock,
            metrics,
            &self.shared.epoch,
        ))
    }

    /// Makes the metrics of all boards known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }
}

impl Boards {
    /// Puts a board in force; `false` when it is in force already.
    fn put(&mut self, file: BoardFile, plan: Plan) -> bool {
        let known = self.by_name.get_mut(&plan.name);
        if known.as_ref().is_some_and(|board| board.file == file) {
            return false;
        }
        self.generation += 1;
        let generation = self.generation;
        let layout = layout(&plan, generation);
        let current = Current {
            generation,
            plan: Arc::new(plan),
        };
        if let Some(board) = known {
            board.file = file;
            // The layout first: from here on frames of the old plan are refused.
            board.channel.set_layout(layout);
            board.current.send_replace(current);
        } else {
            let name = current.plan.name.clone();
            let channel = Channel::new(&name);
            channel.set_layout(layout);
            let current = watch::Sender::new(current);
            let board = Board {
                file,
                channel,
                current,
            };
            self.by_name.insert(name, board);
        }
        true
    }
}

impl Board {
    fn info(&self, name: &str) -> BoardInfo {
        let current = self.current.borrow();
        BoardInfo {
            name: name.to_owned(),
            title: current.plan.title.clone(),
            generation: current.generation,
            file: self.file.path.clone(),
            beat_hz: current.plan.beat.hertz(),
            viewers: self.channel.viewers(),
        }
    }
}

fn twice(file: &str, board: &str, first: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: "metadata.name".to_owned(),
        reason: format!("board '{board}' is in {first} already"),
    }
}
