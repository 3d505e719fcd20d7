//! `lantern group lag`, once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use kafka_client::{Cluster, Isolation, Place};
use model::{GroupId, Offset, PartitionId, TopicName, TopicPartition};
use serde::Serialize;
use stdx::HumanDuration;

use super::{Common, state, watch};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::stage::Stage;
use crate::style::{Style, Styled};
use crate::table::Table;
use crate::units::{counted, grouped};

/// Flags of `group lag`.
#[derive(Debug, Args)]
pub struct LagFlags {
    /// The groups [default: all, with their totals]
    #[arg(value_name = "GROUP")]
    pub(super) groups: Vec<GroupId>,
    /// Only in these topics; may be repeated
    #[arg(long, short = 't', value_name = "TOPIC")]
    pub(super) topic: Vec<TopicName>,
    /// Look again and again: in place on a terminal, else one line each time
    #[arg(long, short = 'w')]
    pub(super) watch: bool,
    /// How often, with --watch
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(super) interval: HumanDuration,
    /// Stop after so many looks, with --watch
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// How far one group is behind, at one moment.
#[derive(Debug, Clone)]
pub(super) struct GroupLag {
    pub(super) group: GroupId,
    pub(super) state: String,
    pub(super) members: Option<usize>,
    pub(super) partitions: BTreeMap<TopicPartition, PartitionLag>,
}

/// How far it is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionLag {
    /// None where the group never committed.
    pub(super) committed: Option<Offset>,
    /// None where nobody could say: the topic is gone, or has no leader.
    pub(super) end: Option<Offset>,
    /// Who reads it now.
    pub(super) client: Option<String>,
}

impl PartitionLag {
    /// Records still to read; none where it is not known.
    pub(super) fn lag(&self) -> Option<u64> {
        Some(self.end?.since(self.committed?))
    }
}

impl GroupLag {
    /// Over all partitions where it is known.
    pub(super) fn total(&self) -> u64 {
        self.partitions.values().filter_map(PartitionLag::lag).sum()
    }
}

pub(super) async fn run(flags: LagFlags, stage: &mut Stage) -> Result<(), Error> {
    if !flags.watch && flags.count.is_some() {
        return Err(Error::bad_use("--count is for --watch"));
    }
    if flags.interval.get().is_zero() {
        return Err(Error::bad_use("--interval must be above 0"));
    }
    let cluster = flags.common.server.connect().await?;
    if flags.watch {
        return watch::run(&flags, &cluster, stage).await;
    }
    let looked = look(&cluster, &flags).await?;
    match flags.common.output {
        Output::Json => {
            for group in &looked {
                json_line(&mut stage.out, &JsonGroup::of(group))?;
            }
        }
        Output::Text if flags.groups.is_empty() => {
            if looked.is_empty() {
                stage.note("There are no groups.");
            } else {
                totals(&looked).print(&mut stage.out, stage.colors)?;
            }
        }
        Output::Text => {
            for (index, group) in looked.iter().enumerate() {
                if index > 0 {
                    writeln!(stage.out)?;
                }
                for line in text(group, stage.colors) {
                    writeln!(stage.out, "{line}")?;
                }
            }
        }
    }
    Ok(())
}

/// How far the groups asked for are behind, now.
pub(super) async fn look(cluster: &Cluster, flags: &LagFlags) -> Result<Vec<GroupLag>, Error> {
    let groups = if flags.groups.is_empty() {
        let listed = state::list(cluster).await?;
        let names = listed.iter();
        names
            .filter_map(|listed| GroupId::new(&listed.group).ok())
            .collect()
    } else {
        flags.groups.clone()
    };
    let mut looked = Vec::with_capacity(groups.len());
    for group in groups {
        match one(cluster, &group, &flags.topic).await? {
            Some(lag) => looked.push(lag),
            // It may have gone since it was listed.
            None if flags.groups.is_empty() => (),
            None => {
                return Err(Error::UnknownGroup {
                    group: group.to_string(),
                });
            }
        }
    }
    Ok(looked)
}

async fn one(
    cluster: &Cluster,
    group: &GroupId,
    only: &[TopicName],
) -> Result<Option<GroupLag>, Error> {
    let Some(found) = state::ask(cluster, group).await? else {
        return Ok(None);
    };
    let failed = |error| Error::failed(format!("ask how far group '{group}' is"), error);
    let committed = state::committed(cluster, group).await?;
    let wanted = |at: &TopicPartition| only.is_empty() || only.contains(&at.topic);
    let mut partitions: BTreeMap<TopicPartition, PartitionLag> = BTreeMap::new();
    let unknown = PartitionLag {
        committed: None,
        end: None,
        client: None,
    };
    for member in found.members.iter().flatten() {
        for at in member.assigned.iter().filter(|at| wanted(at)) {
            let lag = partitions.entry(at.clone()).or_insert(unknown.clone());
            lag.client = Some(member.client_id.clone());
        }
    }
    for (at, offset) in committed.into_iter().filter(|(at, _)| wanted(at)) {
        let lag = partitions.entry(at).or_insert(unknown.clone());
        lag.committed = Some(offset);
    }
    let ends = ends(cluster, partitions.keys()).await.map_err(failed)?;
    for (at, lag) in &mut partitions {
        lag.end = ends.get(at).copied();
    }
    Ok(Some(GroupLag {
        group: group.clone(),
        members: found.member_count(),
        state: found.state,
        partitions,
    }))
}

/// The ends of those partitions that exist and are led by somebody.
async fn ends(
    cluster: &Cluster,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> Result<BTreeMap<TopicPartition, Offset>, kafka_client::Error> {
    let asked: BTreeSet<&TopicPartition> = partitions.collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: BTreeSet<TopicName> = asked.iter().map(|at| at.topic.clone()).collect();
    let names: Vec<TopicName> = names.into_iter().collect();
    let found = cluster.metadata(Some(&names)).await?;
    let mut led: BTreeSet<(TopicName, PartitionId)> = BTreeSet::new();
    for topic in &found.topics {
        let led_here = topic.partitions.iter().filter(|one| one.leader.is_some());
        led.extend(led_here.map(|one| (topic.name.clone(), one.id)));
    }
    let there: Vec<TopicPartition> = asked
        .into_iter()
        .filter(|at| led.contains(&(at.topic.clone(), at.partition)))
        .cloned()
        .collect();
    let ends = cluster
        .offsets(&there, Place::Latest, Isolation::Uncommitted)
        .await?;
    let known = ends.into_iter();
    Ok(known
        .filter_map(|(at, offset)| Some((at, offset?)))
        .collect())
}

/// A group as JSON.
#[derive(Debug, Serialize)]
pub(super) struct JsonGroup<'a> {
    group: &'a str,
    state: &'a str,
    members: Option<usize>,
    lag: u64,
    partitions: Vec<JsonPartition<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonPartition<'a> {
    topic: &'a str,
    partition: u32,
    committed: Option<u64>,
    end: Option<u64>,
    lag: Option<u64>,
    client: Option<&'a str>,
}

impl<'a> JsonGroup<'a> {
    pub(super) fn of(group: &'a GroupLag) -> Self {
        let partitions = group.partitions.iter().map(|(at, lag)| JsonPartition {
            topic: at.topic.as_str(),
            partition: at.partition.get(),
            committed: lag.committed.map(Offset::get),
            end: lag.end.map(Offset::get),
            lag: lag.lag(),
            client: lag.client.as_deref(),
        });
        Self {
            group: group.group.as_str(),
            state: &group.state,
            members: group.members,
            lag: group.total(),
            partitions: partitions.collect(),
        }
    }
}

fn totals(groups: &[GroupLag]) -> Table {
    let mut table = Table::new(&["GROUP", "STATE", ">MEMBERS", ">LAG"]);
    for group in groups {
        table.row([
            group.group.to_string(),
            group.state.clone(),
            group
                .members
                .map_or_else(|| "?".to_owned(), |n| n.to_string()),
            grouped(group.total()),
        ]);
    }
    table
}

/// A heading, a line for each partition, and the total.
fn text(group: &GroupLag, colors: bool) -> Vec<String> {
    let mut lines = vec![heading(group, colors)];
    let mut table = Table::new(&[
        "TOPIC",
        ">PARTITION",
        ">COMMITTED",
        ">END",
        ">LAG",
        "CLIENT",
    ]);
    for (at, lag) in &group.partitions {
        let mut cells = cells(at, lag);
        cells.push(lag.client.clone().unwrap_or_default());
        table.row(cells);
    }
    if !table.is_empty() {
        lines.extend(table.lines(colors));
    }
    lines.push(format!("Total lag: {}.", counted(group.total(), "record")));
    lines
}

pub(super) fn heading(group: &GroupLag, colors: bool) -> String {
    let members = match group.members {
        Some(count) => counted(u64::try_from(count).unwrap_or(u64::MAX), "member"),
        None => "members unknown".to_owned(),
    };
    let name = Styled(&group.group, Style::Bold, colors);
    format!("{name}  {}, {members}", group.state)
}

/// Topic, partition, committed, end and lag.
pub(super) fn cells(at: &TopicPartition, lag: &PartitionLag) -> Vec<String> {
    let offset = |offset: Option<Offset>, none: &str| {
        offset.map_or_else(|| none.to_owned(), |offset| grouped(offset.get()))
    };
    vec![
        at.topic.to_string(),
        at.partition.to_string(),
        offset(lag.committed, "-"),
        offset(lag.end, "?"),
        lag.lag().map_or_else(|| "-".to_owned(), grouped),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `orders/0 5:9 app` as a line each: committed, end, client.
    pub(in crate::group) fn group(text: &str) -> GroupLag {
        let partitions = text.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (topic, number) = words[0].split_once('/').unwrap();
            let (committed, end) = words[1].split_once(':').unwrap();
            let offset = |text: &str| text.parse().ok().map(Offset::new);
            let at = TopicPartition::new(
                topic.parse().unwrap(),
                PartitionId::new(number.parse().unwrap()),
            );
            let lag = PartitionLag {
                committed: offset(committed),
                end: offset(end),
                client: words.get(2).map(|&client| client.to_owned()),
            };
            (at, lag)
        });
        GroupLag {
            group: "billing".parse().unwrap(),
            state: "Stable".into(),
            members: Some(1),
            partitions: partitions.collect(),
        }
    }

    #[test]
    fn a_group_is_told_by_partition_and_in_all() {
        let group = group("orders/0 5:1500 app\norders/1 -:7 app\nold/0 3:-");
        insta::assert_snapshot!(text(&group, false).join("\n"), @r"
        billing  Stable, 1 member
        TOPIC   PARTITION  COMMITTED    END    LAG  CLIENT
        old             0          3      ?      -
        orders          0          5  1,500  1,495  app
        orders          1          -      7      -  app
        Total lag: 1,495 records.
        ");
        let json = serde_json::to_string(&JsonGroup::of(&group)).unwrap();
        insta::assert_snapshot!(json, @r#"{"group":"billing","state":"Stable","members":1,"lag":1495,"partitions":[{"topic":"old","partition":0,"committed":3,"end":null,"lag":null,"client":null},{"topic":"orders","partition":0,"committed":5,"end":1500,"lag":1495,"client":"app"},{"topic":"orders","partition":1,"committed":null,"end":7,"lag":null,"client":"app"}]}"#);
    }
}
