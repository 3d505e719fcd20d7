//! `lantern group list`, `describe` and `delete`.

use std::io::Write;

use clap::Args;
use kafka_client::ErrorCode;
use model::{GroupId, TopicPartition};
use serde::Serialize;

use super::{Common, state};
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::stage::Stage;
use crate::style::{Style, Styled};
use crate::table::Table;
use crate::topic::agreed;
use crate::units::counted;

/// Flags of `group list`.
#[derive(Debug, Args)]
pub struct ListFlags {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    group: &'a str,
    state: Option<&'a str>,
    protocol: &'a str,
    kind: Option<&'a str>,
}

pub(super) async fn list(flags: ListFlags, stage: &mut Stage) -> Result<(), Error> {
    let cluster = flags.common.server.connect().await?;
    let groups = state::list(&cluster).await?;
    if flags.common.output == Output::Json {
        for group in &groups {
            let line = Line {
                group: &group.group,
                state: group.state.as_deref(),
                protocol: &group.protocol_type,
                kind: group.kind.as_deref(),
            };
            json_line(&mut stage.out, &line)?;
        }
        return Ok(());
    }
    if groups.is_empty() {
        stage.note("There are no groups: `lantern consume TOPIC --group NAME` makes one.");
        return Ok(());
    }
    let mut table = Table::new(&["GROUP", "STATE", "KIND"]);
    for group in groups {
        table.row([
            group.group,
            group.state.unwrap_or_default(),
            group.kind.unwrap_or(group.protocol_type),
        ]);
    }
    table.print(&mut stage.out, stage.colors)?;
    Ok(())
}

/// Flags of `group describe`.
#[derive(Debug, Args)]
pub struct DescribeFlags {
    /// The group
    #[arg(value_name = "GROUP")]
    group: GroupId,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Described<'a> {
    group: &'a str,
    state: &'a str,
    assignor: &'a str,
    members: Option<Vec<Member<'a>>>,
}

#[derive(Debug, Serialize)]
struct Member<'a> {
    id: &'a str,
    instance: Option<&'a str>,
    client: &'a str,
    host: &'a str,
    partitions: Vec<Partition<'a>>,
}

#[derive(Debug, Serialize)]
struct Partition<'a> {
    topic: &'a str,
    partition: u32,
}

pub(super) async fn describe(flags: DescribeFlags, stage: &mut Stage) -> Result<(), Error> {
    let cluster = flags.common.server.connect().await?;
    let found = state::ask(&cluster, &flags.group).await?;
    let found = found.ok_or_else(|| unknown(&flags.group))?;
    let members = found.members.as_ref().map(|members| {
        let members = members.iter().map(|member| Member {
            id: &member.id,
            instance: member.instance.as_deref(),
            client: &member.client_id,
            host: member.host.trim_start_matches('/'),
            partitions: member
                .assigned
                .iter()
                .map(|at| Partition {
                    topic: at.topic.as_str(),
                    partition: at.partition.get(),
                })
                .collect(),
        });
        members.collect()
    });
    let described = Described {
        group: flags.group.as_str(),
        state: &found.state,
        assignor: &found.assignor,
        members,
    };
    if flags.common.output == Output::Json {
        json_line(&mut stage.out, &described)?;
        return Ok(());
    }
    let out = &mut stage.out;
    writeln!(
        out,
        "{}",
        Styled(described.group, Style::Bold, stage.colors)
    )?;
    write!(out, "  {}", described.state)?;
    if found.members.is_some() {
        write!(out, ", {}", found.members_as_words())?;
    }
    if !described.assignor.is_empty() {
        write!(out, ", partitions assigned by {}", described.assignor)?;
    }
    writeln!(out)?;
    match &found.members {
        Some(members) if !members.is_empty() => {
            let mut table = Table::new(&["  MEMBER", "CLIENT", "HOST", "PARTITIONS"]);
            for member in members {
                table.row([
                    format!("  {}", member.instance.as_ref().unwrap_or(&member.id)),
                    member.client_id.clone(),
                    member.host.trim_start_matches('/').to_owned(),
                    by_topic(&member.assigned),
                ]);
            }
            writeln!(out)?;
            table.print(out, stage.colors)?;
        }
        Some(_) => (),
        None => writeln!(
            out,
            "  Its members speak a protocol that this client cannot ask about."
        )?,
    }
    Ok(())
}

fn unknown(group: &GroupId) -> Error {
    Error::UnknownGroup {
        group: group.to_string(),
    }
}

/// `orders:0-3,7 payments:0`.
pub(super) fn by_topic(partitions: &[TopicPartition]) -> String {
    let mut sorted = partitions.to_vec();
    sorted.sort();
    let mut text = String::new();
    let mut rest = sorted.as_slice();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|at| at.topic == first.topic).count();
        let (of_topic, after) = rest.split_at(same);
        rest = after;
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(first.topic.as_str());
        let mut separator = ':';
        let mut numbers = of_topic.iter().map(|at| at.partition.get()).peekable();
        while let Some(from) = numbers.next() {
            let mut to = from;
            while let Some(next) = numbers.next_if(|next| *next == to + 1) {
                to = next;
            }
            text.push(separator);
            separator = ',';
            text.push_str(&from.to_string());
            if to > from {
                text.push('-');
                text.push_str(&to.to_string());
            }
        }
    }
    text
}

/// Flags of `group delete`.
#[derive(Debug, Args)]
pub struct DeleteFlags {
    /// The groups
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<GroupId>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// A group that is not there is good, too
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Deletion<'a> {
    group: &'a str,
    deleted: bool,
}

pub(super) async fn delete(flags: DeleteFlags, stage: &mut Stage) -> Result<(), Error> {
    if !flags.yes && !stage.input_is_terminal {
        return Err(Error::bad_use(
            "deleting a group forgets how far it has read, and there is no terminal to ask on: say --yes",
        ));
    }
    let cluster = flags.common.server.connect().await?;
    let mut chosen = Vec::new();
    for group in &flags.groups {
        match state::ask(&cluster, group).await? {
            Some(found) if found.is_in_use() => {
                return Err(Error::GroupInUse {
                    group: group.to_string(),
                    members: found.members_as_words(),
                    state: found.state,
                    action: "delete",
                });
            }
            Some(_) => chosen.push(group),
            None if flags.if_exists => print_deleted(group, false, &flags.common, stage)?,
            None => return Err(unknown(group)),
        }
    }
    if !flags.yes && !chosen.is_empty() {
        let names: Vec<&str> = chosen.iter().map(|group| group.as_str()).collect();
        let count = counted(u64::try_from(chosen.len()).unwrap_or(u64::MAX), "group");
        if !agreed(&format!("{count} ({})", names.join(", ")), stage)? {
            stage.note("Nothing was deleted.");
            return Ok(());
        }
    }
    for group in chosen {
        let deleted = cluster.at_coordinator(group, async |admin| admin.delete_group(group).await);
        match deleted.await {
            Ok(()) => print_deleted(group, true, &flags.common, stage)?,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {
                return Err(unknown(group));
            }
            Err(error) => return Err(Error::failed(format!("delete group '{group}'"), error)),
        }
    }
    Ok(())
}

fn print_deleted(
    group: &GroupId,
    deleted: bool,
    common: &Common,
    stage: &mut Stage,
) -> Result<(), Error> {
    match common.output {
        Output::Json => json_line(
            &mut stage.out,
            &Deletion {
                group: group.as_str(),
                deleted,
            },
        )?,
        Output::Text if deleted => writeln!(stage.out, "Group '{group}' deleted.")?,
        Output::Text => writeln!(stage.out, "There is no group '{group}'.")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::PartitionId;

    use super::*;

    #[test]
    fn partitions_are_told_as_runs() {
        let at = |text: &str| {
            let (topic, number) = text.split_once('/').unwrap();
            TopicPartition::new(
                topic.parse().unwrap(),
                PartitionId::new(number.parse().unwrap()),
            )
        };
        let all = ["a/3", "a/0", "b/0", "a/1", "a/7"].map(at);
        assert_eq!(by_topic(&all), "a:0-1,3,7 b:0");
        assert_eq!(by_topic(&[]), "");
    }
}
