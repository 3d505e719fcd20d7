//! The reading half: bytes to requests, as fast as memory and the queue allow.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;

use admission::Refused;
use bytes::{Bytes, BytesMut};
use kafka_wire::messages::ProduceRequest;
use kafka_wire::{Api, CheckedRequest, DecodeError, Request, Splitter};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Counts, Task, Work, allowance};
use crate::answer::Answer;
use crate::api::produce::{self, Ready};
use crate::budget::Held;
use crate::context::{Call, Peer, Shared};
use crate::events::End;
use crate::pressure::Meter;

/// Bytes each connection may buffer without asking the budget.
const FREE_BYTES: usize = 16 << 10;

/// Room for a read at first: a request of one small record. Of this size a buffer comes from the allocator's
/// front shelf, still warm in the cache; one of [`FREE_BYTES`] for each small request does not.
const ROOM_MIN: usize = 1 << 10;

/// Room grows and shrinks by this factor, with reads that fill it and with a run of reads that leave it empty.
const ROOM_STEP: usize = 4;
const ROOM_SHRINKS_AFTER: u32 = 16;

/// Room for the rest of a large request grows by this factor, as bytes really arrive: who announces
/// much and sends little holds little.
const GROWTH: usize = 4;

pub(super) struct Reader<'a> {
    shared: &'a std::sync::Arc<Shared>,
    peer: &'a Peer,
    stop: &'a CancellationToken,
    counts: &'a Counts,
    read: ReadHalf<'a>,
    queue: mpsc::Sender<Work>,
    splitter: Splitter,
    buffer: BytesMut,
    /// Room that a read is given when nothing is known of what comes.
    room: Room,
    /// The memory of the request that is arriving.
    held: Option<Held>,
    /// When the request that is arriving, or the wait for it, began.
    began: Instant,
    /// When something last arrived.
    heard: Instant,
}

/// How much comes with a read: small requests come one by one, or many at a time.
#[derive(Debug)]
struct Room {
    bytes: usize,
    /// Reads in a row that needed far less.
    spare: u32,
}

impl Room {
    /// A read took `read` of the `given` bytes.
    fn took(&mut self, read: usize, given: usize) {
        if read >= given {
            self.bytes = (self.bytes * ROOM_STEP).min(FREE_BYTES);
        } else if read * ROOM_STEP < self.bytes {
            self.spare += 1;
            if self.spare < ROOM_SHRINKS_AFTER {
                return;
            }
            self.bytes = (self.bytes / ROOM_STEP).max(ROOM_MIN);
        }
        self.spare = 0;
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        shared: &'a std::sync::Arc<Shared>,
        peer: &'a Peer,
        stop: &'a CancellationToken,
        counts: &'a Counts,
        read: ReadHalf<'a>,
        queue: mpsc::Sender<Work>,
    ) -> Self {
        Self {
            splitter: Splitter::requests(shared.options.request_bytes_max.as_usize()),
            shared,
            peer,
            stop,
            counts,
            read,
            queue,
            buffer: BytesMut::new(),
            room: Room {
                bytes: ROOM_MIN,
                spare: 0,
            },
            held: None,
            began: Instant::now(),
            heard: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.pause().await {
                return end;
            }
            let step = match self.splitter.next(&mut self.buffer) {
                Ok(Some(frame)) => self.deliver(frame).await,
                Ok(None) => self.receive().await,
                Err(error) => Err(End::Frame(error)),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Takes nothing while the client is to pause, whether it does or not.
    async fn pause(&mut self) -> Result<(), End> {
        while let Some(until) = self.counts.mute.until() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                () = sleep_until(until) => (),
            }
            // That time was ours.
            self.began = Instant::now();
            self.heard = self.began;
        }
        Ok(())
    }

    /// Reads once, within the time and the memory there is.
    async fn receive(&mut self) -> Result<(), End> {
        let options = &self.shared.options;
        let arrived = self.buffer.len();
        let deadline = if arrived == 0 {
            self.began + options.idle_timeout
        } else {
            let enough = self.began + allowance(options.stall_timeout, arrived);
            enough.min(self.heard + options.stall_timeout)
        };
        self.make_room(deadline).await?;
        let given = self.buffer.capacity() - arrived;
        let read = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(End::Stopped),
            read = self.read.read_buf(&mut self.buffer) => read.map_err(End::Io)?,
            () = sleep_until(deadline) => return self.late(arrived),
        };
        if read == 0 {
            return Err(End::Closed);
        }
        self.room.took(read, given);
        self.heard = Instant::now();
        if arrived == 0 {
            self.began = self.heard;
        }
        self.shared
            .metrics
            .bytes_in
            .inc_by(u64::try_from(read).unwrap_or_default());
        Ok(())
    }

    fn late(&mut self, arrived: usize) -> Result<(), End> {
        if arrived > 0 {
            return Err(End::Stalled {
                what: "sending a request",
                bytes: arrived,
            });
        }
        if self.counts.open.load(Ordering::Relaxed) == 0 {
            return Err(End::Idle);
        }
        // Someone waits for an answer: that is not idle.
        self.began = Instant::now();
        Ok(())
    }

    /// Reserves buffer for more of the request at the front, charged beyond [`FREE_BYTES`].
    async fn make_room(&mut self, deadline: Instant) -> Result<(), End> {
        let arrived = self.buffer.len();
        let missing = self.splitter.missing(&self.buffer).map_err(End::Frame)?;
        let whole = arrived + missing.unwrap_or(self.room.bytes);
        let target = whole.min(FREE_BYTES.max(arrived.saturating_mul(GROWTH)));
        if target > FREE_BYTES {
            self.charge(target, deadline).await?;
        }
        // More may come behind it.
        let target = target.max((arrived + self.room.bytes).min(FREE_BYTES));
        if arrived == 0 && self.buffer.capacity() < target {
            // Not `reserve`, which allocates as much as it once did, however little is wanted now.
            self.buffer = BytesMut::with_capacity(target);
        } else {
            self.buffer.reserve(target - arrived);
        }
        Ok(())
    }

    /// Holds at least `bytes` of the budget for the request that is arriving.
    async fn charge(&mut self, bytes: usize, deadline: Instant) -> Result<(), End> {
        let have = self.held.as_ref().map_or(0, Held::bytes);
        let Some(more) = bytes.checked_sub(have).filter(|more| *more > 0) else {
            return Ok(());
        };
        let budget = &self.shared.requests;
        let taken = tokio::select! {
            biased;
            taken = budget.take(more) => taken,
            () = self.stop.cancelled() => return Err(End::Stopped),
            () = sleep_until(deadline) => {
                return Err(End::Stalled {
                    what: "waiting for memory for a request",
                    bytes: self.buffer.len(),
                });
            }
        };
        match &mut self.held {
            Some(held) => held.merge(taken),
            held @ None => *held = Some(taken),
        }
        Ok(())
    }

    /// Checks a whole request and queues it.
    async fn deliver(&mut self, frame: Bytes) -> Result<(), End> {
        let size = frame.len();
        let received = self.shared.clock.monotonic();
        let checked = match CheckedRequest::parse(frame) {
            Ok(checked) => checked,
            Err(DecodeError::UnsupportedVersion {
                api: Api::ApiVersions,
                correlation_id,
                ..
            }) => {
                let frame = kafka_wire::unsupported_version_answer(correlation_id);
                let answer = Answer::frame(frame.map_err(End::Answer)?);
                return self.queue(Task::Ready(answer), None, received, size).await;
            }
            Err(error) => return Err(End::Request(error)),
        };
        let api = checked.header().api;
        let bytes = size.saturating_add(checked.decoded_bytes());
        let decoded = if bytes > size {
            // Charged before it is decoded.
            self.charge(bytes, self.patience()).await?;
            checked.decode()
        } else {
            checked.decode()
        };
        let decoded = decoded.map_err(End::Request)?;
        let call = Call {
            shared: self.shared.clone(),
            peer: self.peer.clone(),
            header: decoded.header,
        };
        let task = match decoded.request {
            Request::Produce(request) if self.counts.serial.load(Ordering::Relaxed) == 0 => {
                let ready = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Err(End::Stopped),
                    ready = produce::ready(&call, &request) => ready,
                };
                begin(call, request, ready).await
            }
            request => {
                self.counts.serial.fetch_add(1, Ordering::Relaxed);
                Task::Serial(Box::new(call), Box::new(request))
            }
        };
        self.queue(task, Some(api), received, bytes).await
    }

    async fn queue(
        &mut self,
        task: Task,
        api: Option<Api>,
        received: std::time::Duration,
        bytes: usize,
    ) -> Result<(), End> {
        self.charge(bytes, self.patience()).await?;
        let Some(held) = self.held.take() else {
            return Err(End::Closed);
        };
        let work = Work {
            task,
            api,
            received,
            held,
        };
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        // The time the writer takes is not the client's.
        let sent = self.queue.send(work).await;
        self.began = Instant::now();
        self.heard = self.began;
        // Only a writer that has ended leaves the queue, and with it this loop.
        sent.map_err(|_| End::Closed)
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.shared.options.stall_timeout
    }
}

/// Begins a produce request: after the first poll its batches are in the broker's queue, or next in
/// the line before it. Polled without tokio's budget for fairness, which could send it away from a
/// queue with room and let the request behind it pass.
async fn begin(call: Call, request: ProduceRequest, ready: Result<Ready, Refused>) -> Task {
    let meter = Meter::of(&call);
    let making = meter.run(produce::produce(call, request, ready));
    let making = unconstrained(making);
    let mut making: super::Making = Box::pin(making);
    let first = poll_fn(|context| Poll::Ready(making.as_mut().poll(context))).await;
    match first {
        Poll::Ready(Ok(answer)) => Task::Ready(answer),
        Poll::Ready(Err(fatal)) => Task::Begun(Box::pin(async { Err(fatal) })),
        Poll::Pending => Task::Begun(making),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_what_comes() {
        let mut room = Room {
            bytes: ROOM_MIN,
            spare: 0,
        };
        // Small requests, one at a time.
        for _ in 0..100 {
            room.took(250, room.bytes);
        }
        assert_eq!(room.bytes, ROOM_MIN);
        // As much as there is room for: many at a time.
        room.took(ROOM_MIN, ROOM_MIN);
        room.took(4 * ROOM_MIN, 4 * ROOM_MIN);
        room.took(FREE_BYTES, FREE_BYTES);
        assert_eq!(room.bytes, FREE_BYTES);
        // One that is small among larger ones changes nothing, a run of them does.
        for _ in 0..100 {
            room.took(250, room.bytes);
            room.took(10_000, room.bytes);
        }
        assert_eq!(room.bytes, FREE_BYTES);
        for _ in 0..2 * ROOM_SHRINKS_AFTER {
            room.took(250, room.bytes);
        }
        assert_eq!(room.bytes, ROOM_MIN);
    }
}
