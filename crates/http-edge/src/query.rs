//! `/api/v1/query`, `query_range`, `series`, `labels`, `label/{name}/values`, `metadata`,
//! `query_exemplars`, `format_query`: Prometheus' query API over the series store.
//!
//! Queries run on blocking threads, a bounded number at once, each with a deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use model::Timestamp;
use promql::{Expr, Value};
use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};
use series::{Labels, Matcher, format_value};

use crate::Parts;
use crate::error::{ApiError, ApiResult, Success};
use crate::params::Params;

/// Most queries that run at once; more wait for one of these to end.
pub(crate) const QUERIES_MAX: usize = 8;

/// How long a query may take and wait together, unless it asks for less.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// The answer of a query, as Prometheus writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    #[serde(rename = "resultType")]
    kind: &'static str,
    result: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    One(Point),
    Text(TextPoint),
    Vector(Vec<VectorEntry>),
    Matrix(Vec<MatrixEntry>),
}

#[derive(Debug, Serialize)]
struct VectorEntry {
    metric: Metric,
    value: Point,
}

#[derive(Debug, Serialize)]
struct MatrixEntry {
    metric: Metric,
    values: Vec<Point>,
}

/// A label set as a JSON object.
#[derive(Debug)]
pub(crate) struct Metric(pub(crate) Labels);

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// A moment and a value: `[1435781430.781, "1.5"]`.
#[derive(Debug)]
struct Point(Timestamp, f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.0.seconds())?;
        pair.serialize_element(&format_value(self.1))?;
        pair.end()
    }
}

#[derive(Debug)]
struct TextPoint(Timestamp, String);

impl Serialize for TextPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.0.seconds())?;
        pair.serialize_element(&self.1)?;
        pair.end()
    }
}

/// `/api/v1/query`.
pub(crate) async fn instant(State(parts): State<Arc<Parts>>, params: Params) -> ApiResult<Answer> {
    let expr = parse(params.required("query")?)?;
    let at = params.time("time")?.unwrap_or_else(|| parts.clock.now());
    let store = Arc::clone(&parts.store);
    let limit = params.limit()?;
    let value = run(&parts, &params, move |options| {
        promql::instant(&expr, &store, at, options)
    });
    Ok(answer(value.await?, limit))
}

/// `/api/v1/query_range`.
pub(crate) async fn range(State(parts): State<Arc<Parts>>, params: Params) -> ApiResult<Answer> {
    let expr = parse(params.required("query")?)?;
    params.required("start")?;
    params.required("end")?;
    params.required("step")?;
    let (Some(start), Some(end), Some(step)) = (
        params.time("start")?,
        params.time("end")?,
        params.span("step")?,
    ) else {
        return Err(ApiError::bad_data("start, end and step are needed"));
    };
    if step.is_zero() {
        return Err(ApiError::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let store = Arc::clone(&parts.store);
    let limit = params.limit()?;
    let value = run(&parts, &params, move |options| {
        promql::range(&expr, &store, start, end, step, options)
    });
    Ok(answer(value.await?, limit))
}

fn parse(text: &str) -> Result<Expr, ApiError> {
    promql::parse(text).map_err(|error| ApiError::parse(&error))
}

/// Runs an evaluation on a blocking thread, in turn and within its time.
async fn run<F>(parts: &Parts, params: &Params, evaluate: F) -> Result<Value, ApiError>
where
    F: FnOnce(&promql::Options) -> Result<Value, promql::Error> + Send + 'static,
{
    let timeout = params
        .span("timeout")?
        .unwrap_or(TIMEOUT_MAX)
        .min(TIMEOUT_MAX);
    let lookback = params.span("lookback_delta")?;
    let stopped = Arc::new(AtomicBool::new(false));
    // Also when the asker goes away: dropping this future stops the evaluation.
    let _stop = StopOnDrop(Arc::clone(&stopped));
    let mut options = promql::Options {
        stop: Some(Arc::new(move || stopped.load(Ordering::Relaxed))),
        ..promql::Options::default()
    };
    if let Some(lookback) = lookback {
        options.lookback = lookback;
    }
    let work = async {
        let turn = Arc::clone(&parts.query_turns).acquire_owned().await;
        let Ok(turn) = turn else {
            return Err(ApiError::busy("Lantern is stopping"));
        };
        let done = tokio::task::spawn_blocking(move || {
            let value = evaluate(&options);
            drop(turn);
            value
        });
        match done.await {
            Ok(value) => value.map_err(|error| ApiError::evaluation(&error)),
            Err(_) => Err(ApiError::internal(
                "the query panicked; the log has the details",
            )),
        }
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(ApiError::evaluation(&promql::Error::Stopped)))
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn answer(value: Value, limit: Option<usize>) -> Success<Answer> {
    let mut cut = false;
    let mut keep = |length: usize| {
        let kept = limit.map_or(length, |limit| length.min(limit));
        cut |= kept < length;
        kept
    };
    let (kind, result) = match value {
        Value::Scalar(at, value) => ("scalar", Outcome::One(Point(at, value))),
        Value::String(at, text) => ("string", Outcome::Text(TextPoint(at, text))),
        Value::Vector(samples) => {
            let kept = keep(samples.len());
            let entry = |sample: promql::Sample| VectorEntry {
                metric: Metric(sample.labels),
                value: Point(sample.timestamp, sample.value),
            };
            (
                "vector",
                Outcome::Vector(samples.into_iter().take(kept).map(entry).collect()),
            )
        }
        Value::Matrix(series) => {
            let kept = keep(series.len());
            let entry = |series: promql::RangeSeries| MatrixEntry {
                metric: Metric(series.labels),
                values: series
                    .samples
                    .into_iter()
                    .map(|(at, value)| Point(at, value))
                    .collect(),
            };
            (
                "matrix",
                Outcome::Matrix(series.into_iter().take(kept).map(entry).collect()),
            )
        }
    };
    let warning = cut.then(|| "results truncated due to limit".to_owned());
    Success::new(Answer { kind, result }).warn(warning)
}

/// The time a listing looks at: all that is kept, unless the request says less.
fn span(parts: &Parts, params: &Params) -> Result<(Timestamp, Timestamp), ApiError> {
    let now = parts.clock.now();
    let start = params.time("start")?.unwrap_or(Timestamp::MIN);
    let end = params
        .time("end")?
        .unwrap_or_else(|| now.plus(Duration::from_mins(10)));
    Ok((start, end))
}

/// The selectors asked for; none means every series.
fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let mut selectors = params.selectors()?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    Ok(selectors)
}

/// Cuts a listing at the limit and says so.
fn listed<T>(mut found: Vec<T>, limit: Option<usize>) -> Success<Vec<T>> {
    let cut = limit.is_some_and(|limit| found.len() > limit);
    if let Some(limit) = limit {
        found.truncate(limit);
    }
    Success::new(found).warn(cut.then(|| "results truncated due to limit".to_owned()))
}

/// What the selectors find, in order, nothing twice: also while it is collected, as they may all find the same.
fn each_once<T: Ord, F: IntoIterator<Item = T>>(
    selectors: &[Vec<Matcher>],
    find: impl Fn(&[Matcher]) -> F,
) -> Vec<T> {
    let mut found = Vec::new();
    for matchers in selectors {
        found.extend(find(matchers));
        found.sort_unstable();
        found.dedup();
    }
    found
}

/// `/api/v1/series`.
pub(crate) async fn series(
    State(parts): State<Arc<Parts>>,
    params: Params,
) -> ApiResult<Vec<Metric>> {
    let selectors = params.selectors()?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (start, end) = span(&parts, &params)?;
    let found = each_once(&selectors, |matchers| {
        parts.store.series(matchers, start, end)
    });
    Ok(listed(
        found.into_iter().map(Metric).collect(),
        params.limit()?,
    ))
}

/// `/api/v1/labels`.
pub(crate) async fn labels(
    State(parts): State<Arc<Parts>>,
    params: Params,
) -> ApiResult<Vec<String>> {
    let (start, end) = span(&parts, &params)?;
    let names = each_once(&selectors(&params)?, |matchers| {
        parts.store.label_names(matchers, start, end)
    });
    Ok(listed(names, params.limit()?))
}

/// `/api/v1/label/{name}/values`.
pub(crate) async fn label_values(
    State(parts): State<Arc<Parts>>,
    Path(name): Path<String>,
    params: Params,
) -> ApiResult<Vec<String>> {
    if name.is_empty() {
        return Err(ApiError::bad_data("invalid label name: \"\""));
    }
    let (start, end) = span(&parts, &params)?;
    let values = each_once(&selectors(&params)?, |matchers| {
        parts.store.label_values(&name, matchers, start, end)
    });
    Ok(listed(values, params.limit()?))
}

/// `/api/v1/metadata`: samples carry no types or help here, so there is none to tell.
pub(crate) async fn metadata() -> ApiResult<BTreeMap<String, Vec<String>>> {
    Ok(Success::new(BTreeMap::new()))
}

/// `/api/v1/query_exemplars`: exemplars are not kept.
pub(crate) async fn exemplars(params: Params) -> ApiResult<Vec<String>> {
    parse(params.required("query")?)?;
    Ok(Success::new(Vec::new()))
}
