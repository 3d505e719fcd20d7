//! The effective configuration: defaults, then `lantern.yaml`, then `LANTERN_…` in the environment,
//! then flags; the later wins. Each value remembers where it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use figment::Figment;
use figment::providers::{Env, Serialized};
use kafka_edge::Advertised;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::{ByteSize, HumanDuration};

use crate::cli::{LogFormat, UpFlags};
use crate::groups::Groups;
use crate::rings::RingMemory;
use crate::spans::Tracing;
use crate::topics::Topics;
use crate::transactions::Transactions;

/// Everything `up` can be told. Field names are the keys of `lantern.yaml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Directories on further disks, for logs.
    pub(crate) log_dirs: Vec<PathBuf>,
    pub(crate) http: SocketAddr,
    pub(crate) kafka: SocketAddr,
    /// Where Kafka clients are told to connect, `HOST:PORT`; else the address that each reached.
    pub(crate) kafka_advertised: Option<String>,
    /// This node's number, as Kafka clients see it.
    pub(crate) node_id: i32,
    pub(crate) conf_dir: PathBuf,
    pub(crate) rules_dir: PathBuf,
    pub(crate) series_retention: HumanDuration,
    /// Size of a file of the log's journal; 0 does without.
    pub(crate) journal_size: ByteSize,
    /// How far zeros are written ahead of a partition's end; 0 does without.
    pub(crate) preallocate_size: ByteSize,
    /// The newest bytes of a partition that stay in the kernel's page cache.
    pub(crate) page_cache_size: ByteSize,
    /// How often records that are past their topic's retention are looked for.
    pub(crate) retention_interval: HumanDuration,
    pub(crate) agent: bool,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) log_format: Option<LogFormat>,
    pub(crate) alerting: Alerting,
    pub(crate) groups: Groups,
    /// What transactional producers may ask for.
    pub(crate) transactions: Transactions,
    pub(crate) topics: Topics,
    /// What clients and topics may send and read.
    pub(crate) quotas: admission::Quotas,
    /// How much may be on its way into the log at once.
    pub(crate) append_limit: admission::Limit,
    /// Spans of deliveries.
    pub(crate) tracing: Tracing,
    /// How compacted topics are compacted.
    pub(crate) compaction: Compaction,
    /// What listeners may hold in memory.
    pub(crate) listener_memory: dispatch::MemoryOptions,
    /// What is kept in memory for followers in the process.
    pub(crate) ring_memory: RingMemory,
}

/// How compacted topics are compacted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Compaction {
    /// How often it is looked for partitions that are due.
    pub(crate) interval: HumanDuration,
    /// Memory for the map of keys.
    pub(crate) memory: ByteSize,
    /// Bytes read and written in a second at most; 0 is no limit.
    pub(crate) rate: ByteSize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            interval: HumanDuration::new(Duration::from_secs(15)),
            memory: ByteSize::from_mib(64),
            rate: ByteSize::from_mib(64),
        }
    }
}

/// What the map of keys may have, and how often it is looked.
const COMPACTION_MEMORY_MIN: ByteSize = ByteSize::from_mib(1);
const COMPACTION_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Where alerts go.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Alerting {
    /// URLs that receive Alertmanager's webhook JSON.
    pub(crate) webhooks: Vec<String>,
    /// Labels put on every alert that is sent.
    pub(crate) external_labels: BTreeMap<String, String>,
    /// How this Lantern is reached from outside, for links in notifications.
    pub(crate) external_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "lantern-data".into(),
            log_dirs: Vec::new(),
            http: SocketAddr::from(([127, 0, 0, 1], 8787)),
            kafka: SocketAddr::from(([127, 0, 0, 1], 9092)),
            kafka_advertised: None,
            node_id: kafka_edge::Options::default().node_id,
            conf_dir: "conf.d".into(),
            rules_dir: "rules".into(),
            series_retention: HumanDuration::new(Duration::from_hours(6)),
            journal_size: ByteSize::from_mib(16),
            preallocate_size: ByteSize::from_kib(512),
            page_cache_size: ByteSize::from_mib(64),
            retention_interval: HumanDuration::new(Duration::from_secs(30)),
            agent: true,
            ready_file: None,
            log_format: None,
            alerting: Alerting::default(),
            groups: Groups::default(),
            transactions: Transactions::default(),
            topics: Topics::default(),
            quotas: admission::Quotas::default(),
            append_limit: admission::Limit::default(),
            tracing: Tracing::default(),
            compaction: Compaction::default(),
            listener_memory: dispatch::MemoryOptions::default(),
            ring_memory: RingMemory::default(),
        }
    }
}

/// The file read when no other is named.
const DEFAULT_FILE: &str = "lantern.yaml";

/// What a file of the journal may have; a start reads up to four whole.
const JOURNAL_MIN: ByteSize = ByteSize::from_kib(4);
const JOURNAL_MAX: ByteSize = ByteSize::from_mib(256);

/// More zeros than this ahead of a partition would be a waste of disk.
const PREALLOCATE_MAX: ByteSize = ByteSize::from_mib(64);

/// The shortest time between two looks for old records.
const RETENTION_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The shortest retention: rules look back five minutes.
const RETENTION_MIN: Duration = Duration::from_mins(5);

impl Config {
    /// The configuration that `flags` and their surroundings give, and the origin of each value.
    pub(crate) fn load(flags: &UpFlags) -> Result<(Self, BTreeMap<String, String>)> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        let file = flags.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        if flags.config.is_some() || file.exists() {
            let shown = file.display().to_string();
            let provider = Serialized::globals(read_file(&file)?);
            layers = layers.merge(Named {
                name: shown,
                inner: provider,
            });
        }
        // A double underscore goes a level down: LANTERN_ALERTING__EXTERNAL_URL.
        layers = layers.merge(
            Env::prefixed("LANTERN_")
                .ignore(&["log", "broker"])
                .split("__"),
        );
        layers = layers.merge(Named {
            name: "flags".into(),
            inner: Serialized::globals(of(flags)),
        });
        let mut config: Self = layers.extract().map_err(|error| {
            let lines: Vec<String> = error.into_iter().map(|one| one.to_string()).collect();
            anyhow::anyhow!("the configuration is wrong: {}", lines.join("; "))
        })?;
        config
            .alerting
            .webhooks
            .extend(flags.alert_webhook.iter().cloned());
        config.validate()?;
        let origins = origins(&layers, &config)?;
        Ok((config, origins))
    }

    /// How the Kafka endpoint behaves.
    pub(crate) fn kafka_edge(&self) -> kafka_edge::Options {
        kafka_edge::Options {
            listen: self.kafka,
            // Checked when it was loaded.
            advertised: self.advertised().ok().flatten(),
            node_id: self.node_id,
            auto_create_topics: self.topics.auto_create,
            partitions_default: self.topics.partitions,
            ..kafka_edge::Options::default()
        }
    }

    fn advertised(&self) -> Result<Option<Advertised>, String> {
        self.kafka_advertised.as_deref().map(str::parse).transpose()
    }

    /// Who may send how much.
    pub(crate) fn admission(&self) -> admission::Options {
        admission::Options {
            quotas: self.quotas.clone(),
            limit: self.append_limit.clone(),
        }
    }

    fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        let retention = self.series_retention;
        if retention.get() < RETENTION_MIN {
            problems.push(format!(
                "series_retention is {retention}: it needs at least 5m"
            ));
        }
        if let Err(problem) = self.advertised() {
            problems.push(format!("kafka_advertised: {problem}"));
        }
        let journal = self.journal_size;
        if journal.bytes() > 0 && !(JOURNAL_MIN..=JOURNAL_MAX).contains(&journal) {
            problems.push(format!(
                "journal_size is {journal}: it must be 0, for none, or {JOURNAL_MIN} to {JOURNAL_MAX}"
            ));
        }
        if self.preallocate_size > PREALLOCATE_MAX {
            problems.push(format!(
                "preallocate_size is {}: it must be at most {PREALLOCATE_MAX}",
                self.preallocate_size
            ));
        }
        let Compaction {
            interval, memory, ..
        } = self.compaction;
        if interval.get() < COMPACTION_INTERVAL_MIN {
            problems.push(format!(
                "compaction: interval is {interval}: it needs at least 10ms"
            ));
        }
        if memory < COMPACTION_MEMORY_MIN {
            problems.push(format!(
                "compaction: memory is {memory}: it needs at least {COMPACTION_MEMORY_MIN}"
            ));
        }
        let interval = self.retention_interval;
        if interval.get() < RETENTION_INTERVAL_MIN {
            problems.push(format!(
                "retention_interval is {interval}: it needs at least 10ms"
            ));
        }
        let groups = self.groups.options().validate().into_iter();
        problems.extend(groups.map(|problem| format!("groups: {problem}")));
        let transactions = self.transactions.options().validate().into_iter();
        problems.extend(transactions.map(|problem| format!("transactions: {problem}")));
        problems.extend(self.kafka_edge().validate());
        problems.extend(self.admission().validate());
        problems.extend(self.tracing.validate());
        problems.extend(self.listener_memory.validate());
        problems.extend(self.ring_memory.validate());
        for (number, url) in (1..).zip(&self.alerting.webhooks) {
            // The address may be secret.
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                problems.push(format!(
                    "webhook number {number} is not an http:// or https:// URL"
                ));
            }
        }
        if !problems.is_empty() {
            bail!("the configuration is wrong: {}", problems.join("; "));
        }
        Ok(())
    }
}

/// The values of the flags that were given, under the names of the fields.
fn of(flags: &UpFlags) -> serde_json::Map<String, Value> {
    use serde_json::{Value, json};
    let mut given = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(name.to_owned(), value);
        }
    };
    put("data_dir", flags.data_dir.as_ref().map(|path| json!(path)));
    put(
        "log_dirs",
        (!flags.log_dir.is_empty()).then(|| json!(flags.log_dir)),
    );
    put("http", flags.http.map(|address| json!(address)));
    put("kafka", flags.kafka.map(|address| json!(address)));
    put(
        "kafka_advertised",
        flags
            .kafka_advertised
            .as_ref()
            .map(|address| json!(address)),
    );
    put("conf_dir", flags.conf_dir.as_ref().map(|path| json!(path)));
    put(
        "rules_dir",
        flags.rules_dir.as_ref().map(|path| json!(path)),
    );
    put(
        "series_retention",
        flags.series_retention.map(|span| json!(span)),
    );
    put("agent", flags.no_agent.then_some(json!(false)));
    put(
        "ready_file",
        flags.ready_file.as_ref().map(|path| json!(path)),
    );
    put("log_format", flags.log_format.map(|format| json!(format)));
    given
}

/// Paths that mean the same from every working directory.
pub(crate) fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let absolute = paths.iter().map(|path| {
        std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()))
    });
    absolute.collect()
}

fn read_file(path: &Path) -> Result<serde_json::Map<String, Value>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    if text.trim().is_empty() {
        return Ok(serde_json::Map::new());
    }
    // Checked against the fields here, where the error still knows its line.
    serde_saphyr::from_str::<Partial>(&text)
        .map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{shown}: {error}"))
}

/// The fields of [`Config`], none of which a file needs to have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only checks the types of what a file has")]
struct Partial {
    data_dir: Option<PathBuf>,
    log_dirs: Option<Vec<PathBuf>>,
    http: Option<SocketAddr>,
    kafka: Option<SocketAddr>,
    kafka_advertised: Option<String>,
    node_id: Option<i32>,
    conf_dir: Option<PathBuf>,
    rules_dir: Option<PathBuf>,
    series_retention: Option<HumanDuration>,
    journal_size: Option<ByteSize>,
    preallocate_size: Option<ByteSize>,
    page_cache_size: Option<ByteSize>,
    retention_interval: Option<HumanDuration>,
    agent: Option<bool>,
    ready_file: Option<PathBuf>,
    log_format: Option<LogFormat>,
    alerting: Option<Alerting>,
    groups: Option<Groups>,
    transactions: Option<Transactions>,
    topics: Option<Topics>,
    quotas: Option<admission::Quotas>,
    append_limit: Option<admission::Limit>,
    tracing: Option<Tracing>,
    compaction: Option<Compaction>,
    listener_memory: Option<dispatch::MemoryOptions>,
    ring_memory: Option<RingMemory>,
}

/// A layer with a name for messages.
struct Named<P> {
    name: String,
    inner: P,
}

impl<P: figment::Provider> figment::Provider for Named<P> {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.name.clone())
    }

    fn data(
        &self,
    ) -> Result<figment::value::Map<figment::Profile, figment::value::Dict>, figment::Error> {
        self.inner.data()
    }
}

/// Each key with its value and where that came from, as text.
fn origins(layers: &Figment, config: &Config) -> Result<BTreeMap<String, String>> {
    let mut origins = BTreeMap::new();
    let mut values = serde_json::to_value(config)?;
    for url in values
        .pointer_mut("/alerting/webhooks")
        .into_iter()
        .flat_map(each)
    {
        hide_secrets(url);
    }
    values.pointer_mut("/tracing/endpoint").map(hide_secrets);
    for (key, value) in values.as_object().into_iter().flatten() {
        let origin =
            layers
                .find_metadata(key)
                .map_or("default", |metadata| match metadata.name.as_ref() {
                    name if name.contains("Config") => "default",
                    name => name,
                });
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        origins.insert(key.clone(), format!("{value} ({origin})"));
    }
    Ok(origins)
}

fn each(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

/// Leaves the origin of a URL: its path may have a token, and what is before the host a password.
fn hide_secrets(url: &mut Value) {
    let parsed = url.as_str().map(str::parse::<reqwest::Url>);
    if let Some(parsed) = parsed {
        *url = parsed.map_or_else(
            |_| "***".into(),
            |url| url.origin().ascii_serialization().into(),
        );
    }
}

#[cfg(test)]
mod tests;
