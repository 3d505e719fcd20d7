//! Reading only what counts: no markers, nothing aborted, nothing whose fate is open.
//!
//! Kafka's clients do this themselves; readers inside Lantern should not have to know.

use bytes::{Bytes, BytesMut};
use model::{Offset, Position, TopicPartition};
use record::Header;

use crate::{Aborted, Broker, Error, Fetched, ReadLimit};

/// The attribute bits of batches in a transaction, and of markers.
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// As [`Broker::read`], but only of what is committed. The batches may be empty though
/// [`Fetched::next`] has moved on: everything up to there was aborted, or markers.
///
/// # Errors
/// As [`Broker::read`].
pub async fn read_committed(
    broker: &dyn Broker,
    at: &TopicPartition,
    from: Position,
    limit: ReadLimit,
) -> Result<Fetched, Error> {
    let Some(log) = broker.transactional() else {
        return broker.read(at, from, limit).await;
    };
    let read = log.read_committed(at, from, limit).await?;
    let batches = visible(&read.fetched.batches, &read.aborted);
    Ok(Fetched {
        batches,
        ..read.fetched
    })
}

/// The batches that applications see.
fn visible(batches: &Bytes, aborted: &[Aborted]) -> Bytes {
    without(batches, |header| is_hidden(header, aborted))
}

/// The batches that are not hidden: as they are, and shared, when that is all of them.
pub fn without(batches: &Bytes, is_hidden: impl Fn(&Header) -> bool) -> Bytes {
    let mut kept = BytesMut::new();
    let (mut copied, mut at) = (false, 0);
    while let Some(rest) = batches.get(at..).filter(|rest| !rest.is_empty()) {
        let size = match Header::read(rest).and_then(|header| Ok((header, header.size()?))) {
            Ok((header, size)) if size <= rest.len() => {
                let hidden = is_hidden(&header);
                if hidden && !copied {
                    copied = true;
                    kept.extend_from_slice(&batches[..at]);
                } else if !hidden && copied {
                    kept.extend_from_slice(&rest[..size]);
                }
                size
            }
            // Not ours to judge: whoever reads it finds the same.
            _ => {
                if copied {
                    kept.extend_from_slice(rest);
                }
                break;
            }
        };
        at += size;
    }
    if copied {
        kept.freeze()
    } else {
        batches.clone()
    }
}

/// Whether a batch is part of a transaction, or a marker.
pub(crate) fn concerns_transactions(header: &Header) -> bool {
    header.attributes & (TRANSACTIONAL | CONTROL) != 0
}

fn is_hidden(header: &Header, aborted: &[Aborted]) -> bool {
    if !concerns_transactions(header) {
        return false;
    }
    let base = Position::from(Offset::from_i64(header.base_offset).unwrap_or_default());
    header.attributes & CONTROL != 0
        || aborted.iter().any(|range| {
            range.producer_id == header.producer_id && range.first <= base && base < range.last
        })
}

#[cfg(test)]
mod tests {
    use model::{Outcome, Producer, Timestamp};
    use record::{BatchBuilder, CheckedBatch, Compression, Stamp, StampTime, marker};

    use super::*;

    fn stamped(batch: &CheckedBatch, base: u64) -> Bytes {
        let stamp = Stamp {
            base_offset: Offset::new(base),
            leader_epoch: 0,
            time: StampTime::Keep,
        };
        batch.restamped(&stamp).into_bytes()
    }

    fn data(base: u64, producer: Option<i64>) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::from_millis(1), None, Some(b"v"), &[]);
        if let Some(id) = producer {
            builder.producer(id, 0, 0).transactional();
        }
        stamped(&builder.build(), base)
    }

    #[test]
    fn markers_and_aborted_batches_are_left_out_and_the_rest_is_shared() {
        let now = Timestamp::from_millis(1);
        let end = marker(Producer::new(7, 0), Outcome::Abort, 0, now);
        let all = [
            data(0, None),
            data(1, Some(7)),
            data(2, Some(8)),
            stamped(&end, 3),
            data(4, Some(7)),
        ];
        let whole = Bytes::from(all.concat());
        let range = Aborted {
            producer_id: 7,
            first: Offset::new(1).into(),
            last: Offset::new(3).into(),
        };
        let kept = [&all[0][..], &all[2], &all[4]].concat();
        assert_eq!(visible(&whole, &[range]), kept);
        let plain = Bytes::from([data(0, None), data(1, Some(7))].concat());
        let same = visible(&plain, &[]);
        assert_eq!(same.as_ptr(), plain.as_ptr(), "shared, not copied");
        assert!(visible(&all[3].clone(), &[]).is_empty());
    }
}
