//! From the start of the process until everything answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Lantern, Place, Program, remote_write};
use model::Timestamp;
use serde_json::Value;
use series::Labels;

use super::{furnished, runtime};
use crate::Smoke;
use crate::page::Row;
use crate::spread::{Spread, short};

const ROUNDS: usize = 20;
/// The target.
const LIMIT_MS: f64 = 1_000.0;
/// What a Lantern keeps in memory by default, at one scrape a second.
const RETENTION_SECONDS: u32 = 6 * 3_600;

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let mut fresh = Spread::new();
    for _ in 0..ROUNDS {
        let place = furnished()?;
        let lantern = Lantern::start(&place, &[])?;
        fresh.add(lantern.ready_after);
        lantern.kill9()?;
    }
    let orders = furnished()?;
    play(&orders)?;
    let orders = restarts(&orders)?;
    let metrics = furnished()?;
    let samples = remember(&metrics)?;
    let metrics = restarts(&metrics)?;
    let row = |what: &str, spread: &Spread| {
        let (median, worst) = (spread.at(50.0), spread.at(100.0));
        let text = format!(
            "median {} ms, worst of {ROUNDS} {} ms",
            short(median),
            short(worst)
        );
        Row::new(what, text).target("< 1 s", worst < LIMIT_MS)
    };
    Ok(vec![
        row("start → ready, no data", &fresh),
        row(
            "start → ready after kill -9, with what a minute of orders left",
            &orders,
        ),
        row(
            &format!(
                "start → ready after kill -9, with six hours of samples ({:.1} million; a third of the series count, the others stand still)",
                samples / 1e6
            ),
            &metrics,
        ),
    ])
}

fn restarts(place: &Place) -> Result<Spread> {
    let mut spread = Spread::new();
    for _ in 0..ROUNDS {
        let lantern = Lantern::start(place, &[])?;
        spread.add(lantern.ready_after);
        lantern.kill9()?;
    }
    Ok(spread)
}

/// A minute of the demo, and then a kill.
fn play(place: &Place) -> Result<()> {
    let lantern = Lantern::start(place, &[])?;
    let args = [
        "demo",
        "orders",
        "--rate",
        "2246",
        "--duration",
        "60s",
        "--kafka",
        &lantern.kafka,
    ];
    Program::start(e2e::binary(), &args)?.finish(Duration::from_mins(3))?;
    lantern.kill9()
}

/// As many samples as the agent and Lantern's own meters would have left in six hours, one record a second in the
/// order of time, and then a kill. How many there are.
fn remember(place: &Place) -> Result<f64> {
    let like = furnished()?;
    let host = Lantern::start(&like, &[])?;
    let quiet = Lantern::start(place, &["--no-agent"])?;
    let series = runtime()?.block_on(async {
        // The second reading has what the first one lacks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let client = reqwest::Client::new();
        let series = known_series(&client, &host).await?;
        ensure!(series.len() > 100, "only {} series", series.len());
        let now = jiff::Timestamp::now().as_millisecond();
        for back in (1..=RETENTION_SECONDS).rev() {
            let at = Timestamp::from_millis(now - i64::from(back) * 1_000);
            // A third of them counts, the others stand still, as on a host at rest.
            let samples: Vec<(Labels, Vec<(Timestamp, f64)>)> = series
                .iter()
                .enumerate()
                .map(|(i, (labels, value))| {
                    let less = if i % 3 == 0 { f64::from(back) } else { 0.0 };
                    (labels.clone(), vec![(at, value - less)])
                })
                .collect();
            remote_write(&client, &quiet, &samples).await?;
        }
        anyhow::Ok(series.len())
    })?;
    quiet.kill9()?;
    Ok(series as f64 * f64::from(RETENTION_SECONDS))
}

/// All series with their newest values.
async fn known_series(client: &reqwest::Client, lantern: &Lantern) -> Result<Vec<(Labels, f64)>> {
    let answer: Value = client
        .get(lantern.url("/api/v1/query"))
        .query(&[("query", "{__name__=~\".+\"}")])
        .send()
        .await?
        .json()
        .await?;
    let result = answer
        .pointer("/data/result")
        .and_then(Value::as_array)
        .context("a vector")?;
    result
        .iter()
        .map(|sample| {
            let labels = sample["metric"].as_object().context("labels")?;
            let pairs: Vec<(&str, &str)> = labels
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
                .collect();
            let value = sample["value"][1].as_str().context("a value")?.parse()?;
            Ok((Labels::of(&pairs), value))
        })
        .collect()
}
