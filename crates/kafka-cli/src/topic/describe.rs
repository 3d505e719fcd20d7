//! `lantern topic describe`.

use std::io::Write;

use clap::Args;
use kafka_client::{Admin, ConfigValue, Isolation, TopicDetail};
use model::TopicName;
use serde::Serialize;
use stdx::HumanDuration;

use super::Common;
use crate::connect::{partitions, topics};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::place::Bounds;
use crate::stage::Stage;
use crate::style::{Style, Styled};
use crate::table::Table;
use crate::units::{self, counted, grouped};

/// Flags of `topic describe`.
#[derive(Debug, Args)]
pub struct DescribeFlags {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<TopicName>,
    /// All configuration keys, those with the server's default, too
    #[arg(long, short = 'a')]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// A topic as JSON.
#[derive(Debug, Serialize)]
struct Described<'a> {
    topic: &'a str,
    id: Option<String>,
    internal: bool,
    config: Vec<Config<'a>>,
    partitions: Vec<PartitionLine<'a>>,
}

#[derive(Debug, Serialize)]
struct Config<'a> {
    name: &'a str,
    value: Option<&'a str>,
    default: bool,
}

#[derive(Debug, Serialize)]
struct PartitionLine<'a> {
    partition: u32,
    leader: Option<i32>,
    replicas: &'a [i32],
    in_sync: &'a [i32],
    /// Of the oldest record kept.
    start: Option<u64>,
    /// Of the record that will be written next.
    end: Option<u64>,
    records: Option<u64>,
}

pub(super) async fn run(flags: DescribeFlags, stage: &mut Stage) -> Result<(), Error> {
    let cluster = flags.common.server.connect().await?;
    let found = topics(&cluster, &flags.topics).await?;
    let any = cluster.any().await;
    let admin = Admin::new(any.map_err(|error| Error::failed("talk to the server", error))?);
    for (index, topic) in found.iter().enumerate() {
        let config = admin.topic_config(&topic.name).await.map_err(|error| {
            let action = format!("read the configuration of '{}'", topic.name);
            Error::failed(action, error)
        })?;
        let config: Vec<ConfigValue> = config
            .into_iter()
            .filter(|one| flags.all || one.is_own)
            .collect();
        let led = topic.partitions.iter().filter(|one| one.leader.is_some());
        let led: Vec<u32> = led.map(|one| one.id.get()).collect();
        let led = if led.is_empty() {
            Vec::new()
        } else {
            partitions(topic, &led)?
        };
        let bounds = Bounds::of(&cluster, &led, Isolation::Uncommitted).await;
        let bounds = bounds.map_err(|error| Error::failed("ask for offsets", error))?;
        let described = describe(topic, &config, &bounds);
        match flags.common.output {
            Output::Json => json_line(&mut stage.out, &described)?,
            Output::Text => {
                if index > 0 {
                    writeln!(stage.out)?;
                }
                text(&described, flags.all, stage)?;
            }
        }
    }
    Ok(())
}

fn describe<'a>(
    topic: &'a TopicDetail,
    config: &'a [ConfigValue],
    bounds: &Bounds,
) -> Described<'a> {
    let partitions = topic.partitions.iter().map(|one| {
        let at = model::TopicPartition::new(topic.name.clone(), one.id);
        let known = bounds.end.contains_key(&at);
        PartitionLine {
            partition: one.id.get(),
            leader: one.leader,
            replicas: &one.replicas,
            in_sync: &one.in_sync,
            start: known.then(|| bounds.start_of(&at).get()),
            end: known.then(|| bounds.end_of(&at).get()),
            records: known.then(|| bounds.records_of(&at)),
        }
    });
    let config = config.iter().map(|one| Config {
        name: &one.name,
        value: one.value.as_deref(),
        default: !one.is_own,
    });
    let is_known = topic.id.bytes() != [0; 16];
    Described {
        topic: topic.name.as_str(),
        id: is_known.then(|| topic.id.to_string()),
        internal: topic.internal || topic.name.is_internal(),
        config: config.collect(),
        partitions: partitions.collect(),
    }
}

fn text(topic: &Described<'_>, all: bool, stage: &mut Stage) -> Result<(), Error> {
    let colors = stage.colors;
    let out = &mut stage.out;
    let count = u64::try_from(topic.partitions.len()).unwrap_or(u64::MAX);
    let records: u64 = topic.partitions.iter().filter_map(|one| one.records).sum();
    writeln!(out, "{}", Styled(topic.topic, Style::Bold, colors))?;
    write!(
        out,
        "  {}, {}",
        counted(count, "partition"),
        counted(records, "record")
    )?;
    if let Some(id) = &topic.id {
        write!(out, ", id {id}")?;
    }
    writeln!(out, "\n")?;
    if topic.config.is_empty() {
        let more = if all { "" } else { " (--all shows them)" };
        writeln!(
            out,
            "  Every configuration key has the server's default{more}."
        )?;
    } else {
        let mut table = Table::new(&["  CONFIG", "VALUE", ""]);
        for one in &topic.config {
            let value = one.value.unwrap_or("<secret>");
            let note = meaning(one.name, value);
            let default = if one.default && all { "default" } else { "" };
            let note = match (note, default) {
                (Some(note), "") => note,
                (Some(note), _) => format!("{note}, default"),
                (None, default) => default.to_owned(),
            };
            table.row([format!("  {}", one.name), value.to_owned(), note]);
        }
        table.print(out, colors)?;
    }
    writeln!(out)?;
    let headings = [
        ">  PARTITION",
        ">LEADER",
        "REPLICAS",
        "IN SYNC",
        ">START",
        ">END",
        ">RECORDS",
    ];
    let mut table = Table::new(&headings);
    let unknown = || "?".to_owned();
    for one in &topic.partitions {
        table.row([
            one.partition.to_string(),
            one.leader
                .map_or_else(|| "none".to_owned(), |id| id.to_string()),
            list(one.replicas),
            list(one.in_sync),
            one.start.map_or_else(unknown, grouped),
            one.end.map_or_else(unknown, grouped),
            one.records.map_or_else(unknown, grouped),
        ]);
    }
    table.print(out, colors)?;
    Ok(())
}

fn list(numbers: &[i32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
    numbers.join(",")
}

/// What a number of milliseconds or bytes is, for people.
fn meaning(name: &str, value: &str) -> Option<String> {
    if value == "-1" && name.starts_with("retention.") {
        return Some("no limit".to_owned());
    }
    let number: u64 = value.parse().ok()?;
    let unit = name.rsplit('.').next();
    if unit == Some("ms") && number >= 1_000 && number < i64::MAX.cast_unsigned() {
        let span = HumanDuration::new(std::time::Duration::from_millis(number));
        return Some(span.to_string());
    }
    if unit == Some("bytes") && number >= 1_024 && number < i64::MAX.cast_unsigned() {
        return Some(units::bytes(number));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::meaning;

    #[test]
    fn numbers_are_explained() {
        let said = |name, value| meaning(name, value).unwrap_or_default();
        assert_eq!(said("retention.ms", "604800000"), "1w");
        assert_eq!(said("retention.ms", "-1"), "no limit");
        assert_eq!(said("segment.bytes", "268435456"), "256 MiB");
        assert_eq!(said("segment.ms", "9223372036854775807"), "");
        assert_eq!(said("cleanup.policy", "delete"), "");
    }
}
