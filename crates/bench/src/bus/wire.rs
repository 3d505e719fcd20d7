//! What the load needs of a protocol, and nothing else of a peer: streams are made, requests become bytes, answers become
//! acknowledgements, and what is stored is read back.
//!
//! A stream is one partition: of a topic in the Kafka protocol, a stream of its own in Redis and NATS. A request is a
//! batch of records for one partition. All values come from [`super::payload`], so every peer stores the same bytes.
//!
//! Clients here are raw on purpose: on two cores a client that costs more than its server would be what is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(super) mod kafka;
pub(super) mod nats;
pub(super) mod redis;

/// Bytes of a record's value.
pub(super) const RECORD_BYTES: usize = 100;

/// How long a server may take for anything before it counts as hung.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server that was started again may read its data back.
const RECOVERY: Duration = Duration::from_mins(5);

/// Bytes asked of a socket at once.
const READ_BYTES: usize = 256 << 10;

/// Where something goes wrong, all of it is lost: the run fails.
pub(super) trait Protocol: Send + Sync {
    /// Makes the partitions 0 to `partitions` and waits until they take records.
    fn create(&self, partitions: u16) -> Result<()>;

    /// Waits until a server that was started again serves what is stored in the partitions 0 to `partitions`.
    fn recovered(&self, partitions: u16) -> Result<()>;

    /// A connection that sends batches of `batch` records, and what it speaks.
    fn producer(&self, producer: u16, batch: u32) -> Result<(TcpStream, Box<dyn Wire>)>;

    /// Reads one partition from its first record on. With a group it can also commit.
    fn reader(&self, partition: u16, group: bool) -> Result<Box<dyn Reader>>;
}

/// Asks until the answer is no error; the error when there is only that for [`RECOVERY`].
fn until_it_serves(mut ask: impl FnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > RECOVERY => {
                return Err(error.context(format!("it does not serve its data after {RECOVERY:?}")));
            }
            Err(_) => super::pause(Duration::from_millis(20)),
        }
    }
}

/// Takes a request's number and how many of its records were acknowledged.
pub(super) type Done<'a> = &'a mut dyn FnMut(u64, u32);

/// One producer's end of a connection, without the connection.
pub(super) trait Wire: Send {
    /// Appends the next request: a full batch for `partition`, whose records are numbered from `first`.
    fn request(&mut self, out: &mut Vec<u8>, partition: u16, first: u64);

    /// Takes whole answers off the front of `input` and answers how many bytes were taken. `done` is told of every
    /// acknowledgement: the number of its request (they count from 0) and how many of its records it covers. What must be
    /// said in return goes to `out`.
    fn answers(&mut self, input: &[u8], out: &mut Vec<u8>, done: Done<'_>) -> Result<usize>;
}

/// One consumer of one partition.
pub(super) trait Reader: Send {
    /// Waits up to `wait` for records, gives their values to `take` in the order of the partition, and answers how many.
    fn read(&mut self, wait: Duration, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize>;

    /// Commits all that was read, and waits for the acknowledgement.
    fn commit(&mut self) -> Result<()>;
}

/// A blocking connection with a buffer of what was read and not yet taken.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Line {
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: vec![0; READ_BYTES],
            taken: 0,
            filled: 0,
        })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// What was read and not yet taken.
    pub(super) fn input(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Reads more; whether something came within `wait`.
    pub(super) fn more(&mut self, wait: Duration) -> Result<bool> {
        if self.taken > 0 {
            self.buffer.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
        if self.buffer.len() - self.filled < READ_BYTES {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        self.stream
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads more of an answer that must come.
    pub(super) fn must(&mut self) -> Result<()> {
        if !self.more(PATIENCE)? {
            bail!("no answer within {PATIENCE:?}");
        }
        Ok(())
    }

    /// The connection for the load, once nothing is left to be read.
    pub(super) fn into_stream(self) -> Result<TcpStream> {
        if self.taken != self.filled {
            bail!("the server said more than it was asked for");
        }
        self.stream.set_read_timeout(None)?;
        Ok(self.stream)
    }
}
