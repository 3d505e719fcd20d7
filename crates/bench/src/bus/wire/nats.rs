//! NATS JetStream: publishes with a reply for each record, read back with a pull consumer.
//!
//! A request of n records is n publishes in one write, acknowledged with the last of their n replies; a record counts as
//! stored when its reply says so. Commits are acknowledged acknowledgements (`+ACK` with a reply) of the last record
//! read, under `ack_policy: all`. Source: <https://docs.nats.io/reference/reference-protocols/nats-protocol> and ADR-15.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Done, Line, PATIENCE, Protocol, RECORD_BYTES, Reader, Wire, until_it_serves};
use crate::bus::payload::{self, Stamp};

/// Records a pull consumer asks for at once.
const PULL: usize = 5_000;
const CONSUMER: &str = "bench";
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"bench\",\
    \"lang\":\"rust\",\"version\":\"1\",\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";

/// A NATS server with JetStream.
#[derive(Debug)]
pub(in crate::bus) struct Nats {
    pub(in crate::bus) address: String,
    /// So many readers there were.
    pub(in crate::bus) readers: AtomicU32,
}

impl Nats {
    /// A connection that listens on `inbox`.
    fn open(&self, inbox: &str) -> Result<Line> {
        let mut line = Line::open(&self.address)?;
        line.send(CONNECT.as_bytes())?;
        line.send(format!("SUB {inbox} 1\r\nPING\r\n").as_bytes())?;
        let mut pongs = 0;
        while pongs < 2 {
            match frame(line.input())? {
                Some((Frame::Pong, bytes)) => {
                    line.take(bytes);
                    pongs += 1;
                }
                Some((_, bytes)) => line.take(bytes),
                None => line.must()?,
            }
        }
        Ok(line)
    }

    /// Asks JetStream's API.
    fn ask(&self, subject: &str, body: &Value) -> Result<()> {
        let mut line = self.open("_INBOX.api")?;
        let body = body.to_string();
        line.send(format!("PUB {subject} _INBOX.api {}\r\n{body}\r\n", body.len()).as_bytes())?;
        loop {
            match frame(line.input())? {
                Some((Frame::Message { payload, .. }, _)) => {
                    let answer: Value = serde_json::from_slice(payload)?;
                    ensure!(answer["error"].is_null(), "{subject}: {}", answer["error"]);
                    return Ok(());
                }
                Some((Frame::Status(status), _)) => bail!("{subject}: {status}"),
                Some((_, bytes)) => line.take(bytes),
                None => line.must()?,
            }
        }
    }
}

impl Protocol for Nats {
    fn create(&self, partitions: u16) -> Result<()> {
        for partition in 0..partitions {
            self.ask(
                &format!("$JS.API.STREAM.CREATE.bus-{partition}"),
                &json!({
                    "name": format!("bus-{partition}"),
                    "subjects": [format!("bus.{partition}")],
                    "storage": "file",
                    "retention": "limits",
                    "num_replicas": 1,
                }),
            )?;
        }
        Ok(())
    }

    /// Streams are there when they were read back.
    fn recovered(&self, partitions: u16) -> Result<()> {
        until_it_serves(|| {
            for partition in 0..partitions {
                self.ask(&format!("$JS.API.STREAM.INFO.bus-{partition}"), &json!({}))?;
            }
            Ok(())
        })
    }

    fn producer(&self, producer: u16, batch: u32) -> Result<(TcpStream, Box<dyn Wire>)> {
        let line = self.open(&format!("_INBOX.p{producer}.*"))?;
        Ok((line.into_stream()?, Box::new(Produce::new(producer, batch))))
    }

    fn reader(&self, partition: u16, group: bool) -> Result<Box<dyn Reader>> {
        let policy = if group { "all" } else { "none" };
        // One that was there before goes on where it stopped, and a reader begins at the first record.
        let number = self.readers.fetch_add(1, Ordering::Relaxed);
        let name = format!("{CONSUMER}-{policy}-{number}");
        self.ask(
            &format!("$JS.API.CONSUMER.CREATE.bus-{partition}.{name}"),
            &json!({
                "stream_name": format!("bus-{partition}"),
                "config": {
                    "name": name,
                    "durable_name": name,
                    "ack_policy": policy,
                    "deliver_policy": "all",
                    "max_ack_pending": if group { 1_000_000 } else { -1 },
                },
            }),
        )?;
        let inbox = format!("_INBOX.c{partition}.*");
        Ok(Box::new(Pull {
            line: self.open(&inbox)?,
            partition,
            next: format!("$JS.API.CONSUMER.MSG.NEXT.bus-{partition}.{name}"),
            asked: 0,
            pulls: 0,
            last: None,
            held: Vec::new(),
        }))
    }
}

struct Produce {
    producer: u16,
    batch: u32,
    value: Vec<u8>,
    sent: u64,
    /// The number of the first request in `waiting`.
    first: u64,
    /// Replies still to come, by request.
    waiting: VecDeque<u32>,
}

impl Produce {
    fn new(producer: u16, batch: u32) -> Self {
        Self {
            producer,
            batch,
            value: payload::blank(RECORD_BYTES),
            sent: 0,
            first: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl Wire for Produce {
    fn request(&mut self, out: &mut Vec<u8>, partition: u16, first: u64) {
        let head = format!(
            "PUB bus.{partition} _INBOX.p{}.{} {RECORD_BYTES}\r\n",
            self.producer, self.sent
        );
        for number in first..first + u64::from(self.batch) {
            let stamp = Stamp {
                producer: self.producer,
                partition,
                number,
            };
            payload::write(&mut self.value, stamp);
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&self.value);
            out.extend_from_slice(b"\r\n");
        }
        self.sent += 1;
        self.waiting.push_back(self.batch);
    }

    fn answers(&mut self, input: &[u8], out: &mut Vec<u8>, done: Done<'_>) -> Result<usize> {
        let mut taken = 0;
        while let Some((frame, bytes)) = frame(&input[taken..])? {
            taken += bytes;
            let (subject, payload) = match frame {
                Frame::Message {
                    subject, payload, ..
                } => (subject, payload),
                Frame::Ping => {
                    out.extend_from_slice(b"PONG\r\n");
                    continue;
                }
                Frame::Status(status) => bail!("a publish was answered with {status}"),
                Frame::Pong | Frame::Other => continue,
            };
            // {"stream":"bus-0","seq":7}; an error may carry a sequence of 0.
            let holds = |word: &[u8]| payload.windows(word.len()).any(|part| part == word);
            if !holds(b"\"seq\":") || holds(b"\"error\"") {
                bail!("a publish was answered with {}", text(payload));
            }
            let number = subject.rsplit('.').next().unwrap_or_default();
            let number: u64 = number.parse().context("the subject of a reply")?;
            let place = number.checked_sub(self.first).and_then(|place| {
                let place = usize::try_from(place).ok()?;
                self.waiting.get_mut(place)
            });
            let left = place.context("a reply to no request")?;
            *left = left.checked_sub(1).context("one reply too many")?;
            done(number, 1);
            while self.waiting.front() == Some(&0) {
                self.waiting.pop_front();
                self.first += 1;
            }
        }
        Ok(taken)
    }
}

struct Pull {
    line: Line,
    partition: u16,
    /// Where pulls are asked for.
    next: String,
    /// Records asked for that did not come yet.
    asked: usize,
    /// Pulls so far: each has its own inbox, so that the end of an old one does not end a new one.
    pulls: u64,
    /// Where the last record read is acknowledged.
    last: Option<String>,
    /// Records that came while a commit waited for its reply.
    held: Vec<Vec<u8>>,
}

impl Pull {
    /// Keeps enough asked for.
    fn ask(&mut self) -> Result<()> {
        if self.asked >= PULL / 2 {
            return Ok(());
        }
        self.pulls += 1;
        let body = json!({ "batch": PULL, "expires": PATIENCE.as_nanos() as u64 }).to_string();
        let inbox = format!("_INBOX.c{}.{}", self.partition, self.pulls);
        let ask = format!("PUB {} {inbox} {}\r\n{body}\r\n", self.next, body.len());
        self.asked += PULL;
        self.line.send(ask.as_bytes())
    }

    /// Takes what is in the line's input; whether the reply to a commit was in it.
    fn drain(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let mut committed = false;
        let mut pong = false;
        while let Some((frame, bytes)) = frame(self.line.input())? {
            match frame {
                Frame::Message {
                    reply: Some(reply),
                    payload,
                    ..
                } => {
                    take(payload)?;
                    self.asked = self.asked.saturating_sub(1);
                    match &mut self.last {
                        Some(last) => {
                            last.clear();
                            last.push_str(reply);
                        }
                        None => self.last = Some(reply.to_owned()),
                    }
                }
                Frame::Message { reply: None, .. } => committed = true,
                // 408: a pull has run out, or nothing is left of it.
                Frame::Status(status) if status.contains(" 408") => self.asked = 0,
                Frame::Status(status) => bail!("a pull was answered with {status}"),
                Frame::Ping => pong = true,
                Frame::Pong | Frame::Other => (),
            }
            self.line.take(bytes);
        }
        if pong {
            self.line.send(b"PONG\r\n")?;
        }
        Ok(committed)
    }
}

impl Reader for Pull {
    fn read(&mut self, wait: Duration, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut count = 0;
        for value in std::mem::take(&mut self.held) {
            take(&value)?;
            count += 1;
        }
        self.ask()?;
        if count > 0 || self.line.more(wait)? {
            self.drain(&mut |value| {
                count += 1;
                take(value)
            })?;
        }
        Ok(count)
    }

    fn commit(&mut self) -> Result<()> {
        let Some(last) = self.last.take() else {
            return Ok(());
        };
        let inbox = format!("_INBOX.c{}.ack", self.partition);
        self.line
            .send(format!("PUB {last} {inbox} 4\r\n+ACK\r\n").as_bytes())?;
        let mut held = Vec::new();
        loop {
            let committed = self.drain(&mut |value| {
                held.push(value.to_vec());
                Ok(())
            })?;
            if committed {
                break;
            }
            self.line.must()?;
        }
        self.held = held;
        Ok(())
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Frame<'a> {
    Message {
        subject: &'a str,
        reply: Option<&'a str>,
        payload: &'a [u8],
    },
    /// The first line of the headers of a message without a body: why there is nothing.
    Status(&'a str),
    Ping,
    Pong,
    /// INFO and +OK.
    Other,
}

/// The first frame of `input` and its bytes, once all of it is there; `-ERR` is an error.
fn frame(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some(end) = input.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&input[..end])?;
    let after = end + 2;
    let mut words = line.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default();
    let plain = match verb {
        "MSG" | "HMSG" => None,
        "PING" => Some(Frame::Ping),
        "PONG" => Some(Frame::Pong),
        "INFO" | "+OK" => Some(Frame::Other),
        _ => bail!("NATS: {line}"),
    };
    if let Some(plain) = plain {
        return Ok(Some((plain, after)));
    }
    // MSG subject sid [reply] bytes; HMSG subject sid [reply] header-bytes bytes.
    let mut words: Vec<&str> = words.collect();
    let number = |word: Option<&str>| -> Result<usize> {
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("NATS: {line}"))
    };
    let size = number(words.pop())?;
    let headers = match verb {
        "HMSG" => number(words.pop())?,
        _ => 0,
    };
    let Some(body) = input.get(after..after + size) else {
        return Ok(None);
    };
    if input.len() < after + size + 2 {
        return Ok(None);
    }
    let bytes = after + size + 2;
    let head = body.get(..headers).context("headers longer than all")?;
    if headers > 0 && size == headers {
        let line = text(head).lines().next().unwrap_or_default();
        return Ok(Some((Frame::Status(line), bytes)));
    }
    let subject = words.first().copied().context("a message has a subject")?;
    let message = Frame::Message {
        subject,
        reply: words.get(2).copied(),
        payload: &body[headers..],
    };
    Ok(Some((message, bytes)))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("bytes that are no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole() {
        let message = b"MSG bus.0 1 $JS.ACK.x 5\r\nhello\r\n";
        for cut in 0..message.len() {
            assert_eq!(frame(&message[..cut]).unwrap(), None, "cut at {cut}");
        }
        let expected = Frame::Message {
            subject: "bus.0",
            reply: Some("$JS.ACK.x"),
            payload: b"hello",
        };
        assert_eq!(frame(message).unwrap(), Some((expected, message.len())));
        let status = b"HMSG _INBOX.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
        let (found, bytes) = frame(status).unwrap().unwrap();
        assert_eq!(
            (found, bytes),
            (Frame::Status("NATS/1.0 503"), status.len())
        );
        assert!(frame(b"-ERR 'Slow Consumer'\r\n").is_err());
    }

    #[test]
    fn replies_find_their_request_in_any_order() {
        let mut produce = Produce::new(4, 2);
        let mut out = Vec::new();
        produce.request(&mut out, 0, 0);
        produce.request(&mut out, 1, 0);
        let mut done = Vec::new();
        let ok = |request: u32| {
            let body = "{\"stream\":\"bus-0\", \"seq\":1}";
            format!("MSG _INBOX.p4.{request} 1 {}\r\n{body}\r\n", body.len()).into_bytes()
        };
        // Streams may answer in any order.
        for request in [1, 0, 1, 0] {
            produce
                .answers(&ok(request), &mut out, &mut |number, records| {
                    done.push((number, records));
                })
                .unwrap();
        }
        assert_eq!(done, [(1, 1), (0, 1), (1, 1), (0, 1)]);
        let twice = produce.answers(&ok(1), &mut out, &mut |_, _| ());
        assert!(twice.is_err());
        let body = "{\"error\":{\"code\":429},\"stream\":\"bus-0\",\"seq\":0}";
        let refused = format!("MSG _INBOX.p4.2 1 {}\r\n{body}\r\n", body.len());
        assert!(
            produce
                .answers(refused.as_bytes(), &mut out, &mut |_, _| ())
                .is_err()
        );
    }
}
