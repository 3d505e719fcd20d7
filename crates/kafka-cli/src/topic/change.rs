//! `lantern topic delete`, `configure` and `add-partitions`.

use std::io::{BufRead, BufReader, Write};

use clap::Args;
use kafka_client::{Admin, ErrorCode, Isolation};
use model::TopicName;
use serde::Serialize;

use super::Common;
use super::create::{ConfigFlags, key_hint};
use crate::connect::{partitions, topic, unknown_topic};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::place::Bounds;
use crate::stage::Stage;
use crate::units::counted;

/// Flags of `topic delete`.
#[derive(Debug, Args)]
pub struct DeleteFlags {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<TopicName>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// A topic that is not there is good, too
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Deletion<'a> {
    topic: &'a str,
    deleted: bool,
}

pub(super) async fn delete(flags: DeleteFlags, stage: &mut Stage) -> Result<(), Error> {
    if !flags.yes && !stage.input_is_terminal {
        return Err(Error::bad_use(
            "deleting a topic removes all its records, and there is no terminal to ask on: say --yes",
        ));
    }
    let cluster = flags.common.server.connect().await?;
    let mut chosen = Vec::new();
    for name in &flags.topics {
        match topic(&cluster, name).await {
            Ok(found) => chosen.push(found),
            Err(Error::UnknownTopic { .. }) if flags.if_exists => {
                print_deleted(name, false, flags.common.output, stage)?;
            }
            Err(error) => return Err(error),
        }
    }
    if !flags.yes && !chosen.is_empty() {
        let mut all = Vec::new();
        for found in &chosen {
            all.extend(partitions(found, &[])?);
        }
        let bounds = Bounds::of(&cluster, &all, Isolation::Uncommitted).await;
        let bounds =
            bounds.map_err(|error| Error::failed("ask how many records there are", error))?;
        let records = all.iter().map(|at| bounds.records_of(at)).sum();
        let names: Vec<&str> = chosen.iter().map(|found| found.name.as_str()).collect();
        let what = format!("{} with {}", names.join(", "), counted(records, "record"));
        if !agreed(&what, stage)? {
            stage.note("Nothing was deleted.");
            return Ok(());
        }
    }
    let controller = cluster.controller().await;
    let admin = controller.map_err(|error| Error::failed("reach the controller", error))?;
    for found in &chosen {
        let deleted = admin.delete_topic(&found.name).await;
        deleted.map_err(|error| Error::failed(format!("delete topic '{}'", found.name), error))?;
        print_deleted(&found.name, true, flags.common.output, stage)?;
    }
    Ok(())
}

fn print_deleted(
    name: &TopicName,
    deleted: bool,
    output: Output,
    stage: &mut Stage,
) -> Result<(), Error> {
    match output {
        Output::Json => json_line(
            &mut stage.out,
            &Deletion {
                topic: name.as_str(),
                deleted,
            },
        )?,
        Output::Text if deleted => writeln!(stage.out, "Topic '{name}' deleted.")?,
        Output::Text => writeln!(stage.out, "There is no topic '{name}'.")?,
    }
    Ok(())
}

/// Asks on the terminal; anything but yes is no.
pub(crate) fn agreed(what: &str, stage: &mut Stage) -> Result<bool, Error> {
    write!(stage.err, "Delete {what}? [y/N] ")?;
    stage.err.flush()?;
    let Some(input) = stage.input.as_mut() else {
        return Ok(false);
    };
    let mut line = String::new();
    let read = BufReader::with_capacity(64, input).read_line(&mut line);
    read.map_err(Error::Stdin)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Flags of `topic configure`.
#[derive(Debug, Args)]
pub struct ConfigureFlags {
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: TopicName,
    #[command(flatten)]
    config: ConfigFlags,
    /// Back to the server's default; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Configured<'a> {
    topic: &'a str,
    config: Vec<Changed<'a>>,
}

#[derive(Debug, Serialize)]
struct Changed<'a> {
    name: &'a str,
    value: Option<&'a str>,
    default: bool,
}

pub(super) async fn configure(flags: ConfigureFlags, stage: &mut Stage) -> Result<(), Error> {
    let name = &flags.topic;
    let mut changes: Vec<(&str, Option<&str>)> = Vec::new();
    for (key, value) in flags.config.pairs()? {
        changes.push((key, Some(value)));
    }
    for key in &flags.unset {
        if changes.iter().any(|(other, _)| other == key) {
            return Err(Error::bad_use(format!("{key} is both set and unset")));
        }
        changes.push((key, None));
    }
    if changes.is_empty() {
        return Err(Error::bad_use(
            "nothing to change: give -c KEY=VALUE, --retention or --unset KEY",
        ));
    }
    let cluster = flags.common.server.connect().await?;
    topic(&cluster, name).await?;
    let any = cluster.any().await;
    let admin = Admin::new(any.map_err(|error| Error::failed("talk to the server", error))?);
    if let Err(error) = admin.configure_topic(name, &changes).await {
        let failed = Error::failed(format!("configure topic '{name}'"), error);
        let hint = key_hint(&cluster, Some(name), changes.iter().map(|(key, _)| *key)).await;
        return Err(failed.with_hint(hint));
    }
    let config = admin.topic_config(name).await;
    let config = config
        .map_err(|error| Error::failed(format!("read the configuration of '{name}'"), error))?;
    let changed = config.iter().filter(|one| {
        let mut keys = changes.iter().map(|(key, _)| *key);
        keys.any(|key| key == one.name)
    });
    let changed: Vec<Changed<'_>> = changed
        .map(|one| Changed {
            name: &one.name,
            value: one.value.as_deref(),
            default: !one.is_own,
        })
        .collect();
    match flags.common.output {
        Output::Json => json_line(
            &mut stage.out,
            &Configured {
                topic: name.as_str(),
                config: changed,
            },
        )?,
        Output::Text => {
            writeln!(stage.out, "Topic '{name}' configured:")?;
            for one in changed {
                let default = if one.default { " (the default)" } else { "" };
                let value = one.value.unwrap_or("<secret>");
                writeln!(stage.out, "  {} = {value}{default}", one.name)?;
            }
        }
    }
    Ok(())
}

/// Flags of `topic add-partitions`.
#[derive(Debug, Args)]
pub struct GrowFlags {
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: TopicName,
    /// So many more
    #[arg(long, value_name = "NUMBER", required_unless_present = "total", value_parser = clap::value_parser!(u32).range(1..))]
    add: Option<u32>,
    /// So many in all
    #[arg(long, value_name = "NUMBER", conflicts_with = "add", value_parser = clap::value_parser!(u32).range(1..))]
    total: Option<u32>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Grown<'a> {
    topic: &'a str,
    partitions: u32,
}

pub(super) async fn grow(flags: GrowFlags, stage: &mut Stage) -> Result<(), Error> {
    let name = &flags.topic;
    let cluster = flags.common.server.connect().await?;
    let found = topic(&cluster, name).await?;
    let now = u32::try_from(found.partitions.len()).unwrap_or(u32::MAX);
    let total = match (flags.add, flags.total) {
        (Some(more), _) => now.saturating_add(more),
        (None, total) => total.unwrap_or(now),
    };
    let controller = cluster.controller().await;
    let admin = controller.map_err(|error| Error::failed("reach the controller", error))?;
    if let Err(error) = admin.grow_topic(name, total).await {
        if error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
            return Err(unknown_topic(&cluster, name).await);
        }
        let action = format!("grow topic '{name}' from {now} to {total} partitions");
        return Err(Error::failed(action, error));
    }
    match flags.common.output {
        Output::Json => json_line(
            &mut stage.out,
            &Grown {
                topic: name.as_str(),
                partitions: total,
            },
        )?,
        Output::Text => {
            let count = counted(total.into(), "partition");
            writeln!(stage.out, "Topic '{name}' has {count} now (it had {now}).")?;
        }
    }
    Ok(())
}
