//! Whole requests for the HTTP edge: the good part, and what was wrong with the rest.
//!
//! ```text
//! WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3 }
//! TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
//!                repeated Exemplar exemplars = 3; repeated Histogram histograms = 4 }
//! Label        { string name = 1; string value = 2 }
//! ```

use model::Timestamp;

use super::v2::RequestV2;
use super::wire::{Fields, WireError, read_sample};
use crate::Error;
use crate::labels::Labels;
use crate::store::cut;

/// Refusals told in full; the rest is only counted.
const REFUSALS_TOLD: usize = 10;

/// What a request carries.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The good series, in the order they came, each with at least one sample.
    pub series: Vec<(Labels, Vec<(Timestamp, f64)>)>,
    /// Samples in `series`.
    pub samples: usize,
    /// Histograms, which Lantern does not keep.
    pub histograms: usize,
    /// Exemplars, which Lantern does not keep.
    pub exemplars: usize,
    /// Why series were refused: the first few.
    pub refused: Vec<Refused>,
    /// How many series were refused.
    pub refused_count: usize,
}

/// A series that was not taken.
#[derive(Debug)]
pub struct Refused {
    /// Number of the series in the request, from 0.
    pub index: usize,
    /// Why.
    pub reason: Error,
}

impl Decoded {
    fn take(
        &mut self,
        index: usize,
        labels: Result<Labels, Error>,
        samples: Vec<(Timestamp, f64)>,
    ) {
        match labels.and_then(named) {
            Ok(labels) if !samples.is_empty() => {
                self.samples += samples.len();
                self.series.push((labels, samples));
            }
            Ok(_) => (),
            Err(reason) => {
                self.refused_count += 1;
                if self.refused.len() < REFUSALS_TOLD {
                    self.refused.push(Refused { index, reason });
                }
            }
        }
    }
}

fn named(labels: Labels) -> Result<Labels, Error> {
    if labels.metric_name().is_none() {
        return Err(Error::NoMetricName {
            labels: cut(&labels),
        });
    }
    Ok(labels)
}

/// Reads a remote-write 1.0 request (after [`decompress`](super::decompress)).
///
/// # Errors
/// [`WireError`] when it is no such message; series that are wrong one by one are in
/// [`Decoded::refused`].
pub fn decode_v1(bytes: &[u8]) -> Result<Decoded, WireError> {
    let mut decoded = Decoded::default();
    let mut fields = Fields::new(bytes);
    let mut index = 0;
    while let Some((field, value)) = fields.next()? {
        if field == 1 {
            read_series_v1(value.bytes(field)?, index, &mut decoded)?;
            index += 1;
        }
    }
    Ok(decoded)
}

fn read_series_v1(bytes: &[u8], index: usize, decoded: &mut Decoded) -> Result<(), WireError> {
    let mut labels = Vec::with_capacity(8);
    let mut samples = Vec::new();
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => labels.push(read_label(value.bytes(field)?)?),
            2 => {
                let (timestamp, value) = read_sample(value.bytes(field)?)?;
                samples.push((Timestamp::from_millis(timestamp), value));
            }
            3 => decoded.exemplars += 1,
            4 => decoded.histograms += 1,
            _ => (),
        }
    }
    decoded.take(index, Labels::new(labels).map_err(Error::from), samples);
    Ok(())
}

fn read_label(bytes: &[u8]) -> Result<(&str, &str), WireError> {
    let mut fields = Fields::new(bytes);
    let mut label = ("", "");
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => label.0 = value.text(field)?,
            2 => label.1 = value.text(field)?,
            _ => (),
        }
    }
    Ok(label)
}

/// Reads a remote-write 2.0 request (after [`decompress`](super::decompress)).
///
/// # Errors
/// [`WireError`] when it is no such message or refers to symbols that are not there; series that are
/// wrong one by one are in [`Decoded::refused`].
pub fn decode_v2(bytes: &[u8]) -> Result<Decoded, WireError> {
    let request = RequestV2::parse(bytes)?;
    let mut decoded = Decoded::default();
    for series in request.series() {
        let series = series?;
        decoded.histograms += series.histograms;
        decoded.exemplars += series.exemplars;
        let labels = request.labels(&series).map_err(Error::from);
        decoded.take(series.index, labels, series.samples().collect());
    }
    Ok(decoded)
}
