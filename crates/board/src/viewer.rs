//! One connected display: what it is sent next, and what it says back.
//!
//! Invariants: control answers wait in a short queue of their own ([`ANSWERS_MAX`]) and go before
//! frames; frames are shared bytes. Not here: the socket; whoever owns it copies between it and
//! [`Viewer::next`] / [`Viewer::on_message`], and calls `next` again only when the socket took the last
//! message: that is the whole backpressure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use env::DynClock;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use crate::channel::{Channel, Step};
use crate::metrics::BoardMetrics;

/// Most answers to a viewer that wait; one that asks faster than it reads gets no more.
pub const ANSWERS_MAX: usize = 8;

/// A message for a display, text or binary frames of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewerMessage {
    /// A control message: JSON.
    Text(Bytes),
    /// A board frame.
    Binary(Bytes),
}

/// One connected display of one board. Leaves when dropped.
#[derive(Debug)]
pub struct Viewer {
    number: u64,
    channel: Arc<Channel>,
    signal: watch::Receiver<u64>,
    clock: DynClock,
    metrics: Arc<BoardMetrics>,
    answers: VecDeque<Bytes>,
    generation: u32,
    last: Option<u64>,
    gone: bool,
}

/// What a display tells about itself, once a second at most.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub(crate) struct Report {
    #[serde(default)]
    pub(crate) event_to_pixel_ms: Option<Quantiles>,
    #[serde(default)]
    pub(crate) fps: Option<f64>,
    #[serde(default)]
    pub(crate) dropped: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said {
    Ping { t: f64 },
    Keyframe,
    Report(Report),
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Viewer {
    pub(crate) fn new(
        channel: Arc<Channel>,
        clock: DynClock,
        metrics: Arc<BoardMetrics>,
        epoch: &str,
    ) -> Self {
        let hello = json!({
            "type": "hello",
            "protocol": 1,
            "server": concat!("lantern ", env!("CARGO_PKG_VERSION")),
            "epoch": epoch,
            "unix_ns": clock.unix_nanos().to_string(),
        });
        metrics.viewers.inc();
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            signal: channel.join(),
            channel,
            clock,
            metrics,
            answers: VecDeque::from([to_bytes(&hello)]),
            generation: 0,
            last: None,
            gone: false,
        }
    }

    /// The next message; waits for one. `None` when the board was removed and the display was told.
    /// Cancel safe: a message is counted as sent when it is returned.
    pub async fn next(&mut self) -> Option<ViewerMessage> {
        loop {
            if let Some(message) = self.next_now() {
                return Some(message);
            }
            if self.gone || self.signal.changed().await.is_err() {
                return None;
            }
        }
    }

    /// As [`Viewer::next`], without waiting.
    pub fn next_now(&mut self) -> Option<ViewerMessage> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(ViewerMessage::Text(answer));
        }
        loop {
            if self.gone {
                return None;
            }
            // Before the look: what changes after this line wakes the wait in `next`.
            self.signal.borrow_and_update();
            match self.channel.next(self.generation, self.last) {
                Step::Layout(layout) => {
                    (self.generation, self.last) = (layout.generation, None);
                    return Some(ViewerMessage::Text(layout.message));
                }
                Step::Keyframe(sent) | Step::Delta(sent) => {
                    self.last = Some(sent.seq);
                    self.metrics.sent_bytes.inc_by(sent.bytes.len() as u64);
                    self.metrics.sent_frames.inc();
                    return Some(ViewerMessage::Binary(sent.bytes));
                }
                Step::Outrun(count) => {
                    self.metrics.conflated_frames.inc_by(count);
                    self.last = None;
                }
                Step::Wait => return None,
                Step::Gone => {
                    self.gone = true;
                    return Some(ViewerMessage::Text(Bytes::from_static(
                        br#"{"type":"gone"}"#,
                    )));
                }
            }
        }
    }

    /// Takes what the display said. What is no message of the protocol is answered with an error.
    ///
    /// A display that does not read does not get answers either: beyond [`ANSWERS_MAX`] they are left out.
    pub fn on_message(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(Said::Ping { t }) => self.answer(&json!({
                "type": "pong",
                "t": t,
                "unix_ns": self.clock.unix_nanos().to_string(),
            })),
            Ok(Said::Keyframe) => {
                self.metrics.keyframe_requests.inc();
                self.last = None;
            }
            Ok(Said::Report(report)) => self.channel.report(self.number, report),
            Err(error) => self.answer(&json!({
                "type": "error",
                "message": format!("not a message of the board protocol: {error}"),
            })),
        }
    }

    /// The board it shows.
    pub fn board(&self) -> &str {
        &self.channel.name
    }

    fn answer(&mut self, answer: &serde_json::Value) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(to_bytes(answer));
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.metrics.viewers.dec();
        self.channel.leave(self.number);
    }
}

fn to_bytes(message: &serde_json::Value) -> Bytes {
    Bytes::from(message.to_string())
}
