//! One board's task: idle while nobody looks, beating while somebody does.
//!
//! A session begins with the first viewer: the screen is built, charts are filled from the store, topics
//! are followed from where their history is of use. At each beat what came is taken, queries that are due
//! are evaluated, and what changed becomes one frame. The session ends [`LINGER`] after the last viewer
//! left, or when the board is replaced; lanes stand still between sessions. A board nobody looks at costs
//! one sleeping task.
//!
//! Invariants: one session at a time; the first frame of a session is a keyframe for everybody.
//! Not here: which boards there are (`service`), what is shown (`screen`).

use std::sync::Arc;
use std::time::Duration;

use broker::DynBroker;
use bytes::Bytes;
use env::DynClock;
use frame::{Encoder, Head};
use frameclock::FrameClock;
use model::Timestamp;
use parking_lot::Mutex;
use series::{Store, Touched, WatchId};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alerts::Alert;
use crate::channel::{Channel, Sent};
use crate::lanes::LaneStore;
use crate::metrics::BoardMetrics;
use crate::plan::Plan;
use crate::screen::{Evaluated, Screen};
use crate::topic::{Intake, follow_topic};

/// How long a board goes on after its last viewer left: a reload of the page finds it running.
const LINGER: Duration = Duration::from_secs(5);

/// Longest time without a frame: displays see that the board is alive.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked how late groups are.
const DELAYS_EVERY: Duration = Duration::from_secs(1);

/// How often figures are taken over into metrics.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for the history of topics before a page is shown without it.
const HISTORY_WAIT: Duration = Duration::from_millis(200);

/// How often a whole ticker may turn over in a second: more rows than that nobody reads.
const TICKER_TURNS: usize = 4;

/// What boards read from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) broker: DynBroker,
    pub(crate) store: Arc<Store>,
    pub(crate) alerts: watch::Receiver<Arc<Vec<Alert>>>,
    /// Which series got samples; `None` evaluates by time alone.
    pub(crate) touches: Option<broadcast::Sender<Arc<Touched>>>,
    pub(crate) clock: DynClock,
}

/// The board as it should be now.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) generation: u32,
    pub(crate) plan: Arc<Plan>,
}

#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) sources: Arc<Sources>,
    pub(crate) channel: Arc<Channel>,
    pub(crate) metrics: Arc<BoardMetrics>,
    pub(crate) lanes: Arc<LaneStore>,
    pub(crate) current: watch::Receiver<Current>,
}

/// Why a session ended.
enum End {
    Idle,
    Replaced,
    Stopped,
}

impl Runner {
    /// Runs until `stop`, or until the board is removed.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.current.changed() => if changed.is_err() { return },
                () = self.channel.wanted() => (),
            }
            while self.channel.viewers() > 0 {
                let current = self.current.borrow_and_update().clone();
                match self.session(current, &stop).await {
                    End::Replaced => (),
                    End::Idle => break,
                    End::Stopped => return,
                }
            }
        }
    }

    async fn session(&self, current: Current, stop: &CancellationToken) -> End {
        let mut changes = self.current.clone();
        let mut session = Session::open(self, current).await;
        let end = session.beats(&mut changes, stop).await;
        session.keep_lanes();
        end
    }
}

/// One run of beats with one plan.
struct Session<'a> {
    sources: &'a Sources,
    channel: &'a Channel,
    metrics: &'a BoardMetrics,
    lanes: &'a LaneStore,
    current: Current,
    screen: Screen,
    encoder: Encoder,
    beat: FrameClock,
    seq: u64,
    intakes: Vec<Arc<Mutex<Intake>>>,
    alerts: watch::Receiver<Arc<Vec<Alert>>>,
    touches: Option<broadcast::Receiver<Arc<Touched>>>,
    alerts_changed: bool,
    started: Duration,
    last_frame: Duration,
    last_figures: Duration,
    last_delays: Option<Duration>,
    last_seen: Duration,
    _watches: WatchGuard,
    /// Ends with the session.
    _followers: JoinSet<()>,
}

/// Gives watches back to the store.
struct WatchGuard {
    store: Arc<Store>,
    watches: Vec<WatchId>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        for watch in &self.watches {
            self.store.unwatch(*watch);
        }
    }
}

impl<'a> Session<'a> {
    async fn open(runner: &'a Runner, current: Current) -> Self {
        let sources: &Sources = &runner.sources;
        let now = sources.clock.now();
        // Before the history is read: what comes meanwhile is not missed.
        let touches = sources.touches.as_ref().map(broadcast::Sender::subscribe);
        let mut followers = JoinSet::new();
        let mut intakes = Vec::new();
        for topic in current.plan.topics() {
            let intake = Arc::new(Mutex::new(Intake::new(&current.plan, &topic)));
            let broker = Arc::clone(&sources.broker);
            followers.spawn(follow_topic(
                broker,
                Arc::clone(&sources.clock),
                Arc::clone(&intake),
            ));
            intakes.push(intake);
        }
        let lanes = runner.lanes.of(&current.plan.name);
        let mut screen = Screen::new(Arc::clone(&current.plan), &lanes, now);
        screen.watch(&sources.store);
        let watches = WatchGuard {
            store: Arc::clone(&sources.store),
            watches: screen.watches(),
        };
        let (screen, done) = load(screen, Arc::clone(&sources.store), now).await;
        let _ = tokio::time::timeout(HISTORY_WAIT, read_history(&intakes)).await;
        let start = sources.clock.monotonic();
        let mut session = Self {
            sources,
            channel: &runner.channel,
            metrics: &runner.metrics,
            lanes: &runner.lanes,
            screen,
            encoder: Encoder::new(),
            beat: FrameClock::new(current.plan.beat, start),
            current,
            seq: 0,
            intakes,
            alerts: sources.alerts.clone(),
            touches,
            alerts_changed: true,
            started: start,
            last_frame: start,
            last_figures: start,
            last_delays: None,
            last_seen: start,
            _watches: watches,
            _followers: followers,
        };
        session.count(done);
        session.take_sources(sources.clock.now());
        session.screen.cells.forget_changes();
        session.seq = session.channel.restart();
        session
    }

    async fn beats(
        &mut self,
        current: &mut watch::Receiver<Current>,
        stop: &CancellationToken,
    ) -> End {
        loop {
            let until = self
                .beat
                .deadline()
                .saturating_sub(self.sources.clock.monotonic());
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                changed = current.changed() => {
                    return if changed.is_ok() { End::Replaced } else { End::Stopped };
                }
                () = tokio::time::sleep(until) => (),
            }
            let monotonic = self.sources.clock.monotonic();
            if self.beat.wake(monotonic).is_none() {
                continue;
            }
            if !self.play(monotonic) {
                return End::Replaced;
            }
            if self.channel.viewers() > 0 {
                self.last_seen = monotonic;
            } else if monotonic.saturating_sub(self.last_seen) >= LINGER {
                return End::Idle;
            }
        }
    }

    /// Plays one beat; `false` when the board was replaced meanwhile.
    fn play(&mut self, monotonic: Duration) -> bool {
        let now = self.sources.clock.now();
        self.take_sources(now);
        if self.screen.tick(now) {
            self.keep_lanes();
        }
        let silent = monotonic.saturating_sub(self.last_frame) >= SILENCE_MAX;
        if self.screen.cells.changed() || silent {
            self.last_frame = monotonic;
            let delta = self.encode(false);
            if !self.channel.publish(self.current.generation, delta) {
                return false;
            }
        }
        if self.channel.keyframe_wanted() {
            let keyframe = self.encode(true);
            self.channel
                .offer_keyframe(self.current.generation, keyframe);
        }
        if monotonic.saturating_sub(self.last_figures) >= FIGURES_EVERY {
            self.last_figures = monotonic;
            self.metrics.set_beat(&self.beat.take_figures());
            self.metrics.set_reports(&self.channel.take_reports());
        }
        true
    }

    /// Takes what sources have, and evaluates what is due.
    fn take_sources(&mut self, now: Timestamp) {
        self.take_touches();
        self.take_topics(now);
        self.alerts_changed |= self.alerts.has_changed().unwrap_or(false);
        if self.alerts_changed || self.screen.has_resolved_alerts() {
            self.alerts_changed = false;
            let alerts = Arc::clone(&self.alerts.borrow_and_update());
            self.screen.set_alerts(&alerts, now);
        }
        self.take_delays(now);
        let done = self.screen.evaluate(&self.sources.store, now);
        self.count(done);
    }

    fn take_delays(&mut self, now: Timestamp) {
        let monotonic = self.sources.clock.monotonic();
        let early = |last| monotonic.saturating_sub(last) < DELAYS_EVERY;
        if self.last_delays.is_some_and(early) || !self.screen.shows_delays() {
            return;
        }
        self.last_delays = Some(monotonic);
        let asked: Vec<_> = self
            .screen
            .filters()
            .map(|(at, it)| (at, it.clone()))
            .collect();
        for (chart, filter) in asked {
            if let Some(delays) = self.sources.broker.delays(&filter) {
                self.screen.take_delays(chart, &delays, now);
            }
        }
    }

    fn take_touches(&mut self) {
        use broadcast::error::TryRecvError;
        let Some(touches) = &mut self.touches else {
            self.screen.touched_all();
            return;
        };
        loop {
            match touches.try_recv() {
                Ok(touched) => self.screen.touched(&touched),
                Err(TryRecvError::Lagged(_)) => self.screen.touched_all(),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Closed) => {
                    self.touches = None;
                    return;
                }
            }
        }
    }

    fn take_topics(&mut self, now: Timestamp) {
        // What a ticker starts with comes at once, what follows no faster than it can be read.
        let starting = self.beat.deadline().saturating_sub(self.started) < Duration::from_secs(1);
        let beat = usize::try_from(self.current.plan.beat.hertz()).unwrap_or(1);
        for intake in &self.intakes {
            let mut intake = intake.lock();
            let (rows, _) = intake.history();
            let most = if starting {
                rows
            } else {
                (rows * TICKER_TURNS).div_ceil(beat).max(1)
            };
            let taken = intake.drain(now);
            let topic = intake.topic.clone();
            drop(intake);
            self.metrics.events.inc_by(u64::from(taken.events.count));
            self.screen.take_topic(&topic, &taken, most, now);
        }
    }

    fn encode(&mut self, keyframe: bool) -> Sent {
        let base = self.seq;
        if !keyframe {
            self.seq += 1;
        }
        let events = self.screen.events();
        let head = Head {
            keyframe,
            generation: self.current.generation,
            seq: self.seq,
            base_seq: if keyframe { 0 } else { base },
            sent_ns: u64::try_from(self.sources.clock.unix_nanos()).unwrap_or(0),
            stamp_ns: events.oldest_ns,
            stamp_newest_ns: events.newest_ns,
            events: events.count,
        };
        let mut writer = self.encoder.begin(&head);
        if keyframe {
            self.screen.cells.write_keyframe(&mut writer);
            self.metrics.keyframes.inc();
        } else {
            self.screen.cells.write_delta(&mut writer);
            self.metrics.frames.inc();
        }
        let bytes: Bytes = writer.finish();
        self.metrics.encoded_bytes.inc_by(bytes.len() as u64);
        Sent {
            seq: self.seq,
            bytes,
        }
    }

    fn keep_lanes(&self) {
        let states = self.screen.lane_states(self.sources.clock.now());
        self.lanes.put(&self.current.plan.name, states);
    }

    fn count(&self, done: Evaluated) {
        self.metrics.evaluations.inc_by(done.queries);
        self.metrics.evaluation_failures.inc_by(done.failures);
    }
}

/// Waits until all topics have delivered their history.
async fn read_history(intakes: &[Arc<Mutex<Intake>>]) {
    while !intakes.iter().all(|intake| intake.lock().has_history()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads history away from the threads that serve sockets: it may take tens of milliseconds.
async fn load(mut screen: Screen, store: Arc<Store>, now: Timestamp) -> (Screen, Evaluated) {
    let work = move || {
        let done = screen.load_history(&store, now);
        (screen, done)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(loaded) => loaded,
        Err(error) => match error.try_into_panic() {
            // The fence is in the service: it counts the panic and starts the board again.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
