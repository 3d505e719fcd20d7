//! A listener behind HTTP.
//!
//! One record is a request as the CloudEvents HTTP binding has it, in binary mode: `ce_` headers become
//! `ce-` headers, the value is the body. A record without `ce_id` gets one made of its coordinates, so that
//! the endpoint can know a repetition. Several records are one request in batched mode.
//! An answer of 2xx is taken; 408, 425, 429, 5xx and no answer are failures, for which `Retry-After` is heard;
//! any other answer is final. Where the resource names an output, what a 2xx brings is read as CloudEvents
//! (`cloud_event`). What is left of the deadline bounds the request and is told in
//! `x-request-timeout-ms`.
//! Sources: CloudEvents HTTP protocol binding 1.0.2; RFC 9110, section 10.2.3; W3C trace context.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use delivery::Outcome;
use env::DynClock;
use record::Record;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Answering, Output};
use crate::cloud_event::read_events;
use crate::delivery::{Broken, Delivery, Listener};
use crate::headers;
use crate::spec::Webhook;

/// Longest pause an endpoint may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// Largest answer that is taken as output.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// As much of an answer goes into a dead letter.
const ANSWER_BYTES_MAX: usize = 512;
/// Headers of a record that are not the endpoint's business, or that belong to the connection.
pub(crate) const KEPT_BACK: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// An endpoint; its connections are used again.
pub(crate) struct WebhookListener {
    spec: Webhook,
    client: reqwest::Client,
    batched: bool,
    /// Its answers are events.
    answers: bool,
    clock: DynClock,
}

impl WebhookListener {
    pub(crate) fn new(
        spec: Webhook,
        batched: bool,
        answers: bool,
        clock: DynClock,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("Lantern/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(spec.timeout.min(Duration::from_secs(5)))
            // An endpoint that sends elsewhere is refused: the body would go to who knows whom.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            spec,
            client,
            batched,
            answers,
            clock,
        })
    }

    async fn attempt(&self, deliveries: &[Delivery], begin: Duration) -> (Outcome, Vec<Output>) {
        // What earlier requests of this call took is gone from the deadline.
        let spent = self.clock.monotonic().saturating_sub(begin);
        let left = deliveries.iter().filter_map(|one| one.remaining).min();
        let left = left.map(|left| left.saturating_sub(spent));
        if left.is_some_and(|left| left.is_zero()) {
            let error = "its deadline passed before it could be sent".to_owned();
            return (Outcome::Failed { error, after: None }, Vec::new());
        }
        let timeout = left.map_or(self.spec.timeout, |left| left.min(self.spec.timeout));
        let mut sent = HeaderMap::new();
        let body = match deliveries {
            [one] if !self.batched => binary(one, &mut sent),
            all => batch(all, &mut sent),
        };
        if let Some(left) = left {
            put(
                &mut sent,
                headers::REQUEST_TIMEOUT,
                &left.as_millis().to_string(),
            );
            let deadline = self.clock.now().plus(left).millis();
            put(&mut sent, headers::DEADLINE, &deadline.to_string());
        }
        // What the resource says is stronger than what a record says.
        sent.extend(self.spec.headers.clone());
        let first = deliveries.first();
        let trace = first.and_then(|one| {
            let trace = one.trace.as_ref()?;
            Some(trace.request(&self.spec.url, one.attempt, &mut sent))
        });
        let request = self.client.post(self.spec.url.clone());
        let answer = request
            .headers(sent)
            .timeout(timeout)
            .body(body)
            .send()
            .await;
        let (told, answer) = match answer {
            Ok(answer) => (Ok(answer.status().as_u16()), self.read(answer).await),
            Err(error) => {
                let error = stdx::causes(&error.without_url());
                let outcome = Outcome::Failed {
                    error: error.clone(),
                    after: None,
                };
                (Err(error), (outcome, Vec::new()))
            }
        };
        if let Some(trace) = trace {
            trace.answered(told);
        }
        answer
    }

    /// What an answer means, and the records that it brings.
    async fn read(&self, answer: Response) -> (Outcome, Vec<Output>) {
        if !self.answers || !answer.status().is_success() {
            return (outcome(answer).await, Vec::new());
        }
        let headers = answer.headers().clone();
        let body = match body(answer).await {
            Ok(body) => body,
            Err(outcome) => return (outcome, Vec::new()),
        };
        // What is no text is no attribute.
        let headers = headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let headers: Vec<(&str, &str)> = headers.collect();
        match read_events(&headers, &body) {
            Ok(outputs) => (Outcome::Done, outputs),
            Err(error) => {
                let error = format!("its answer cannot be an output: {error}");
                (Outcome::Refused { error }, Vec::new())
            }
        }
    }
}

impl Listener for WebhookListener {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> Answering<'a> {
        Box::pin(async move {
            let begin = self.clock.monotonic();
            let (outcome, outputs) = self.attempt(deliveries, begin).await;
            if deliveries.len() == 1 || !matches!(outcome, Outcome::Refused { .. }) {
                let outcomes = vec![outcome; deliveries.len()];
                return Answer { outcomes, outputs };
            }
            // One record may have spoiled it for all: each is tried alone, in order.
            let mut answer = Answer::from(Vec::with_capacity(deliveries.len()));
            let mut broken = Broken::default();
            for (number, delivery) in deliveries.iter().enumerate() {
                let (outcome, outputs) = match broken.held_back(delivery) {
                    Some(outcome) => (outcome, Vec::new()),
                    None => self.attempt(std::slice::from_ref(delivery), begin).await,
                };
                broken.note(delivery, &outcome);
                answer.outcomes.push(outcome);
                let outputs = outputs.into_iter().map(|output| output.of(number));
                answer.outputs.extend(outputs);
            }
            answer
        })
    }
}

/// One record: its attributes are headers, its value is the body.
fn binary(delivery: &Delivery, sent: &mut HeaderMap) -> Vec<u8> {
    let record = delivery.record();
    for (name, value) in &record.headers {
        let Some(value) = value else { continue };
        let name = match name.strip_prefix("ce_") {
            Some(attribute) => format!("ce-{attribute}"),
            None if name.starts_with("x-lantern-")
                || name.starts_with(headers::DELAYED_PREFIX)
                || KEPT_BACK.contains(&&*name.to_ascii_lowercase()) =>
            {
                continue;
            }
            None => name.to_owned(),
        };
        // What HTTP cannot carry is left out of the headers; the body is whole.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value))
        {
            sent.insert(name, value);
        }
    }
    let fill = |sent: &mut HeaderMap, name: &'static str, value: &str| {
        if !sent.contains_key(name) {
            put(sent, name, value);
        }
    };
    fill(sent, "ce-specversion", "1.0");
    fill(sent, "ce-id", &coordinates(delivery));
    fill(
        sent,
        "ce-source",
        &format!("/topics/{}", delivery.partition.topic),
    );
    fill(sent, "ce-type", "lantern.record");
    fill(sent, CONTENT_TYPE.as_str(), content_type(&record));
    if let Some(key) = record.key.and_then(|key| std::str::from_utf8(key).ok()) {
        put(sent, "ce-partitionkey", key);
    }
    put(sent, "x-lantern-topic", delivery.partition.topic.as_str());
    put(
        sent,
        "x-lantern-partition",
        &delivery.partition.partition.get().to_string(),
    );
    put(sent, "x-lantern-offset", &delivery.offset.get().to_string());
    put(sent, "x-lantern-attempt", &delivery.attempt.to_string());
    record.value.unwrap_or_default().to_vec()
}

/// Several records: a JSON list of events.
fn batch(deliveries: &[Delivery], sent: &mut HeaderMap) -> Vec<u8> {
    put(
        sent,
        CONTENT_TYPE.as_str(),
        "application/cloudevents-batch+json",
    );
    let attempt = deliveries.iter().map(|one| one.attempt).max().unwrap_or(1);
    put(sent, "x-lantern-attempt", &attempt.to_string());
    let events: Vec<Value> = deliveries.iter().map(event).collect();
    serde_json::to_vec(&events).unwrap_or_default()
}

/// A record as a CloudEvent in JSON.
fn event(delivery: &Delivery) -> Value {
    let record = delivery.record();
    let mut event = Map::new();
    event.insert("specversion".into(), "1.0".into());
    event.insert("id".into(), coordinates(delivery).into());
    event.insert(
        "source".into(),
        format!("/topics/{}", delivery.partition.topic).into(),
    );
    event.insert("type".into(), "lantern.record".into());
    for (name, value) in &record.headers {
        let Some(value) = value else { continue };
        let text = String::from_utf8_lossy(value);
        match name.strip_prefix("ce_") {
            Some(attribute) => event.insert(attribute.to_owned(), text.into()),
            None if name == "traceparent" || name == "tracestate" => {
                event.insert(name.to_owned(), text.into())
            }
            None => None,
        };
    }
    if let Some(key) = record.key {
        event.insert("partitionkey".into(), String::from_utf8_lossy(key).into());
    }
    let kind = content_type(&record);
    event.insert("datacontenttype".into(), kind.into());
    let value = record.value.unwrap_or_default();
    let parsed = kind
        .contains("json")
        .then(|| serde_json::from_slice(value).ok())
        .flatten();
    match (parsed, std::str::from_utf8(value)) {
        (Some(data), _) => event.insert("data".into(), data),
        (None, Ok(text)) if !kind.contains("json") => event.insert("data".into(), text.into()),
        (None, _) => event.insert("data_base64".into(), STANDARD.encode(value).into()),
    };
    event.insert(
        "lanternpartition".into(),
        json!(delivery.partition.partition.get()),
    );
    // Integers of CloudEvents end at 2^31.
    event.insert(
        "lanternoffset".into(),
        delivery.offset.get().to_string().into(),
    );
    Value::Object(event)
}

/// Names a record for ever.
fn coordinates(delivery: &Delivery) -> String {
    let partition = &delivery.partition;
    format!(
        "{}/{}/{}",
        partition.topic,
        partition.partition.get(),
        delivery.offset.get()
    )
}

/// What the record says its value is, or what it looks like.
fn content_type<'r>(record: &Record<'r>) -> &'r str {
    let said = record.headers.get("content-type").flatten();
    if let Some(said) = said.and_then(|said| std::str::from_utf8(said).ok()) {
        return said;
    }
    match record.value {
        Some(value) if matches!(value.first(), Some(b'{' | b'[')) => "application/json",
        Some(value) if std::str::from_utf8(value).is_ok() => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A header whose value may not fit, which then is left out.
fn put(sent: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        sent.insert(name, value);
    }
}

async fn outcome(answer: Response) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Done;
    }
    let after = retry_after(answer.headers());
    let again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let error = said(status, answer).await;
    if again {
        Outcome::Failed { error, after }
    } else {
        Outcome::Refused { error }
    }
}

/// The whole answer, if it is not too large.
async fn body(mut answer: Response) -> Result<Vec<u8>, Outcome> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => {
                let error = stdx::causes(&error.without_url());
                return Err(Outcome::Failed { error, after: None });
            }
        }
        if body.len() > OUTPUT_BYTES_MAX {
            let error = format!("its answer has more than {OUTPUT_BYTES_MAX} bytes");
            return Err(Outcome::Refused { error });
        }
    }
}

/// The status and the beginning of what the endpoint said.
async fn said(status: StatusCode, mut answer: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let text = text.trim();
    if text.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {text}")
    }
}

/// Seconds, or a date, which is rare enough to be left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
