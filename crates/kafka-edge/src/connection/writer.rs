//! The writing half: serves requests in their turn and writes the answers.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

use super::{Counts, Task, Work, allowance};
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

pub(super) struct Writer<'a> {
    shared: &'a Shared,
    counts: &'a Counts,
    write: WriteHalf<'a>,
    queue: mpsc::Receiver<Work>,
    /// Taken from the queue, and not ready to go out with those before it.
    next: Option<Work>,
}

/// Answers for one write, in order.
#[derive(Default)]
struct Outgoing {
    pieces: Vec<Bytes>,
    /// The memory of the answers, given back when they are out.
    held: Vec<Held>,
    answers: usize,
    bytes: usize,
    /// What the answers ask of the client, at most.
    pause: Duration,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        counts: &'a Counts,
        write: WriteHalf<'a>,
        queue: mpsc::Receiver<Work>,
    ) -> Self {
        Self {
            shared,
            counts,
            write,
            queue,
            next: None,
        }
    }

    /// Ends with [`End::Closed`] when the reader has ended and everything is answered.
    pub(super) async fn run(mut self) -> End {
        loop {
            let work = match self.next.take() {
                Some(work) => work,
                None => match self.queue.recv().await {
                    Some(work) => work,
                    None => return End::Closed,
                },
            };
            let mut out = Outgoing::default();
            let mut made = serve(self.shared, self.counts, work, &mut out).await;
            while made.is_ok() && out.has_room() {
                let Ok(work) = self.queue.try_recv() else {
                    break;
                };
                match ready(work).await {
                    Ok(work) => made = serve(self.shared, self.counts, work, &mut out).await,
                    Err(work) => {
                        self.next = Some(work);
                        break;
                    }
                }
            }
            // What was made before a failure is still the client's.
            let sent = self.send(out).await;
            if let Err(end) = sent.and(made) {
                return end;
            }
        }
    }

    async fn send(&mut self, out: Outgoing) -> Result<(), End> {
        let Outgoing {
            pieces,
            held,
            answers,
            bytes,
            pause,
        } = out;
        let sent = if bytes == 0 {
            Ok(())
        } else {
            self.write_all(pieces, answers).await
        };
        drop(held);
        // Answered first, then paused.
        self.counts.mute.set(pause);
        self.counts.open.fetch_sub(answers, Ordering::Relaxed);
        sent?;
        self.shared
            .metrics
            .bytes_out
            .inc_by(u64::try_from(bytes).unwrap_or_default());
        Ok(())
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
        let (shared, counts) = (self.shared, self.counts);
        let others_wait = || {
            // Appends begun behind this answer keep their places before the log until their turn.
            let served = answers + counts.serial.load(Ordering::Relaxed);
            let begun = counts.open.load(Ordering::Relaxed) > served;
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
}

/// Makes one answer and adds it to `out`.
async fn serve(
    shared: &Shared,
    counts: &Counts,
    work: Work,
    out: &mut Outgoing,
) -> Result<(), End> {
    let Work {
        task,
        api,
        received,
        held,
    } = work;
    let answer = make(counts, task).await;
    drop(held);
    out.answers += 1;
    if let Some(api) = api {
        let took = shared.clock.monotonic().saturating_sub(received);
        shared.metrics.answered(api, took);
    }
    let answer = answer.map_err(|fatal| match fatal {
        Fatal::Encode(error) => End::Answer(error),
        Fatal::FailedWithoutAcks => End::FailedWithoutAcks,
        Fatal::Gone => End::Closed,
    })?;
    out.bytes += answer.size();
    let Answer {
        pieces,
        held,
        pause,
    } = answer;
    out.pause = out.pause.max(pause);
    out.pieces.extend(pieces);
    out.held.extend(held);
    Ok(())
}

async fn make(counts: &Counts, task: Task) -> Result<Answer, Fatal> {
    match task {
        Task::Ready(answer) => Ok(answer),
        Task::Begun(making) => making.await,
        Task::Serial(call, request) => {
            let meter = Meter::of(&call);
            let answer = Box::pin(meter.run(dispatch(*call, *request))).await;
            counts.serial.fetch_sub(1, Ordering::Relaxed);
            answer
        }
    }
}

/// The work with its answer, if nobody needs to wait for it.
async fn ready(mut work: Work) -> Result<Work, Work> {
    match &mut work.task {
        Task::Ready(_) => Ok(work),
        Task::Serial(..) => Err(work),
        Task::Begun(making) => {
            match poll_fn(|context| Poll::Ready(making.as_mut().poll(context))).await {
                Poll::Ready(Ok(answer)) => {
                    work.task = Task::Ready(answer);
                    Ok(work)
                }
                Poll::Ready(Err(fatal)) => {
                    work.task = Task::Begun(Box::pin(async { Err(fatal) }));
                    Ok(work)
                }
                Poll::Pending => Err(work),
            }
        }
    }
}
