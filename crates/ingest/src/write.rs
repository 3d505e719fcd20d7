//! Samples into the log: one record per request, remote-write 2.0 inside, compressed by the batch.

use std::time::{SystemTime, UNIX_EPOCH};

use broker::{Durability, DynBroker, Error};
use model::Timestamp;
use record::{BatchBuilder, CheckedBatch, Compression};
use series::{Labels, write::encode_v2};

use crate::ORIGIN_HEADER;
use crate::topic::partition;

/// Who made the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Measured somewhere: rules that depend on them are evaluated early.
    Samples,
    /// Results of rules: they wait for the tick, or a rule that depends on itself would never rest.
    Rules,
}

impl Origin {
    /// The value of the header.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Rules => "rules",
        }
    }
}

/// Samples of one record, at most.
const RECORD_SAMPLES_MAX: usize = 20_000;

/// Label text of one record, at most: half of what the topic takes as a batch, since not all text is compressible.
const RECORD_TEXT_MAX: usize = 8 << 20;

/// Samples as they go into the log.
#[derive(Debug)]
pub struct Encoded(Vec<CheckedBatch>);

/// Writes samples; ready when they are durable. All of them or none.
///
/// # Errors
/// Those of [`broker::Broker::append`].
pub async fn write<S: AsRef<[(Timestamp, f64)]>>(
    broker: &DynBroker,
    samples: &[(Labels, S)],
    origin: Origin,
) -> Result<(), Error> {
    append(broker, encode(samples, origin)).await
}

/// Encodes and compresses samples: about a millisecond for each MiB of them.
pub fn encode<S: AsRef<[(Timestamp, f64)]>>(samples: &[(Labels, S)], origin: Origin) -> Encoded {
    let newest = samples
        .iter()
        .flat_map(|(_, s)| s.as_ref())
        .map(|(at, _)| *at)
        .max();
    let headers = [(ORIGIN_HEADER, Some(origin.as_str().as_bytes()))];
    // Retention goes by it, so a sender whose clock is wrong must not keep what it sent for ever.
    let stamp = newest.map_or(now(), |newest| newest.min(now()));
    let mut batches = Vec::new();
    for part in parts(samples) {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        builder.push(stamp, None, Some(&encode_v2(part)), &headers);
        batches.push(builder.build());
    }
    Encoded(batches)
}

/// Writes what is encoded; ready when it is durable. All of it or none.
///
/// # Errors
/// Those of [`broker::Broker::append`].
pub async fn append(broker: &DynBroker, encoded: Encoded) -> Result<(), Error> {
    let Encoded(batches) = encoded;
    if batches.is_empty() {
        return Ok(());
    }
    broker
        .append(&partition(), batches, Durability::Flushed)
        .await?;
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or_default())
}

/// Cuts the series into runs of bounded size. A series of its own is never cut.
fn parts<S: AsRef<[(Timestamp, f64)]>>(
    mut samples: &[(Labels, S)],
) -> impl Iterator<Item = &[(Labels, S)]> {
    std::iter::from_fn(move || {
        let (mut count, mut text) = (0, 0);
        let fits = samples.iter().take_while(|(labels, s)| {
            count += s.as_ref().len();
            text += labels.text_len();
            count <= RECORD_SAMPLES_MAX && text <= RECORD_TEXT_MAX
        });
        let length = fits.count().max(1);
        let (part, rest) = samples.split_at_checked(length)?;
        samples = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_requests_are_cut_between_series() {
        let series = |count: usize| (Labels::empty(), vec![(Timestamp::default(), 0.0); count]);
        let samples = [
            series(15_000),
            series(5_000),
            series(1),
            series(30_000),
            series(2),
        ];
        let lengths: Vec<usize> = parts(&samples).map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 1, 1, 1]);
        assert_eq!(parts::<Vec<_>>(&[]).count(), 0);
        let long = "x".repeat(3 << 20);
        let labels = Labels::of(&[("long", &long)]);
        let samples = vec![(labels, vec![(Timestamp::default(), 0.0)]); 5];
        let lengths: Vec<usize> = parts(&samples).map(<[_]>::len).collect();
        assert_eq!(lengths, [2, 2, 1]);
    }
}
