//! A remote-write 2.0 request, read in place.
//!
//! ```text
//! Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5 }
//! TimeSeries { repeated uint32 labels_refs = 1 (packed); repeated Sample samples = 2;
//!              repeated Histogram histograms = 3; repeated Exemplar exemplars = 4; Metadata metadata = 5 }
//! Sample     { double value = 1; int64 timestamp = 2 }
//! ```

use std::hash::{BuildHasher, Hasher};

use model::Timestamp;

use super::DECODED_BYTES_MAX;
use super::wire::{Fields, Value, WireError, read_sample, read_samples, read_varint};
use crate::given::Given;
use crate::store::StoreOptions;

/// Most symbols of a request: a table of them takes no more than what they are used for may.
const SYMBOLS_MAX: usize = DECODED_BYTES_MAX / size_of::<&str>();
/// Most label references of one series, likewise.
const REFS_MAX: usize = DECODED_BYTES_MAX / size_of::<u32>();

/// A 2.0 request over borrowed bytes: its symbols, and its series one after the other.
#[derive(Debug, Clone)]
pub struct RequestV2<'a> {
    symbols: Vec<&'a str>,
    bytes: &'a [u8],
    symbols_hash: u64,
}

/// One series of a [`RequestV2`]. Its references are known to be inside the symbol table.
#[derive(Debug, Clone)]
pub struct SeriesV2<'a> {
    /// Number of the series in the request, from 0.
    pub index: usize,
    /// Histograms it carries, which Lantern does not keep.
    pub histograms: usize,
    /// Exemplars it carries, which Lantern does not keep.
    pub exemplars: usize,
    refs: Vec<u32>,
    /// How many samples there are.
    count: usize,
    bytes: &'a [u8],
}

impl<'a> RequestV2<'a> {
    /// Reads the symbol table of `bytes`.
    ///
    /// # Errors
    /// [`WireError`] when the outer message is malformed, the first symbol is not empty, or there are very
    /// many. A request without symbols is fine as long as no series wants one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut fields = Fields::new(bytes);
        let mut symbols = Vec::new();
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        while let Some((field, value)) = fields.next()? {
            match field {
                4 => {
                    let symbol = value.text(field)?;
                    hasher.write(symbol.as_bytes());
                    hasher.write_usize(symbol.len());
                    if symbols.len() >= SYMBOLS_MAX {
                        return Err(WireError::Heavy);
                    }
                    symbols.push(symbol);
                }
                5 => drop(value.bytes(field)?),
                _ => (),
            }
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(WireError::FirstSymbol);
        }
        Ok(Self {
            symbols,
            bytes,
            symbols_hash: hasher.finish(),
        })
    }

    /// The symbol table; the first one is the empty text.
    pub fn symbols(&self) -> &[&'a str] {
        &self.symbols
    }

    /// A hash of the symbol table, to find what is known of equal tables. Compare the tables too.
    pub fn symbols_hash(&self) -> u64 {
        self.symbols_hash
    }

    /// The series in the order they come. After an error there is nothing more.
    pub fn series(&self) -> impl Iterator<Item = Result<SeriesV2<'a>, WireError>> + use<'_, 'a> {
        let mut fields = Fields::new(self.bytes);
        let mut index = 0;
        let mut broken = false;
        std::iter::from_fn(move || {
            while !broken {
                match fields.next() {
                    Ok(Some((5, Value::Bytes(bytes)))) => {
                        let series = SeriesV2::parse(bytes, index, self.symbols.len());
                        index += 1;
                        broken = series.is_err();
                        return Some(series);
                    }
                    Ok(Some(_)) => (),
                    Ok(None) => return None,
                    Err(error) => {
                        broken = true;
                        return Some(Err(error));
                    }
                }
            }
            None
        })
    }

    /// The labels of one of its series, not copied.
    pub(crate) fn given(&self, series: &SeriesV2<'_>, limits: &StoreOptions) -> Given<'a> {
        let symbol = |at: u32| self.symbols.get(at as usize).copied().unwrap_or_default();
        let mut given = Given::new(limits);
        for two in series.refs.chunks_exact(2) {
            given.push((symbol(two[0]), symbol(two[1])));
        }
        given
    }
}

impl<'a> SeriesV2<'a> {
    fn parse(bytes: &'a [u8], index: usize, symbols: usize) -> Result<Self, WireError> {
        let mut series = Self {
            index,
            histograms: 0,
            exemplars: 0,
            refs: Vec::with_capacity(16),
            count: 0,
            bytes,
        };
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => series.read_refs(value)?,
                2 => {
                    read_sample(value.bytes(field)?)?;
                    series.count += 1;
                }
                3 => series.histograms += 1,
                4 => series.exemplars += 1,
                _ => (),
            }
        }
        if !series.refs.len().is_multiple_of(2) {
            return Err(WireError::OddLabels { series: index });
        }
        match series.refs.iter().find(|at| **at as usize >= symbols) {
            Some(symbol) => Err(WireError::UnknownSymbol {
                series: index,
                symbol: *symbol,
                count: symbols,
            }),
            None => Ok(series),
        }
    }

    /// References come packed or, from old encoders, one by one.
    fn read_refs(&mut self, value: Value<'a>) -> Result<(), WireError> {
        let mut push = |number: u64| {
            if self.refs.len() >= REFS_MAX {
                return Err(WireError::Heavy);
            }
            self.refs.push(u32::try_from(number).unwrap_or(u32::MAX));
            Ok(())
        };
        match value {
            Value::Varint(number) => push(number)?,
            Value::Bytes(packed) => {
                let mut position = 0;
                while position < packed.len() {
                    let (number, length) =
                        read_varint(&packed[position..]).map_err(|fault| fault.at(1, position))?;
                    push(number)?;
                    position += length;
                }
            }
            Value::Fixed64(_) | Value::Fixed32 => drop(value.bytes(1)?),
        }
        Ok(())
    }

    /// The references, name and value by turns.
    pub fn refs(&self) -> &[u32] {
        &self.refs
    }

    /// The samples in the order they come.
    pub fn samples(&self) -> impl Iterator<Item = (Timestamp, f64)> + use<'a> {
        read_samples(self.bytes)
    }

    /// How many samples there are.
    pub fn samples_len(&self) -> usize {
        self.count
    }

    /// The message it was read from.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
