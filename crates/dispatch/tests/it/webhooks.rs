//! Webhooks over real sockets, in real time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use test_kit::within;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::rig::Rig;

/// A request as it came.
pub(crate) struct Request {
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
    }
}

/// Answers what it is told to, and 204 when told nothing. A status of 0 is no answer at all.
type Answers = Arc<Mutex<VecDeque<(u16, Option<&'static str>)>>>;

pub(crate) struct Endpoint {
    pub(crate) url: String,
    requests: mpsc::Receiver<Request>,
}

impl Endpoint {
    pub(crate) async fn start(answers: &[(u16, Option<&'static str>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook?token=secret",
            listener.local_addr().unwrap()
        );
        let answers: Answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let (sender, requests) = mpsc::channel(1_000);
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state((answers, sender));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, requests }
    }

    pub(crate) async fn next(&mut self) -> Request {
        within(self.requests.recv()).await.unwrap()
    }
}

async fn receive(
    State((answers, sender)): State<(Answers, mpsc::Sender<Request>)>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    sender.send(Request { headers, body }).await.unwrap();
    let (status, after) = answers.lock().pop_front().unwrap_or((204, None));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let mut answer = HeaderMap::new();
    if let Some(after) = after {
        answer.insert("retry-after", after.parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), answer, "as told")
}

async fn rig(endpoint: &Endpoint, webhook: &str, more: &str) -> Rig {
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let url = &endpoint.url;
    rig.listener(&format!(
        "{{topics: orders, webhook: {{url: '{url}'{webhook}}}{more}}}"
    ))
    .await;
    rig
}

#[tokio::test]
async fn a_record_is_a_cloud_event_in_binary_mode() {
    let mut endpoint = Endpoint::start(&[]).await;
    let rig = rig(&endpoint, ", headers: {authorization: Bearer s3cret}", "").await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let deadline = (rig.clock.now().millis() + 9_000).to_string();
    let headers = [
        ("ce_id", "17"),
        ("ce_type", "order.paid"),
        ("ce_source", "/shop"),
        ("content-type", "application/json"),
        ("traceparent", trace),
        ("host", "elsewhere"),
        ("x-deadline-ms", &deadline),
    ];
    let records = [
        ("o-1", r#"{"paid": true}"#, &headers[..]),
        ("", "plain", &[]),
    ];
    rig.produce("orders", 0, &records).await;
    let (mut first, mut second) = (endpoint.next().await, endpoint.next().await);
    if first.header("ce-id") != "17" {
        (first, second) = (second, first);
    }
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "order.paid"),
        ("ce-source", "/shop"),
        ("ce-partitionkey", "o-1"),
        ("content-type", "application/json"),
        ("traceparent", trace),
        ("authorization", "Bearer s3cret"),
        ("x-lantern-topic", "orders"),
        ("x-lantern-offset", "0"),
        ("x-lantern-attempt", "1"),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    assert!(first.header("host").starts_with("127.0.0.1"));
    assert_eq!(first.body, r#"{"paid": true}"#);
    let left: u64 = first.header("x-request-timeout-ms").parse().unwrap();
    assert!((1_000..=9_000).contains(&left), "{left}");
    assert_eq!(second.header("ce-id"), "orders/0/1");
    assert_eq!(second.header("ce-type"), "lantern.record");
    assert_eq!(second.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(second.header("x-request-timeout-ms"), "-");
    within(rig.until_finished()).await;
    // Nothing that is shown has the secrets of the address.
    let shown = serde_json::to_string(&rig.handle.list()).unwrap();
    assert!(
        !shown.contains("secret") && !shown.contains("/hook") && shown.contains("http://127"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_batch_is_one_request_and_a_refused_one_is_tried_record_by_record() {
    let mut endpoint = Endpoint::start(&[(400, None), (204, None), (422, None)]).await;
    let rig = rig(&endpoint, "", ", batch: 10, ordering: partition").await;
    let json: &[(&str, &str)] = &[("content-type", "application/json")];
    let records = [
        ("a", "{\"n\": 1}", json),
        ("b", "{\"n\"", json),
        ("c", "text", &[]),
    ];
    rig.produce("orders", 0, &records).await;
    let all = endpoint.next().await;
    assert_eq!(
        all.header("content-type"),
        "application/cloudevents-batch+json"
    );
    let events: Value = serde_json::from_slice(&all.body).unwrap();
    assert_eq!(events.as_array().unwrap().len(), 3);
    assert_eq!(
        (&events[0]["data"], &events[0]["partitionkey"]),
        (&json!({"n": 1}), &json!("a"))
    );
    assert!(
        events[1]["data_base64"].is_string(),
        "it says JSON and is none: {}",
        events[1]
    );
    assert_eq!(events[2]["data"], "text");
    for _ in 0..3 {
        let one: Value = serde_json::from_slice(&endpoint.next().await.body).unwrap();
        assert_eq!(one.as_array().unwrap().len(), 1);
    }
    within(rig.until_finished()).await;
    let letters = rig.records("orders.dlq").await;
    assert_eq!(letters.len(), 1, "only the one that was refused by itself");
    assert_eq!(letters[0].0, "b");
    let attempts = &letters[0].2["x-dlq-attempts"];
    assert!(
        attempts.contains("422 Unprocessable Entity: as told"),
        "{attempts}"
    );
}

#[tokio::test]
async fn failures_are_tried_again_and_an_endpoint_may_say_when() {
    let answers = [(503, None), (429, Some("1")), (0, None), (200, None)];
    let mut endpoint = Endpoint::start(&answers).await;
    let rig = rig(
        &endpoint,
        ", timeout: 300ms",
        ", retry: {attempts: 5, initial: 1ms}",
    )
    .await;
    rig.produce("orders", 0, &[("a", "1", &[])]).await;
    let begin = tokio::time::Instant::now();
    for attempt in ["1", "2", "3", "4"] {
        assert_eq!(endpoint.next().await.header("x-lantern-attempt"), attempt);
    }
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(1_290),
        "a second asked for, and a timeout: {took:?}"
    );
    within(rig.until_finished()).await;
    assert_eq!(rig.records("orders.dlq").await, []);
}

#[tokio::test]
async fn an_endpoint_that_sends_elsewhere_is_not_followed() {
    let mut endpoint = Endpoint::start(&[(307, None)]).await;
    let rig = rig(&endpoint, "", "").await;
    rig.produce("orders", 0, &[("a", "1", &[])]).await;
    endpoint.next().await;
    within(rig.until_finished()).await;
    let letters = rig.records("orders.dlq").await;
    assert!(
        letters[0].2["x-dlq-attempts"].contains("307"),
        "{letters:?}"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_a_failure_with_its_cause() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    let url = format!("http://{closed}/?token=secret");
    rig.listener(&format!(
        "{{topics: orders, webhook: {{url: '{url}'}}, retry: {{attempts: 1}}}}"
    ))
    .await;
    rig.produce("orders", 0, &[("a", "1", &[])]).await;
    within(rig.until_finished()).await;
    let letters = rig.records("orders.dlq").await;
    let attempts = &letters[0].2["x-dlq-attempts"];
    assert!(
        attempts.contains("refused") && !attempts.contains("secret"),
        "{attempts}"
    );
}

#[tokio::test]
async fn a_batch_that_breaks_apart_keeps_the_order_of_each_key() {
    let answers = [(400, None), (503, None), (204, None), (204, None)];
    let mut endpoint = Endpoint::start(&answers).await;
    let rig = rig(&endpoint, "", ", batch: 10, retry: {initial: 1ms}").await;
    rig.produce(
        "orders",
        0,
        &[("a", "a1", &[]), ("a", "a2", &[]), ("b", "b1", &[])],
    )
    .await;
    let mut requests = Vec::new();
    for _ in 0..4 {
        let events: Value = serde_json::from_slice(&endpoint.next().await.body).unwrap();
        let values = events.as_array().unwrap().iter();
        let values = values.map(|event| event["data"].as_str().unwrap().to_owned());
        requests.push(values.collect::<Vec<_>>().join(" "));
    }
    // After a1 failed, a2 is not sent before it.
    assert_eq!(requests, ["a1 a2 b1", "a1", "b1", "a1 a2"]);
    within(rig.until_finished()).await;
}
