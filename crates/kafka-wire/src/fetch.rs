//! Fetch answers, written by hand so that batches are shared and never copied.
//!
//! The generated encoder would copy every batch into one buffer. [`FetchAnswer`] writes what stands
//! between batches into small buffers and hands out a list of pieces for a vectored write.
//!
//! Versions 4 to 12: the session id is always 0 (no sessions are kept), the preferred replica -1. Source: FetchResponse.json of Kafka 4.1.

use bytes::{BufMut, Bytes, BytesMut};

use crate::response::put_response_header;
use crate::{Api, EncodeError};

/// How the request named a topic.
#[derive(Debug, Clone, Copy)]
pub struct TopicRef<'a> {
    /// Its name.
    pub name: &'a str,
}

/// One partition of the answer.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// Its number.
    pub partition: i32,
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// First offset not yet readable; -1 when unknown.
    pub high_watermark: i64,
    /// First offset of a transaction that is open, or the high watermark; -1 when unknown.
    pub last_stable: i64,
    /// Oldest offset kept; -1 when unknown.
    pub log_start: i64,
    /// Producer id and first offset of what was aborted among the batches; `None` for readers that
    /// did not ask.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// Whole batches, one after another over all pieces.
    pub batches: Vec<Bytes>,
}

/// Writes the answer piece by piece: topics in order, the partitions of each in order.
#[derive(Debug)]
pub struct FetchAnswer {
    version: i16,
    flexible: bool,
    pieces: Vec<Bytes>,
    /// What has been written since the last shared batch.
    tail: BytesMut,
    /// Bytes in `pieces`.
    written: usize,
}

impl FetchAnswer {
    /// Begins the answer to `correlation_id` with `topics` topics.
    pub fn new(version: i16, correlation_id: i32, error_code: i16, topics: usize) -> Self {
        let flexible = Api::Fetch.is_flexible(version);
        let mut tail = BytesMut::with_capacity(256);
        tail.put_i32(0);
        put_response_header(&mut tail, Api::Fetch, version, correlation_id);
        tail.put_i32(0); // throttle time
        if version >= 7 {
            tail.put_i16(error_code);
            tail.put_i32(0); // session id
        }
        let mut answer = Self {
            version,
            flexible,
            pieces: Vec::new(),
            tail,
            written: 0,
        };
        answer.put_count(topics);
        answer
    }

    /// Begins a topic with `partitions` partitions.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions: usize) {
        self.put_text(topic.name);
        self.put_count(partitions);
    }

    /// Ends a topic.
    pub fn end_topic(&mut self) {
        self.put_no_tags();
    }

    /// Writes one partition.
    pub fn partition(&mut self, partition: FetchedPartition) {
        self.tail.put_i32(partition.partition);
        self.tail.put_i16(partition.error_code);
        self.tail.put_i64(partition.high_watermark);
        self.tail.put_i64(partition.last_stable);
        if self.version >= 5 {
            self.tail.put_i64(partition.log_start);
        }
        match partition.aborted {
            None => self.put_null_array(),
            Some(aborted) => {
                self.put_count(aborted.len());
                for (producer_id, first) in aborted {
                    self.tail.put_i64(producer_id);
                    self.tail.put_i64(first);
                    self.put_no_tags();
                }
            }
        }
        if self.version >= 11 {
            self.tail.put_i32(-1); // preferred read replica
        }
        let size = partition.batches.iter().map(Bytes::len).sum();
        self.put_size(size);
        for batches in partition.batches {
            self.share(batches);
        }
        self.put_no_tags();
    }

    /// Ends the answer: its pieces, of which the first begins with the length of all.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn finish(mut self) -> Result<Vec<Bytes>, EncodeError> {
        self.put_no_tags();
        let length = self.written + self.tail.len() - 4;
        let Ok(announced) = i32::try_from(length) else {
            return Err(EncodeError::TooLong {
                api: Api::Fetch,
                version: self.version,
                length,
            });
        };
        let head = announced.to_be_bytes();
        self.cut_tail();
        if let Some(first) = self.pieces.first_mut() {
            // The first piece was just made here and is not shared: this does not copy batches.
            let mut piece = BytesMut::from(std::mem::take(first));
            if let Some(start) = piece.first_chunk_mut::<4>() {
                *start = head;
            }
            *first = piece.freeze();
        }
        Ok(self.pieces)
    }

    fn share(&mut self, batches: Bytes) {
        if batches.is_empty() {
            return;
        }
        self.cut_tail();
        self.written += batches.len();
        self.pieces.push(batches);
    }

    fn cut_tail(&mut self) {
        if !self.tail.is_empty() {
            self.written += self.tail.len();
            self.pieces.push(self.tail.split().freeze());
        }
    }

    fn put_count(&mut self, count: usize) {
        // Counts are those of the request, far below 2^31.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.flexible {
            self.put_varint(count.saturating_add(1));
        } else {
            self.tail.put_u32(count);
        }
    }

    fn put_size(&mut self, size: usize) {
        self.put_count(size);
    }

    fn put_null_array(&mut self) {
        if self.flexible {
            self.tail.put_u8(0);
        } else {
            self.tail.put_i32(-1);
        }
    }

    fn put_text(&mut self, text: &str) {
        if self.flexible {
            self.put_count(text.len());
        } else {
            // It came in a 16-bit length, so it fits one.
            self.tail
                .put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.tail.put_slice(text.as_bytes());
    }

    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            let low = value.to_le_bytes()[0] | 0x80;
            self.tail.put_u8(low);
            value >>= 7;
        }
        self.tail.put_u8(value.to_le_bytes()[0]);
    }

    fn put_no_tags(&mut self) {
        if self.flexible {
            self.tail.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::FetchResponse;

    use super::*;
    use crate::decode_response;

    #[test]
    fn every_version_reads_back_with_the_generated_decoder() {
        for version in Api::Fetch.decoded() {
            let shared = Bytes::from_static(b"batches of one");
            let mut answer = FetchAnswer::new(version, 77, 0, 2);
            answer.topic(TopicRef { name: "orders" }, 2);
            answer.partition(FetchedPartition {
                partition: 0,
                error_code: 0,
                high_watermark: 9,
                last_stable: 8,
                log_start: 3,
                aborted: Some(vec![(7, 5), (8, 6)]),
                batches: vec![shared.clone(), Bytes::from_static(b"+more")],
            });
            answer.partition(FetchedPartition {
                partition: 1,
                error_code: 1,
                high_watermark: -1,
                last_stable: -1,
                log_start: -1,
                aborted: None,
                batches: vec![],
            });
            answer.end_topic();
            let long = "t".repeat(200);
            answer.topic(TopicRef { name: &long }, 0);
            answer.end_topic();
            let pieces = answer.finish().unwrap();
            assert!(
                pieces.iter().any(|piece| piece.as_ptr() == shared.as_ptr()),
                "shared, not copied"
            );
            let whole = pieces.concat();
            let length = i32::from_be_bytes(*whole.first_chunk().unwrap());
            assert_eq!(usize::try_from(length).unwrap(), whole.len() - 4);
            let body = Bytes::from(whole).slice(4..);
            let (id, body): (_, FetchResponse) =
                decode_response(Api::Fetch, version, body).unwrap();
            assert_eq!(id, 77);
            assert_eq!(body.responses.len(), 2);
            let first = &body.responses[0].partitions[0];
            assert_eq!((first.high_watermark, first.last_stable_offset), (9, 8));
            assert_eq!(first.records.as_deref(), Some(&b"batches of one+more"[..]));
            let aborted = first.aborted_transactions.as_ref().unwrap();
            let aborted = aborted
                .iter()
                .map(|one| (one.producer_id.0, one.first_offset));
            assert_eq!(aborted.collect::<Vec<_>>(), [(7, 5), (8, 6)]);
            let second = &body.responses[0].partitions[1];
            assert!(second.aborted_transactions.is_none());
            assert_eq!(body.responses[0].partitions[1].error_code, 1);
            assert_eq!(body.responses[1].topic.as_str(), long);
        }
    }
}
