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
use super::wire::{Fields, WireError, read_sample, read_samples};
use crate::Error;
use crate::given::Given;
use crate::labels::Labels;
use crate::store::StoreOptions;

/// Most bytes that the good series of a request may take in memory, as [`Decoded::bytes`] counts them.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

/// What each of them takes beside its texts and samples: the blocks of its labels, and its place in the list.
pub const SERIES_BYTES: usize = 200;

/// Refusals told in full; the rest is only counted.
const REFUSALS_TOLD: usize = 10;

/// What a request carries.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The good series, in the order they came, each with at least one sample.
    pub series: Vec<(Labels, Vec<(Timestamp, f64)>)>,
    /// Samples in `series`.
    pub samples: usize,
    /// What the good series take in memory, about.
    pub bytes: usize,
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

/// A series that was read and not copied.
#[derive(Debug)]
struct Found<'a> {
    index: usize,
    labels: Given<'a>,
    /// How many samples there are.
    count: usize,
    bytes: &'a [u8],
}

impl Decoded {
    /// Takes a series if it is good; nothing of it is copied before that is known, and that there is room.
    fn take(&mut self, mut found: Found<'_>, limits: &StoreOptions) -> Result<(), WireError> {
        let labels = &mut found.labels;
        if let Err(reason) = labels.limited(limits).and_then(|()| labels.sound()) {
            self.refuse(found.index, reason);
            return Ok(());
        }
        if found.count == 0 {
            return Ok(());
        }
        self.bytes += SERIES_BYTES + labels.bytes() + found.count * size_of::<(Timestamp, f64)>();
        if self.bytes > DECODED_BYTES_MAX {
            return Err(WireError::Heavy);
        }
        let mut samples = Vec::with_capacity(found.count);
        samples.extend(read_samples(found.bytes));
        self.samples += samples.len();
        self.series.push((labels.build(), samples));
        Ok(())
    }

    fn refuse(&mut self, index: usize, reason: Error) {
        self.refused_count += 1;
        if self.refused.len() < REFUSALS_TOLD {
            self.refused.push(Refused { index, reason });
        }
    }
}

/// Reads a remote-write 1.0 request (after [`decompress`](super::decompress)).
///
/// # Errors
/// [`WireError`] when it is no such message or takes more than [`DECODED_BYTES_MAX`]; series that are wrong one by one are in
/// [`Decoded::refused`].
pub fn decode_v1(bytes: &[u8]) -> Result<Decoded, WireError> {
    let limits = StoreOptions::default();
    let mut decoded = Decoded::default();
    let mut fields = Fields::new(bytes);
    let mut index = 0;
    while let Some((field, value)) = fields.next()? {
        if field == 1 {
            let found = read_series_v1(value.bytes(field)?, index, &limits, &mut decoded)?;
            decoded.take(found, &limits)?;
            index += 1;
        }
    }
    Ok(decoded)
}

fn read_series_v1<'a>(
    bytes: &'a [u8],
    index: usize,
    limits: &StoreOptions,
    decoded: &mut Decoded,
) -> Result<Found<'a>, WireError> {
    let mut found = Found {
        index,
        labels: Given::new(limits),
        count: 0,
        bytes,
    };
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => found.labels.push(read_label(value.bytes(field)?)?),
            2 => {
                read_sample(value.bytes(field)?)?;
                found.count += 1;
            }
            3 => decoded.exemplars += 1,
            4 => decoded.histograms += 1,
            _ => (),
        }
    }
    Ok(found)
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
/// [`WireError`] when it is no such message, refers to symbols that are not there, or takes more than
/// [`DECODED_BYTES_MAX`]; series that are wrong one by one are in [`Decoded::refused`].
pub fn decode_v2(bytes: &[u8]) -> Result<Decoded, WireError> {
    let request = RequestV2::parse(bytes)?;
    let limits = StoreOptions::default();
    let mut decoded = Decoded::default();
    for series in request.series() {
        let series = series?;
        decoded.histograms += series.histograms;
        decoded.exemplars += series.exemplars;
        let found = Found {
            index: series.index,
            labels: request.given(&series, &limits),
            count: series.samples_len(),
            bytes: series.bytes(),
        };
        decoded.take(found, &limits)?;
    }
    Ok(decoded)
}
