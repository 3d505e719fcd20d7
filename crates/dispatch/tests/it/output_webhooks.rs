//! Endpoints that answer events, over real sockets and in real time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use test_kit::within;
use tokio::net::TcpListener;

use crate::rig::Rig;

const NONE: &[(&str, &str)] = &[];

/// An endpoint that answers each event with one whose data are in capitals, in the mode it was asked in; every seventh request
/// fails. Text that begins with `no` has no answer, `bad` one that is no event.
async fn capitals() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/", post(answer))
        .with_state(Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn answer(
    State(requests): State<Arc<AtomicUsize>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if requests.fetch_add(1, Ordering::Relaxed) % 7 == 3 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    if text("content-type") == Some("application/cloudevents-batch+json") {
        let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let answers = events.into_iter().filter_map(|mut event| {
            let data = event["data"].as_str().unwrap().to_uppercase();
            event["data"] = data.as_str().into();
            (!data.starts_with("NO")).then_some(event)
        });
        let answers = Value::Array(answers.collect()).to_string();
        let kind = [("content-type", "application/cloudevents-batch+json")];
        return (kind, answers).into_response();
    }
    let value = String::from_utf8(body.to_vec()).unwrap();
    if value.starts_with("no") {
        return StatusCode::NO_CONTENT.into_response();
    }
    if value.starts_with("bad") {
        return "so be it".into_response();
    }
    let key = text("ce-partitionkey").unwrap_or_default();
    let head = [
        ("ce-specversion", "1.0"),
        ("ce-id", text("ce-id").unwrap()),
        ("ce-source", "/capitals"),
        ("ce-type", "capital"),
        ("ce-partitionkey", key),
        ("content-type", "text/plain"),
    ];
    (head, value.to_uppercase()).into_response()
}

async fn by_key(rig: &Rig) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value, _) in rig.records("capitals").await {
        by_key.entry(key).or_default().push(value);
    }
    by_key
}

#[tokio::test]
async fn an_event_in_an_answer_is_a_record() {
    let url = capitals().await;
    let rig = Rig::new();
    rig.topic("orders", 1).await;
    rig.listener(&format!(
        "{{topics: orders, webhook: {{url: '{url}'}}, output: {{topic: capitals}}, retry: {{initial: 1ms}}}}"
    ))
    .await;
    let trace: &[(&str, &str)] = &[("traceparent", "00-1-2-01"), ("ce_id", "17")];
    let records = [
        ("a", "first", trace),
        ("b", "none", NONE),
        ("c", "bad", NONE),
        ("", "last", NONE),
    ];
    rig.produce("orders", 0, &records).await;
    within(rig.until_finished()).await;
    let mut found = rig.records("capitals").await;
    found.sort();
    let [(_, last, _), (key, first, headers)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (last.as_str(), key.as_str(), first.as_str()),
        ("LAST", "a", "FIRST")
    );
    for (name, value) in [
        ("ce_id", "17"),
        ("ce_source", "/capitals"),
        ("ce_type", "capital"),
        ("content-type", "text/plain"),
        ("traceparent", "00-1-2-01"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(headers.contains_key("x-hlc"));
    let letters = rig.records("orders.dlq").await;
    assert_eq!((letters.len(), letters[0].1.as_str()), (1, "bad"));
    let why = &letters[0].2["x-dlq-attempts"];
    assert!(
        why.contains("its answer cannot be an output: it has 8 bytes of 'text/plain"),
        "{why}"
    );
}

/// Kills in real time, with requests on their way: one record at a time and many.
#[tokio::test]
async fn answers_of_an_endpoint_stand_once_and_in_order_through_kills() {
    const LIVES: usize = 12;
    const EACH: usize = 15;
    for batch in [1, 8] {
        let url = capitals().await;
        let spec = format!(
            "{{topics: orders, webhook: {{url: '{url}'}}, output: {{topic: capitals}}, batch: {batch}, \
             from: earliest, retry: {{attempts: 20, initial: 1ms, max: 5ms}}}}"
        );
        let mut rig = Rig::new();
        rig.topic("orders", 1).await;
        rig.topic("capitals", 2).await;
        rig.listener(&spec).await;
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for life in 0..LIVES {
            for number in life * EACH..life * EACH + EACH {
                let (key, value) = (format!("k{}", number % 4), format!("v{number:04}"));
                rig.produce("orders", 0, &[(&key, &value, NONE)]).await;
                expected.entry(key).or_default().push(value.to_uppercase());
            }
            let moment = u64::try_from(life * 37 % 250).unwrap();
            tokio::time::sleep(Duration::from_millis(moment)).await;
            let (disk, now) = rig.kill().await;
            rig = Rig::on(disk, now);
            rig.listener(&spec).await;
        }
        within(rig.until_finished()).await;
        assert_eq!(by_key(&rig).await, expected, "batch {batch}");
    }
}
