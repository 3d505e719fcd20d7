//! Listeners: a resource dropped in gets what the shop sells, over a kill and a change; what it refuses is a dead letter that
//! kcat reads and the command line sends again.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use e2e::{Lantern, Place, Program, binary, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// An endpoint that takes everything but refunds, unless it is told to take those, too.
#[derive(Default)]
struct Endpoint {
    /// Times each event came, by its id.
    events: BTreeMap<String, usize>,
    /// The newest number seen of each order, which must grow.
    newest: BTreeMap<String, u64>,
    /// Orders whose events came in the wrong order.
    disordered: Vec<String>,
    takes_refunds: bool,
}

impl Endpoint {
    fn take(&mut self, headers: &HeaderMap) -> StatusCode {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (id, kind, offset) = (text("ce-id"), text("ce-type"), text("x-lantern-offset"));
        let order = text("ce-partitionkey");
        *self.events.entry(id).or_default() += 1;
        let offset: u64 = offset.parse().unwrap_or_default();
        let newest = self.newest.entry(order.clone()).or_default();
        // A repetition after a kill begins again somewhat earlier; a replayed letter is a new record.
        if self.events.values().all(|times| *times == 1) && offset < *newest {
            self.disordered.push(order);
        }
        *newest = offset;
        if kind == "order.refunded" && !self.takes_refunds {
            return StatusCode::UNPROCESSABLE_ENTITY;
        }
        StatusCode::NO_CONTENT
    }
}

type Shared = Arc<Mutex<Endpoint>>;

fn look<T>(endpoint: &Shared, look: impl FnOnce(&mut Endpoint) -> T) -> T {
    look(&mut endpoint.lock().expect("no test panics while it holds this"))
}

async fn start() -> Result<(String, Shared)> {
    let shared = Shared::default();
    let inbox = Arc::clone(&shared);
    let hook =
        post(async move |headers: HeaderMap| look(&inbox, |endpoint| endpoint.take(&headers)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/orders", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/orders", hook)).await });
    Ok((url, shared))
}

fn resource(url: &str, more: &str) -> String {
    format!(
        "apiVersion: lantern/v1\nkind: Listener\nmetadata: {{name: billing}}\nspec:\n  topics: orders\n  \
         from: earliest\n  webhook: {{url: '{url}'}}\n{more}"
    )
}

/// What a command prints.
fn command(lantern: &Lantern, args: &[&str]) -> Result<String> {
    let output = Command::new(binary())
        .args(args)
        .args(["--http", &lantern.http])
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{args:?}: {said}");
    Ok(printed)
}

/// The one listener, as the API shows it.
async fn shown(lantern: &Lantern) -> Result<Value> {
    let url = lantern.url("/apis/lantern/v1/listeners");
    let all: Value = reqwest::get(url).await?.json().await?;
    Ok(all["items"][0].clone())
}

#[tokio::test]
async fn a_listener_gets_every_event_and_gives_up_into_dead_letters() -> Result<()> {
    let (url, endpoint) = start().await?;
    let place = Place::new()?;
    let mut lantern = Lantern::start(&place, &["--no-agent"])?;
    let file = place.path("conf.d/billing.yaml");
    fs::write(&file, resource(&url, ""))?;

    let args = [
        "demo",
        "orders",
        "--rate",
        "500",
        "--duration",
        "6s",
        "--seed",
        "11",
        "--output",
        "json",
    ];
    let mut args: Vec<&str> = args.to_vec();
    let kafka = lantern.kafka.clone();
    args.extend(["--kafka", kafka.as_str()]);
    let demo = Program::start(binary(), &args)?;
    eventually("events come", SOON, async || {
        Ok(look(&endpoint, |endpoint| endpoint.events.len() > 300).then_some(()))
    })
    .await?;
    lantern = lantern.kill9_and_start_again(&place, &["--no-agent"])?;
    // A broken version is refused, and the one in force stays; then it changes while it works.
    fs::write(&file, resource(&url, "  concurrency: zero\n"))?;
    eventually("the broken version is refused", SOON, async || {
        let metrics = reqwest::get(lantern.url("/metrics")).await?.text().await?;
        Ok(metrics
            .contains("lantern_config_file_refused{")
            .then_some(()))
    })
    .await?;
    fs::write(
        &file,
        resource(&url, "  concurrency: 3\n  retry: {attempts: 2}\n"),
    )?;
    let printed = demo.finish(SOON)?;
    let sent: Value = printed
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .next_back()
        .context("a summary")?;
    let sent = usize::try_from(sent["acked"].as_u64().with_context(|| sent.to_string())?)?;

    eventually("everything came", SOON, async || {
        let lag = shown(&lantern).await?["lag"].as_u64();
        let came = look(&endpoint, |endpoint| endpoint.events.len());
        Ok((came >= sent && lag == Some(0)).then_some(()))
    })
    .await?;
    let (repeated, disordered) = look(&endpoint, |endpoint| {
        let repeated: usize = endpoint.events.values().map(|times| times - 1).sum();
        (repeated, endpoint.disordered.clone())
    });
    assert_eq!(disordered, Vec::<String>::new(), "order within a key");
    // Progress is stored five times a second, and 500 come a second.
    assert!(repeated < 400, "{repeated} came again after one kill");

    let letters: Value = serde_json::from_str(&command(
        &lantern,
        &[
            "dlq",
            "list",
            "orders.dlq",
            "--output",
            "json",
            "--limit",
            "1000",
        ],
    )?)?;
    let letters = letters.as_array().context("a list")?.clone();
    assert!(!letters.is_empty(), "some orders are refunded");
    for letter in &letters {
        assert_eq!(
            (&letter["reason"], &letter["listener"]),
            (&"refused".into(), &"billing".into())
        );
        assert!(
            letter["value"]
                .as_str()
                .is_some_and(|value| value.contains("refunded")),
            "{letter}"
        );
    }
    let shown = command(&lantern, &["dlq", "show", "orders.dlq", "0"])?;
    assert!(
        shown.contains("422 Unprocessable Entity") && shown.contains("ce_type: order.refunded"),
        "{shown}"
    );
    // Dead letters are ordinary records.
    let kcat = Command::new("kcat")
        .args([
            "-b",
            &lantern.kafka,
            "-t",
            "orders.dlq",
            "-C",
            "-e",
            "-q",
            "-f",
            "%k %h\n",
        ])
        .output()
        .context("kcat: run `cargo xtask setup`")?;
    let read = String::from_utf8_lossy(&kcat.stdout).into_owned();
    assert_eq!(read.lines().count(), letters.len(), "{read}");
    assert!(read.contains("x-dlq-listener=billing"), "{read}");

    look(&endpoint, |endpoint| {
        endpoint.takes_refunds = true;
        endpoint.events.clear();
    });
    let printed = command(
        &lantern,
        &[
            "dlq",
            "replay",
            "orders.dlq",
            "--filter",
            "listener=billing",
        ],
    )?;
    assert!(
        printed.starts_with(&format!("{} letter", letters.len())),
        "{printed}"
    );
    let printed = command(&lantern, &["dlq", "replay", "orders.dlq"])?;
    assert!(
        printed.starts_with("0 letters sent"),
        "each is sent once: {printed}"
    );
    eventually("the letters came again", SOON, async || {
        Ok(look(&endpoint, |endpoint| endpoint.events.len() == letters.len()).then_some(()))
    })
    .await?;
    let table = command(&lantern, &["listeners"])?;
    assert!(
        table.contains("billing") && table.contains(url.trim_end_matches("/orders")),
        "{table}"
    );
    Ok(())
}
