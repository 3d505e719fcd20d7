//! The writing half: serves requests in their turn and writes the answers.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::WriteHalf;
use tokio::time::{Duration, Instant, timeout_at};

use super::queue::Queue;
use super::{Arrived, Counts, Task, Work, allowance};
use crate::answer::Answer;
use crate::budget::Held;
use crate::context::{Fatal, Shared};
use crate::dispatch::dispatch;
use crate::events::End;
use crate::pressure::Meter;

/// A client that takes nothing for this long is closed when others wait for its memory.
const PRESSED: Duration = Duration::from_secs(2);

/// Pieces handed to one system call (Linux takes up to 1,024).
const PIECES_MAX: usize = 64;

/// Answers that go out together, at most. Produce answers are all alike small, and many become ready
/// with one flush of the log.
const TOGETHER_MAX: usize = 64;

/// No answer joins others of so many bytes.
const TOGETHER_BYTES: usize = 64 << 10;

/// Memory for small answers that is kept for the next ones.
const FRAMES_KEPT: usize = 1 << 10;

pub(super) struct Writer<'s, 'a> {
    shared: &'s Shared,
    counts: &'a Counts,
    write: WriteHalf<'a>,
    queue: &'a Queue<Work<'s>>,
    /// Taken from the queue, and not ready to go out with those before it.
    next: Option<Work<'s>>,
    out: Outgoing,
}

/// Answers for one write, in order: those in pieces, then the small ones behind them.
#[derive(Default)]
struct Outgoing {
    pieces: Vec<Bytes>,
    /// Small answers one after another, in memory that is used again.
    frames: BytesMut,
    /// The memory of the answers, given back when they are out.
    held: Vec<Held>,
    answers: usize,
    bytes: usize,
    /// What the answers ask of the client, at most.
    pause: Duration,
}

impl<'s, 'a> Writer<'s, 'a> {
    pub(super) fn new(
        shared: &'s Shared,
        counts: &'a Counts,
        write: WriteHalf<'a>,
        queue: &'a Queue<Work<'s>>,
    ) -> Self {
        Self {
            shared,
            counts,
            write,
            queue,
            next: None,
            out: Outgoing::default(),
        }
    }

    /// Ends with [`End::Closed`] when the reader has ended and everything is answered.
    pub(super) async fn run(mut self) -> End {
        loop {
            let work = match self.next.take() {
                Some(work) => work,
                None => match self.queue.pop().await {
                    Some(work) => work,
                    None => return End::Closed,
                },
            };
            let mut made = self.serve(work).await;
            while made.is_ok() && self.out.has_room() {
                let Some(work) = self.queue.try_pop() else {
                    break;
                };
                match self.serve_now(work).await {
                    Ok(served) => made = served,
                    Err(work) => {
                        self.next = Some(work);
                        break;
                    }
                }
            }
            // What was made before a failure is still the client's.
            let sent = self.send().await;
            if let Err(end) = sent.and(made) {
                return end;
            }
        }
    }

    /// Makes one answer and adds it to those that go out.
    async fn serve(&mut self, work: Work<'s>) -> Result<(), End> {
        let Work {
            task,
            arrived,
            held,
        } = work;
        let out = &mut self.out;
        let made = match task {
            Task::Ready(answer) => {
                out.add(answer);
                Ok(())
            }
            Task::Begun(mut begun) => {
                let answered = poll_fn(|context| begun.poll_answer(context, &mut out.frames));
                let answered = answered.await;
                out.added(answered)
            }
            Task::Serial(call, request) => {
                let meter = Meter::of(&call);
                let answer = Box::pin(meter.run(dispatch(*call, *request))).await;
                self.counts.serial.fetch_sub(1, Ordering::Relaxed);
                answer.map(|answer| out.add(answer))
            }
        };
        drop(held);
        self.answered(arrived);
        made.map_err(end_of)
    }

    /// Serves what nobody needs to wait for; the work as it is if that is not so.
    async fn serve_now(&mut self, mut work: Work<'s>) -> Result<Result<(), End>, Work<'s>> {
        let out = &mut self.out;
        let made = match &mut work.task {
            Task::Ready(_) => return Ok(self.serve(work).await),
            Task::Serial(..) => return Err(work),
            Task::Begun(begun) => {
                let polled =
                    poll_fn(|context| Poll::Ready(begun.poll_answer(context, &mut out.frames)));
                match polled.await {
                    Poll::Ready(made) => out.added(made),
                    Poll::Pending => return Err(work),
                }
            }
        };
        let Work {
            task,
            arrived,
            held,
        } = work;
        drop((task, held));
        self.answered(arrived);
        Ok(made.map_err(end_of))
    }

    fn answered(&mut self, arrived: Arrived) {
        let Arrived { api, requests, at } = arrived;
        self.out.answers += requests;
        if let Some(api) = api {
            let took = self.shared.clock.monotonic().saturating_sub(at);
            self.shared.metrics.answered(api, requests, took);
        }
    }

    /// Writes what goes out.
    async fn send(&mut self) -> Result<(), End> {
        let out = &mut self.out;
        let answers = std::mem::take(&mut out.answers);
        let bytes = std::mem::take(&mut out.bytes);
        let pause = std::mem::take(&mut out.pause);
        let sent = if bytes == 0 || self.write_at_once().await? {
            Ok(())
        } else {
            let pieces = self.out.take_pieces();
            self.write_all(pieces, answers).await
        };
        self.out.held.clear();
        // Answered first, then paused.
        self.counts.mute.set(pause);
        self.queue.answered(answers);
        sent?;
        self.shared
            .metrics
            .bytes_out
            .inc_by(u64::try_from(bytes).unwrap_or_default());
        Ok(())
    }

    /// Writes small answers, if there are no others; whether all of it is out. A client that takes its answers does so at
    /// once, and needs no clock to be watched with.
    async fn write_at_once(&mut self) -> Result<bool, End> {
        let Self { write, out, .. } = self;
        if !out.pieces.is_empty() {
            return Ok(false);
        }
        let mut write = Pin::new(write);
        let written =
            poll_fn(|context| Poll::Ready(write.as_mut().poll_write(context, &out.frames)));
        let Poll::Ready(written) = written.await else {
            return Ok(false);
        };
        let written = written.map_err(End::Io)?;
        let all = written == out.frames.len();
        if all {
            out.reuse_frames();
        } else {
            out.frames.advance(written);
        }
        Ok(all)
    }

    async fn write_all(&mut self, mut pieces: Vec<Bytes>, answers: usize) -> Result<(), End> {
        let began = Instant::now();
        let mut first = 0;
        let mut taken = 0;
        while let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let slices: Vec<IoSlice<'_>> = rest
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(piece))
                .collect();
            let mut written = self.write_some(&slices, began, taken, answers).await?;
            taken += written;
            for piece in rest {
                let part = written.min(piece.len());
                piece.advance(part);
                written -= part;
                if !piece.is_empty() {
                    break;
                }
                // Gives the batch back as soon as it is out.
                *piece = Bytes::new();
                first += 1;
            }
        }
        Ok(())
    }

    /// Writes once; gives up on a client that takes nothing, or too little since `began`.
    async fn write_some(
        &mut self,
        slices: &[IoSlice<'_>],
        began: Instant,
        taken: usize,
        answers: usize,
    ) -> Result<usize, End> {
        let stall = self.shared.options.stall_timeout;
        let stalled = || End::Stalled {
            what: "taking an answer",
            bytes: taken,
        };
        let now = Instant::now();
        let deadline = (now + stall).min(began + allowance(stall, taken));
        let pressed = now + PRESSED.min(stall);
        let (shared, counts, queue) = (self.shared, self.counts, self.queue);
        let others_wait = || {
            // Appends begun behind this answer keep their places before the log until their turn.
            let served = answers + counts.serial.load(Ordering::Relaxed);
            let begun = queue.open() > served;
            shared.answers.is_short() || (begun && shared.admission.is_short())
        };
        let mut writing = pin!(self.write.write_vectored(slices));
        let mut waking = pressed;
        loop {
            match timeout_at(waking, &mut writing).await {
                Ok(Ok(0)) => return Err(End::Io(ErrorKind::WriteZero.into())),
                Ok(written) => return written.map_err(End::Io),
                Err(_elapsed) if waking >= deadline => return Err(stalled()),
                Err(_elapsed) if others_wait() => return Err(stalled()),
                Err(_elapsed) => waking = (waking + PRESSED).min(deadline),
            }
        }
    }
}

impl Outgoing {
    fn has_room(&self) -> bool {
        self.answers < TOGETHER_MAX && self.bytes < TOGETHER_BYTES
    }

    /// Adds an answer that is in pieces.
    fn add(&mut self, answer: Answer) {
        self.bytes += answer.size();
        let Answer {
            pieces,
            held,
            pause,
        } = answer;
        self.pause = self.pause.max(pause);
        if !pieces.is_empty() && !self.frames.is_empty() {
            self.pieces.push(self.frames.split().freeze());
        }
        self.pieces.extend(pieces);
        self.held.extend(held);
    }

    /// Answers were added to the small ones, with what they ask of the client; also when the last of them was a failure.
    fn added(&mut self, made: Result<Duration, Fatal>) -> Result<(), Fatal> {
        let pieces = self.pieces.iter().map(Bytes::len);
        self.bytes = pieces.sum::<usize>() + self.frames.len();
        self.pause = self.pause.max(made?);
        Ok(())
    }

    /// All that goes out, in order.
    fn take_pieces(&mut self) -> Vec<Bytes> {
        let mut pieces = std::mem::take(&mut self.pieces);
        if !self.frames.is_empty() {
            pieces.push(std::mem::take(&mut self.frames).freeze());
        }
        pieces
    }

    /// Makes room for small answers where those before them were, unless they were many.
    fn reuse_frames(&mut self) {
        if self.frames.capacity() > FRAMES_KEPT {
            self.frames = BytesMut::new();
        }
        self.frames.clear();
    }
}

/// How a connection ends that has no answer to give.
fn end_of(fatal: Fatal) -> End {
    match fatal {
        Fatal::Encode(error) => End::Answer(error),
        Fatal::FailedWithoutAcks => End::FailedWithoutAcks,
        Fatal::Gone => End::Closed,
    }
}
