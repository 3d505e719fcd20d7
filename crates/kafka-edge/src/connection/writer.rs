//! The writing half: serves requests in their turn and writes the answers.

use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Counts, Task, Work, allowance};
use crate::answer::Answer;
use crate::context::{Fatal, Shared};
use crate::dispatch::dispatch;
use crate::events::End;

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
        let limit = allowance(self.shared.options.stall_timeout, bytes);
        match timeout(limit, self.write_all(pieces)).await {
            Ok(written) => written.map_err(End::Io)?,
            Err(_elapsed) => {
                return Err(End::Stalled {
                    what: "taking an answer",
                    bytes,
                });
            }
        }
        if held.is_some() {
            drop(held);
            let held = u64::try_from(self.shared.answers.held()).unwrap_or_default();
            self.shared.metrics.answer_memory.set(held);
        }
        self.shared
            .metrics
            .bytes_out
            .inc_by(u64::try_from(bytes).unwrap_or_default());
        Ok(())
    }

    async fn write_all(&mut self, mut pieces: Vec<Bytes>) -> std::io::Result<()> {
        let mut first = 0;
        while let Some(rest) = pieces.get_mut(first..).filter(|rest| !rest.is_empty()) {
            let slices: Vec<IoSlice<'_>> = rest
                .iter()
                .take(PIECES_MAX)
                .map(|piece| IoSlice::new(piece))
                .collect();
            let mut written = self.write.write_vectored(&slices).await?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
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
}
