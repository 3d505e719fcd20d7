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
    ahead: Option<Ahead>,
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

/// A request that did not go along with those before it.
enum Ahead {
    /// There was no memory to decode it.
    Checked(CheckedRequest, usize),
    /// It takes long; with the memory it holds.
    Decoded(Box<Taken>, Option<Held>),
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
                Some(ahead) => self.catch_up(ahead).await,
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
        if self.queue.open() == 0 {
            return Err(End::Idle);
        }
        // Someone waits for an answer: that is not idle.
        self.began = Instant::now();
        Ok(())
    }

    /// Holds at least `bytes` of the budget for the request that is arriving, which may take until `deadline`, or else as
    /// long as a client that stalls.
    async fn charge(&mut self, bytes: usize, deadline: Option<Instant>) -> Result<(), End> {
        let Err(more) = self.try_charge(bytes) else {
            return Ok(());
        };
        let stalled = || Instant::now() + self.shared.options.stall_timeout;
        let taken = tokio::select! {
            biased;
            taken = self.shared.requests.take(more) => taken,
            () = self.stop.cancelled() => return Err(End::Stopped),
            () = sleep_until(deadline.unwrap_or_else(stalled)) => {
                return Err(End::Stalled {
                    what: "waiting for memory for a request",
                    bytes: self.buffer.len(),
                });
            }
        };
        self.hold(taken);
        Ok(())
    }

    /// As [`Self::charge`], if that needs no waiting; else how much is missing.
    fn try_charge(&mut self, bytes: usize) -> Result<(), usize> {
        let have = self.held.as_ref().map_or(0, Held::bytes);
        let Some(more) = bytes.checked_sub(have).filter(|more| *more > 0) else {
            return Ok(());
        };
        let taken = self.shared.requests.try_take(more).ok_or(more)?;
        self.hold(taken);
        Ok(())
    }

    fn hold(&mut self, more: Held) {
        match &mut self.held {
            Some(held) => held.merge(more),
            held @ None => *held = Some(more),
        }
    }

    /// Decodes a whole request and queues it, with those behind it that come along.
    async fn deliver(&mut self, frame: Bytes) -> Result<(), End> {
        let size = frame.len();
        match check(frame) {
            Ok((request, bytes)) => self.decode(request, bytes).await,
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

    /// Decodes a request that takes so many bytes, once there is memory for it, and queues it.
    async fn decode(&mut self, request: CheckedRequest, bytes: usize) -> Result<(), End> {
        self.charge(bytes, None).await?;
        let decoded = request.decode().map_err(End::Request)?;
        self.begin(Taken { decoded, bytes }).await
    }

    /// Goes on with the request that was left behind.
    async fn catch_up(&mut self, ahead: Ahead) -> Result<(), End> {
        match ahead {
            Ahead::Checked(request, bytes) => self.decode(request, bytes).await,
            Ahead::Decoded(taken, held) => {
                if let Some(held) = held {
                    self.hold(held);
                }
                // Before anything of it is begun: what is in the log is to be answered.
                self.charge(taken.bytes, None).await?;
                self.begin(*taken).await
            }
        }
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
        let produces = matches!(decoded.request, Request::Produce(_));
        if produces && self.is_behind_others() && self.shared.admission.has_quotas() {
            // Taken when all before it is paid for, and what those cost is not known before they are served.
            self.queue.drained().await;
            self.pause().await?;
        }
        let mut arrived = self.arrived(Some(decoded.header.api));
        let call = Call {
            shared: Arc::clone(self.shared),
            peer: Arc::clone(self.peer),
            header: decoded.header,
        };
        match decoded.request {
            Request::Produce(request) if !self.is_behind_others() => {
                let stop = self.stop;
                let run = async {
                    let mut run = Run::of(call, request).await;
                    let ended = self.extend(&mut run, bytes);
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

    /// Whether requests that are served in their turn stand before the next one.
    fn is_behind_others(&self) -> bool {
        self.counts.serial.load(Ordering::Relaxed) > 0
    }

    /// Adds to a run of `bytes` bytes what has arrived whole behind it and goes along: small produce requests of the same
    /// client. Waits for nothing: the run is complete as it is.
    fn extend(&mut self, run: &mut Run, mut bytes: usize) -> Result<(), End> {
        let open = self.queue.open();
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
            let (request, more) = check(frame)?;
            let all = bytes.saturating_add(more);
            if self.try_charge(all).is_err() {
                self.ahead = Some(Ahead::Checked(request, more));
                break;
            }
            let Decoded { header, request } = request.decode().map_err(End::Request)?;
            let apart = match request {
                Request::Produce(request) => {
                    let joined = run.join(header.correlation_id, request);
                    joined.err().map(Request::Produce)
                }
                request => Some(request),
            };
            if let Some(request) = apart {
                let decoded = Decoded { header, request };
                let taken = Taken {
                    decoded,
                    bytes: more,
                };
                let held = self.held.as_mut().and_then(|held| held.split_beyond(bytes));
                self.ahead = Some(Ahead::Decoded(Box::new(taken), held));
                break;
            }
            bytes = all;
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
        self.queue.push(work, requests).await;
        // The time the writer takes is not the client's.
        self.began = Instant::now();
        self.heard = self.began;
        self.unheard = None;
        Ok(())
    }
}

/// Checks a frame; with it what it takes, decoded.
fn check(frame: Bytes) -> Result<(CheckedRequest, usize), End> {
    let size = frame.len();
    let request = CheckedRequest::parse(frame).map_err(End::Request)?;
    let bytes = size.saturating_add(request.decoded_bytes());
    Ok((request, bytes))
}
