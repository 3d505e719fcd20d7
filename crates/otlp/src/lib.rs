//! OpenTelemetry metrics as Prometheus series.
//!
//! Read first: [`decode`] and [`translate`], which take a request apart; then `name` for what metrics are called
//! afterwards, `attributes` for their labels, `points` for what a data point becomes.
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
//! hold, points that contradict themselves or each other, and what is over a limit of the store. Not kept: exemplars, scopes,
//! descriptions, start times.
//!
//! Invariants: no clock, no state from request to request; what decoding takes is bounded by
//! [`DECODED_BYTES_MAX`], what comes out and the work for it by [`OUTPUT_BYTES_MAX`], whatever a small request asks for.
//! Not here: HTTP and gRPC (`http-edge`).
//!
//! Sources: OTLP 1.11; OpenTelemetry, "Prometheus and OpenMetrics Compatibility".

mod attributes;
mod name;
mod points;
mod taken;
#[cfg(test)]
mod tests;
mod weight;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use model::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use series::write::WireError;
use series::{Labels, same_value};

/// Most bytes that a request may take in memory once it is decoded.
pub const DECODED_BYTES_MAX: usize = 128 << 20;

/// Most bytes that a request may become: 16 for each sample, the names and values of its labels, each time they are needed,
/// and what a series takes beside them.
pub const OUTPUT_BYTES_MAX: usize = 32 << 20;

/// Bytes that a new series takes beside its text and the ends of its labels: the counts and pointers its labels share (56),
/// room for the four samples a list begins with (64), its place in the list of series, which may have room for twice as many
/// (64), and what an allocator adds to each of four pieces (16).
const SERIES_BYTES: usize = 256;

/// Bytes that a noted point takes beside its text: the same for its labels, and its place in the set.
const NOTE_BYTES: usize = 192;

/// Characters of a name that a reason repeats.
const REPEATED_CHARS: usize = 100;

/// Why a request cannot be taken at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no protobuf.
    #[error("this is no ExportMetricsServiceRequest: {0}")]
    Wire(#[from] WireError),
    /// The bytes are no such message.
    #[error("this is no ExportMetricsServiceRequest: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// It would need very much memory.
    #[error(
        "the request needs more than {} MiB once it is decoded: send it in parts",
        DECODED_BYTES_MAX >> 20
    )]
    Heavy,
    /// A small request asks for very much.
    #[error(
        "the request becomes more than {} MiB of series: send it in parts, with fewer buckets or shorter attributes",
        OUTPUT_BYTES_MAX >> 20
    )]
    TooLarge,
}

impl Error {
    /// Whether the same points could come in several requests.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Heavy | Self::TooLarge)
    }
}

/// What a request became.
#[derive(Debug, Default)]
pub struct Translated {
    /// Each series once, in the order they came, with its samples in the order of time.
    pub series: Vec<(Labels, Vec<(Timestamp, f64)>)>,
    /// What they take in memory, about.
    pub bytes: usize,
    /// Data points that were not taken.
    pub refused: u64,
    /// Why the first of them was not.
    pub reason: Option<String>,
}

/// Reads a request.
///
/// # Errors
/// [`Error::Wire`], [`Error::Protobuf`], [`Error::Heavy`].
pub fn decode(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, Error> {
    if weight::weight(bytes, DECODED_BYTES_MAX)? > DECODED_BYTES_MAX {
        return Err(Error::Heavy);
    }
    Ok(ExportMetricsServiceRequest::decode(bytes)?)
}

/// The most that a request may take once it is decoded, worked out from its bytes, and what one does take: the first is
/// never less. For those who check that; [`decode`] keeps to it.
///
/// # Errors
/// As [`decode`], but whatever it takes.
#[doc(hidden)]
pub fn weigh(bytes: &[u8]) -> Result<(usize, usize), Error> {
    let most = weight::weight(bytes, usize::MAX)?;
    let request = ExportMetricsServiceRequest::decode(bytes)?;
    Ok((most, taken::taken(&request)))
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
    /// Histograms and summaries there were.
    noted: HashSet<(Labels, Timestamp)>,
    out: Translated,
}

impl Collector {
    /// Notes a point of many samples before any of them is added; `false` when it was there.
    fn note(&mut self, labels: Labels, at: Timestamp) -> Result<bool, Error> {
        self.grow(NOTE_BYTES + label_bytes(&labels))?;
        Ok(self.noted.insert((labels, at)))
    }

    fn add(&mut self, labels: Labels, at: Timestamp, value: f64) -> Result<(), Error> {
        // The labels were built, whether they are new or not: that is the work that is bounded here.
        self.grow(size_of::<(Timestamp, f64)>() + size_of::<Labels>() + labels.text_len())?;
        let place = if let Some(place) = self.places.get(&labels) {
            *place
        } else {
            self.grow(SERIES_BYTES + label_bytes(&labels))?;
            self.out.series.push((labels.clone(), Vec::new()));
            let place = self.out.series.len() - 1;
            self.places.insert(labels, place);
            place
        };
        if let Some((_, samples)) = self.out.series.get_mut(place) {
            samples.push((at, value));
        }
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        self.out.bytes += bytes;
        if self.out.bytes > OUTPUT_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    fn refuse(&mut self, points: usize, reason: impl FnOnce() -> String) {
        if points > 0 {
            self.out.refused += u64::try_from(points).unwrap_or(u64::MAX);
            self.out.reason.get_or_insert_with(reason);
        }
    }

    /// Puts samples in order. Of two with one time the first counts, as in the store; another value is told.
    fn finish(mut self) -> Translated {
        let mut series = std::mem::take(&mut self.out.series);
        for (labels, samples) in &mut series {
            samples.sort_by_key(|(at, _)| *at);
            let mut lost = 0;
            samples.dedup_by(|(at, value), (kept, first)| {
                lost += usize::from(at == kept && !same_value(*value, *first));
                at == kept
            });
            self.refuse(lost, || {
                format!(
                    "series {} has two values at one time: scopes are not told apart, nor names \
                     that differ only in signs",
                    shortened(&labels.to_string())
                )
            });
        }
        self.out.series = series;
        self.out
    }
}

/// Bytes of labels: their text, and where each name and each value ends.
fn label_bytes(labels: &Labels) -> usize {
    labels.text_len() + 2 * size_of::<u32>() * labels.len()
}

/// What a reason repeats of a text: a sender hears which one it was, but not all of it again.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(REPEATED_CHARS) {
        Some(_) => Cow::Owned(text.chars().take(REPEATED_CHARS).chain(['…']).collect()),
        None => Cow::Borrowed(text),
    }
}
