//! A sample that crosses a threshold, until a webhook has been told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use e2e::{Lantern, Place, remote_write};
use model::Timestamp;
use serde_json::Value;
use series::Labels;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::runtime;
use crate::Smoke;
use crate::page::Row;
use crate::spread::Spread;

const ROUNDS: usize = 200;
const LIMIT_MS: f64 = 50.0;
const PATIENCE: Duration = Duration::from_secs(10);

const RULE: &str = "groups:
  - name: bench
    interval: 1m
    rules: [{alert: High, expr: exposure > 100}]
";

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    runtime()?.block_on(async {
        let (told, mut hook) = mpsc::channel::<(Instant, String)>(16);
        let route = post(async move |Json(body): Json<Value>| {
            let status = body["status"].as_str().unwrap_or_default().to_owned();
            // Nobody listens any more only when the figure is over.
            let _ = told.send((Instant::now(), status)).await;
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let served = Router::new().route("/", route);
        tokio::spawn(async move { axum::serve(listener, served).await });

        let place = Place::new()?;
        std::fs::write(place.path("rules/bench.yaml"), RULE)?;
        let lantern = Lantern::start(&place, &["--alert-webhook", &url])?;
        let client = reqwest::Client::new();
        let (mut firing, mut resolved) = (Spread::new(), Spread::new());
        for _ in 0..ROUNDS {
            for (value, status, spread) in [
                (150.0, "firing", &mut firing),
                (50.0, "resolved", &mut resolved),
            ] {
                let sent = Instant::now();
                send(&client, &lantern, value).await?;
                let came = tokio::time::timeout(PATIENCE, hook.recv()).await;
                let (at, told) = came
                    .context("the webhook was not told")?
                    .context("the hook")?;
                ensure!(told == status, "told {told} instead of {status}");
                spread.add(at.saturating_duration_since(sent));
            }
        }
        for (what, spread) in [("firing", &firing), ("resolved", &resolved)] {
            let what = format!("sample → webhook, {what} ({ROUNDS} rounds; p50 / p99 / worst)");
            let met = spread.at(99.0) < LIMIT_MS;
            rows.push(Row::new(what, spread.with_worst()).target("p99 < 50 ms", met));
        }
        anyhow::Ok(())
    })?;
    Ok(rows)
}

/// One sample, now.
async fn send(client: &reqwest::Client, lantern: &Lantern, value: f64) -> Result<()> {
    let labels = Labels::of(&[("__name__", "exposure"), ("desk", "fx")]);
    let at = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    remote_write(client, lantern, &[(labels, vec![(at, value)])]).await
}
