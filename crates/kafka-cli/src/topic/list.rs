//! `lantern topic list`.

use clap::Args;
use kafka_client::{Isolation, TopicDetail};
use model::TopicPartition;
use serde::Serialize;

use super::Common;
use crate::connect::partitions;
use crate::error::Error;
use crate::output::{Output, json_line};
use crate::place::Bounds;
use crate::stage::Stage;
use crate::table::Table;
use crate::units::{bytes, counted, grouped};

/// Flags of `topic list`.
#[derive(Debug, Args)]
pub struct ListFlags {
    /// Only topics with such names; `*` stands for any letters
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Those that the server keeps its own state in, too
    #[arg(long, short = 'i')]
    internal: bool,
    #[command(flatten)]
    common: Common,
}

/// A topic in a list.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    partitions: usize,
    replicas: usize,
    /// Counted by offsets; none when a partition has no leader to ask.
    records: Option<u64>,
    /// On the disks of all servers; none from servers that do not say it.
    bytes: Option<u64>,
    internal: bool,
}

pub(super) async fn run(flags: ListFlags, stage: &mut Stage) -> Result<(), Error> {
    let cluster = flags.common.server.connect().await?;
    let found = cluster.metadata(None).await;
    let found = found.map_err(|error| Error::failed("list topics", error))?;
    let chosen = |topic: &TopicDetail| {
        let name = topic.name.as_str();
        let patterns = &flags.patterns;
        patterns.is_empty() || patterns.iter().any(|one| matches(one, name))
    };
    let (shown, hidden): (Vec<TopicDetail>, Vec<TopicDetail>) = found
        .topics
        .into_iter()
        .filter(chosen)
        .partition(|topic| flags.internal || !is_internal(topic));
    let mut shown = shown;
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    // Partitions without a leader have nobody to say how many records there are.
    let led: Vec<TopicPartition> = shown
        .iter()
        .filter(|topic| is_led(topic))
        .flat_map(|topic| partitions(topic, &[]).unwrap_or_default())
        .collect();
    let bounds = Bounds::of(&cluster, &led, Isolation::Uncommitted).await;
    let bounds = bounds.map_err(|error| Error::failed("ask how many records there are", error))?;
    // Not every server says it, or says it to everybody.
    let sizes = cluster.sizes().await.ok();
    let lines = shown.iter().map(|topic| Line {
        topic: topic.name.as_str(),
        partitions: topic.partitions.len(),
        replicas: topic.partitions.first().map_or(0, |one| one.replicas.len()),
        records: is_led(topic).then(|| {
            let all = partitions(topic, &[]).unwrap_or_default();
            all.iter().map(|at| bounds.records_of(at)).sum()
        }),
        bytes: sizes.as_ref().map(|sizes| {
            let all = partitions(topic, &[]).unwrap_or_default();
            all.iter().filter_map(|at| sizes.get(at)).sum()
        }),
        internal: is_internal(topic),
    });
    let lines: Vec<Line<'_>> = lines.collect();
    match flags.common.output {
        Output::Json => {
            for line in &lines {
                json_line(&mut stage.out, line)?;
            }
        }
        Output::Text => text(&lines, &flags, hidden.len(), stage)?,
    }
    Ok(())
}

fn text(
    lines: &[Line<'_>],
    flags: &ListFlags,
    hidden: usize,
    stage: &mut Stage,
) -> Result<(), Error> {
    let mut table = Table::new(&["TOPIC", ">PARTITIONS", ">REPLICAS", ">RECORDS", ">BYTES"]);
    for line in lines {
        table.row([
            line.topic.to_owned(),
            line.partitions.to_string(),
            line.replicas.to_string(),
            line.records.map_or_else(|| "?".to_owned(), grouped),
            line.bytes.map_or_else(|| "?".to_owned(), bytes),
        ]);
    }
    if !table.is_empty() {
        table.print(&mut stage.out, stage.colors)?;
    } else if flags.patterns.is_empty() {
        stage.note("There are no topics yet: `lantern topic create NAME` makes one.");
    } else {
        stage.note("No topic has such a name.");
    }
    if hidden > 0 && stage.out_is_terminal {
        let hidden = counted(u64::try_from(hidden).unwrap_or(u64::MAX), "topic");
        stage.note(format!(
            "{hidden} of the server itself not shown (--internal)."
        ));
    }
    Ok(())
}

/// Kafka says so itself; Lantern's own topics have names that say it.
fn is_internal(topic: &TopicDetail) -> bool {
    topic.internal || topic.name.is_internal()
}

fn is_led(topic: &TopicDetail) -> bool {
    topic.partitions.iter().all(|one| one.leader.is_some())
}

/// Whether `name` fits a pattern in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, fits) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders*", "orders.dlq", true),
            ("*dlq", "orders.dlq", true),
            ("o*s*q", "orders.dlq", true),
            ("*", "anything", true),
            ("o*x*q", "orders.dlq", false),
            ("a*a", "a", false),
            ("*e*e", "here", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
