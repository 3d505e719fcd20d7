//! Where a board's frames wait for viewers: one short shared run of them, however many viewers there are.
//!
//! Problem: 1,200 viewers of one board, some on slow lines. No viewer may slow the board or another
//! viewer, nothing may pile up for one, and who fell behind must be right again with the next frame.
//!
//! Answer: viewers own no queue. The channel keeps the newest frames, at most [`FRAMES_KEPT`] and
//! [`BYTES_KEPT`]; a viewer is a sequence number that moves over them at its own pace. One that finds its
//! next frame gone has been outrun: what it missed is conflated, and it asks for a keyframe. Keyframes
//! are encoded by the board at its next beat, once, and only while somebody waits for one; whoever is not
//! ready to take one costs nothing.
//!
//! Invariants: frames come in order of seq, each based on the one before; a keyframe is offered only while
//! it is the newest state; frames of a layout that was replaced are gone at once. Seq goes on through
//! edits of the board. Not here: encoding (`runner`), what viewers say (`viewer`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::viewer::Report;

/// Most deltas kept for viewers that are a little behind.
pub(crate) const FRAMES_KEPT: usize = 32;

/// Most bytes of them, except that the newest is always kept.
pub(crate) const BYTES_KEPT: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Channel {
    /// The board's name.
    pub(crate) name: Arc<str>,
    state: Mutex<State>,
    /// Grows with every change that a viewer may wait for.
    signal: watch::Sender<u64>,
    /// Wakes the board: a viewer came, went or waits for a keyframe.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    layout: Option<Layout>,
    seq: u64,
    frames: VecDeque<Sent>,
    bytes: usize,
    keyframe: Option<Sent>,
    keyframe_wanted: bool,
    viewers: usize,
    reports: BTreeMap<u64, Report>,
    gone: bool,
}

/// One frame on its way.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) seq: u64,
    pub(crate) bytes: Bytes,
}

/// One layout on its way: the JSON text of the control message.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) generation: u32,
    pub(crate) message: Bytes,
}

/// What a viewer should do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// The layout changed.
    Layout(Layout),
    /// A frame that stands alone.
    Keyframe(Sent),
    /// The frame after the last one.
    Delta(Sent),
    /// It fell behind: this many frames are gone. Ask again for a keyframe.
    Outrun(u64),
    /// Nothing yet: wait for the signal.
    Wait,
    /// The board was removed.
    Gone,
}

impl Channel {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            state: Mutex::default(),
            signal: watch::Sender::new(0),
            wanted: Notify::new(),
        })
    }

    // The board's side.

    /// Replaces the layout; frames of the one before are gone.
    pub(crate) fn set_layout(&self, layout: Layout) {
        let mut state = self.state.lock();
        state.layout = Some(layout);
        state.frames.clear();
        state.bytes = 0;
        state.keyframe = None;
        drop(state);
        self.wake_viewers();
    }

    /// Starts anew behind all frames so far: every viewer needs a keyframe of the seq returned.
    pub(crate) fn restart(&self) -> u64 {
        let mut state = self.state.lock();
        state.seq += 1;
        state.frames.clear();
        state.bytes = 0;
        state.keyframe = None;
        let seq = state.seq;
        drop(state);
        self.wake_viewers();
        seq
    }

    /// Adds the delta of `seq`, which follows the newest. `false` when `generation` is not the layout's
    /// any more: the board was replaced and must stop.
    pub(crate) fn publish(&self, generation: u32, delta: Sent) -> bool {
        let mut state = self.state.lock();
        if !state.is_current(generation) {
            return false;
        }
        debug_assert_eq!(delta.seq, state.seq + 1, "frames follow each other");
        state.seq = delta.seq;
        state.keyframe = None;
        state.bytes += delta.bytes.len();
        state.frames.push_back(delta);
        while state.frames.len() > FRAMES_KEPT
            || (state.bytes > BYTES_KEPT && state.frames.len() > 1)
        {
            let dropped = state
                .frames
                .pop_front()
                .map_or(0, |frame| frame.bytes.len());
            state.bytes -= dropped;
        }
        drop(state);
        self.wake_viewers();
        true
    }

    /// Whether a viewer waits for a keyframe.
    pub(crate) fn keyframe_wanted(&self) -> bool {
        let state = self.state.lock();
        state.keyframe_wanted && state.keyframe.is_none()
    }

    /// Offers the keyframe of the newest seq.
    pub(crate) fn offer_keyframe(&self, generation: u32, keyframe: Sent) {
        let mut state = self.state.lock();
        if state.is_current(generation) && keyframe.seq == state.seq {
            state.keyframe = Some(keyframe);
            state.keyframe_wanted = false;
            drop(state);
            self.wake_viewers();
        }
    }

    /// Tells viewers that the board was removed.
    pub(crate) fn remove(&self) {
        self.state.lock().gone = true;
        self.wake_viewers();
        self.wanted.notify_one();
    }

    pub(crate) fn viewers(&self) -> usize {
        self.state.lock().viewers
    }

    /// Waits until a viewer comes, goes or wants a keyframe. Cancel safe; may wake without a cause.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// What viewers reported last, and forgets it.
    pub(crate) fn take_reports(&self) -> Vec<Report> {
        let reports = std::mem::take(&mut self.state.lock().reports);
        reports.into_values().collect()
    }

    // The viewers' side.

    pub(crate) fn join(&self) -> watch::Receiver<u64> {
        self.state.lock().viewers += 1;
        self.wanted.notify_one();
        self.signal.subscribe()
    }

    pub(crate) fn leave(&self, viewer: u64) {
        let mut state = self.state.lock();
        state.viewers -= 1;
        state.reports.remove(&viewer);
        drop(state);
        self.wanted.notify_one();
    }

    pub(crate) fn report(&self, viewer: u64, report: Report) {
        self.state.lock().reports.insert(viewer, report);
    }

    /// What a viewer with this layout and this last frame should do. `None` for the last frame asks for
    /// a keyframe.
    pub(crate) fn next(&self, generation: u32, last: Option<u64>) -> Step {
        let mut state = self.state.lock();
        if state.gone {
            return Step::Gone;
        }
        let Some(layout) = &state.layout else {
            return Step::Wait;
        };
        if layout.generation != generation {
            return Step::Layout(layout.clone());
        }
        let Some(last) = last else {
            if let Some(keyframe) = &state.keyframe {
                return Step::Keyframe(keyframe.clone());
            }
            state.keyframe_wanted = true;
            drop(state);
            self.wanted.notify_one();
            return Step::Wait;
        };
        if last >= state.seq {
            return Step::Wait;
        }
        let ahead = usize::try_from(state.seq - last).unwrap_or(usize::MAX);
        match state
            .frames
            .len()
            .checked_sub(ahead)
            .and_then(|at| state.frames.get(at))
        {
            Some(frame) => Step::Delta(frame.clone()),
            None => Step::Outrun(state.seq - last),
        }
    }

    fn wake_viewers(&self) {
        self.signal.send_modify(|count| *count += 1);
    }
}

impl State {
    fn is_current(&self, generation: u32) -> bool {
        !self.gone
            && self
                .layout
                .as_ref()
                .is_some_and(|layout| layout.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Arc<Channel> {
        let channel = Channel::new("test");
        channel.set_layout(Layout {
            generation: 1,
            message: Bytes::from_static(b"{}"),
        });
        channel
    }

    fn frame(seq: u64, size: usize) -> Sent {
        Sent {
            seq,
            bytes: Bytes::from(vec![0; size]),
        }
    }

    fn step(channel: &Channel, last: Option<u64>) -> String {
        match channel.next(1, last) {
            Step::Layout(layout) => format!("layout {}", layout.generation),
            Step::Keyframe(sent) => format!("keyframe {}", sent.seq),
            Step::Delta(sent) => format!("delta {}", sent.seq),
            Step::Outrun(count) => format!("outrun {count}"),
            Step::Wait => "wait".into(),
            Step::Gone => "gone".into(),
        }
    }

    #[test]
    fn a_viewer_follows_and_waits_at_the_end() {
        let channel = channel();
        for seq in 1..=3 {
            assert!(channel.publish(1, frame(seq, 10)));
        }
        assert_eq!(step(&channel, Some(0)), "delta 1");
        assert_eq!(step(&channel, Some(2)), "delta 3");
        assert_eq!(step(&channel, Some(3)), "wait");
    }

    #[test]
    fn frames_are_bounded_by_number_and_by_bytes() {
        let channel = channel();
        for seq in 1..=1_000 {
            channel.publish(1, frame(seq, 10));
        }
        assert_eq!(channel.state.lock().frames.len(), FRAMES_KEPT);
        assert_eq!(
            step(&channel, Some(1_000 - FRAMES_KEPT as u64)),
            "delta 969"
        );
        assert_eq!(
            step(&channel, Some(1_000 - FRAMES_KEPT as u64 - 1)),
            "outrun 33"
        );
        channel.publish(1, frame(1_001, 3 * BYTES_KEPT));
        assert_eq!(channel.state.lock().frames.len(), 1);
        assert_eq!(step(&channel, Some(1_000)), "delta 1001");
        channel.publish(1, frame(1_002, 10));
        assert_eq!(channel.state.lock().bytes, 10);
    }

    #[test]
    fn a_keyframe_is_made_once_for_all_who_wait_and_only_then() {
        let channel = channel();
        channel.publish(1, frame(1, 10));
        assert!(!channel.keyframe_wanted());
        assert_eq!(step(&channel, None), "wait");
        assert_eq!(step(&channel, None), "wait");
        assert!(channel.keyframe_wanted());
        channel.offer_keyframe(1, frame(1, 99));
        assert!(!channel.keyframe_wanted());
        assert_eq!(step(&channel, None), "keyframe 1");
        assert_eq!(step(&channel, None), "keyframe 1");
        channel.publish(1, frame(2, 10));
        assert_eq!(
            step(&channel, None),
            "wait",
            "a keyframe of the past is not offered"
        );
        channel.offer_keyframe(1, frame(1, 99));
        assert_eq!(step(&channel, None), "wait", "nor taken");
    }

    #[test]
    fn after_a_restart_nobody_can_follow() {
        let channel = channel();
        channel.publish(1, frame(1, 10));
        assert_eq!(channel.restart(), 2);
        assert_eq!(step(&channel, Some(1)), "outrun 1");
        channel.offer_keyframe(1, frame(2, 10));
        assert_eq!(step(&channel, None), "keyframe 2");
        channel.publish(1, frame(3, 10));
        assert_eq!(step(&channel, Some(2)), "delta 3");
    }

    #[test]
    fn a_new_layout_ends_the_frames_of_the_old_one() {
        let channel = channel();
        channel.publish(1, frame(1, 10));
        channel.set_layout(Layout {
            generation: 2,
            message: Bytes::new(),
        });
        assert_eq!(step(&channel, Some(1)), "layout 2");
        assert!(!channel.publish(1, frame(2, 10)), "the old board must stop");
        assert!(channel.publish(2, frame(2, 10)), "seq goes on");
        channel.remove();
        assert_eq!(step(&channel, Some(2)), "gone");
        assert!(!channel.publish(2, frame(3, 10)));
    }
}
