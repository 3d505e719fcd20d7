//! What a user writes: the Listener resource.
//!
//! ```yaml
//! apiVersion: lantern/v1
//! kind: Listener
//! metadata: {name: billing}
//! spec:
//!   topics: [orders]
//!   webhook:
//!     url: http://127.0.0.1:9000/orders
//!     timeout: 5s
//!   concurrency: 8
//!   ordering: key
//!   retry: {attempts: 5, initial: 100ms, max: 10s}
//!   deadline: {timeout: 30s, expired: dead-letter}
//!   output: {topic: invoices}
//! ```

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use delivery::{Policy, Priority, Retry};
use flow::Rate;
use model::TopicName;
use reqwest::Url;
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use stdx::HumanDuration;

use crate::problems::{Problem, Problems};
use crate::webhook::KEPT_BACK;

/// A file of one Listener resource.
#[derive(Debug, Clone)]
pub struct ListenerFile {
    /// Where it came from, for messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A checked listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its name, unique among listeners; its group is `lantern-listener-NAME`.
    pub name: String,
    /// The topics it listens to, which may come to be later.
    pub topics: BTreeSet<TopicName>,
    /// Who gets the records.
    pub kind: Kind,
    /// Requests (or calls) at a time, 1 to 1,024. Default 8.
    pub concurrency: usize,
    /// Records of one request, 1 to 1,000. Default 1.
    pub batch: usize,
    /// What keeps its order. Default [`Ordering::Key`].
    pub ordering: Ordering,
    /// Urgency of records that do not say theirs.
    pub priority: Priority,
    /// How long a record may take from its timestamp on, unless it says so itself.
    pub deadline: Option<Duration>,
    /// Retries, leases, starvation, what becomes of expired records.
    pub policy: Policy,
    /// Where records go that are given up; by default each topic's own, `TOPIC.dlq`.
    pub dead_letters: Option<TopicName>,
    /// How long dead letters are kept, if this listener makes their topic. Default 72 h.
    pub dead_letters_kept: Duration,
    /// Most records a second, and how many at once after a pause (by default those of one second).
    pub rate: Option<Rate>,
    /// Where its answers go, together with its progress or not at all.
    pub output: Option<TopicName>,
    /// Records that come again within a window are left out.
    pub deduplicate: Option<Deduplicate>,
    /// Where a listener begins that never ran. Default [`From::Latest`].
    pub from: From,
    /// It goes on when others are paused for its sake. Default true.
    pub core: bool,
}

/// Who gets the records.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An HTTP endpoint.
    Webhook(Webhook),
    /// Code in this process, registered under this name.
    Native(String),
}

/// An HTTP endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where requests go.
    pub url: Url,
    /// Sent with each; may hold secrets.
    pub headers: HeaderMap,
    /// One attempt may take this long. Default 10 s.
    pub timeout: Duration,
}

/// What keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// All records of a partition.
    Partition,
    /// Records of one key; those without a key have no order.
    Key,
    /// Nothing.
    None,
}

/// Where a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// At the oldest record kept.
    Earliest,
    /// At what comes after it was made.
    Latest,
}

/// How duplicates are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deduplicate {
    /// The header that names an event. Default `ce_id`.
    pub header: String,
    /// How long. Default 500 ms.
    pub window: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: Written,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    topics: OneOrMany,
    webhook: Option<WrittenWebhook>,
    native: Option<String>,
    concurrency: Option<usize>,
    batch: Option<usize>,
    ordering: Option<Ordering>,
    priority: Option<u8>,
    #[serde(default)]
    deadline: WrittenDeadline,
    #[serde(default)]
    retry: WrittenRetry,
    #[serde(default)]
    dead_letters: WrittenDeadLetters,
    output: Option<WrittenOutput>,
    rate: Option<WrittenRate>,
    deduplicate: Option<WrittenDeduplicate>,
    from: Option<From>,
    core: Option<bool>,
    starvation: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(TopicName),
    Many(Vec<TopicName>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWebhook {
    #[serde(deserialize_with = "url")]
    url: Url,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    timeout: Option<HumanDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeadline {
    timeout: Option<HumanDuration>,
    expired: Option<Expired>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expired {
    Drop,
    DeadLetter,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRetry {
    attempts: Option<u32>,
    initial: Option<HumanDuration>,
    max: Option<HumanDuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeadLetters {
    topic: Option<TopicName>,
    retention: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOutput {
    topic: TopicName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenRate {
    per_second: u64,
    burst: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeduplicate {
    by: Option<String>,
    window: Option<HumanDuration>,
}

/// Bounds of what a user may write.
const CONCURRENCY_MAX: usize = 1_024;
const BATCH_MAX: usize = 1_000;
const ATTEMPTS_MAX: u32 = 100;
const NAME_MAX: usize = 63;
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
const WINDOW_MAX: Duration = Duration::from_hours(1);
const DEAD_LETTERS_KEPT: Duration = Duration::from_hours(72);
/// A lease outlives the slowest attempt, so that only a listener that is lost loses it.
const LEASE_GRACE: Duration = Duration::from_secs(30);

impl ListenerFile {
    /// A resource that code makes: its name, and its spec as YAML.
    pub fn of(name: &str, spec: &str) -> Self {
        let head = format!("apiVersion: lantern/v1, kind: Listener, metadata: {{name: {name}}}");
        Self {
            path: format!("listener {name}").into(),
            text: format!("{{{head}, spec: {spec}}}"),
        }
    }

    /// Checks the file whole.
    ///
    /// # Errors
    /// Every [`Problem`] found.
    pub fn parse(&self) -> Result<Spec, Problems> {
        let problem = |reason: String| Problem {
            path: self.path.clone(),
            reason,
        };
        let document: Document =
            serde_saphyr::from_str(&self.text).map_err(|error| -> Problems {
                // Without the line itself, which may hold secrets.
                vec![problem(error.without_snippet().to_string())].into()
            })?;
        let mut wrong = Vec::new();
        let spec = check(document, &mut wrong);
        match spec {
            Some(spec) if wrong.is_empty() => Ok(spec),
            _ => Err(wrong.into_iter().map(problem).collect::<Vec<_>>().into()),
        }
    }
}

/// `None` only if something was added to `wrong`.
fn check(document: Document, wrong: &mut Vec<String>) -> Option<Spec> {
    let Document { metadata, spec, .. } = document;
    let name = metadata.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        wrong.push(format!(
            "metadata.name: '{name}' must be 1 to {NAME_MAX} of a-z, 0-9 and -"
        ));
    }
    let topics: BTreeSet<TopicName> = match spec.topics {
        OneOrMany::One(topic) => [topic].into(),
        OneOrMany::Many(topics) => topics.into_iter().collect(),
    };
    if topics.is_empty() {
        wrong.push("spec.topics is empty".to_owned());
    }
    let kind = match (spec.webhook, spec.native) {
        (Some(webhook), None) => Some(Kind::Webhook(check_webhook(webhook, wrong))),
        (None, Some(name)) => Some(Kind::Native(name)),
        _ => {
            wrong.push("spec: write exactly one of webhook and native".to_owned());
            None
        }
    };
    let concurrency = spec.concurrency.unwrap_or(8);
    within("spec.concurrency", concurrency, CONCURRENCY_MAX, wrong);
    let batch = spec.batch.unwrap_or(1);
    within("spec.batch", batch, BATCH_MAX, wrong);
    let priority = spec.priority.unwrap_or(Priority::DEFAULT.get());
    let priority = Priority::new(priority).unwrap_or_else(|| {
        wrong.push(format!(
            "spec.priority: {priority} is not 0 (most urgent) to 9"
        ));
        Priority::DEFAULT
    });
    let policy = Policy {
        retry: check_retry(&spec.retry, wrong),
        bury_expired: spec.deadline.expired != Some(Expired::Drop),
        starvation: spec
            .starvation
            .map_or(Policy::default().starvation, HumanDuration::get),
        lease: match &kind {
            // A batch that is refused is tried record by record.
            Some(Kind::Webhook(webhook)) => {
                let requests = if batch > 1 { batch + 1 } else { 1 };
                let requests = u32::try_from(requests).unwrap_or(u32::MAX);
                webhook.timeout.saturating_mul(requests) + LEASE_GRACE
            }
            _ => Policy::default().lease,
        },
    };
    if let Some(topic) = &spec.dead_letters.topic {
        if topics.contains(topic) {
            wrong.push(format!(
                "spec.deadLetters.topic: '{topic}' is one of its own topics: it would never end"
            ));
        }
        if topic.is_internal() {
            wrong.push(format!(
                "spec.deadLetters.topic: '{topic}' is Lantern's own, whose records are its state; name another"
            ));
        }
    }
    let output = spec.output.map(|output| output.topic);
    if let Some(output) = &output {
        check_output(output, &topics, spec.dead_letters.topic.as_ref(), wrong);
    }
    let deduplicate = spec.deduplicate.map(|written| Deduplicate {
        header: written.by.unwrap_or_else(|| "ce_id".to_owned()),
        window: written
            .window
            .map_or(Duration::from_millis(500), HumanDuration::get),
    });
    if deduplicate
        .as_ref()
        .is_some_and(|one| one.window > WINDOW_MAX)
    {
        wrong.push("spec.deduplicate.window: at most 1h".to_owned());
    }
    Some(Spec {
        name,
        topics,
        kind: kind?,
        concurrency,
        batch,
        ordering: spec.ordering.unwrap_or(Ordering::Key),
        priority,
        deadline: spec.deadline.timeout.map(HumanDuration::get),
        policy,
        dead_letters: spec.dead_letters.topic,
        dead_letters_kept: spec
            .dead_letters
            .retention
            .map_or(DEAD_LETTERS_KEPT, HumanDuration::get),
        rate: spec.rate.and_then(|written| check_rate(&written, wrong)),
        output,
        deduplicate,
        from: spec.from.unwrap_or(From::Latest),
        core: spec.core.unwrap_or(true),
    })
}

fn check_output(
    output: &TopicName,
    topics: &BTreeSet<TopicName>,
    dead_letters: Option<&TopicName>,
    wrong: &mut Vec<String>,
) {
    if topics.contains(output) {
        wrong.push(format!(
            "spec.output.topic: '{output}' is one of its own topics: it would never end"
        ));
    }
    if output.is_internal() {
        wrong.push(format!(
            "spec.output.topic: '{output}' is Lantern's own and takes part in no transaction"
        ));
    }
    let usual = |topic: &TopicName| crate::dead_letter::usual_topic_of(topic) == *output;
    let buried = match dead_letters {
        Some(topic) => topic == output,
        None => topics.iter().any(usual),
    };
    if buried {
        wrong.push(format!(
            "spec.output.topic: '{output}' is its topic of dead letters, which are no output"
        ));
    }
}

fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The text may hold secrets.
    text.parse()
        .map_err(|error| serde::de::Error::custom(format!("this is no URL: {error}")))
}

fn within(what: &str, number: usize, max: usize, wrong: &mut Vec<String>) {
    if !(1..=max).contains(&number) {
        wrong.push(format!("{what}: {number} is not 1 to {max}"));
    }
}

fn check_webhook(written: WrittenWebhook, wrong: &mut Vec<String>) -> Webhook {
    if !matches!(written.url.scheme(), "http" | "https") {
        wrong.push(format!(
            "spec.webhook.url: '{}' is neither http nor https",
            written.url.scheme()
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in written.headers {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            // A name that the endpoint goes by is the operator's affair.
            (Ok(name), _) if name != HOST && KEPT_BACK.contains(&name.as_str()) => {
                wrong.push(format!(
                    "spec.webhook.headers: '{name}' is of the connection, not of the request"
                ));
            }
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) => wrong.push(format!("spec.webhook.headers: '{name}' is no header name")),
            // The value may be a secret.
            (_, Err(_)) => wrong.push(format!(
                "spec.webhook.headers: the value of '{name}' cannot be sent"
            )),
        }
    }
    let timeout = written.timeout.map_or(TIMEOUT, HumanDuration::get);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        wrong.push("spec.webhook.timeout: above 0 and at most 10m".to_owned());
    }
    Webhook {
        url: written.url,
        headers,
        timeout,
    }
}

fn check_retry(written: &WrittenRetry, wrong: &mut Vec<String>) -> Retry {
    let usual = Retry::default();
    let retry = Retry {
        attempts: written.attempts.unwrap_or(usual.attempts),
        initial: written.initial.map_or(usual.initial, HumanDuration::get),
        max: written.max.map_or(usual.max, HumanDuration::get),
    };
    if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
        wrong.push(format!(
            "spec.retry.attempts: {} is not 1 (no retry) to {ATTEMPTS_MAX}",
            retry.attempts
        ));
    }
    if retry.initial > retry.max {
        wrong.push("spec.retry: initial is longer than max".to_owned());
    }
    retry
}

fn check_rate(written: &WrittenRate, wrong: &mut Vec<String>) -> Option<Rate> {
    let WrittenRate { per_second, burst } = *written;
    if per_second == 0 || burst == Some(0) {
        wrong.push("spec.rate: perSecond and burst must be at least 1".to_owned());
        return None;
    }
    Some(Rate::new(per_second, burst.unwrap_or(per_second)))
}
