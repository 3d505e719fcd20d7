//! Deltas against keyframes, over everything cells can do.

use frame::{Encoder, Frame, Head, RowPolicy, State};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Value(usize, f64, u8, String),
    Lane(u32),
    Point(usize, usize, u16, f64),
    Series(usize),
    Silent(u16),
    Rows(usize),
    Alerts(usize),
    Frame,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize, any::<f64>(), 0..5_u8, "[a-z走]{0,5}")
            .prop_map(|(a, v, l, t)| Step::Value(a, v, l, t)),
        (0..4_u32).prop_map(Step::Lane),
        (
            0..2_usize,
            0..4_usize,
            0..40_u16,
            prop_oneof![any::<f64>(), Just(f64::NAN)]
        )
            .prop_map(|(c, s, t, v)| Step::Point(c, s, t, v)),
        (0..4_usize).prop_map(Step::Series),
        (0..60_u16).prop_map(Step::Silent),
        (0..9_usize).prop_map(Step::Rows),
        (0..3_usize).prop_map(Step::Alerts),
        Just(Step::Frame),
        Just(Step::Frame),
    ]
}

const TICKER: u32 = 40;
const ALERTS: u32 = 30;
const WINDOW_MS: f64 = 20_000.0;

fn cells() -> Cells {
    let mut cells = Cells::default();
    for cell in 1..=3 {
        cells.add_value(cell);
    }
    cells.add_lane(LaneHead {
        lane: 1,
        item: 0,
        since_ms: 0.0,
        until_ms: 0.0,
    });
    let fixed = cells.add_chart(50, WINDOW_MS, false);
    cells.insert_series(fixed, 0, 51, "fixed");
    cells.add_chart(60, WINDOW_MS, true);
    cells.add_ticker(TICKER, 5);
    cells.add_alerts(ALERTS);
    cells
}

fn row(id: usize) -> OwnedRow {
    OwnedRow {
        row_id: id as f64,
        t_ms: 1.0,
        level: Level::Info,
        text: format!("{{\"n\":{id}}}"),
    }
}

struct Viewer {
    state: State,
    encoder: Encoder,
    seq: u64,
}

impl Viewer {
    fn new() -> Self {
        let state = State::new([(TICKER, RowPolicy::Keep(5)), (ALERTS, RowPolicy::Replace)]);
        Self {
            state,
            encoder: Encoder::new(),
            seq: 0,
        }
    }

    fn delta(&mut self, cells: &mut Cells) {
        let head = Head {
            generation: 1,
            seq: self.seq + 1,
            base_seq: self.seq,
            ..Head::default()
        };
        let mut writer = self.encoder.begin(&head);
        cells.write_delta(&mut writer);
        self.state
            .apply(&Frame::parse(&writer.finish()).unwrap())
            .unwrap();
        self.seq += 1;
    }

    fn keyframe(&mut self, cells: &Cells, seq: u64) {
        let head = Head {
            keyframe: true,
            generation: 1,
            seq,
            ..Head::default()
        };
        let mut writer = self.encoder.begin(&head);
        cells.write_keyframe(&mut writer);
        self.state
            .apply(&Frame::parse(&writer.finish()).unwrap())
            .unwrap();
        self.seq = seq;
    }
}

/// A viewer who followed has older points than a keyframe carries; cut both to what both must have.
fn comparable(mut state: State, cells: &Cells) -> serde_json::Value {
    for series in cells.charts.iter().flat_map(|chart| &chart.series) {
        if let Some(oldest) = series.points.front() {
            state.trim(series.cell, oldest.t_ms);
        }
    }
    state.to_json()
}

proptest! {
    #[test]
    fn a_viewer_who_followed_knows_what_a_keyframe_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut cells = cells();
        let mut follower = Viewer::new();
        cells.forget_changes();
        follower.keyframe(&cells, 1);
        let (mut rows, mut next_cell) = (0, 100);
        let mut clock = [0.0_f64; 2];
        for step in steps {
            match step {
                Step::Value(at, value, level, text) => cells.set_value(at, value, Level::from_code(level), &text),
                Step::Lane(item) => cells.set_lane(0, LaneHead { lane: 1, item, since_ms: 1.0, until_ms: 2.0 }),
                Step::Point(chart, place, ahead, v) => {
                    let count = cells.series(chart).len();
                    if count > 0 {
                        clock[chart] += f64::from(ahead) * 100.0;
                        cells.push_point(chart, place % count, Point { t_ms: clock[chart], v });
                    }
                }
                Step::Series(place) => {
                    let count = cells.series(1).len();
                    if count < 6 {
                        // Cells are numbered on, never used again.
                        next_cell += 1;
                        cells.insert_series(1, place.min(count), next_cell, &next_cell.to_string());
                    }
                }
                Step::Silent(back) => {
                    cells.drop_silent_series(1, clock[1] - f64::from(back) * 100.0);
                }
                Step::Rows(count) => {
                    cells.push_rows(0, (rows..rows + count).map(row));
                    rows += count;
                }
                Step::Alerts(count) => cells.set_alerts(0, (0..count).map(row).collect()),
                Step::Frame => {
                    let changed = cells.changed();
                    let before = comparable(follower.state.clone(), &cells);
                    follower.delta(&mut cells);
                    prop_assert!(!cells.changed());
                    let mut fresh = Viewer::new();
                    fresh.keyframe(&cells, follower.seq);
                    let (by_deltas, by_keyframe) = (comparable(follower.state.clone(), &cells), comparable(fresh.state, &cells));
                    prop_assert_eq!(&by_deltas, &by_keyframe);
                    if !changed {
                        let mut before = before;
                        before["seq"] = follower.seq.into();
                        prop_assert_eq!(&before, &by_deltas);
                    }
                }
            }
        }
    }
}

#[test]
fn equal_values_make_no_frame() {
    let mut cells = cells();
    cells.set_value(0, f64::NAN, Level::Info, "a");
    cells.set_alerts(0, vec![row(1)]);
    cells.forget_changes();
    cells.set_value(0, f64::NAN, Level::Info, "a");
    cells.set_alerts(0, vec![row(1)]);
    assert!(!cells.changed());
}

#[test]
fn a_series_keeps_its_window_and_one_point_before_it() {
    let mut cells = cells();
    for second in 0..100 {
        cells.push_point(
            0,
            0,
            Point {
                t_ms: f64::from(second) * 1000.0,
                v: 1.0,
            },
        );
    }
    let points = &cells.charts[0].series[0].points;
    assert_eq!(points.front().unwrap().t_ms, 78_000.0);
    for millisecond in 0..10_000 {
        cells.push_point(
            0,
            0,
            Point {
                t_ms: 100_000.0 + f64::from(millisecond),
                v: 1.0,
            },
        );
    }
    assert_eq!(cells.charts[0].series[0].points.len(), POINTS_MAX);
}

#[test]
fn a_ticker_that_gets_more_than_it_shows_sends_the_newest() {
    let mut cells = cells();
    cells.forget_changes();
    cells.push_rows(0, (0..1000).map(row));
    let mut viewer = Viewer::new();
    viewer.keyframe(&Cells::default(), 1);
    viewer.delta(&mut cells);
    let ids: Vec<_> = viewer.state.rows[&TICKER]
        .iter()
        .map(|row| row.row_id)
        .collect();
    assert_eq!(ids, [995.0, 996.0, 997.0, 998.0, 999.0]);
}

#[test]
fn events_keep_the_oldest_and_the_newest() {
    let mut events = Events::default();
    events.merge(Events::default());
    assert_eq!(events, Events::default());
    for at in [50, 20, 90] {
        events.add(at);
    }
    assert_eq!(
        events,
        Events {
            count: 3,
            oldest_ns: 20,
            newest_ns: 90
        }
    );
}
