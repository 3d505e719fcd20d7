//! What boards tell about themselves: counters per board, shared with the registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::viewer::Report;

/// A gauge of seconds, ratios and the like.
type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BoardLabel {
    board: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuantileLabel {
    board: String,
    quantile: &'static str,
}

/// Counters of all boards.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    families: Families,
    boards: Mutex<BTreeMap<String, Arc<BoardMetrics>>>,
}

#[derive(Debug, Default, Clone)]
struct Families {
    viewers: Family<BoardLabel, Gauge>,
    frames: Family<BoardLabel, Counter>,
    keyframes: Family<BoardLabel, Counter>,
    encoded_bytes: Family<BoardLabel, Counter>,
    sent_frames: Family<BoardLabel, Counter>,
    sent_bytes: Family<BoardLabel, Counter>,
    conflated_frames: Family<BoardLabel, Counter>,
    keyframe_requests: Family<BoardLabel, Counter>,
    events: Family<BoardLabel, Counter>,
    evaluations: Family<BoardLabel, Counter>,
    evaluation_failures: Family<BoardLabel, Counter>,
    panics: Family<BoardLabel, Counter>,
    missed_beats: Family<BoardLabel, Counter>,
    beat_late: Family<QuantileLabel, FloatGauge>,
    beat_jitter: Family<BoardLabel, FloatGauge>,
    beat_phase: Family<BoardLabel, FloatGauge>,
    beat_drift: Family<BoardLabel, FloatGauge>,
    event_to_pixel: Family<QuantileLabel, FloatGauge>,
    fps: Family<BoardLabel, FloatGauge>,
    dropped: Family<BoardLabel, FloatGauge>,
}

/// Counters of one board; clones of what the registry holds.
#[derive(Debug)]
pub(crate) struct BoardMetrics {
    pub(crate) viewers: Gauge,
    pub(crate) frames: Counter,
    pub(crate) keyframes: Counter,
    pub(crate) encoded_bytes: Counter,
    pub(crate) sent_frames: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) conflated_frames: Counter,
    pub(crate) keyframe_requests: Counter,
    pub(crate) events: Counter,
    pub(crate) evaluations: Counter,
    pub(crate) evaluation_failures: Counter,
    pub(crate) panics: Counter,
    pub(crate) missed_beats: Counter,
    beat_late: [FloatGauge; 3],
    beat_jitter: FloatGauge,
    beat_phase: FloatGauge,
    beat_drift: FloatGauge,
    event_to_pixel: [FloatGauge; 2],
    fps: FloatGauge,
    dropped: FloatGauge,
}

impl Metrics {
    /// The counters of `board`, made on first use and kept, so that they never go back.
    pub(crate) fn board(&self, board: &str) -> Arc<BoardMetrics> {
        let mut boards = self.boards.lock();
        if let Some(known) = boards.get(board) {
            return Arc::clone(known);
        }
        let metrics = Arc::new(self.families.board(board));
        boards.insert(board.to_owned(), Arc::clone(&metrics));
        metrics
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let families = self.families.clone();
        let mut counter = |name, help: &str, family: Family<BoardLabel, Counter>| {
            registry.register(name, help, family);
        };
        counter(
            "lantern_board_frames",
            "Delta frames encoded",
            families.frames,
        );
        counter(
            "lantern_board_keyframes",
            "Keyframes encoded",
            families.keyframes,
        );
        counter(
            "lantern_board_encoded_bytes",
            "Bytes of frames encoded",
            families.encoded_bytes,
        );
        counter(
            "lantern_board_sent_frames",
            "Frames handed to viewers",
            families.sent_frames,
        );
        counter(
            "lantern_board_sent_bytes",
            "Bytes handed to viewers",
            families.sent_bytes,
        );
        counter(
            "lantern_board_conflated_frames",
            "Frames that viewers who fell behind did not get one by one",
            families.conflated_frames,
        );
        counter(
            "lantern_board_keyframe_requests",
            "Keyframes that viewers asked for",
            families.keyframe_requests,
        );
        counter(
            "lantern_board_events",
            "Events counted from topics",
            families.events,
        );
        counter(
            "lantern_board_evaluations",
            "Queries evaluated",
            families.evaluations,
        );
        counter(
            "lantern_board_evaluation_failures",
            "Queries whose evaluation failed",
            families.evaluation_failures,
        );
        counter(
            "lantern_board_panics",
            "Boards restarted after a panic",
            families.panics,
        );
        counter(
            "lantern_board_missed_beats",
            "Beats that came too late to be played",
            families.missed_beats,
        );
        registry.register(
            "lantern_board_viewers",
            "Connected displays",
            families.viewers,
        );
        let mut gauge = |name, help: &str, family: Family<BoardLabel, FloatGauge>| {
            registry.register(name, help, family);
        };
        gauge(
            "lantern_board_beat_jitter_seconds",
            "Spread of the lateness of beats in the last second",
            families.beat_jitter,
        );
        gauge(
            "lantern_board_beat_phase_seconds",
            "Mean lateness of beats in the last second",
            families.beat_phase,
        );
        gauge(
            "lantern_board_beat_drift_ratio",
            "Slope of the lateness of beats in the last second",
            families.beat_drift,
        );
        gauge(
            "lantern_board_viewer_frames_per_second",
            "Slowest display's paint rate, as reported",
            families.fps,
        );
        gauge(
            "lantern_board_viewer_dropped_frames",
            "Most frames a display reported as dropped",
            families.dropped,
        );
        let mut quantiles = |name, help: &str, family: Family<QuantileLabel, FloatGauge>| {
            registry.register(name, help, family);
        };
        quantiles(
            "lantern_board_beat_late_seconds",
            "Lateness of beats in the last second",
            families.beat_late,
        );
        quantiles(
            "lantern_board_viewer_event_to_pixel_seconds",
            "Arrival of an event to its paint, the worst display's report",
            families.event_to_pixel,
        );
    }
}

impl Families {
    fn board(&self, board: &str) -> BoardMetrics {
        let label = BoardLabel {
            board: board.to_owned(),
        };
        let counter = |family: &Family<BoardLabel, Counter>| family.get_or_create_owned(&label);
        let gauge = |family: &Family<BoardLabel, FloatGauge>| family.get_or_create_owned(&label);
        let quantile = |family: &Family<QuantileLabel, FloatGauge>, quantile| {
            family.get_or_create_owned(&QuantileLabel {
                board: board.to_owned(),
                quantile,
            })
        };
        BoardMetrics {
            viewers: self.viewers.get_or_create_owned(&label),
            frames: counter(&self.frames),
            keyframes: counter(&self.keyframes),
            encoded_bytes: counter(&self.encoded_bytes),
            sent_frames: counter(&self.sent_frames),
            sent_bytes: counter(&self.sent_bytes),
            conflated_frames: counter(&self.conflated_frames),
            keyframe_requests: counter(&self.keyframe_requests),
            events: counter(&self.events),
            evaluations: counter(&self.evaluations),
            evaluation_failures: counter(&self.evaluation_failures),
            panics: counter(&self.panics),
            missed_beats: counter(&self.missed_beats),
            beat_late: ["0.5", "0.99", "1"].map(|q| quantile(&self.beat_late, q)),
            beat_jitter: gauge(&self.beat_jitter),
            beat_phase: gauge(&self.beat_phase),
            beat_drift: gauge(&self.beat_drift),
            event_to_pixel: ["0.5", "0.99"].map(|q| quantile(&self.event_to_pixel, q)),
            fps: gauge(&self.fps),
            dropped: gauge(&self.dropped),
        }
    }
}

impl BoardMetrics {
    /// Takes over how the beats of the last second came.
    pub(crate) fn set_beat(&self, figures: &frameclock::Figures) {
        self.missed_beats.inc_by(figures.missed);
        let late = [figures.late_p50, figures.late_p99, figures.late_max];
        for (gauge, late) in self.beat_late.iter().zip(late) {
            gauge.set(late.as_secs_f64());
        }
        self.beat_jitter.set(figures.jitter.as_secs_f64());
        self.beat_phase.set(figures.phase.as_secs_f64());
        self.beat_drift.set(figures.drift_ppm / 1e6);
    }

    /// Takes over the worst of what displays reported.
    pub(crate) fn set_reports(&self, reports: &[Report]) {
        let worst = |pick: fn(&Report) -> Option<f64>, fold: fn(f64, f64) -> f64| {
            reports
                .iter()
                .filter_map(pick)
                .filter(|value| value.is_finite())
                .reduce(fold)
        };
        let set = |gauge: &FloatGauge, value: Option<f64>| {
            if let Some(value) = value {
                gauge.set(value);
            }
        };
        let p50 = worst(|report| report.event_to_pixel_ms?.p50, f64::max);
        let p99 = worst(|report| report.event_to_pixel_ms?.p99, f64::max);
        set(&self.event_to_pixel[0], p50.map(|ms| ms / 1e3));
        set(&self.event_to_pixel[1], p99.map(|ms| ms / 1e3));
        set(&self.fps, worst(|report| report.fps, f64::min));
        set(&self.dropped, worst(|report| report.dropped, f64::max));
    }
}
