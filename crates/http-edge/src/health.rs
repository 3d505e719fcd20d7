//! `/metrics`, `/healthz`, `/livez`, `/readyz`, `/-/healthy`, `/-/ready`, `/-/reload`, and what
//! `/api/v1/status/*` tells about this process.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::Parts;
use crate::error::{ApiResult, Success};

/// OpenMetrics text of everything Lantern counts.
pub(crate) async fn metrics(State(parts): State<Arc<Parts>>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, KIND)], (parts.metrics)()).into_response()
}

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "Lantern is healthy.\n"
}

/// 200 once the log is recovered and samples are replayed, 503 with the reason before.
pub(crate) async fn ready(State(parts): State<Arc<Parts>>) -> (StatusCode, &'static str) {
    if *parts.ready.borrow() {
        (StatusCode::OK, "Lantern is ready.\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "Lantern replays its samples; ask again.\n",
        )
    }
}

/// Reads rules and resources again; a broken file changes nothing and is told.
pub(crate) async fn reload(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    match (parts.reload)().await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(problems) => (StatusCode::INTERNAL_SERVER_ERROR, problems),
    }
}

/// What `/api/v1/status/buildinfo` tells. Grafana takes a server without `features` for Prometheus.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// `/api/v1/status/buildinfo`.
pub(crate) async fn build_info() -> ApiResult<BuildInfo> {
    Ok(Success::new(BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    }))
}

/// What `/api/v1/status/tsdb` tells, as far as it means something here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TsdbStatus {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Named>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_samples: u64,
    /// Bytes the samples take, labels aside.
    sample_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    value: usize,
}

/// `/api/v1/status/tsdb`.
pub(crate) async fn tsdb(State(parts): State<Arc<Parts>>) -> ApiResult<TsdbStatus> {
    let stats = parts.store.stats();
    let biggest = parts.store.biggest_metrics(10);
    Ok(Success::new(TsdbStatus {
        head_stats: HeadStats {
            num_series: stats.series,
            num_samples: stats.samples,
            sample_bytes: stats.sample_bytes,
        },
        series_count_by_metric_name: biggest
            .into_iter()
            .map(|(name, value)| Named { name, value })
            .collect(),
    }))
}

/// `/api/v1/status/flags`: the effective configuration.
pub(crate) async fn flags(
    State(parts): State<Arc<Parts>>,
) -> ApiResult<std::collections::BTreeMap<String, String>> {
    Ok(Success::new(parts.flags.clone()))
}
