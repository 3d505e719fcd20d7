//! Telling webhooks: each is a consumer of `lantern.alerts` with a committed offset of its own.
//!
//! The log is the queue, so a receiver that is down costs no memory and loses nothing: its committed
//! offset stays, and it is told in order once it answers. The group is named `lantern-webhook-` and a
//! hash of the URL, which may hold secrets; its lag can be read like that of any group.
//!
//! An answer of 2xx is a success. No answer, 408, 429 and 5xx are tried again, with pauses that double up to
//! [`PAUSE_MAX`]; any other answer is final: trying again could not change it.
//!
//! Invariants: one request per webhook at a time; a webhook knows nothing of the others; what was taken
//! is committed before the next is sent, so that at most the last notification comes twice after a crash.
//! Not here: grouping by labels of choice, silences, inhibition: put Alertmanager behind it.

mod payload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{Commit, DynBroker, Error, Fetched, Tail};
use env::DynClock;
use model::{GroupId, Position};
use reqwest::{StatusCode, Url};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::handle::Shared;
use crate::record::{AlertRecord, fingerprint, partition};
use crate::restore::{Restored, records};
use payload::{Groups, Notification};

/// A receiver that has not answered by then is tried again.
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause after the log could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// How long a request under way may go on when Lantern stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Starts one task for each webhook; they end soon after `shutdown`.
pub(crate) fn start(
    shared: &Arc<Shared>,
    broker: &DynBroker,
    clock: &DynClock,
    shutdown: &CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut urls = shared.options.webhooks.clone();
    urls.sort();
    urls.dedup();
    for url in urls {
        let made = Webhook::new(&url, shared, broker, clock);
        match made {
            Ok(webhook) => drop(tasks.spawn(webhook.run(shutdown.clone()))),
            Err(reason) => warn!(reason, "A webhook cannot be used."),
        }
    }
    tasks
}

/// Lets requests under way end.
pub(crate) async fn drain(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, all).await;
}

struct Webhook {
    url: Url,
    /// The address without what may be secret: chat services have a token in the path.
    shown: String,
    group: GroupId,
    client: reqwest::Client,
    shared: Arc<Shared>,
    broker: DynBroker,
    clock: DynClock,
}

impl Webhook {
    fn new(
        url: &str,
        shared: &Arc<Shared>,
        broker: &DynBroker,
        clock: &DynClock,
    ) -> Result<Self, String> {
        let parsed: Url = url
            .parse()
            .map_err(|error| format!("the address of a webhook is no URL: {error}"))?;
        let hash = fingerprint([("url", url)].into_iter());
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // Alerts go where they were meant to go.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("Lantern/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            shown: parsed.origin().ascii_serialization(),
            url: parsed,
            group: format!("lantern-webhook-{hash}")
                .parse()
                .map_err(|_| hash)?,
            client,
            shared: Arc::clone(shared),
            broker: DynBroker::clone(broker),
            clock: DynClock::clone(clock),
        })
    }

    async fn run(self, shutdown: CancellationToken) {
        while let Err(error) = self.follow(&shutdown).await {
            if matches!(error, Error::Stopping) {
                return;
            }
            warn!(webhook = self.shown, %error, "Alerts cannot be read; trying again.");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Ready when `shutdown` is.
    async fn follow(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        let Some((start, mut groups)) = self.begin(shutdown).await? else {
            return Ok(());
        };
        let mut tail = Tail::new(DynBroker::clone(&self.broker), partition(), start)?;
        loop {
            let fetched = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                fetched = tail.next() => fetched,
            };
            match fetched {
                Ok(Fetched { batches, next, .. }) => {
                    if !self.tell(&mut groups, records(&batches), shutdown).await {
                        return Ok(());
                    }
                    self.commit(next).await?;
                }
                Err(Error::OutOfRange { log_start, .. }) => {
                    warn!(
                        webhook = self.shown,
                        "Transitions were never told: they are too old."
                    );
                    // What became of alerts in between is in the records that are left.
                    groups = self.known(log_start).await?;
                    tail.seek(log_start);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it stopped the last time, and what it knew then. A new webhook is told what fires now and
    /// goes on from there.
    async fn begin(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Option<(Position, Groups)>, Error> {
        let of = Some(vec![partition()]);
        let committed = self.broker.committed(&self.group, of).await?;
        if let Some((_, Some(commit))) = committed.into_iter().next() {
            let groups = self.known(commit.position).await?;
            return Ok(Some((commit.position, groups)));
        }
        let mut groups = Groups::default();
        let (restored, end) = Restored::read(&self.broker, None).await?;
        info!(webhook = self.shown, "A new webhook.");
        if !self.tell(&mut groups, restored.firing(), shutdown).await {
            return Ok(None);
        }
        self.commit(end).await?;
        Ok(Some((end, groups)))
    }

    /// What a webhook knows that was told everything before `position`.
    async fn known(&self, position: Position) -> Result<Groups, Error> {
        let (restored, _) = Restored::read(&self.broker, Some(position)).await?;
        let mut groups = Groups::default();
        for record in restored.firing() {
            groups.learn(record);
        }
        Ok(groups)
    }

    async fn commit(&self, position: Position) -> Result<(), Error> {
        let metadata = self.shown.clone();
        let commit = Commit {
            position,
            leader_epoch: None,
            metadata,
            at: self.clock.now(),
        };
        self.broker
            .commit(&self.group, vec![(partition(), commit)])
            .await
    }

    /// Whether everything was taken or refused; not when `shutdown` came before.
    async fn tell(
        &self,
        groups: &mut Groups,
        records: Vec<AlertRecord>,
        shutdown: &CancellationToken,
    ) -> bool {
        let options = &self.shared.options;
        for notification in groups.notifications(records, options) {
            tokio::select! {
                () = self.send(&notification) => {}
                () = gone(shutdown) => return false,
            }
        }
        true
    }

    /// Sends until it is taken or refused.
    async fn send(&self, notification: &Notification) {
        let body = serde_json::to_vec(notification).unwrap_or_default();
        let mut pause = PAUSE_MIN;
        loop {
            let reason = match self.attempt(body.clone()).await {
                Attempt::Taken => return,
                Attempt::Refused(status) => {
                    self.shared.metrics.refused.inc();
                    let webhook = &self.shown;
                    warn!(webhook, %status, "A webhook refused a notification, which is left out.");
                    return;
                }
                Attempt::Again(reason) => reason,
            };
            self.shared.metrics.send_failures.inc();
            // Said once in a while, not at each attempt.
            if pause == PAUSE_MIN || pause == PAUSE_MAX {
                warn!(
                    webhook = self.shown,
                    reason, "A webhook takes nothing; trying again."
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, body: Vec<u8>) -> Attempt {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(body);
        let started = self.clock.monotonic();
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Attempt::Again(stdx::causes(&error.without_url())),
        };
        let took = self.clock.monotonic().saturating_sub(started);
        self.shared.metrics.send_seconds.observe(took.as_secs_f64());
        match answer.status() {
            status if status.is_success() => {
                self.shared.metrics.sent.inc();
                Attempt::Taken
            }
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                Attempt::Again(status.to_string())
            }
            status if status.is_server_error() => Attempt::Again(status.to_string()),
            status => Attempt::Refused(status),
        }
    }
}

/// What became of one request.
enum Attempt {
    Taken,
    Again(String),
    Refused(StatusCode),
}

/// Ready a while after `shutdown`: a request under way may end.
async fn gone(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN / 2).await;
}

/// Labels with those put on everything that leaves.
fn outside(
    labels: &BTreeMap<String, String>,
    external: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = external.clone();
    all.extend(labels.clone());
    all
}
