//! `lantern listeners` and `lantern dlq`: the HTTP API of a running Lantern as words.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use reqwest::{Response, Url};
use serde_json::Value;
use stdx::Counted;

use crate::cli::{DlqCommand, Output, ServerFlags};

/// As much of an error stands in a list.
const ERROR_CHARS: usize = 60;

/// `lantern listeners`.
pub(crate) fn listeners(flags: &ServerFlags) -> Result<ExitCode> {
    block_on(async {
        let answer = get(&flags.http, &["listeners"], &[]).await?;
        let items = items(&answer);
        if flags.output == Output::Json {
            return print_json(&items);
        }
        if items.is_empty() {
            println!("No listeners. Put one into conf.d: docs/operate/listeners.md");
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = vec![
            ["NAME", "TOPICS", "TARGET", "STATE", "LAG", "DONE", "FAILED"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for item in &items {
            let topics: Vec<&str> = item["topics"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let state = match (
                item["refused"].as_str(),
                item["paused"].as_bool(),
                item["breaker"].as_str(),
            ) {
                (Some(reason), ..) => format!("refused: {reason}"),
                (_, Some(true), _) => "paused".to_owned(),
                (.., Some("closed")) => "ok".to_owned(),
                (.., breaker) => format!("resting ({})", breaker.unwrap_or("-")),
            };
            let row = [
                text(item, "name"),
                topics.join(","),
                text(item, "target"),
                state,
            ];
            let counts = ["lag", "done", "failures"].map(|name| item[name].to_string());
            table.push(row.into_iter().chain(counts).collect());
        }
        print_table(&table)
    })
}

/// `lantern dlq …`.
pub(crate) fn run(command: DlqCommand) -> Result<ExitCode> {
    match command {
        DlqCommand::List {
            topic: None,
            server,
            ..
        } => block_on(topics(&server)),
        DlqCommand::List {
            topic: Some(topic),
            filter,
            limit,
            server,
        } => block_on(letters(&topic, &filter, limit, &server)),
        DlqCommand::Show {
            topic,
            offset,
            partition,
            server,
        } => block_on(show(&topic, partition, offset, &server)),
        DlqCommand::Replay {
            topic,
            filter,
            rate,
            again,
            dry_run,
            server,
        } => {
            let mut query = filters(&filter);
            query.extend(rate.map(|rate| ("rate", rate.to_string())));
            query.push(("again", again.to_string()));
            query.push(("dry-run", dry_run.to_string()));
            block_on(replay(&topic, &query, dry_run, &server))
        }
    }
}

async fn topics(server: &ServerFlags) -> Result<ExitCode> {
    let answer = get(&server.http, &["deadletters"], &[]).await?;
    let items = items(&answer);
    if server.output == Output::Json {
        return print_json(&items);
    }
    if items.is_empty() {
        println!("No dead letters.");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = vec![vec!["TOPIC".to_owned(), "LETTERS".to_owned()]];
    table.extend(
        items
            .iter()
            .map(|item| vec![text(item, "topic"), item["letters"].to_string()]),
    );
    print_table(&table)
}

async fn letters(
    topic: &str,
    filter: &[String],
    limit: usize,
    server: &ServerFlags,
) -> Result<ExitCode> {
    let mut query = filters(filter);
    query.push(("limit", limit.to_string()));
    let answer = get(&server.http, &["deadletters", topic], &query).await?;
    let items = items(&answer);
    if server.output == Output::Json {
        return print_json(&items);
    }
    let heads = [
        "OFFSET",
        "BURIED",
        "LISTENER",
        "REASON",
        "FROM",
        "KEY",
        "LAST ERROR",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for item in &items {
        let (partition, offset) = (&item["partition"], &item["offset"]);
        let place = if partition == 0 {
            offset.to_string()
        } else {
            format!("{offset} (partition {partition})")
        };
        let origin = &item["origin"];
        let from = format!(
            "{}/{}/{}",
            text(origin, "topic"),
            origin["partition"],
            origin["offset"]
        );
        let attempts = item["attempts"].as_array();
        let error = attempts
            .and_then(|all| all.last())
            .map(|last| text(last, "error"));
        let error: String = error
            .unwrap_or_default()
            .chars()
            .take(ERROR_CHARS)
            .collect();
        table.push(vec![
            place,
            text(item, "buriedAt"),
            text(item, "listener"),
            text(item, "reason"),
            from,
            content(&item["key"]),
            error,
        ]);
    }
    print_table(&table)?;
    if answer["more"] == true {
        println!("… there may be more: --limit, or a narrower --filter");
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(topic: &str, partition: u32, offset: u64, server: &ServerFlags) -> Result<ExitCode> {
    let query = [
        ("partition", partition.to_string()),
        ("from", offset.to_string()),
        ("limit", "1".to_owned()),
    ];
    let answer = get(&server.http, &["deadletters", topic], &query).await?;
    let items = items(&answer);
    let letter = items.first().filter(|letter| letter["offset"] == offset);
    let Some(letter) = letter else {
        bail!("partition {partition} of '{topic}' has no dead letter at offset {offset}");
    };
    if server.output == Output::Json {
        return print_json(letter);
    }
    let origin = &letter["origin"];
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "buried    {}, {} by {}",
        text(letter, "buriedAt"),
        text(letter, "reason"),
        text(letter, "listener")
    )?;
    writeln!(
        out,
        "from      {} partition {} offset {}, {}",
        text(origin, "topic"),
        origin["partition"],
        origin["offset"],
        text(origin, "timestamp")
    )?;
    for attempt in letter["attempts"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "attempt   {}  {}",
            text(attempt, "at"),
            text(attempt, "error")
        )?;
    }
    writeln!(out, "key       {}", content(&letter["key"]))?;
    for header in letter["headers"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "header    {}: {}",
            content(&header[0]),
            content(&header[1])
        )?;
    }
    writeln!(out, "\n{}", content(&letter["value"]))?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(
    topic: &str,
    query: &[(&str, String)],
    dry_run: bool,
    server: &ServerFlags,
) -> Result<ExitCode> {
    let url = url(&server.http, &["deadletters", topic, "replay"], query)?;
    let answer = reqwest::Client::new().post(url).send().await;
    let mut answer = checked(answer, &server.http).await?;
    let (mut waiting, mut last) = (Vec::new(), Value::Null);
    let live = std::io::stderr().is_terminal() && server.output == Output::Text;
    while let Some(chunk) = answer
        .chunk()
        .await
        .context("Lantern stopped in the middle; call it again to go on")?
    {
        waiting.extend_from_slice(&chunk);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            last = serde_json::from_slice(&line).context("an answer that is no JSON")?;
            if live {
                eprint!("\r\x1b[K{} sent of {} seen", last["sent"], last["seen"]);
            }
        }
    }
    if live {
        eprint!("\r\x1b[K");
    }
    if last["done"] != true {
        bail!("Lantern stopped in the middle; call it again to go on");
    }
    if server.output == Output::Json {
        print_json(&last)?;
    } else {
        let count =
            |name: &str| usize::try_from(last[name].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        println!(
            "{} {}; {} left out by the filter, {} sent before",
            Counted(count("sent"), "letter"),
            if dry_run { "would be sent" } else { "sent" },
            count("leftOut"),
            count("before"),
        );
    }
    if let Some(error) = last["error"].as_str() {
        bail!("{error}");
    }
    Ok(ExitCode::SUCCESS)
}

fn filters(filter: &[String]) -> Vec<(&'static str, String)> {
    filter.iter().map(|part| ("filter", part.clone())).collect()
}

fn url(http: &str, path: &[&str], query: &[(&str, String)]) -> Result<Url> {
    let base = if http.contains("://") {
        http.to_owned()
    } else {
        format!("http://{http}")
    };
    let mut url: Url = base
        .parse()
        .with_context(|| format!("'{http}' is no address"))?;
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("'{http}' is no address"))?
        .pop_if_empty()
        .extend(["apis", "lantern", "v1"])
        .extend(path);
    url.query_pairs_mut().extend_pairs(query);
    Ok(url)
}

pub(crate) async fn get(http: &str, path: &[&str], query: &[(&str, String)]) -> Result<Value> {
    let answer = reqwest::get(url(http, path, query)?).await;
    let answer = checked(answer, http).await?;
    answer.json().await.context("an answer that is no JSON")
}

/// The answer, or in one line why there is none.
async fn checked(answer: reqwest::Result<Response>, http: &str) -> Result<Response> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            bail!(
                "no Lantern answers at {http}; start one with `lantern up`, or name another with --http"
            )
        }
        Err(error) => return Err(error.without_url()).context(format!("asking {http}")),
    };
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    match body["error"].as_str() {
        Some(error) => bail!("{error}"),
        None => bail!("{http} answers {status}; is it a Lantern of this version?"),
    }
}

pub(crate) fn items(answer: &Value) -> Vec<Value> {
    answer["items"].as_array().cloned().unwrap_or_default()
}

pub(crate) fn text(item: &Value, name: &str) -> String {
    content(&item[name])
}

/// A text as it is, bytes as base64, nothing as a dash.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(bytes) => format!(
            "base64:{}",
            bytes.get("base64").and_then(Value::as_str).unwrap_or("")
        ),
        other => other.to_string(),
    }
}

pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}

fn print_table(rows: &[Vec<String>]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for line in table_lines(rows) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns as wide as their widest cell; the last one is left as it is.
pub(crate) fn table_lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(index, (cell, width))| {
                if index + 1 == row.len() {
                    cell.clone()
                } else {
                    format!("{cell:width$}")
                }
            });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

pub(crate) fn block_on<F: Future<Output = Result<ExitCode>>>(future: F) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}
