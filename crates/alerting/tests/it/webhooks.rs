//! Webhooks over real sockets, in real time.

use std::collections::VecDeque;
use std::sync::Arc;

use alerting::{AlertState, Options};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use env::SimDisk;
use parking_lot::Mutex;
use serde_json::Value;
use test_kit::clock::START;
use test_kit::within;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::rig::Rig;

const RULE: &str = "
groups:
  - {name: desk, interval: 10h, rules: [{alert: High, expr: exposure > 100}]}
";

/// A webhook on loopback: answers what it is told to, and 200 when told nothing.
struct Receiver {
    url: String,
    answers: Arc<Mutex<VecDeque<u16>>>,
    received: mpsc::Receiver<Value>,
}

type Shared = (Arc<Mutex<VecDeque<u16>>>, mpsc::Sender<Value>);

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook?token=secret",
            listener.local_addr().unwrap()
        );
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let (sender, received) = mpsc::channel(100);
        let shared: Shared = (Arc::clone(&answers), sender);
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            answers,
            received,
        }
    }

    /// The next request, as `desk:status` of each of its alerts.
    async fn next(&mut self) -> Vec<String> {
        let body = within(self.received.recv()).await.unwrap();
        let alerts = body["alerts"].as_array().unwrap().iter();
        let shown = alerts.map(|alert| {
            let desk = alert["labels"]["desk"].as_str().unwrap();
            format!("{desk}:{}", alert["status"].as_str().unwrap())
        });
        shown.collect()
    }

    fn options(&self) -> Options {
        Options {
            webhooks: vec![self.url.clone()],
            ..Options::default()
        }
    }
}

async fn receive(State((answers, sender)): State<Shared>, body: String) -> StatusCode {
    let status = answers.lock().pop_front().unwrap_or(200);
    sender
        .send(serde_json::from_str(&body).unwrap())
        .await
        .unwrap();
    StatusCode::from_u16(status).unwrap()
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_and_what_is_refused_is_not() {
    let mut hook = Receiver::start(&[503, 429, 200, 400, 200]).await;
    let rig = Rig::on(SimDisk::new(3), START, RULE, hook.options()).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    for _ in 0..3 {
        assert_eq!(hook.next().await, ["fx:firing"]);
    }
    rig.sample("fx", 1.0).await;
    assert_eq!(
        hook.next().await,
        ["fx:resolved"],
        "answered with 400: left out"
    );
    rig.sample("bonds", 150.0).await;
    assert_eq!(hook.next().await, ["bonds:firing"]);
    assert!(hook.answers.lock().is_empty());
}

#[tokio::test]
async fn a_receiver_that_was_down_is_told_in_order_and_once() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let url = format!("http://{address}/hook");
    let options = Options {
        webhooks: vec![url],
        ..Options::default()
    };
    let rig = Rig::on(SimDisk::new(3), START, RULE, options.clone()).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    rig.until("fx", AlertState::Firing).await;
    rig.sample("fx", 1.0).await;
    rig.until("fx", AlertState::Resolved).await;
    // Lantern is killed too; what was never told is in the log.
    let (disk, now) = rig.kill().await;

    let listener = TcpListener::bind(address).await.unwrap();
    let (sender, received) = mpsc::channel(100);
    let answers = Arc::new(Mutex::new(VecDeque::new()));
    let shared: Shared = (Arc::clone(&answers), sender);
    let router = Router::new()
        .route("/hook", post(receive))
        .with_state(shared);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut hook = Receiver {
        url: String::new(),
        answers,
        received,
    };
    let rig = Rig::on(disk, now, RULE, options.clone()).await;
    assert_eq!(hook.next().await, ["fx:firing"]);
    assert_eq!(hook.next().await, ["fx:resolved"]);
    rig.until_committed(2).await;
    let (disk, now) = rig.kill().await;

    let rig = Rig::on(disk, now, RULE, options).await;
    rig.until_ready().await;
    rig.sample("bonds", 150.0).await;
    assert_eq!(
        hook.next().await,
        ["bonds:firing"],
        "the first two are not told again"
    );
}

#[tokio::test]
async fn a_new_webhook_hears_what_fires_and_a_slow_one_holds_nobody_up() {
    let rig = Rig::on(SimDisk::new(3), START, RULE, Options::default()).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    rig.until("fx", AlertState::Firing).await;
    let (disk, now) = rig.kill().await;

    // A peer that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hook = Receiver::start(&[]).await;
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let options = Options {
        webhooks: vec![silent_url, hook.url.clone()],
        ..Options::default()
    };
    let rig = Rig::on(disk, now, RULE, options).await;
    assert_eq!(hook.next().await, ["fx:firing"]);
    rig.sample("fx", 1.0).await;
    assert_eq!(hook.next().await, ["fx:resolved"]);
    drop(silent);
}

#[tokio::test]
async fn after_a_restart_a_webhook_still_knows_what_else_fires_in_the_group() {
    let mut hook = Receiver::start(&[]).await;
    let rig = Rig::on(SimDisk::new(3), START, RULE, hook.options()).await;
    rig.until_ready().await;
    rig.sample("fx", 150.0).await;
    assert_eq!(hook.next().await, ["fx:firing"]);
    rig.sample("bonds", 150.0).await;
    assert_eq!(hook.next().await, ["bonds:firing", "fx:firing"]);
    rig.until_committed(2).await;
    let (disk, now) = rig.kill().await;

    let rig = Rig::on(disk, now, RULE, hook.options()).await;
    rig.until_ready().await;
    rig.sample("fx", 1.0).await;
    assert_eq!(
        hook.next().await,
        ["fx:resolved", "bonds:firing"],
        "the group is not resolved"
    );
    rig.sample("bonds", 1.0).await;
    assert_eq!(hook.next().await, ["bonds:resolved"]);
}
