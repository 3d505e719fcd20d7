//! One connection: reads requests, has them served, writes answers in the order of requests.
//!
//! Problem: a producer keeps several requests in flight and wants them to share one flush of the
//! log; everything else must look as if requests were served one after another; and neither a
//! client that sends without end nor one that never reads may cost more than its share of memory.
//!
//! Answer: two loops in one task with a bounded queue between them.
//!
//! ```text
//!  socket ─> Reader ─ checks, decodes, charges memory ─> queue ─> Writer ─ serves, writes ─> socket
//!                 └─ produce requests are begun here, so that they overlap in the log ─┘
//! ```
//!
//! Invariants:
//! - Answers leave in the order of requests; those that are ready leave together.
//! - A produce request is begun before its turn only while everything before it in the queue is a
//!   produce request that has begun too; so batches reach the log in the order they came.
//! - Nothing is read while the queue is full or the memory budget is used up; nothing is served
//!   while the client does not take the answer before. A slow peer is closed, see [`RATE_MIN`].
//! - Before a produce request is begun it waits for its turn at the log, and so does everything behind it; an answer
//!   may ask the client to pause, and for as long nothing is read from it (KIP-219). See `pressure`.
//! - When the client is gone or the endpoint stops, waiting requests are cut short through
//!   [`Peer::gone`], begun appends are seen through.
//!
//! Not here: what a request does (`dispatch` and `api`).

mod mute;
mod reader;
mod writer;

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use kafka_wire::Request;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::budget::Held;
use crate::context::{Call, Fatal, Peer, Shared};
use crate::events::End;
use crate::options::RATE_MIN;
use mute::Mute;
use reader::Reader;
use writer::Writer;

/// An answer in the making.
type Making = Pin<Box<dyn Future<Output = Result<Answer, Fatal>> + Send>>;

/// One request in the queue.
struct Work {
    task: Task,
    api: Option<kafka_wire::Api>,
    /// When it was read whole, on the monotonic clock.
    received: Duration,
    /// The memory of its bytes and decoded form; given back when the answer is made.
    held: Held,
}

enum Task {
    /// Nothing left to do.
    Ready(Answer),
    /// Begun by the reader.
    Begun(Making),
    /// To be served in its turn.
    Serial(Box<Call>, Box<Request>),
}

/// What both loops count.
#[derive(Default)]
struct Counts {
    /// Requests in the queue or being served that were not begun by the reader.
    serial: AtomicUsize,
    /// Requests not yet answered.
    open: AtomicUsize,
    /// Until when nothing is taken from the client.
    mute: Mute,
}

/// A client's connection.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        stream: TcpStream,
        peer: SocketAddr,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            stream,
            peer,
            stop,
        }
    }

    /// Serves until one side has enough.
    pub(crate) async fn run(mut self) {
        let end = match self.serve().await {
            Ok(end) => end,
            Err(error) => End::Io(error),
        };
        end.happened(self.peer, &self.shared.metrics);
    }

    async fn serve(&mut self) -> std::io::Result<End> {
        self.stream.set_nodelay(true)?;
        let peer = Peer {
            address: self.peer,
            local: self.stream.local_addr()?,
            gone: self.stop.child_token(),
            pacer: Arc::default(),
        };
        let counts = Counts::default();
        let (read, write) = self.stream.split();
        let (sender, receiver) = mpsc::channel(self.shared.options.requests_in_flight_max);
        let reader = Reader::new(&self.shared, &peer, &self.stop, &counts, read, sender);
        let writer = Writer::new(&self.shared, &counts, write, receiver);
        // Boxed: both hold buffers, and most connections sleep most of the time.
        let mut reader = Box::pin(reader.run());
        let mut writer = pin!(writer.run());
        let ended = tokio::select! {
            biased;
            end = &mut writer => return Ok(end),
            end = &mut reader => end,
        };
        // The queue closes with the reader: what is in it is still answered.
        drop(reader);
        peer.gone.cancel();
        Ok(match writer.await {
            End::Closed => ended,
            failed => failed,
        })
    }
}

/// The time a peer gets to send or take so many bytes.
fn allowance(stall: Duration, bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    stall.saturating_add(Duration::from_millis(
        bytes.saturating_mul(1_000) / RATE_MIN,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_transfers_get_more_time() {
        let stall = Duration::from_secs(30);
        assert_eq!(allowance(stall, 0), stall);
        assert_eq!(allowance(stall, 1 << 20), Duration::from_secs(46));
    }
}
