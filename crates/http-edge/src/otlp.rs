//! OTLP metrics: `POST /v1/metrics`, and the gRPC service `MetricsService` on the same port.
//!
//! A request becomes one record of `lantern.metrics`, as remote write does, and is answered when that is durable.
//! Points that cannot be taken are counted in the answer (partial success), the others are in. When the log is busy or
//! a quota is used up, HTTP answers 429 with `Retry-After` and gRPC `RESOURCE_EXHAUSTED` with `RetryInfo`, which is what tells
//! a gRPC sender to come again: without it the code is final. So a request that is too large gets the code alone.
//!
//! Source: OTLP 1.11 (protocol, failures, throttling); google.rpc `error_details.proto`.

mod grpc;
mod http;

use std::sync::Arc;

use ingest::Origin;
use model::limits::METRICS_TOPIC;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};

use crate::{Parts, pressure};

pub(crate) use grpc::{EXPORT, MESSAGE_BYTES_MAX, export};
pub(crate) use http::metrics;

/// Requests of so many bytes or fewer are decoded on a thread that serves others: some thousand points.
const DECODED_HERE: usize = 256 << 10;

/// Why a request was not taken.
enum Refusal {
    /// It is wrong and stays wrong.
    Malformed(String),
    /// It is more than is taken at once.
    TooLarge(String),
    /// It may come again later.
    Busy(admission::Refused),
    /// The log did not take it.
    Log(broker::Error),
}

impl From<otlp::Error> for Refusal {
    fn from(error: otlp::Error) -> Self {
        match error {
            otlp::Error::TooLarge => Self::TooLarge(error.to_string()),
            _ => Self::Malformed(error.to_string()),
        }
    }
}

/// What is known of a request before it is read.
struct Incoming {
    /// As it came; what quotas count.
    bytes: usize,
    /// Whether it can be read on a thread that serves others.
    is_small: bool,
}

/// Takes a request that `decode` reads.
async fn take(
    parts: &Arc<Parts>,
    client: &str,
    request: Incoming,
    decode: impl FnOnce() -> Result<ExportMetricsServiceRequest, Refusal> + Send + 'static,
) -> Result<ExportMetricsServiceResponse, Refusal> {
    let work = move || Ok(otlp::translate(&decode()?)?);
    let translated: Result<_, Refusal> = if request.is_small {
        work()
    } else {
        pressure::aside(&parts.admission, client, work)
            .await
            .map_err(Refusal::Busy)?
    };
    let translated = translated?;
    if !translated.series.is_empty() {
        let permit = pressure::admit(&parts.admission, client, METRICS_TOPIC, request.bytes)
            .await
            .map_err(Refusal::Busy)?;
        let written = ingest::write(&parts.broker, &translated.series, Origin::Samples).await;
        permit.finish(pressure::outcome(&written));
        written.map_err(Refusal::Log)?;
    }
    let partial_success = translated.reason.map(|reason| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(translated.refused).unwrap_or(i64::MAX),
        error_message: reason,
    });
    Ok(ExportMetricsServiceResponse { partial_success })
}
