//! The reading half: bytes to requests, as fast as memory and the queue allow.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use kafka_wire::{Api, CheckedRequest, DecodeError, Decoded, Request, Splitter};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::arriving::{Arriving, FREE_BYTES};
use super::queue::Queue;
use super::{Arrived, Counts, Task, Work, allowance};
use crate::answer::Answer;
use crate::api::produce::Run;
use crate::budget::Held;
use crate::context::{Call, Peer, Shared};
use crate::events::End;

/// A produce request that joins others is at most so large: what is larger has its own costs.
const JOINED_BYTES_MAX: usize = 4 << 10;

pub(super) struct Reader<'s, 'a> {
    shared: &'s Arc<Shared>,
    peer: &'a Arc<Peer>,
    stop: &'a CancellationToken,
    counts: &'a Counts,
    read: ReadHalf<'a>,
    queue: &'a Queue<Work<'s>>,
    splitter: Splitter,
    buffer: Arriving,
    /// Taken from the buffer, and not served with those before it.
    ahead: Option<Taken>,
    /// The memory of the request that is arriving.
    held: Option<Held>,
    /// When the request that is arriving, or the wait for it, began.
    began: Instant,
    /// When something last arrived.
    heard: Instant,
    /// Something arrived since, and whether it was the first of a request; when, is looked up only if that was not all of
    /// it.
    unheard: Option<bool>,
    alarm: Alarm,
}

/// A request that is decoded.
struct Taken {
    decoded: Decoded,
    /// Of its frame and its decoded form.
    bytes: usize,
}

impl<'s, 'a> Reader<'s, 'a> {
    pub(super) fn new(
        shared: &'s Arc<Shared>,
        peer: &'a Arc<Peer>,
        stop: &'a CancellationToken,
        counts: &'a Counts,
        read: ReadHalf<'a>,
        queue: &'a Queue<Work<'s>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            splitter: Splitter::requests(shared.options.request_bytes_max.as_usize()),
            shared,
            peer,
            stop,
            counts,
            read,
            queue,
            buffer: Arriving::new(),
            ahead: None,
            held: None,
            began: now,
            heard: now,
            unheard: None,
            alarm: Alarm::new(now + shared.options.idle_timeout),
        }
    }

    pub(super) async fn run(mut self) -> End {
        loop {
            if self.counts.stopping.is_set() {
                return End::Stopped;
            }
            if let Err(end) = self.pause().await {
                return end;
            }
            let step = match self.ahead.take() {
                Some(taken) => self.begin(taken).await,
                None => match self.splitter.next(&mut self.buffer.bytes) {
                    Ok(Some(frame)) => self.deliver(frame).await,
                    Ok(None) => self.receive().await,
                    Err(error) => Err(End::Frame(error)),
                },
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
        if let Some(first) = self.unheard.take() {
            self.heard = Instant::now();
            if first {
                self.began = self.heard;
            }
        }
        let deadline = if arrived == 0 {
            self.began + options.idle_timeout
        } else {
            let enough = self.began + allowance(options.stall_timeout, arrived);
            enough.min(self.heard + options.stall_timeout)
        };
        let missing = self.splitter.missing(&self.buffer.bytes);
        let wanted = self.buffer.wanted(missing.map_err(End::Frame)?);
        if wanted > FREE_BYTES {
            self.charge(wanted, Some(deadline)).await?;
        }
        let Some((read, given)) =
            poll_fn(|context| self.poll_receive(wanted, deadline, context)).await?
        else {
            return self.late(arrived);
        };
        if read == 0 {
            return Err(End::Closed);
        }
        self.buffer.took(read, given);
        self.unheard = Some(arrived == 0);
        self.shared
            .metrics
            .bytes_in
            .inc_by(u64::try_from(read).unwrap_or_default());
        Ok(())
    }

    /// Reads once there is something, into room of which there is none before that; answers how much came and how much could
    /// have. `None` when the deadline is over.
    fn poll_receive(
        &mut self,
        wanted: usize,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<(usize, usize)>, End>> {
        if self.counts.stopping.is_set() {
            return Poll::Ready(Err(End::Stopped));
        }
        let socket = self.read.as_ref();
        if socket.poll_read_ready(context).map_err(End::Io)?.is_ready() {
            let given = self.buffer.make_room(wanted);
            let reading = pin!(self.read.read_buf(&mut self.buffer.bytes));
            if let Poll::Ready(read) = reading.poll(context) {
                return Poll::Ready(read.map(|read| Some((read, given))).map_err(End::Io));
            }
        }
        ready!(self.alarm.poll(deadline, context));
        Poll::Ready(Ok(None))
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

    /// Holds at least `bytes` of the budget for the request that is arriving, which may take until `deadline`, or else as
    /// long as a client that stalls.
    async fn charge(&mut self, bytes: usize, deadline: Option<Instant>) -> Result<(), End> {
        let have = self.held.as_ref().map_or(0, Held::bytes);
        let Some(more) = bytes.checked_sub(have).filter(|more| *more > 0) else {
            return Ok(());
        };
        let budget = &self.shared.requests;
        let taken = if let Some(taken) = budget.try_take(more) {
            taken
        } else {
            let stalled = || Instant::now() + self.shared.options.stall_timeout;
            tokio::select! {
                biased;
                taken = budget.take(more) => taken,
                () = self.stop.cancelled() => return Err(End::Stopped),
                () = sleep_until(deadline.unwrap_or_else(stalled)) => {
                    return Err(End::Stalled {
                        what: "waiting for memory for a request",
                        bytes: self.buffer.len(),
                    });
                }
            }
        };
        match &mut self.held {
            Some(held) => held.merge(taken),
            held @ None => *held = Some(taken),
        }
        Ok(())
    }

    /// Decodes a whole request and queues it, with those behind it that come along.
    async fn deliver(&mut self, frame: Bytes) -> Result<(), End> {
        let size = frame.len();
        match self.decode(frame, 0).await {
            Ok(taken) => self.begin(taken).await,
            Err(End::Request(DecodeError::UnsupportedVersion {
                api: Api::ApiVersions,
                correlation_id,
                ..
            })) => {
                let frame = kafka_wire::unsupported_version_answer(correlation_id);
                let answer = Answer::frame(frame.map_err(End::Answer)?);
                let arrived = self.arrived(None);
                self.queue(Task::Ready(answer), arrived, size).await
            }
            Err(end) => Err(end),
        }
    }

    /// Decodes a request, once there is memory for it beside the `others` bytes.
    async fn decode(&mut self, frame: Bytes, others: usize) -> Result<Taken, End> {
        let size = frame.len();
        let checked = CheckedRequest::parse(frame).map_err(End::Request)?;
        let bytes = size.saturating_add(checked.decoded_bytes());
        self.charge(others.saturating_add(bytes), None).await?;
        let decoded = checked.decode().map_err(End::Request)?;
        Ok(Taken { decoded, bytes })
    }

    fn arrived(&self, api: Option<Api>) -> Arrived {
        Arrived {
            api,
            requests: 1,
            at: self.shared.clock.monotonic(),
        }
    }

    async fn begin(&mut self, taken: Taken) -> Result<(), End> {
        let Taken { decoded, bytes } = taken;
        let mut arrived = self.arrived(Some(decoded.header.api));
        let call = Call {
            shared: Arc::clone(self.shared),
            peer: Arc::clone(self.peer),
            header: decoded.header,
        };
        match decoded.request {
            Request::Produce(request) if self.counts.serial.load(Ordering::Relaxed) == 0 => {
                let stop = self.stop;
                let run = async {
                    let mut run = Run::of(call, request).await;
                    let ended = self.extend(&mut run, bytes).await;
                    (run.len(), ended, run.ready().await)
                };
                let (requests, ended, ready) = tokio::select! {
                    biased;
                    run = run => run,
                    () = stop.cancelled() => return Err(End::Stopped),
                };
                arrived.requests = requests;
                self.counts.mute.set(ready.owed());
                let begun = ready.begin(self.shared).await;
                let task = Task::Begun(Box::new(begun));
                self.queue(task, arrived, bytes).await?;
                // What came before a request that ends the connection is served.
                ended
            }
            request => {
                self.counts.serial.fetch_add(1, Ordering::Relaxed);
                let task = Task::Serial(Box::new(call), Box::new(request));
                self.queue(task, arrived, bytes).await
            }
        }
    }

    /// Adds to a run of `bytes` bytes what has arrived whole behind it and goes along: small produce requests of the same
    /// client.
    async fn extend(&mut self, run: &mut Run, mut bytes: usize) -> Result<(), End> {
        let open = self.counts.open.load(Ordering::Relaxed);
        let limit = self.shared.options.requests_in_flight_max;
        while run.has_room() && open + run.len() < limit {
            let next = self.splitter.peek(&self.buffer.bytes);
            if !next.is_some_and(|frame| frame.len() <= JOINED_BYTES_MAX && run.takes(frame)) {
                break;
            }
            let frame = self.splitter.next(&mut self.buffer.bytes);
            let Some(frame) = frame.map_err(End::Frame)? else {
                break;
            };
            let taken = self.decode(frame, bytes).await?;
            let Decoded { header, request } = taken.decoded;
            let apart = match request {
                Request::Produce(request) => {
                    let joined = run.join(header.correlation_id, request);
                    joined.err().map(Request::Produce)
                }
                request => Some(request),
            };
            if let Some(request) = apart {
                let decoded = Decoded { header, request };
                self.ahead = Some(Taken { decoded, ..taken });
                break;
            }
            bytes = bytes.saturating_add(taken.bytes);
        }
        Ok(())
    }

    async fn queue(&mut self, task: Task<'s>, arrived: Arrived, bytes: usize) -> Result<(), End> {
        self.charge(bytes, None).await?;
        let Some(held) = self.held.take() else {
            return Err(End::Closed);
        };
        let requests = arrived.requests;
        let work = Work {
            task,
            arrived,
            held,
        };
        self.buffer.let_go();
        self.counts.open.fetch_add(requests, Ordering::Relaxed);
        self.queue.push(work).await;
        // The time the writer takes is not the client's.
        self.began = Instant::now();
        self.heard = self.began;
        self.unheard = None;
        Ok(())
    }
}
