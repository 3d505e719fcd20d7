//! Rules: dropped in, firing into a webhook, resolving, refused when broken, resumed after a kill.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::routing::post;
use axum::{Json, Router};
use e2e::{Lantern, Place, eventually, query, remote_write};
use model::Timestamp;
use serde_json::Value;
use series::Labels;

const SOON: Duration = Duration::from_secs(10);

/// A webhook of our own on a free port, and what it received.
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let received: Arc<Mutex<Vec<Value>>> = Arc::default();
        let inbox = Arc::clone(&received);
        let hook = post(async move |Json(body): Json<Value>| {
            inbox
                .lock()
                .expect("no test panics while it holds this")
                .push(body);
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        tokio::spawn(
            async move { axum::serve(listener, Router::new().route("/hook", hook)).await },
        );
        Ok(Self { url, received })
    }

    /// Notifications of this alert with this status.
    fn of(&self, name: &str, status: &str) -> Vec<Value> {
        let received = self
            .received
            .lock()
            .expect("no test panics while it holds this");
        let meant = |body: &&Value| {
            body["status"] == status && body["alerts"][0]["labels"]["alertname"] == name
        };
        received.iter().filter(meant).cloned().collect()
    }

    async fn wait(&self, name: &str, status: &str) -> Result<Value> {
        eventually(&format!("{name} {status}"), SOON, async || {
            Ok(self.of(name, status).pop())
        })
        .await
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or_default())
}

/// Sends one sample by remote write 2.0.
async fn send(lantern: &Lantern, name: &str, value: f64) -> Result<()> {
    let labels = Labels::of(&[("__name__", name), ("desk", "fx")]);
    let client = reqwest::Client::new();
    remote_write(&client, lantern, &[(labels, vec![(now(), value)])]).await
}

const RULE: &str = r#"groups:
  - name: desk
    interval: 1s
    rules:
      - alert: ExposureHigh
        expr: exposure > 100
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.desk }} is at {{ $value }}"}
"#;

#[tokio::test]
async fn a_dropped_rule_fires_and_resolves_into_a_webhook() -> Result<()> {
    let hook = Receiver::start().await?;
    let place = Place::new()?;
    let lantern = Lantern::start(&place, &["--alert-webhook", &hook.url, "--no-agent"])?;
    fs::write(place.path("rules/desk.yaml"), RULE)?;
    eventually("the rule is in force", SOON, async || {
        let rules: Value = reqwest::get(lantern.url("/api/v1/rules"))
            .await?
            .json()
            .await?;
        Ok(rules.to_string().contains("ExposureHigh").then_some(()))
    })
    .await?;

    send(&lantern, "exposure", 150.0).await?;
    let fired = hook.wait("ExposureHigh", "firing").await?;
    assert_eq!(fired["version"], "4");
    let alert = &fired["alerts"][0];
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["labels"]["desk"], "fx");
    assert_eq!(alert["annotations"]["summary"], "fx is at 150");
    assert!(
        alert["fingerprint"]
            .as_str()
            .is_some_and(|text| text.len() == 16),
        "{alert}"
    );
    let alerts: Value = reqwest::get(lantern.url("/api/v1/alerts"))
        .await?
        .json()
        .await?;
    assert_eq!(alerts["data"]["alerts"][0]["state"], "firing", "{alerts}");
    let series = "ALERTS{alertname=\"ExposureHigh\",alertstate=\"firing\"}";
    let value = eventually(series, SOON, async || query(&lantern, series).await).await?;
    assert_eq!(value, 1.0);

    send(&lantern, "exposure", 50.0).await?;
    let resolved = hook.wait("ExposureHigh", "resolved").await?;
    assert_eq!(resolved["alerts"][0]["startsAt"], alert["startsAt"]);
    eventually("ALERTS ends", SOON, async || {
        Ok(query(&lantern, series).await?.is_none().then_some(()))
    })
    .await?;
    assert_eq!(hook.of("ExposureHigh", "firing").len(), 1, "told once");
    Ok(())
}

#[tokio::test]
async fn the_rules_that_come_with_lantern_ask_for_metrics_it_has() -> Result<()> {
    let place = Place::new()?;
    // Some metrics are there when what they count is: a file that is refused, a listener.
    fs::write(place.path("rules/broken.yaml"), "groups: [")?;
    let listeners = place.path("conf.d/listeners");
    fs::create_dir_all(&listeners)?;
    fs::write(
        listeners.join("billing.yaml"),
        "apiVersion: lantern/v1\nkind: Listener\nmetadata: {name: billing}\n\
         spec: {topics: orders, webhook: {url: 'http://127.0.0.1:9/'}}\n",
    )?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    let rules = include_str!("../../../rules/lantern.yaml");
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut names: Vec<&str> = words.filter(|it| it.starts_with("lantern_")).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let line = format!("# TYPE {} ", name.trim_end_matches("_total"));
        eventually(name, SOON, async || {
            let metrics = reqwest::get(lantern.url("/metrics")).await?.text().await?;
            Ok(metrics.contains(&line).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_rule_file_changes_nothing_and_is_named() -> Result<()> {
    let place = Place::new()?;
    fs::write(place.path("rules/desk.yaml"), RULE)?;
    let lantern = Lantern::start(&place, &["--no-agent"])?;
    fs::write(
        place.path("rules/broken.yaml"),
        RULE.replace("exposure > 100", "exposure >"),
    )?;
    let client = reqwest::Client::new();
    let answer = client.post(lantern.url("/-/reload")).send().await?;
    assert_eq!(answer.status(), 500);
    let text = answer.text().await?;
    for part in ["broken.yaml", "6:"] {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    let rules: Value = reqwest::get(lantern.url("/api/v1/rules"))
        .await?
        .json()
        .await?;
    let groups = rules["data"]["groups"].as_array().map(Vec::len);
    assert_eq!(groups, Some(1), "{rules}");
    fs::remove_file(place.path("rules/broken.yaml"))?;
    assert_eq!(
        client.post(lantern.url("/-/reload")).send().await?.status(),
        200
    );
    Ok(())
}

#[tokio::test]
async fn a_firing_alert_is_resumed_after_a_kill_and_not_told_again() -> Result<()> {
    let hook = Receiver::start().await?;
    let place = Place::new()?;
    fs::write(place.path("rules/desk.yaml"), RULE)?;
    let config = place.path("lantern.yaml");
    fs::write(
        &config,
        format!("alerting:\n  webhooks: ['{}']\n", hook.url),
    )?;
    let config = config.to_string_lossy();
    let args = ["--config", &*config, "--no-agent"];
    let lantern = Lantern::start(&place, &args)?;
    send(&lantern, "exposure", 150.0).await?;
    let fired = hook.wait("ExposureHigh", "firing").await?;
    lantern.kill9()?;

    let lantern = Lantern::start(&place, &args)?;
    let alerts = eventually("the alert is back", SOON, async || {
        let alerts: Value = reqwest::get(lantern.url("/api/v1/alerts"))
            .await?
            .json()
            .await?;
        Ok((alerts["data"]["alerts"][0]["state"] == "firing").then_some(alerts))
    })
    .await?;
    let since = |text: &Value| -> Result<i64> {
        let text = text.as_str().unwrap_or_default();
        Ok(text.parse::<jiff::Timestamp>()?.as_millisecond())
    };
    assert_eq!(
        since(&alerts["data"]["alerts"][0]["activeAt"])?,
        since(&fired["alerts"][0]["startsAt"])?
    );
    send(&lantern, "exposure", 50.0).await?;
    hook.wait("ExposureHigh", "resolved").await?;
    assert_eq!(hook.of("ExposureHigh", "firing").len(), 1, "told once");
    Ok(())
}

#[tokio::test]
async fn an_alert_that_waits_out_its_for_goes_on_waiting_after_a_kill() -> Result<()> {
    const FOR: Duration = Duration::from_secs(12);
    let hook = Receiver::start().await?;
    let place = Place::new()?;
    let rule = RULE.replace("exposure > 100", "exposure > 100\n        for: 12s");
    fs::write(place.path("rules/desk.yaml"), rule)?;
    let args = ["--alert-webhook", &hook.url, "--no-agent"];
    let lantern = Lantern::start(&place, &args)?;
    send(&lantern, "exposure", 150.0).await?;
    let active_at = async |lantern: &Lantern| {
        eventually("the alert is active", SOON, async || {
            let alerts: Value = reqwest::get(lantern.url("/api/v1/alerts"))
                .await?
                .json()
                .await?;
            let alert = &alerts["data"]["alerts"][0];
            Ok(alert["activeAt"]
                .is_string()
                .then(|| alert["activeAt"].clone()))
        })
        .await
    };
    let active = active_at(&lantern).await?;
    // A third of its time passes, so that a timer that began anew could be told from one that went on.
    tokio::time::sleep(FOR / 3).await;
    lantern.kill9()?;

    let lantern = Lantern::start(&place, &args)?;
    assert_eq!(active_at(&lantern).await?, active, "it waits since then");
    eventually("the notification", 2 * FOR, async || {
        Ok(hook.of("ExposureHigh", "firing").pop())
    })
    .await?;
    let since: jiff::Timestamp = active.as_str().unwrap_or_default().parse()?;
    let waited = u64::try_from(now().millis() - since.as_millisecond())?;
    let waited = Duration::from_millis(waited);
    assert!(
        waited >= FOR && waited < FOR + FOR / 3,
        "fired {waited:?} after it became active"
    );
    Ok(())
}

#[test]
fn rule_files_are_checked_without_a_server() -> Result<()> {
    let place = Place::new()?;
    let check = |name: &str, text: &str| -> Result<(bool, String)> {
        let path = place.path(name);
        fs::write(&path, text)?;
        let mut command = Command::new(e2e::binary());
        let printed = command.args(["rules", "check"]).arg(&path).output()?;
        let text = [printed.stdout, printed.stderr].concat();
        Ok((printed.status.success(), String::from_utf8(text)?))
    };
    let (good, printed) = check("good.yaml", RULE)?;
    assert!(good && printed.contains("1 rule: good"), "{printed}");
    let broken = RULE
        .replace("exposure > 100", "rate(exposure)")
        .replace("$value", "$valu");
    let (good, printed) = check("broken.yaml", &broken)?;
    assert!(!good, "{printed}");
    for part in ["broken.yaml:6:", "broken.yaml:8:", "$valu", "2 problems"] {
        assert!(printed.contains(part), "'{part}' is not in: {printed}");
    }
    Ok(())
}
