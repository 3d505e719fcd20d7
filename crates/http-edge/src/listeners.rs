//! Listeners and their dead letters.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dispatch::{Filter, LetterError, LetterTopic, Letters, Replay, Replayed, Shown};
use flow::Rate;
use model::{PartitionId, TopicName};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::Parts;
use crate::error::ApiError;
use crate::params::Params;

/// Letters of one answer, unless it is said.
const LETTERS: usize = 100;
/// How often a replay tells how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Lines of a replay that wait for a slow reader.
const LINES_MAX: usize = 4;

#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    items: Vec<T>,
}

/// `/apis/lantern/v1/listeners`.
pub(crate) async fn list(State(parts): State<Arc<Parts>>) -> Json<List<Shown>> {
    let items = parts.listeners.list();
    Json(List { items })
}

/// `/apis/lantern/v1/deadletters`: the topics that hold some.
pub(crate) async fn topics(
    State(parts): State<Arc<Parts>>,
) -> Result<Json<List<LetterTopic>>, ApiError> {
    let items = parts.listeners.letter_topics().await.map_err(refused)?;
    Ok(Json(List { items }))
}

/// `/apis/lantern/v1/deadletters/{topic}`, by `partition`, `from`, `limit` and `filter`.
pub(crate) async fn letters(
    State(parts): State<Arc<Parts>>,
    Path(topic): Path<String>,
    params: Params,
) -> Result<Json<Letters>, ApiError> {
    let topic = name(&topic)?;
    let partition = number(&params, "partition")?.map(u32::try_from).transpose();
    let partition = partition
        .map_err(|_| ApiError::bad_data("parameter \"partition\" is beyond 4294967295"))?;
    let from = number(&params, "from")?;
    let limit = params.limit()?.unwrap_or(LETTERS);
    let partition = partition.map(PartitionId::new);
    let filter = filter(&params)?;
    let found = parts
        .listeners
        .letters(&topic, partition, from, limit, &filter);
    Ok(Json(found.await.map_err(refused)?))
}

/// One line of a replay: how far it is, and in the last one, how it ended.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    replayed: Replayed,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// `/apis/lantern/v1/deadletters/{topic}/replay`, by `filter`, `rate` (a second), `again` and `dry-run`: lines of JSON
/// while it goes on. It stops when nobody reads them any more.
pub(crate) async fn replay(
    State(parts): State<Arc<Parts>>,
    Path(topic): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let topic = name(&topic)?;
    let replay = Replay {
        filter: filter(&params)?,
        rate: match number(&params, "rate")? {
            Some(0) => {
                return Err(ApiError::bad_data(
                    "parameter \"rate\" must be at least 1 a second",
                ));
            }
            rate => rate.map(Rate::per_second),
        },
        again: flag(&params, "again")?,
        dry_run: flag(&params, "dry-run")?,
    };
    // What is wrong at once is said by the status.
    let none = Filter::default();
    let known = parts.listeners.letters(&topic, None, None, 0, &none).await;
    known.map_err(refused)?;
    let (lines, mut told) = mpsc::channel::<Bytes>(LINES_MAX);
    tokio::spawn(async move {
        let (newest, _) = watch::channel(Replayed::default());
        let mut work = std::pin::pin!(parts.listeners.replay(&topic, &replay, &newest));
        let mut tick = tokio::time::interval(TOLD_EVERY);
        let last = loop {
            tokio::select! {
                ended = &mut work => break ended,
                // The reader is gone: whoever started it has given up.
                () = lines.closed() => return,
                _ = tick.tick() => {
                    let line = Line { replayed: *newest.borrow(), done: false, error: None };
                    // A reader that is slow misses lines, not letters.
                    let _ = lines.try_send(shown(&line));
                }
            }
        };
        let line = match last {
            Ok(replayed) => Line {
                replayed,
                done: true,
                error: None,
            },
            Err(error) => Line {
                replayed: *newest.borrow(),
                done: true,
                error: Some(error.to_string()),
            },
        };
        let _ = lines.send(shown(&line)).await;
    });
    let stream = futures_util::stream::poll_fn(move |context| {
        told.poll_recv(context)
            .map(|line| line.map(Ok::<_, std::convert::Infallible>))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(stream)).into_response())
}

fn shown(line: &Line) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}

fn name(topic: &str) -> Result<TopicName, ApiError> {
    topic
        .parse()
        .map_err(|error| ApiError::bad_data(format!("'{topic}' is no topic: {error}")))
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ApiError> {
    let wrong = |text: &str| {
        ApiError::bad_data(format!(
            "parameter \"{name}\" is no whole number: \"{text}\""
        ))
    };
    params
        .get(name)
        .map(|text| text.parse().map_err(|_| wrong(text)))
        .transpose()
}

fn flag(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ApiError::bad_data(format!(
            "parameter \"{name}\" is '{other}', must be true or false"
        ))),
    }
}

fn filter(params: &Params) -> Result<Filter, ApiError> {
    Filter::parse(params.all("filter")).map_err(|error| ApiError::bad_data(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: LetterError) -> ApiError {
    match error {
        LetterError::NoLetters { .. }
        | LetterError::OriginGone { .. }
        | LetterError::OriginInternal { .. }
        | LetterError::TooScattered { .. } => ApiError::bad_data(error.to_string()),
        LetterError::ReplayRunning { .. } => ApiError::busy(error.to_string()),
        LetterError::Broker(broker::Error::UnknownTopic { .. }) => {
            ApiError::not_found(error.to_string())
        }
        LetterError::Broker(_) => ApiError::internal(error.to_string()),
    }
}
