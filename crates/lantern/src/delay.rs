//! `lantern group delay`: how late groups are, from a running Lantern's HTTP API.
//!
//! It stands here and not with the other words of `group`, because no other Kafka server knows it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use board::Unit;
use serde_json::Value;

use crate::cli::{DelayFlags, Output};
use crate::dlq::{block_on, get, items, print_json, table_lines, text};

/// Groups or partitions that are asked for, and how.
pub(crate) fn run(flags: &DelayFlags) -> Result<ExitCode> {
    if !flags.watch && flags.count.is_some() {
        bail!("--count is for --watch");
    }
    let interval = flags.interval.get();
    if interval.is_zero() {
        bail!("--interval must be above 0");
    }
    block_on(async {
        if !flags.watch {
            let answer = ask(flags).await?;
            return match flags.server.output {
                Output::Json => print_json(&answer),
                Output::Text => show(&lines(&answer, flags), 0).map(|_| ExitCode::SUCCESS),
            };
        }
        tokio::select! {
            watched = watch(flags, interval) => watched,
            // Ctrl-C is how it ends.
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn watch(flags: &DelayFlags, interval: Duration) -> Result<ExitCode> {
    let in_place = std::io::stdout().is_terminal() && flags.server.output == Output::Text;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut looks, mut drawn, mut in_trouble) = (0, 0, false);
    loop {
        ticks.tick().await;
        let answer = match ask(flags).await {
            Ok(answer) => answer,
            // A Lantern that restarts is waited for; the first look tells what is simply wrong.
            Err(error) if looks > 0 => {
                if !in_trouble {
                    eprintln!("lantern: {error:#}; trying again");
                    drawn = 0;
                }
                in_trouble = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        in_trouble = false;
        match flags.server.output {
            Output::Json => writeln!(std::io::stdout(), "{answer}")?,
            Output::Text => {
                let shown = show(&lines(&answer, flags), if in_place { drawn } else { 0 })?;
                drawn = shown;
            }
        }
        looks += 1;
        if flags.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn ask(flags: &DelayFlags) -> Result<Value> {
    let mut query = Vec::new();
    query.extend(flags.group.clone().map(|group| ("group", group)));
    query.extend(flags.topic.clone().map(|topic| ("topic", topic)));
    get(&flags.server.http, &["delays"], &query).await
}

/// Prints over the `drawn` lines before; answers how many there are now.
fn show(lines: &[String], drawn: usize) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    if drawn > 0 {
        write!(out, "\x1b[{drawn}F\x1b[J")?;
    }
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(lines.len())
}

/// All groups with a line each, or one by partition.
fn lines(answer: &Value, flags: &DelayFlags) -> Vec<String> {
    let empty = Vec::new();
    let groups = answer["groups"].as_array().unwrap_or(&empty);
    if groups.is_empty() {
        return vec!["No group has committed anything yet.".to_owned()];
    }
    let mut lines = if flags.group.is_none() {
        let heads = ["GROUP", "LAG", "AGE", "RECORDS", "P50", "P90", "P99"];
        let mut table = vec![heads.map(str::to_owned).to_vec()];
        for group in groups {
            let mut row = vec![text(group, "group"), group["lag"].to_string()];
            row.push(span(&group["ageMs"]));
            row.push(group["records"].to_string());
            row.extend(delays(group));
            table.push(row);
        }
        table_lines(&table)
    } else {
        let heads = [
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "AGE",
            "RECORDS",
            "P50",
            "P90",
            "P99",
        ];
        let mut table = vec![heads.map(str::to_owned).to_vec()];
        for item in &items(answer) {
            let mut row = vec![text(item, "topic")];
            row.extend(["partition", "committed", "end", "lag"].map(|name| item[name].to_string()));
            row.push(span(&item["ageMs"]));
            row.push(item["records"].to_string());
            row.extend(delays(item));
            table.push(row);
        }
        table_lines(&table)
    };
    if let Some(count) = answer["unmeasured"].as_u64().filter(|count| *count > 0) {
        lines.push(format!(
            "{count} more partitions of groups are not measured: there are too many."
        ));
    }
    lines
}

fn delays(of: &Value) -> [String; 3] {
    ["p50", "p90", "p99"].map(|name| span(&of["delayMs"][name]))
}

/// Milliseconds as a span; a dash for what is not known.
fn span(millis: &Value) -> String {
    match millis.as_u64() {
        Some(millis) => Unit::Seconds.format(millis as f64 / 1_000.0),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command, Group};

    fn flags(args: &[&str]) -> DelayFlags {
        let words = ["lantern", "group", "delay"].iter().chain(args);
        match Cli::parse_from(words).command {
            Some(Command::Group(Group::Delay(flags))) => flags,
            other => panic!("{other:?}"),
        }
    }

    fn answer() -> Value {
        json!({
            "groups": [
                {"group": "shop", "lag": 12, "ageMs": 2_015, "records": 50, "delayMs": {"p50": 15, "p90": 90, "p99": 1_023}},
                {"group": "idle", "lag": 0, "ageMs": 0, "records": 0, "delayMs": null},
            ],
            "items": [
                {"group": "shop", "topic": "orders", "partition": 0, "committed": 88, "end": 100, "lag": 12,
                 "ageMs": null, "records": 50, "delayMs": {"p50": 15, "p90": 90, "p99": 1_023}},
            ],
            "unmeasured": 3,
        })
    }

    #[test]
    fn groups_are_lines_and_one_group_is_told_by_partition() {
        assert_eq!(
            lines(&answer(), &flags(&[])),
            [
                "GROUP  LAG  AGE     RECORDS  P50    P90    P99",
                "shop   12   2.02 s  50       15 ms  90 ms  1.02 s",
                "idle   0    0 s     0        -      -      -",
                "3 more partitions of groups are not measured: there are too many.",
            ]
        );
        assert_eq!(
            lines(&answer(), &flags(&["shop"]))[..2],
            [
                "TOPIC   PARTITION  COMMITTED  END  LAG  AGE  RECORDS  P50    P90    P99",
                "orders  0          88         100  12   -    50       15 ms  90 ms  1.02 s",
            ]
        );
        let none = json!({"groups": [], "items": [], "unmeasured": 0});
        assert_eq!(
            lines(&none, &flags(&[])),
            ["No group has committed anything yet."]
        );
    }
}
