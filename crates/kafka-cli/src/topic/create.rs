//! `lantern topic create`, and configuration as it is written in flags.

use clap::Args;
use kafka_client::{Admin, Cluster, ErrorCode, TopicShape};
use model::TopicName;
use serde::Serialize;
use std::io::Write;
use stdx::HumanDuration;

use super::Common;
use crate::error::Error;
use crate::names::{did_you_mean, like};
use crate::output::{Output, json_line};
use crate::stage::Stage;
use crate::units::counted;

/// Flags of `topic create`.
#[derive(Debug, Args)]
pub struct CreateFlags {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<TopicName>,
    /// How many partitions [default: the server's]
    #[arg(long, short = 'p', value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// On how many servers of a cluster each partition is kept [default: the server's]
    #[arg(long, short = 'r', value_name = "NUMBER", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    #[command(flatten)]
    config: ConfigFlags,
    /// A topic that is there already is good, too
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    common: Common,
}

/// Configuration keys as flags.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigFlags {
    /// A configuration key, e.g. max.message.bytes=2097152; may be repeated
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) config: Vec<(String, String)>,
    /// How long records are kept at least, e.g. 7d or forever: retention.ms
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    pub(super) retention: Option<String>,
}

impl ConfigFlags {
    /// All keys with their values; a key that is given twice is a mistake.
    pub(super) fn pairs(&self) -> Result<Vec<(&str, &str)>, Error> {
        let pairs = self.config.iter();
        let mut pairs: Vec<(&str, &str)> = pairs.map(|(k, v)| (k.as_str(), v.as_str())).collect();
        pairs.extend(
            self.retention
                .as_deref()
                .map(|value| ("retention.ms", value)),
        );
        for (index, (key, _)) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|(other, _)| other == key) {
                return Err(Error::bad_use(format!("{key} is given twice")));
            }
        }
        Ok(pairs)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or("write KEY=VALUE, e.g. retention.ms=86400000")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn retention(text: &str) -> Result<String, String> {
    if matches!(text, "forever" | "-1") {
        return Ok("-1".to_owned());
    }
    let time: HumanDuration = text
        .parse()
        .map_err(|error| format!("{error}, or forever"))?;
    Ok(time.get().as_millis().to_string())
}

#[derive(Debug, Serialize)]
struct Creation<'a> {
    topic: &'a str,
    created: bool,
    partitions: usize,
}

pub(super) async fn run(flags: CreateFlags, stage: &mut Stage) -> Result<(), Error> {
    let pairs = flags.config.pairs()?;
    let cluster = flags.common.server.connect().await?;
    let controller = cluster.controller().await;
    let admin = controller.map_err(|error| Error::failed("reach the controller", error))?;
    let shape = TopicShape {
        partitions: flags.partitions,
        replicas: flags.replicas,
    };
    for name in &flags.topics {
        let created = match admin.create_topic_shaped(name, shape, &pairs).await {
            Ok(()) => true,
            Err(error)
                if flags.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) =>
            {
                false
            }
            Err(error) => return Err(explain(&cluster, name, &pairs, error).await),
        };
        let partitions = partitions_of(&cluster, name).await;
        match flags.common.output {
            Output::Json => json_line(
                &mut stage.out,
                &Creation {
                    topic: name.as_str(),
                    created,
                    partitions,
                },
            )?,
            Output::Text => {
                let count = counted(u64::try_from(partitions).unwrap_or(u64::MAX), "partition");
                let said = if created { "created" } else { "exists already" };
                writeln!(stage.out, "Topic '{name}' {said}: {count}.")?;
            }
        }
    }
    Ok(())
}

/// As the cluster has it; a cluster may take a moment to tell all its servers.
async fn partitions_of(cluster: &Cluster, name: &TopicName) -> usize {
    let found = cluster.metadata(Some(std::slice::from_ref(name))).await;
    let topic = found.ok().and_then(|found| found.topics.into_iter().next());
    topic.map_or(0, |topic| topic.partitions.len())
}

async fn explain(
    cluster: &Cluster,
    name: &TopicName,
    pairs: &[(&str, &str)],
    error: kafka_client::Error,
) -> Error {
    let code = error.code();
    let failed = Error::failed(format!("create topic '{name}'"), error);
    match code {
        Some(ErrorCode::TopicAlreadyExists) => failed.with_hint(format!(
            "`lantern topic describe {name}` shows it, `lantern topic configure {name}` changes \
             it, and with --if-not-exists that is no error."
        )),
        Some(ErrorCode::InvalidConfig) => {
            let hint = key_hint(cluster, None, pairs.iter().map(|(key, _)| *key)).await;
            failed.with_hint(hint)
        }
        _ => failed,
    }
}

/// What to do about a configuration that was refused: the keys that are like those that are unknown.
pub(super) async fn key_hint(
    cluster: &Cluster,
    topic: Option<&TopicName>,
    keys: impl Iterator<Item = &str>,
) -> String {
    let known = known_keys(cluster, topic).await.unwrap_or_default();
    for key in keys {
        if known.is_empty() || known.iter().any(|one| one == key) {
            continue;
        }
        let near = like(key, known.iter().map(String::as_str));
        return match did_you_mean(&near) {
            Some(mean) => format!("'{key}' is no configuration key{mean}"),
            None => format!(
                "'{key}' is no configuration key: `lantern topic describe TOPIC --all` shows them."
            ),
        };
    }
    String::new()
}

/// The keys that topics of this server have, as seen on any topic.
async fn known_keys(cluster: &Cluster, topic: Option<&TopicName>) -> Option<Vec<String>> {
    let name = if let Some(name) = topic {
        name.clone()
    } else {
        let found = cluster.metadata(None).await.ok()?;
        found.topics.into_iter().next()?.name
    };
    let admin = Admin::new(cluster.any().await.ok()?);
    let values = admin.topic_config(&name).await.ok()?;
    Some(values.into_iter().map(|one| one.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_as_it_is_written() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert_eq!(key_value("a.b="), Ok(("a.b".into(), String::new())));
        assert!(key_value("a.b").is_err());
        assert!(key_value("=1").is_err());
        assert_eq!(retention("7d").as_deref(), Ok("604800000"));
        assert_eq!(retention("forever").as_deref(), Ok("-1"));
        assert!(retention("often").is_err());
        let twice = ConfigFlags {
            config: vec![("retention.ms".into(), "1".into())],
            retention: Some("2".into()),
        };
        assert_eq!(
            twice.pairs().unwrap_err().to_string(),
            "retention.ms is given twice"
        );
    }
}
