//! Redis streams: pipelined `XADD`, read back with `XREAD`, in a group with `XREADGROUP` and `XACK`.
//!
//! A request of n records is n commands in one write, acknowledged with the last of their n replies.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/> (RESP2).

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Done, Line, Protocol, RECORD_BYTES, Reader, Wire, until_it_serves};
use crate::bus::payload::{self, Stamp};

/// Entries asked for at once.
const READ_COUNT: &str = "1000";
const GROUP: &str = "bench";

/// A Redis server.
#[derive(Debug)]
pub(in crate::bus) struct Redis {
    pub(in crate::bus) address: String,
}

fn key(partition: u16) -> String {
    format!("bus:{partition}")
}

impl Protocol for Redis {
    /// A stream is made by its first entry.
    fn create(&self, _: u16) -> Result<()> {
        Ok(())
    }

    /// It answers everything with an error until its file is loaded.
    fn recovered(&self, partitions: u16) -> Result<()> {
        until_it_serves(|| {
            for partition in 0..partitions {
                // A connection for each: an error leaves the rest of it unread.
                let mut entries = Entries::open(&self.address, partition)?;
                entries.call(&["XLEN", &key(partition)])?;
            }
            Ok(())
        })
    }

    fn producer(&self, producer: u16, batch: u32) -> Result<(TcpStream, Box<dyn Wire>)> {
        let stream = Line::open(&self.address)?.into_stream()?;
        Ok((stream, Box::new(Produce::new(producer, batch))))
    }

    fn reader(&self, partition: u16, group: bool) -> Result<Box<dyn Reader>> {
        let mut reader = Entries::open(&self.address, partition)?;
        reader.group = group;
        if group {
            reader.call(&["XGROUP", "CREATE", &key(partition), GROUP, "0", "MKSTREAM"])?;
        }
        Ok(Box::new(reader))
    }
}

struct Produce {
    producer: u16,
    batch: u32,
    value: Vec<u8>,
    sent: u64,
    /// Replies so far: they come in the order of the commands.
    replies: u64,
}

impl Produce {
    fn new(producer: u16, batch: u32) -> Self {
        Self {
            producer,
            batch,
            value: payload::blank(RECORD_BYTES),
            sent: 0,
            replies: 0,
        }
    }
}

impl Wire for Produce {
    fn request(&mut self, out: &mut Vec<u8>, partition: u16, first: u64) {
        let key = key(partition);
        let head = format!(
            "*5\r\n$4\r\nXADD\r\n${}\r\n{key}\r\n$1\r\n*\r\n$1\r\nd\r\n${RECORD_BYTES}\r\n",
            key.len()
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
        self.sent += u64::from(self.batch);
    }

    fn answers(&mut self, input: &[u8], _: &mut Vec<u8>, done: Done<'_>) -> Result<usize> {
        let mut taken = 0;
        while let Some((token, bytes)) = token(&input[taken..])? {
            taken += bytes;
            let Token::Bulk(_) = token else {
                bail!("XADD was answered with {token:?}");
            };
            ensure!(self.replies < self.sent, "a reply to nothing");
            done(self.replies / u64::from(self.batch), 1);
            self.replies += 1;
        }
        Ok(taken)
    }
}

struct Entries {
    line: Line,
    key: String,
    /// The id of the last entry read.
    last: String,
    group: bool,
    /// Ids read and not yet committed, in a group.
    uncommitted: Vec<String>,
}

impl Entries {
    fn open(address: &str, partition: u16) -> Result<Self> {
        Ok(Self {
            line: Line::open(address)?,
            key: key(partition),
            last: "0".to_owned(),
            group: false,
            uncommitted: Vec::new(),
        })
    }

    /// Sends a command and waits until its whole reply is in the line's input; its length.
    fn ask(&mut self, words: &[&str]) -> Result<usize> {
        let mut out = format!("*{}\r\n", words.len());
        for word in words {
            out.push_str(&format_args!("${}\r\n{word}\r\n", word.len()).to_string());
        }
        self.line.send(out.as_bytes())?;
        loop {
            if let Some(length) = reply(self.line.input())? {
                return Ok(length);
            }
            self.line.must()?;
        }
    }

    /// A command whose reply is of no interest unless it is an error.
    fn call(&mut self, words: &[&str]) -> Result<()> {
        let length = self.ask(words)?;
        self.line.take(length);
        Ok(())
    }
}

impl Reader for Entries {
    fn read(&mut self, wait: Duration, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let key = self.key.clone();
        let block = wait.as_millis().max(1).to_string();
        let length = if self.group {
            self.ask(&[
                "XREADGROUP",
                "GROUP",
                GROUP,
                "c",
                "COUNT",
                READ_COUNT,
                "BLOCK",
                &block,
                "STREAMS",
                &key,
                ">",
            ])?
        } else {
            let last = self.last.clone();
            self.ask(&[
                "XREAD", "COUNT", READ_COUNT, "BLOCK", &block, "STREAMS", &key, &last,
            ])?
        };
        let mut count = 0;
        let mut rest = &self.line.input()[..length];
        // One stream, its name, and its entries, each an id with the field `d` and its value.
        let mut bulks = 0;
        let mut id: &[u8] = b"";
        while let Some((token, bytes)) = token(rest)? {
            rest = &rest[bytes..];
            let Token::Bulk(bytes) = token else { continue };
            bulks += 1;
            match bulks {
                1 | 3 => (),
                2 => id = bytes,
                _ => {
                    take(bytes)?;
                    count += 1;
                    bulks = 1;
                    if self.group {
                        self.uncommitted
                            .push(String::from_utf8_lossy(id).into_owned());
                    }
                }
            }
        }
        if count > 0 {
            self.last = String::from_utf8_lossy(id).into_owned();
        }
        self.line.take(length);
        Ok(count)
    }

    fn commit(&mut self) -> Result<()> {
        if self.uncommitted.is_empty() {
            return Ok(());
        }
        let ids = std::mem::take(&mut self.uncommitted);
        let key = self.key.clone();
        let mut words = vec!["XACK", &key, GROUP];
        words.extend(ids.iter().map(String::as_str));
        self.call(&words)
    }
}

/// One element of a reply; the elements of an array follow it.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Array(usize),
    Bulk(&'a [u8]),
    /// A simple string, a number, or nothing.
    Plain,
}

/// The first element of `input` and its bytes, once all of it is there; an error reply is an error.
fn token(input: &[u8]) -> Result<Option<(Token<'_>, usize)>> {
    let Some(end) = input.iter().position(|byte| *byte == b'\r') else {
        return Ok(None);
    };
    if input.len() < end + 2 {
        return Ok(None);
    }
    let text = std::str::from_utf8(&input[1..end])?;
    let count = || -> Result<i64> { text.parse().with_context(|| format!("a length '{text}'")) };
    let after = end + 2;
    match input[0] {
        b'*' => Ok(Some((
            Token::Array(usize::try_from(count()?).unwrap_or(0)),
            after,
        ))),
        b'$' => {
            let Ok(length) = usize::try_from(count()?) else {
                return Ok(Some((Token::Plain, after)));
            };
            if input.len() < after + length + 2 {
                return Ok(None);
            }
            Ok(Some((
                Token::Bulk(&input[after..after + length]),
                after + length + 2,
            )))
        }
        b'+' | b':' => Ok(Some((Token::Plain, after))),
        b'-' => bail!("Redis: {text}"),
        other => bail!("Redis: a reply cannot begin with byte {other}"),
    }
}

/// How long the first reply of `input` is, with all its elements, once it is there.
fn reply(input: &[u8]) -> Result<Option<usize>> {
    let mut open = 1;
    let mut at = 0;
    while open > 0 {
        let Some((token, bytes)) = token(&input[at..])? else {
            return Ok(None);
        };
        at += bytes;
        open -= 1;
        if let Token::Array(count) = token {
            open += count;
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_only_with_all_its_elements() {
        let text =
            b"*1\r\n*2\r\n$5\r\nbus:0\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nd\r\n$2\r\nab\r\n";
        for cut in 0..text.len() {
            assert_eq!(reply(&text[..cut]).unwrap(), None, "cut at {cut}");
        }
        let mut more = text.to_vec();
        more.extend_from_slice(b"*-1\r\n");
        assert_eq!(reply(&more).unwrap(), Some(text.len()));
        assert_eq!(reply(b"*-1\r\n").unwrap(), Some(5));
        assert!(reply(b"-ERR no\r\n").is_err());
    }

    #[test]
    fn replies_belong_to_commands_in_order() {
        let mut produce = Produce::new(1, 2);
        let mut out = Vec::new();
        produce.request(&mut out, 0, 0);
        produce.request(&mut out, 0, 2);
        assert_eq!(out.windows(4).filter(|word| word == b"XADD").count(), 4);
        let mut done = Vec::new();
        let id = b"$3\r\n1-0\r\n";
        assert!(
            Produce::new(1, 2)
                .answers(id, &mut out, &mut |_, _| ())
                .is_err()
        );
        for _ in 0..3 {
            produce
                .answers(id, &mut out, &mut |number, records| {
                    done.push((number, records));
                })
                .unwrap();
        }
        assert_eq!(done, [(0, 1), (0, 1), (1, 1)]);
        let refused = produce.answers(b"-OOM\r\n", &mut out, &mut |_, _| ());
        assert!(refused.is_err());
    }
}
