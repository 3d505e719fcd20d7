//! The writing half: serves requests in their turn and writes the answers.

use std::io::{ErrorKind, IoSlice};
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

use super::{Counts, Task, Work, allowance};
use crate::answer::Answer;
use crate::context::{Fatal, Shared};
use crate::dispatch::dispatch;
use crate::events::End;

/// A client that takes nothing for this long is closed when others wait for its memory.
const PRESSED: Duration = Duration::from_secs(2);

/// Pieces handed to one system call (Linux takes up to 1,024).
const PIECES_MAX: usize = 64;

pub(super) struct Writer<'a> {
    shared: &'a Shared,
    counts: &'a Counts,
    write: WriteHalf<'a>,
    queue: mpsc::Receiver<Work>,
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
        }
    }

    /// Ends with [`End::Closed`] when the reader has ended and everything is answered.
    pub(super) async fn run(mut self) -> End {
        while let Some(work) = self.queue.recv().await {
            let Work {
                task,
                api,
                received,
                held,
            } = work;
            let answer = self.make(task).await;
            drop(held);
            if let Some(api) = api {
                let took = self.shared.clock.monotonic().saturating_sub(received);
                self.shared.metrics.answered(api, took);
            }
            let sent = match answer {
                Ok(answer) => self.send(answer).await,
                Err(Fatal::Encode(error)) => Err(End::Answer(error)),
                Err(Fatal::FailedWithoutAcks) => Err(End::FailedWithoutAcks),
                Err(Fatal::Gone) => Err(End::Closed),
            };
            self.counts.open.fetch_sub(1, Ordering::Relaxed);
            if let Err(end) = sent {
                return end;
            }
        }
        End::Closed
    }

    async fn make(&self, task: Task) -> Result<Answer, Fatal> {
        match task {
            Task::Ready(answer) => Ok(answer),
            Task::Begun(making) => making.await,
            Task::Serial(call, request) => {
                let answer = Box::pin(dispatch(*call, *request)).await;
                self.counts.serial.fetch_sub(1, Ordering::Relaxed);
                answer
            }
        }
    }

    async fn send(&mut self, answer: Answer) -> Result<(), End> {
        let bytes = answer.size();
        if bytes == 0 {
            return Ok(());
        }
        let Answer { pieces, held } = answer;
        self.write_all(pieces).await?;
        drop(held);
        self.shared
            .metrics
            .bytes_out
            .inc_by(u64::try_from(bytes).unwrap_or_default());
        Ok(())
    }

    async fn write_all(&mut self, mut pieces: Vec<Bytes>) -> Result<(), End> {
        let began = Instant::now();
        let mut first = 0;
        let mut taken = 0;
        while let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let slices: Vec<IoSlice<'_>> = rest
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(piece))
                .collect();
            let mut written = self.write_some(&slices, began, taken).await?;
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
    ) -> Result<usize, End> {
        let stall = self.shared.options.stall_timeout;
        let stalled = || End::Stalled {
            what: "taking an answer",
            bytes: taken,
        };
        let now = Instant::now();
        let deadline = (now + stall).min(began + allowance(stall, taken));
        let pressed = now + PRESSED.min(stall);
        let mut writing = pin!(self.write.write_vectored(slices));
        let mut waking = pressed;
        loop {
            match timeout_at(waking, &mut writing).await {
                Ok(Ok(0)) => return Err(End::Io(ErrorKind::WriteZero.into())),
                Ok(written) => return written.map_err(End::Io),
                Err(_elapsed) if waking >= deadline => return Err(stalled()),
                Err(_elapsed) if self.shared.answers.is_short() => return Err(stalled()),
                Err(_elapsed) => waking = (waking + PRESSED).min(deadline),
            }
        }
    }
}
