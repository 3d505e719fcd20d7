//! OpenTelemetry metrics as Prometheus series.
//!
//! Read first: [`translate`], which takes a request apart; then [`name`] for what metrics are called
//! afterwards, [`attributes`] for their labels, [`points`] for what a data point becomes.
//!
//! | OTLP | series |
//! |---|---|
//! | gauge, sum that may fall | one, named with its unit |
//! | cumulative monotonic sum | one, `…_total` |
//! | cumulative histogram | `…_bucket{le}` with running counts, `…_count`, `…_sum` where there is one |
//! | summary | one for each `quantile`, `…_count`, `…_sum` |
//! | resource | labels `job` and `instance` on each series, and a series `target_info` with the rest |
//! | "no recorded value" | the staleness marker |
//!
//! Refused point by point, and told: delta temporality and exponential histograms, which the store cannot
//! hold, and points that contradict themselves. Not kept: exemplars, scopes, descriptions, start times.
//!
//! Invariants: no clock, no state from request to request; what comes out is bounded by
//! [`SERIES_BYTES_MAX`] and [`OUTPUT_BYTES_MAX`], however many series a small request asks for.
//! Not here: HTTP and gRPC (`http-edge`).
//!
//! Sources: OTLP 1.11; OpenTelemetry, "Prometheus and OpenMetrics Compatibility".

mod attributes;
mod name;
mod points;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use model::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use series::Labels;

/// Most bytes of names and values of one series; a point that needs more is refused.
pub const SERIES_BYTES_MAX: usize = 16 << 10;

/// Most bytes that a request may become, labels and samples together.
pub const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Why a request cannot be taken at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no such message.
    #[error("this is no ExportMetricsServiceRequest in protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The text is no such message.
    #[error("this is no ExportMetricsServiceRequest in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A small request asks for very much.
    #[error(
        "the request becomes more than {} MiB of series: send it in parts, with fewer buckets or shorter attributes",
        OUTPUT_BYTES_MAX >> 20
    )]
    TooLarge,
}

/// What a request became.
#[derive(Debug, Default)]
pub struct Translated {
    /// Each series once, in the order they came, with its samples in the order of time.
    pub series: Vec<(Labels, Vec<(Timestamp, f64)>)>,
    /// Data points that were not taken.
    pub refused: u64,
    /// Why the first of them was not.
    pub reason: Option<String>,
}

/// Reads a request from protobuf.
///
/// # Errors
/// [`Error::Protobuf`].
pub fn from_protobuf(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, Error> {
    Ok(ExportMetricsServiceRequest::decode(bytes)?)
}

/// Reads a request from OTLP's form of JSON.
///
/// # Errors
/// [`Error::Json`].
pub fn from_json(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, Error> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Turns a request into series. Points that cannot be taken are counted, the others are taken.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn translate(request: &ExportMetricsServiceRequest) -> Result<Translated, Error> {
    let mut collector = Collector::default();
    for from in &request.resource_metrics {
        let attributes = from.resource.as_ref().map(|found| &*found.attributes);
        let resource = attributes::Resource::new(attributes.unwrap_or_default());
        let mut newest = None;
        for metric in from.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            newest = newest.max(points::translate(metric, &resource, &mut collector)?);
        }
        if let (Some(labels), Some(at)) = (resource.target_info(), newest) {
            collector.add(labels, at, 1.0)?;
        }
    }
    Ok(collector.finish())
}

/// Gathers samples by series.
#[derive(Debug, Default)]
struct Collector {
    places: HashMap<Labels, usize>,
    out: Translated,
    bytes: usize,
}

impl Collector {
    fn add(&mut self, labels: Labels, at: Timestamp, value: f64) -> Result<(), Error> {
        self.bytes += size_of::<(Timestamp, f64)>();
        let place = if let Some(place) = self.places.get(&labels) {
            *place
        } else {
            self.bytes += labels.text_len() + size_of::<Labels>();
            self.out.series.push((labels.clone(), Vec::new()));
            let place = self.out.series.len() - 1;
            self.places.insert(labels, place);
            place
        };
        if self.bytes > OUTPUT_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        if let Some((_, samples)) = self.out.series.get_mut(place) {
            samples.push((at, value));
        }
        Ok(())
    }

    fn refuse(&mut self, points: usize, reason: impl FnOnce() -> String) {
        if points > 0 {
            self.out.refused += u64::try_from(points).unwrap_or(u64::MAX);
            self.out.reason.get_or_insert_with(reason);
        }
    }

    fn finish(mut self) -> Translated {
        for (_, samples) in &mut self.out.series {
            samples.sort_by_key(|(at, _)| *at);
        }
        self.out
    }
}
