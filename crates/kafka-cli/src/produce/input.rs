//! Bytes become lines, on a thread of their own, as reading a terminal or a pipe blocks.
//!
//! Invariants: what the thread has read is either in a chunk or counted by [`Input::partial`]; at most
//! [`CHUNKS_MAX`] chunks wait; a line is at most [`LINE_BYTES_MAX`] long.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::limits::BATCH_BYTES_MAX;
use tokio::sync::mpsc;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Chunks that may wait; when full the thread stops reading.
const CHUNKS_MAX: usize = 4;

/// No server takes a larger record.
const LINE_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Some lines.
#[derive(Debug)]
pub(super) struct Chunk {
    first: u64,
    bytes: Vec<u8>,
    /// Where each line ends, and where the next one begins.
    ends: Vec<(usize, usize)>,
}

impl Chunk {
    /// Each with its number, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        let lines = self.ends.iter().map(move |(end, next)| {
            let line = &self.bytes[start..*end];
            start = *next;
            line
        });
        (self.first..).zip(lines)
    }
}

/// What the thread tells beside its chunks.
#[derive(Debug, Default)]
struct Told {
    /// It holds lines that are not in the queue yet.
    holding: AtomicBool,
    /// Bytes of a line whose end was not read yet.
    partial: AtomicUsize,
}

/// Lines on their way in.
#[derive(Debug)]
pub(super) struct Input {
    chunks: mpsc::Receiver<io::Result<Chunk>>,
    told: Arc<Told>,
}

impl Input {
    /// Reads `from` to its end; as one record if it is to be taken whole.
    pub(super) fn start(from: Box<dyn Read + Send>, whole: bool) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let told = Arc::new(Told::default());
        let thread = Reading {
            from,
            whole,
            sender,
            told: Arc::clone(&told),
            lines: 0,
        };
        std::thread::spawn(move || thread.run());
        Self { chunks, told }
    }

    /// Values that are there already.
    pub(super) fn of_values(values: &[String]) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(values.len());
        for value in values {
            bytes.extend_from_slice(value.as_bytes());
            ends.push((bytes.len(), bytes.len()));
        }
        // The queue is empty, so it has room.
        drop(sender.try_send(Ok(Chunk {
            first: 1,
            bytes,
            ends,
        })));
        Self {
            chunks,
            told: Arc::default(),
        }
    }

    /// The next lines; none at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<Chunk>> {
        self.chunks.recv().await
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_idle(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The next lines that were read already; none when the thread waits for its source.
    pub(super) async fn rest(&mut self) -> Option<io::Result<Chunk>> {
        loop {
            match self.chunks.try_recv() {
                Ok(chunk) => return Some(chunk),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                // Looked at before the queue is looked at again: what it holds comes there first.
                Err(mpsc::error::TryRecvError::Empty) => {
                    if !self.told.holding.load(Ordering::SeqCst) {
                        return self.chunks.try_recv().ok();
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Bytes of a line whose end was not read.
    pub(super) fn partial(&self) -> usize {
        self.told.partial.load(Ordering::SeqCst)
    }
}

struct Reading {
    from: Box<dyn Read + Send>,
    whole: bool,
    sender: mpsc::Sender<io::Result<Chunk>>,
    told: Arc<Told>,
    lines: u64,
}

impl Reading {
    fn run(mut self) {
        let mut rest = Vec::new();
        loop {
            let kept = rest.len();
            rest.resize(kept + READ_BYTES, 0);
            let read = self.from.read(&mut rest[kept..]);
            self.told.holding.store(true, Ordering::SeqCst);
            let read = match read {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    rest.truncate(kept);
                    self.told.holding.store(false, Ordering::SeqCst);
                    continue;
                }
                Err(error) => return self.end(Err(error)),
            };
            rest.truncate(kept + read);
            if read == 0 {
                let last = (!rest.is_empty()).then(|| {
                    let end = (rest.len(), rest.len());
                    self.chunk(std::mem::take(&mut rest), vec![end])
                });
                self.told.partial.store(0, Ordering::SeqCst);
                if let Some(last) = last {
                    self.end(Ok(last));
                }
                return;
            }
            let ends = if self.whole {
                Vec::new()
            } else {
                line_ends(&rest, kept)
            };
            let next = ends.last().map_or(0, |(_, next)| *next);
            let left = rest.split_off(next);
            let lines = std::mem::replace(&mut rest, left);
            self.told.partial.store(rest.len(), Ordering::SeqCst);
            if rest.len() > LINE_BYTES_MAX {
                let number = self.lines + 1;
                let what = format!("line {number} has more than {LINE_BYTES_MAX} bytes");
                return self.end(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
            if !ends.is_empty() {
                let chunk = self.chunk(lines, ends);
                if self.sender.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
            }
            self.told.holding.store(false, Ordering::SeqCst);
        }
    }

    fn chunk(&mut self, bytes: Vec<u8>, ends: Vec<(usize, usize)>) -> Chunk {
        let first = self.lines + 1;
        self.lines += u64::try_from(ends.len()).unwrap_or(u64::MAX);
        Chunk { first, bytes, ends }
    }

    fn end(&self, last: io::Result<Chunk>) {
        // Nobody takes it any more: then nobody misses it.
        drop(self.sender.blocking_send(last));
        self.told.holding.store(false, Ordering::SeqCst);
    }
}

/// Where lines end in `bytes`, of which those before `from` have no line end.
fn line_ends(bytes: &[u8], from: usize) -> Vec<(usize, usize)> {
    let ends = bytes.iter().enumerate().skip(from);
    ends.filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| (at, at + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `text` in pieces of `size` bytes.
    struct Pieces(Vec<u8>, usize);

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(into.len());
            into[..size].copy_from_slice(&self.0[..size]);
            self.0.drain(..size);
            Ok(size)
        }
    }

    async fn read(text: &str, size: usize, whole: bool) -> Vec<(u64, String)> {
        let mut input = Input::start(Box::new(Pieces(text.into(), size)), whole);
        let mut lines = Vec::new();
        while let Some(chunk) = input.next().await {
            let chunk = chunk.unwrap();
            let texts = chunk.lines();
            lines.extend(texts.map(|(n, line)| (n, String::from_utf8(line.to_vec()).unwrap())));
        }
        lines
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_read() {
        let text = "one\n\nthree is longer\nlast without end";
        let expected = ["one", "", "three is longer", "last without end"];
        let expected: Vec<_> = (1..).zip(expected.map(str::to_owned)).collect();
        for size in 1..=text.len() {
            assert_eq!(
                read(text, size, false).await,
                expected,
                "in pieces of {size}"
            );
        }
        assert_eq!(read("", 1, false).await, []);
        assert_eq!(read("a\n", 9, false).await, [(1, "a".to_owned())]);
        assert_eq!(read("a\nb\n", 3, true).await, [(1, "a\nb\n".to_owned())]);
    }

    /// Gives its text, then never anything more.
    struct Stuck(Option<&'static [u8]>, std::sync::mpsc::Receiver<()>);

    impl Read for Stuck {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some(text) = self.0.take() else {
                let _ = self.1.recv();
                return Ok(0);
            };
            into[..text.len()].copy_from_slice(text);
            Ok(text.len())
        }
    }

    #[tokio::test]
    async fn what_was_read_can_be_taken_while_the_source_is_stuck() {
        let (release, stuck) = std::sync::mpsc::sync_channel(1);
        let mut input = Input::start(Box::new(Stuck(Some(b"a\nb\nhalf"), stuck)), false);
        // The thread has read when it tells of half a line.
        while input.partial() == 0 {
            tokio::task::yield_now().await;
        }
        let chunk = input.rest().await.unwrap().unwrap();
        assert_eq!(chunk.lines().count(), 2);
        assert!(input.rest().await.is_none());
        assert_eq!(input.partial(), 4);
        drop(release);
    }
}
