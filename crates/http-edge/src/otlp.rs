//! OTLP metrics: `POST /v1/metrics`, and the gRPC service `MetricsService` on the same port.
//!
//! A request becomes records of `lantern.metrics`, as remote write does, and is answered when they are durable.
//! Points that cannot be taken are counted in the answer (partial success), the others are in. When the log is busy or
//! a quota is used up, HTTP answers 429 with `Retry-After` and gRPC `RESOURCE_EXHAUSTED` with `RetryInfo`, which is what tells
//! a gRPC sender to come again: without it the code is final. So a request that is too large gets the code alone.
//!
//! Bounds: a body by `bodies`; what it inflates and decodes to by the threads that do it, one each; what waits for the log by
//! admission, which counts it as large as it is then.
//!
//! Source: OTLP 1.11 (protocol, failures, throttling); google.rpc `error_details.proto`.

mod grpc;
mod http;

use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use flate2::read::MultiGzDecoder;
use model::limits::METRICS_TOPIC;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use otlp::Translated;

use crate::bodies::Unread;
use crate::samples::Unwritten;
use crate::{Parts, pressure, samples};

pub(crate) use grpc::{EXPORT, export};
pub(crate) use http::metrics;

/// Largest request, as it comes and inflated: far above what senders batch.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Requests that come as so many bytes or fewer, and inflate to no more, are read on a thread that serves others. Some hundred plain
/// points are a millisecond; a histogram of a thousand buckets with many attributes, each of which becomes a series with all of
/// them, is twenty.
const READ_HERE: usize = 16 << 10;

/// Why a request was not taken.
#[derive(Debug)]
enum Refusal {
    /// It is wrong and stays wrong.
    Malformed(String),
    /// It is more than is taken at once.
    TooLarge(String),
    /// It may come again later.
    Busy(admission::Refused),
    /// It stopped coming.
    Stalled(String),
    /// The log did not take it.
    Log(broker::Error),
}

impl From<otlp::Error> for Refusal {
    fn from(error: otlp::Error) -> Self {
        if error.is_too_large() {
            Self::TooLarge(error.to_string())
        } else {
            Self::Malformed(error.to_string())
        }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        let (_, text) = unread.told();
        match unread {
            Unread::TooLarge(_) => Self::TooLarge(text),
            Unread::Crowded(refused) => Self::Busy(refused),
            Unread::Stalled => Self::Stalled(text),
            Unread::Broken(_) => Self::Malformed(text),
        }
    }
}

impl From<Unwritten> for Refusal {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Busy(refused) => Self::Busy(refused),
            Unwritten::Log(error) => Self::Log(error),
        }
    }
}

/// Takes a message that came as these bytes.
async fn take(
    parts: &Arc<Parts>,
    client: &str,
    message: Bytes,
    is_gzip: bool,
) -> Result<ExportMetricsServiceResponse, Refusal> {
    let came = message.len();
    // Who is over its quota is not worth the work.
    pressure::check_debt(&parts.admission, client, METRICS_TOPIC).map_err(Refusal::Busy)?;
    let plain = match (came <= READ_HERE, is_gzip) {
        (true, false) => Some(message.clone()),
        (true, true) => inflate(&message, READ_HERE)?,
        (false, _) => None,
    };
    let translated = match plain {
        Some(plain) => translate(&plain)?,
        None => pressure::aside(&parts.admission, client, move || read(message, is_gzip))
            .await
            .map_err(Refusal::Busy)??,
    };
    if !translated.series.is_empty() {
        let (broker, admission) = (&parts.broker, &parts.admission);
        let (bytes, series) = (translated.bytes, translated.series);
        samples::write(broker, admission, client, came, bytes, series).await?;
    }
    let partial_success = translated.reason.map(|reason| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(translated.refused).unwrap_or(i64::MAX),
        error_message: reason,
    });
    Ok(ExportMetricsServiceResponse { partial_success })
}

/// Reads what may be large.
fn read(message: Bytes, is_gzip: bool) -> Result<Translated, Refusal> {
    if !is_gzip {
        return translate(&message);
    }
    let Some(plain) = inflate(&message, REQUEST_BYTES_MAX)? else {
        let text = "the request inflates to more than 16 MiB: send it in parts";
        return Err(Refusal::TooLarge(text.to_owned()));
    };
    drop(message);
    translate(&plain)
}

fn translate(plain: &[u8]) -> Result<Translated, Refusal> {
    Ok(otlp::translate(&otlp::decode(plain)?)?)
}

/// What gzip inflates to; `None` if that is more than `most`.
fn inflate(message: &[u8], most: usize) -> Result<Option<Bytes>, Refusal> {
    let mut plain = Vec::new();
    // One byte more tells what ends at the limit from what goes on.
    let enough = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(message)
        .take(enough)
        .read_to_end(&mut plain)
        .map_err(|error| Refusal::Malformed(format!("the request is no gzip: {error}")))?;
    Ok((plain.len() <= most).then(|| plain.into()))
}
