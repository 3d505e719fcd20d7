//! Keeps one listener as its resource says, over changes, refusals and panics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use delivery::Load;
use flow::BreakerState;
use model::GroupId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::context::Context;
use crate::delivery::Listener;
use crate::metrics::Metrics;
use crate::running::{Ending, Orders, Prepared, Running};
use crate::service::{DRAIN, START, STOP_DRAIN};
use crate::spec::{Kind, Spec};
use crate::status::{Shown, Status};
use crate::webhook::WebhookListener;

/// Pause after a listener ended by a panic or with a failed transaction, or could not be started.
const AGAIN: Duration = Duration::from_secs(1);
/// It doubles up to this while transactions go on failing: each time some records are delivered again.
const AGAIN_MAX: Duration = Duration::from_mins(1);
/// Who ran for so long had begun well.
const WELL: Duration = Duration::from_mins(5);

/// What is known of a listener from outside.
pub(crate) struct Shelf {
    spec: Arc<Spec>,
    generation: u64,
    refused: Option<String>,
    status: watch::Receiver<Status>,
}

impl Shelf {
    pub(crate) fn show(&self) -> Shown {
        let status = self.status.borrow().clone();
        let spec = &self.spec;
        Shown {
            name: spec.name.clone(),
            topics: spec.topics.iter().map(ToString::to_string).collect(),
            target: match &spec.kind {
                // Paths of webhooks are secrets as often as not.
                Kind::Webhook(webhook) => webhook.url.origin().ascii_serialization(),
                Kind::Native(name) => format!("native {name}"),
            },
            output: spec.output.as_ref().map(ToString::to_string),
            group: group_name(&spec.name),
            generation: self.generation,
            refused: self.refused.clone(),
            core: spec.core,
            breaker: match status.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half-open",
            },
            paused: status.paused,
            lag: status.lag,
            waiting: status.waiting,
            in_flight: status.in_flight,
            done: status.done,
            failures: status.failures,
            unreadable: status.unreadable,
            held_bytes: status.held_bytes,
        }
    }
}

impl Shelf {
    /// What it is to this machine.
    pub(crate) fn load(&self) -> Load<'_> {
        let status = self.status.borrow();
        Load {
            listener: &self.spec.name,
            core: self.spec.core,
            lag: status.lag,
            held_up: status.breaker != BreakerState::Closed || status.limited,
            delay: status.waited,
        }
    }
}

/// A running version.
struct Active {
    orders: watch::Sender<Orders>,
    stop: CancellationToken,
    drain: watch::Sender<Duration>,
    task: JoinHandle<Ending>,
}

/// Keeps one listener.
pub(crate) struct Supervisor {
    name: String,
    context: Arc<Context>,
    native: Arc<BTreeMap<String, Arc<dyn Listener>>>,
    metrics: Metrics,
    shelf: Arc<Mutex<BTreeMap<String, Shelf>>>,
    status: watch::Sender<Status>,
    /// Listeners that are not core are to pause.
    paused: watch::Receiver<bool>,
    generation: u64,
}

impl Supervisor {
    pub(crate) fn new(
        name: &str,
        context: Arc<Context>,
        native: Arc<BTreeMap<String, Arc<dyn Listener>>>,
        metrics: Metrics,
        shelf: Arc<Mutex<BTreeMap<String, Shelf>>>,
        paused: watch::Receiver<bool>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            context,
            native,
            metrics,
            shelf,
            status: watch::Sender::default(),
            paused,
            generation: 0,
        }
    }

    /// Runs until `wanted` is nothing, or `shutdown`; answers the listener's name.
    pub(crate) async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<Spec>>>,
        shutdown: CancellationToken,
    ) -> String {
        let mut active: Option<Active> = None;
        let mut again = false;
        let mut pause = AGAIN;
        'wanted: loop {
            let spec = wanted.borrow_and_update().clone();
            let Some(spec) = spec else { break };
            active = self.put_in_force(spec, active, &mut again).await;
            let began = Instant::now();
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break 'wanted,
                    changed = wanted.changed() => match changed {
                        Ok(()) => continue 'wanted,
                        Err(_) => break 'wanted,
                    },
                    // Its sender lives as long as the service that runs this.
                    Ok(()) = self.paused.changed() => self.pause(active.as_ref()),
                    ending = ended(active.as_mut()) => {
                        if ending.is_some() {
                            warn!(listener = self.name, "A listener begins again where its last transaction ended.");
                        } else {
                            error!(listener = self.name, "A listener ended by a panic and is started again.");
                        }
                        active = None;
                        if ending.is_none() || began.elapsed() > WELL {
                            pause = AGAIN;
                        }
                        tokio::select! {
                            () = shutdown.cancelled() => break 'wanted,
                            () = tokio::time::sleep(pause) => {}
                        }
                        pause = (pause * 2).min(AGAIN_MAX);
                        continue 'wanted;
                    }
                    () = tokio::time::sleep(AGAIN), if again => continue 'wanted,
                }
            }
        }
        if let Some(active) = active {
            active
                .end(if shutdown.is_cancelled() {
                    STOP_DRAIN
                } else {
                    DRAIN
                })
                .await;
        }
        if !shutdown.is_cancelled() {
            info!(listener = self.name, "A listener is removed.");
        }
        self.shelf.lock().remove(&self.name);
        self.metrics.forget(&self.name);
        self.name
    }

    /// The listener as `spec` says; as it was when that cannot be.
    async fn put_in_force(
        &mut self,
        spec: Arc<Spec>,
        active: Option<Active>,
        again: &mut bool,
    ) -> Option<Active> {
        let prepared = tokio::time::timeout(START, self.prepare(&spec)).await;
        let prepared = match prepared {
            Ok(Ok(prepared)) => Arc::new(prepared),
            Ok(Err(reason)) => return self.refuse(spec, reason, active, again),
            Err(_) => {
                return self.refuse(
                    spec,
                    format!("it was not ready within {START:?}"),
                    active,
                    again,
                );
            }
        };
        *again = false;
        let active = match active {
            Some(active) if !active.needs_an_end(&spec) => {
                let paused = self.is_paused(&spec);
                active
                    .orders
                    .send_modify(|orders| *orders = Orders { prepared, paused });
                Some(active)
            }
            Some(active) => {
                active.end(DRAIN).await;
                self.start(prepared)
            }
            None => self.start(prepared),
        };
        self.generation += 1;
        info!(
            listener = self.name,
            generation = self.generation,
            "A listener is in force."
        );
        self.put_on_shelf(spec, None);
        active
    }

    /// Whether this listener pauses now.
    fn is_paused(&self, spec: &Spec) -> bool {
        !spec.core && *self.paused.borrow()
    }

    fn pause(&mut self, active: Option<&Active>) {
        self.paused.mark_unchanged();
        if let Some(active) = active {
            let paused = self.is_paused(&active.orders.borrow().prepared.spec);
            active.orders.send_if_modified(|orders| {
                let changed = orders.paused != paused;
                orders.paused = paused;
                changed
            });
        }
    }

    fn refuse(
        &mut self,
        spec: Arc<Spec>,
        reason: String,
        active: Option<Active>,
        again: &mut bool,
    ) -> Option<Active> {
        warn!(
            listener = self.name,
            reason, "A listener cannot be put in force; what was stays."
        );
        // Without an old version the new one is tried until it can be.
        *again = active.is_none();
        let old = self
            .shelf
            .lock()
            .get(&self.name)
            .map(|shelf| Arc::clone(&shelf.spec));
        self.put_on_shelf(old.unwrap_or(spec), Some(reason));
        active
    }

    fn put_on_shelf(&self, spec: Arc<Spec>, refused: Option<String>) {
        let shelf = Shelf {
            spec,
            generation: self.generation,
            refused,
            status: self.status.subscribe(),
        };
        self.shelf.lock().insert(self.name.clone(), shelf);
    }

    /// Everything that may fail in a start.
    async fn prepare(&self, spec: &Arc<Spec>) -> Result<Prepared, String> {
        let listener: Arc<dyn Listener> = match &spec.kind {
            Kind::Native(name) => {
                let found = self.native.get(name).cloned();
                found.ok_or_else(|| format!("no listener is registered as '{name}'"))?
            }
            Kind::Webhook(webhook) => {
                let clock = Arc::clone(&self.context.clock);
                let made = WebhookListener::new(
                    webhook.clone(),
                    spec.batch > 1,
                    spec.output.is_some(),
                    clock,
                );
                Arc::new(made.map_err(|error| error.to_string())?)
            }
        };
        // Its progress must be legible before it takes over.
        let group = group(&spec.name)?;
        let committed = self.context.broker.committed(&group, None).await;
        committed.map_err(|error| error.to_string())?;
        Ok(Prepared {
            spec: Spec::clone(spec),
            listener,
        })
    }

    fn start(&self, prepared: Arc<Prepared>) -> Option<Active> {
        let group = group(&self.name).ok()?;
        let paused = self.is_paused(&prepared.spec);
        let (orders, receiver) = watch::channel(Orders { prepared, paused });
        let running = Running::new(
            Arc::clone(&self.context),
            receiver,
            self.status.clone(),
            self.metrics.of(&self.name),
            group,
        );
        let stop = CancellationToken::new();
        let (drain, how_long) = watch::channel(DRAIN);
        let task = tokio::spawn(running.run(stop.clone(), how_long));
        Some(Active {
            orders,
            stop,
            drain,
            task,
        })
    }
}

impl Active {
    /// Another order of records cannot begin beside the old one, nor another way to store progress.
    fn needs_an_end(&self, spec: &Spec) -> bool {
        let now = &self.orders.borrow().prepared;
        (now.spec.ordering, &now.spec.output) != (spec.ordering, &spec.output)
    }

    async fn end(self, drain: Duration) {
        self.drain.send_replace(drain);
        self.stop.cancel();
        // It ends by itself soon after the drain; a panic in it was said.
        let _ = self.task.await;
    }
}

/// Ready when the version that runs ends by itself; `None` is by a panic.
async fn ended(active: Option<&mut Active>) -> Option<Ending> {
    match active {
        Some(active) => (&mut active.task).await.ok(),
        None => std::future::pending().await,
    }
}

fn group_name(listener: &str) -> String {
    format!("lantern-listener-{listener}")
}

fn group(listener: &str) -> Result<GroupId, String> {
    let name = group_name(listener);
    name.parse()
        .map_err(|_| format!("'{name}' is no group's name"))
}
