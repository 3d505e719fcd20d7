//! One connection: reads requests, has them served, writes answers in the order of requests.
//!
//! Problem: a producer keeps several requests in flight and wants them to share one flush of the
//! log; everything else must look as if requests were served one after another; and neither a
//! client that sends without end nor one that never reads may cost more than its share of memory.
//!
//! Answer: two loops in one task with a bounded queue between them. A small request is two polls of that task, one when it has
//! arrived and one when it is appended; beside its system calls it takes no timer, no lock that connections share but that
//! of the log's queue and line, and wakes nobody in here.
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
//! - Produce requests that arrive together are begun and answered together, see `api::produce`'s `run`.
//! - Before a produce request is begun it waits for its turn at the log, and so does everything behind it; an answer
//!   may ask the client to pause, and for as long nothing is read from it (KIP-219). See `pressure`.
//! - When the client is gone or the endpoint stops, waiting requests are cut short through
//!   [`Peer::gone`], begun appends are seen through.
//!
//! Not here: what a request does (`dispatch` and `api`).

mod alarm;
mod arriving;
mod mute;
mod queue;
mod reader;
mod stopping;
mod writer;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::Duration;

use kafka_wire::Request;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::api::produce::Begun;
use crate::budget::Held;
use crate::context::{Call, Peer, Shared};
use crate::events::End;
use crate::options::RATE_MIN;
use mute::Mute;
use queue::Queue;
use reader::Reader;
use stopping::Stopping;
use writer::Writer;

/// One request in the queue, or several that are answered together.
struct Work<'a> {
    task: Task<'a>,
    arrived: Arrived,
    /// The memory of its bytes and decoded form; given back when the answer is made.
    held: Held,
}

/// What came, and when.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    api: Option<kafka_wire::Api>,
    requests: usize,
    /// When the first was read whole, on the monotonic clock.
    at: Duration,
}

enum Task<'a> {
    /// Nothing left to do.
    Ready(Answer),
    /// Produce requests, begun by the reader.
    Begun(Box<Begun<'a>>),
    /// To be served in its turn.
    Serial(Box<Call>, Box<Request>),
}

/// What both loops count and heed.
#[derive(Default)]
struct Counts {
    /// Requests in the queue or being served that were not begun by the reader.
    serial: AtomicUsize,
    /// Until when nothing is taken from the client.
    mute: Mute,
    /// The endpoint stops.
    stopping: Stopping,
}

/// Which loop ended first, and how.
enum Ended {
    Reading(End),
    Writing(End),
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
        let peer = Arc::new(Peer {
            address: self.peer,
            local: self.stream.local_addr()?,
            gone: self.stop.child_token(),
            pacer: parking_lot::Mutex::default(),
        });
        let counts = Counts::default();
        let (read, write) = self.stream.split();
        let queue = Queue::new(self.shared.options.requests_in_flight_max);
        let reader = Reader::new(&self.shared, &peer, &self.stop, &counts, read, &queue);
        let writer = Writer::new(&self.shared, &counts, write, &queue);
        // Boxed: both hold buffers, and most connections sleep most of the time.
        let mut reader = Box::pin(reader.run());
        let mut writer = pin!(writer.run());
        let mut stop = pin!(self.stop.cancelled());
        let mut begun = false;
        let ended = poll_fn(|context| {
            if begun {
                counts.stopping.heed(context);
            } else {
                begun = true;
                counts.stopping.wait_for(stop.as_mut(), context);
            }
            loop {
                if let Poll::Ready(end) = writer.as_mut().poll(context) {
                    return Poll::Ready(Ended::Writing(end));
                }
                if let Poll::Ready(end) = reader.as_mut().poll(context) {
                    return Poll::Ready(Ended::Reading(end));
                }
                if !queue.writer_called() {
                    return Poll::Pending;
                }
                if let Poll::Ready(end) = writer.as_mut().poll(context) {
                    return Poll::Ready(Ended::Writing(end));
                }
                if !queue.reader_called() {
                    return Poll::Pending;
                }
            }
        });
        let ended = match ended.await {
            Ended::Writing(end) => return Ok(end),
            Ended::Reading(end) => end,
        };
        // What is in the queue is still answered.
        queue.close();
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
