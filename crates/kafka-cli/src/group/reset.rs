//! `lantern group reset`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use kafka_client::{Cluster, ErrorCode, Isolation};
use model::{GroupId, Offset, TopicName, TopicPartition};
use serde::Serialize;

use super::{Common, state};
use crate::connect::{partitions, topic};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::place::{Bounds, Spot};
use crate::stage::Stage;
use crate::table::Table;
use crate::units::grouped;

/// Flags of `group reset`.
#[derive(Debug, Args)]
pub struct ResetFlags {
    /// The group
    #[arg(value_name = "GROUP")]
    group: GroupId,
    /// beginning, end, an offset, -N, a time (2026-05-01T12:00:00Z) or how long ago (10m)
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: Spot,
    /// A topic, or some of its partitions (orders:0,2); may be repeated
    #[arg(
        long,
        short = 't',
        value_name = "TOPIC[:PARTITIONS]",
        required_unless_present = "all_topics"
    )]
    topic: Vec<Choice>,
    /// Every partition in which the group committed
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// A topic with some of its partitions, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    topic: TopicName,
    partitions: Vec<u32>,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, partitions) = match text.split_once(':') {
            None => (text, Vec::new()),
            Some((topic, numbers)) => {
                let numbers = numbers.split(',').map(|one| one.trim().parse());
                let numbers = numbers.collect::<Result<Vec<u32>, _>>();
                (topic, numbers.map_err(|_| "write TOPIC or TOPIC:0,2")?)
            }
        };
        Ok(Self {
            topic: topic.parse().map_err(|error| format!("{error}"))?,
            partitions,
        })
    }
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    group: &'a str,
    topic: &'a str,
    partition: u32,
    from: Option<u64>,
    to: u64,
    dry_run: bool,
}

pub(super) async fn run(flags: ResetFlags, stage: &mut Stage) -> Result<(), Error> {
    let group = &flags.group;
    let cluster = flags.common.server.connect().await?;
    let found = state::ask(&cluster, group).await?;
    if let Some(found) = found.as_ref().filter(|found| found.is_in_use()) {
        return Err(in_use(group, found));
    }
    let before = state::committed(&cluster, group).await?;
    let chosen = chosen(&cluster, &flags, &before).await?;
    if chosen.is_empty() {
        return Err(Error::UnknownGroup {
            group: group.to_string(),
        });
    }
    let failed = |error| Error::failed("ask for offsets", error);
    let bounds = Bounds::of(&cluster, &chosen, Isolation::Uncommitted).await;
    let bounds = bounds.map_err(failed)?;
    let now = stage.clock.now();
    let to = flags
        .to
        .resolve(&cluster, &chosen, &bounds, now)
        .await
        .map_err(failed)?;
    if !flags.dry_run {
        let set =
            cluster.at_coordinator(group, async |admin| admin.set_committed(group, &to).await);
        match set.await {
            Ok(()) => (),
            Err(error)
                if matches!(
                    error.code(),
                    Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)
                ) =>
            {
                // A member came between the question and the answer.
                let found = state::ask(&cluster, group).await?;
                let found = found.filter(state::GroupState::is_in_use);
                return Err(found.map_or_else(
                    || Error::failed(format!("reset group '{group}'"), error),
                    |found| in_use(group, &found),
                ));
            }
            Err(error) => return Err(Error::failed(format!("reset group '{group}'"), error)),
        }
    }
    clamped(&flags, &bounds, stage);
    print(&flags, &before, &to, stage)
}

fn in_use(group: &GroupId, found: &state::GroupState) -> Error {
    Error::GroupInUse {
        group: group.to_string(),
        members: found.members_as_words(),
        state: found.state.clone(),
        action: "reset",
    }
}

async fn chosen(
    cluster: &Cluster,
    flags: &ResetFlags,
    committed: &BTreeMap<TopicPartition, Offset>,
) -> Result<Vec<TopicPartition>, Error> {
    let mut chosen = Vec::new();
    if flags.all_topics {
        let names: BTreeSet<TopicName> = committed.keys().map(|at| at.topic.clone()).collect();
        let names: Vec<TopicName> = names.into_iter().collect();
        let found = cluster.metadata(Some(&names)).await;
        let found = found.map_err(|error| Error::failed("ask for topics", error))?;
        // Topics that were deleted have nothing to go to.
        for topic in found.topics.iter().filter(|topic| topic.error.is_none()) {
            let there = partitions(topic, &[])?.into_iter();
            chosen.extend(there.filter(|at| committed.contains_key(at)));
        }
        return Ok(chosen);
    }
    for choice in &flags.topic {
        let found = topic(cluster, &choice.topic).await?;
        chosen.extend(partitions(&found, &choice.partitions)?);
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// Says where a partition does not have the offset asked for.
fn clamped(flags: &ResetFlags, bounds: &Bounds, stage: &mut Stage) {
    let Spot::Offset(wanted) = flags.to else {
        return;
    };
    for (at, end) in &bounds.end {
        let start = bounds.start_of(at);
        if !(start.get()..=end.get()).contains(&wanted) {
            stage.note(format!(
                "lantern: {at} has offsets {start} to {end}: the nearest to {wanted} is taken"
            ));
        }
    }
}

fn print(
    flags: &ResetFlags,
    before: &BTreeMap<TopicPartition, Offset>,
    to: &BTreeMap<TopicPartition, Offset>,
    stage: &mut Stage,
) -> Result<(), Error> {
    if flags.common.output == Output::Json {
        for (at, offset) in to {
            let line = Line {
                group: flags.group.as_str(),
                topic: at.topic.as_str(),
                partition: at.partition.get(),
                from: before.get(at).map(|offset| offset.get()),
                to: offset.get(),
                dry_run: flags.dry_run,
            };
            json_line(&mut stage.out, &line)?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">FROM", ">TO"]);
    for (at, offset) in to {
        let from = before.get(at);
        table.row([
            at.topic.to_string(),
            at.partition.to_string(),
            from.map_or_else(|| "-".to_owned(), |offset| grouped(offset.get())),
            grouped(offset.get()),
        ]);
    }
    table.print(&mut stage.out, stage.colors)?;
    if flags.dry_run {
        writeln!(stage.out, "Nothing was changed: this was a dry run.")?;
    } else {
        writeln!(
            stage.out,
            "Group '{}' was reset to {}.",
            flags.group, flags.to
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_and_without_partitions() {
        let choice: Choice = "orders:0,2".parse().unwrap();
        assert_eq!(
            (choice.topic.as_str(), &*choice.partitions),
            ("orders", &[0, 2][..])
        );
        let choice: Choice = "orders".parse().unwrap();
        assert!(choice.partitions.is_empty());
        assert!("orders:x".parse::<Choice>().is_err());
        assert!(":1".parse::<Choice>().is_err());
    }
}
