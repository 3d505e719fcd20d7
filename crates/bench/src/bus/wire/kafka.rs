//! The Kafka protocol, for Lantern and Kafka alike: the same bytes go to both.
//!
//! Produce 7 with `acks=all` and no idempotence, Fetch 4, OffsetCommit 2, CreateTopics 2, ListOffsets 1 and
//! FindCoordinator 0: versions both serve, none with tagged fields. A request is encoded once; what is sent is a copy
//! with new numbers and a new checksum. Source: <https://kafka.apache.org/protocol>.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use model::Timestamp;
use record::{BatchBuilder, Batches, Compression};

use super::{Done, Line, PATIENCE, Protocol, RECORD_BYTES, Reader, Wire};
use crate::bus::payload::{self, Stamp};

const TOPIC: &str = "bus";
const GROUP: &str = "bench";
/// The answer to a fetch, at most.
const FETCH_BYTES: i32 = 4 << 20;
/// Where a batch keeps its checksum, and what the checksum covers.
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;

/// Codes that pass: a leader or a coordinator is still being found.
const PASSING: [i16; 7] = [3, 5, 6, 9, 14, 15, 16];

/// A server that speaks Kafka.
#[derive(Debug)]
pub(in crate::bus) struct Kafka {
    pub(in crate::bus) address: String,
    /// Configuration of the topic.
    pub(in crate::bus) topic_config: Vec<(&'static str, &'static str)>,
}

impl Protocol for Kafka {
    fn create(&self, partitions: u16) -> Result<()> {
        let mut line = Line::open(&self.address)?;
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_text(&mut body, TOPIC);
        put_i32(&mut body, i32::from(partitions));
        put_i16(&mut body, 1);
        put_i32(&mut body, 0);
        put_i32(&mut body, self.topic_config.len() as i32);
        for (key, value) in &self.topic_config {
            put_text(&mut body, key);
            put_text(&mut body, value);
        }
        put_i32(&mut body, PATIENCE.as_millis() as i32);
        body.push(0);
        let answer = call(&mut line, 19, 2, &body)?;
        let mut answer = Take(&answer);
        answer.skip(4 + 4)?;
        answer.text()?;
        check("CreateTopics", answer.i16()?)?;

        // Leaders of new partitions may take a moment.
        self.recovered(partitions)
    }

    fn recovered(&self, partitions: u16) -> Result<()> {
        let mut line = Line::open(&self.address)?;
        let mut body = Vec::new();
        put_i32(&mut body, -1);
        put_i32(&mut body, 1);
        put_text(&mut body, TOPIC);
        put_i32(&mut body, i32::from(partitions));
        for partition in 0..partitions {
            put_i32(&mut body, i32::from(partition));
            put_i64(&mut body, -1);
        }
        until_it_passes("ListOffsets", || {
            let answer = call(&mut line, 2, 1, &body)?;
            let mut answer = Take(&answer);
            answer.skip(4)?;
            answer.text()?;
            let mut worst = 0;
            for _ in 0..answer.i32()? {
                answer.skip(4)?;
                worst = answer.i16()?.max(worst);
                answer.skip(16)?;
            }
            Ok(worst)
        })
    }

    fn producer(&self, producer: u16, batch: u32) -> Result<(TcpStream, Box<dyn Wire>)> {
        let stream = Line::open(&self.address)?.into_stream()?;
        Ok((stream, Box::new(Produce::new(producer, batch)?)))
    }

    fn reader(&self, partition: u16, group: bool) -> Result<Box<dyn Reader>> {
        let mut line = Line::open(&self.address)?;
        if group {
            let mut body = Vec::new();
            put_text(&mut body, GROUP);
            until_it_passes("FindCoordinator", || {
                Take(&call(&mut line, 10, 0, &body)?).i16()
            })?;
        }
        let mut reader = Fetch {
            line,
            partition,
            position: 0,
        };
        if group {
            // The coordinator may still be loading; what is committed here is the start.
            until_it_passes("OffsetCommit", || reader.try_commit())?;
        }
        Ok(Box::new(reader))
    }
}

/// Produce requests of one producer: a template, and where in it the values lie.
#[derive(Debug)]
struct Produce {
    producer: u16,
    template: Vec<u8>,
    /// Where the partition's index stands.
    partition_at: usize,
    batch_at: usize,
    values: Vec<usize>,
    sent: i32,
    done: u64,
}

const CORRELATION_AT: usize = 8;

impl Produce {
    fn new(producer: u16, batch: u32) -> Result<Self> {
        let mut builder = BatchBuilder::new(Compression::None);
        let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        let value = payload::blank(RECORD_BYTES);
        for _ in 0..batch {
            builder.push(now, None, Some(&value), &[]);
        }
        let batch = builder.build();
        let bytes = batch.as_bytes();
        let records = batch.records()?;
        let mut values = Vec::new();
        for record in &records {
            let value = record?
                .value
                .context("a record of the template has a value")?;
            // Not compressed, so the values lie in the batch itself.
            values.push(value.as_ptr() as usize - bytes.as_ptr() as usize);
        }
        let mut body = Vec::new();
        put_i16(&mut body, -1);
        put_i16(&mut body, -1);
        put_i32(&mut body, PATIENCE.as_millis() as i32);
        put_i32(&mut body, 1);
        put_text(&mut body, TOPIC);
        put_i32(&mut body, 1);
        let partition_at = body.len();
        put_i32(&mut body, 0);
        put_i32(&mut body, bytes.len() as i32);
        let batch_at = body.len();
        body.extend_from_slice(bytes);
        let template = frame(0, 7, 0, &body);
        let head = template.len() - body.len();
        Ok(Self {
            producer,
            template,
            partition_at: head + partition_at,
            batch_at: head + batch_at,
            values,
            sent: 0,
            done: 0,
        })
    }
}

impl Wire for Produce {
    fn request(&mut self, out: &mut Vec<u8>, partition: u16, first: u64) {
        let from = out.len();
        out.extend_from_slice(&self.template);
        let request = &mut out[from..];
        put_at(request, CORRELATION_AT, self.sent.to_be_bytes());
        put_at(
            request,
            self.partition_at,
            i32::from(partition).to_be_bytes(),
        );
        let batch = &mut request[self.batch_at..];
        for (number, at) in (first..).zip(&self.values) {
            let stamp = Stamp {
                producer: self.producer,
                partition,
                number,
            };
            payload::write(&mut batch[*at..*at + RECORD_BYTES], stamp);
        }
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        put_at(batch, CRC_AT, crc.to_be_bytes());
        self.sent = self.sent.wrapping_add(1);
    }

    fn answers(&mut self, input: &[u8], _: &mut Vec<u8>, done: Done<'_>) -> Result<usize> {
        let mut taken = 0;
        while let Some(answer) = whole(&input[taken..])? {
            taken += 4 + answer.len();
            let mut answer = Take(answer);
            let correlation = answer.i32()?;
            ensure!(
                correlation == self.done as i32,
                "an answer to request {correlation} came when {} was due",
                self.done
            );
            answer.skip(4)?;
            answer.text()?;
            answer.skip(4 + 4)?;
            check("Produce", answer.i16()?)?;
            done(self.done, self.values.len() as u32);
            self.done += 1;
        }
        Ok(taken)
    }
}

#[derive(Debug)]
struct Fetch {
    line: Line,
    partition: u16,
    position: i64,
}

impl Fetch {
    /// The error code of the answer.
    fn try_commit(&mut self) -> Result<i16> {
        let mut body = Vec::new();
        put_text(&mut body, GROUP);
        put_i32(&mut body, -1);
        put_text(&mut body, "");
        put_i64(&mut body, -1);
        put_i32(&mut body, 1);
        put_text(&mut body, TOPIC);
        put_i32(&mut body, 1);
        put_i32(&mut body, i32::from(self.partition));
        put_i64(&mut body, self.position);
        put_i16(&mut body, -1);
        let answer = call(&mut self.line, 8, 2, &body)?;
        let mut answer = Take(&answer);
        answer.skip(4)?;
        answer.text()?;
        answer.skip(4 + 4)?;
        answer.i16()
    }
}

impl Reader for Fetch {
    fn read(&mut self, wait: Duration, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut body = Vec::new();
        put_i32(&mut body, -1);
        put_i32(&mut body, wait.as_millis() as i32);
        put_i32(&mut body, 1);
        put_i32(&mut body, FETCH_BYTES);
        body.push(0);
        put_i32(&mut body, 1);
        put_text(&mut body, TOPIC);
        put_i32(&mut body, 1);
        put_i32(&mut body, i32::from(self.partition));
        put_i64(&mut body, self.position);
        put_i32(&mut body, FETCH_BYTES);
        let whole = Bytes::from(call(&mut self.line, 1, 4, &body)?);
        let mut answer = Take(&whole);
        answer.skip(4 + 4)?;
        answer.text()?;
        answer.skip(4 + 4)?;
        check("Fetch", answer.i16()?)?;
        answer.skip(16)?;
        let aborted = answer.i32()?;
        answer.skip(16 * usize::try_from(aborted).unwrap_or(0))?;
        let length = usize::try_from(answer.i32()?).unwrap_or(0);
        let batches = whole.slice_ref(answer.bytes(length)?);
        let mut count = 0;
        for batch in Batches::new(batches) {
            let batch = batch?;
            for record in &batch.records()? {
                let record = record?;
                // A batch comes whole, also the part that was read before.
                if record.offset.as_i64() < self.position {
                    continue;
                }
                take(record.value.context("a record without a value")?)?;
                count += 1;
            }
            self.position = batch.next_offset().as_i64();
        }
        Ok(count)
    }

    fn commit(&mut self) -> Result<()> {
        check("OffsetCommit", self.try_commit()?)
    }
}

/// Asks until the code is 0; an error when it does not pass, or not in time.
fn until_it_passes(api: &str, mut ask: impl FnMut() -> Result<i16>) -> Result<()> {
    let started = Instant::now();
    loop {
        match ask()? {
            0 => return Ok(()),
            code if PASSING.contains(&code) && started.elapsed() < PATIENCE => {
                crate::bus::pause(Duration::from_millis(20));
            }
            code => return check(api, code),
        }
    }
}

fn check(api: &str, code: i16) -> Result<()> {
    if code != 0 {
        bail!("{api} was answered with Kafka's error code {code}");
    }
    Ok(())
}

/// Sends one request and waits for the body of its answer.
fn call(line: &mut Line, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    line.send(&frame(api, version, 0, body))?;
    loop {
        if let Some(answer) = whole(line.input())? {
            let (length, body) = (answer.len(), answer.get(4..).context("no header")?.to_vec());
            line.take(4 + length);
            return Ok(body);
        }
        line.must()?;
    }
}

/// The first frame of `input` without its length, once all of it is there.
fn whole(input: &[u8]) -> Result<Option<&[u8]>> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(i32::from_be_bytes(*length)).context("a frame's length")?;
    Ok(rest.get(..length))
}

fn frame(api: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    put_i16(&mut frame, api);
    put_i16(&mut frame, version);
    put_i32(&mut frame, correlation);
    put_text(&mut frame, "bench");
    frame.extend_from_slice(body);
    let length = (frame.len() - 4) as i32;
    put_at(&mut frame, 0, length.to_be_bytes());
    frame
}

fn put_at<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn put_i16(to: &mut Vec<u8>, value: i16) {
    to.extend_from_slice(&value.to_be_bytes());
}

fn put_i32(to: &mut Vec<u8>, value: i32) {
    to.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(to: &mut Vec<u8>, value: i64) {
    to.extend_from_slice(&value.to_be_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_i16(to, text.len() as i16);
    to.extend_from_slice(text.as_bytes());
}

/// Fields off the front of an answer.
#[derive(Debug)]
struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (front, rest) = self
            .0
            .split_at_checked(count)
            .with_context(|| format!("an answer ends {} bytes early", count - self.0.len()))?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into()?)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.bytes(count).map(drop)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a [u8]> {
        let length = self.i16()?;
        self.bytes(usize::try_from(length).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use record::CheckedBatch;

    use super::*;

    #[test]
    fn a_patched_request_holds_a_batch_that_any_server_takes() {
        let mut produce = Produce::new(9, 100).unwrap();
        let mut out = Vec::new();
        produce.request(&mut out, 3, 0);
        let first = out.len();
        produce.request(&mut out, 4, 500);
        let request = whole(&out[first..]).unwrap().unwrap();
        assert_eq!(request.len() + 4, out.len() - first);
        assert_eq!(request[4..8], 1_i32.to_be_bytes(), "correlation");
        let batch = Bytes::copy_from_slice(&out[first + produce.batch_at..]);
        let (batch, rest) = CheckedBatch::parse(batch).unwrap();
        assert!(rest.is_empty());
        let stamps: Vec<Stamp> = batch
            .records()
            .unwrap()
            .iter()
            .map(|record| payload::read(record.unwrap().value.unwrap()).unwrap())
            .collect();
        let expected = (500..600).map(|number| Stamp {
            producer: 9,
            partition: 4,
            number,
        });
        assert_eq!(stamps, expected.collect::<Vec<_>>());
    }

    #[test]
    fn answers_are_taken_whole_and_errors_are_errors() {
        let answer = |correlation: i32, code: i16| {
            let mut body = Vec::new();
            put_i32(&mut body, correlation);
            put_i32(&mut body, 1);
            put_text(&mut body, TOPIC);
            put_i32(&mut body, 1);
            put_i32(&mut body, 0);
            put_i16(&mut body, code);
            body.extend_from_slice(&[0; 28]);
            let mut frame = (body.len() as i32).to_be_bytes().to_vec();
            frame.extend(body);
            frame
        };
        let mut produce = Produce::new(0, 1).unwrap();
        let mut input = answer(0, 0);
        input.extend(answer(1, 0));
        let mut done = Vec::new();
        let mut out = Vec::new();
        let cut = input.len() - 1;
        let taken = produce
            .answers(&input[..cut], &mut out, &mut |number, _| done.push(number))
            .unwrap();
        assert_eq!((taken, done.as_slice()), (input.len() / 2, &[0][..]));
        let taken = produce
            .answers(&input[taken..], &mut out, &mut |number, _| {
                done.push(number);
            })
            .unwrap();
        assert_eq!((taken, done.as_slice()), (input.len() / 2, &[0, 1][..]));
        let refused = produce.answers(&answer(2, 7), &mut out, &mut |_, _| ());
        assert!(refused.unwrap_err().to_string().contains("error code 7"));
        let foreign = produce.answers(&answer(5, 0), &mut out, &mut |_, _| ());
        assert!(foreign.is_err());
    }
}
