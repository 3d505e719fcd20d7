//! Deltas applied one after another give what one keyframe gives.

use bytes::Bytes;
use frame::{
    ApplyError, ChartSeries, Encoder, Frame, Head, LaneHead, Level, Point, Points, Row, RowPolicy,
    Scalar, State, Text,
};
use proptest::prelude::*;

const TICKER: u32 = 40;
const ALERTS: u32 = 30;

fn state() -> State {
    State::new([(TICKER, RowPolicy::Keep(5)), (ALERTS, RowPolicy::Replace)])
}

/// What one beat may change.
#[derive(Debug, Clone)]
enum Change {
    Scalar(u32, f64, u8),
    Text(u32, String, u8),
    Points(u32, Vec<f64>),
    Lane(u32, u32),
    Series(u32, Vec<(u32, String)>),
    Tick(String),
    Alerts(Vec<(u16, String)>),
}

fn change() -> impl Strategy<Value = Change> {
    let text = "[a-z走马灯🏮 ]{0,12}";
    prop_oneof![
        (1..6_u32, any::<f64>(), 0..5_u8).prop_map(|(c, v, l)| Change::Scalar(c, v, l)),
        (1..6_u32, text, 0..5_u8).prop_map(|(c, t, l)| Change::Text(c, t, l)),
        (20..24_u32, prop::collection::vec(any::<f64>(), 0..6))
            .prop_map(|(c, v)| Change::Points(c, v)),
        (1..3_u32, 10..14_u32).prop_map(|(l, i)| Change::Lane(l, i)),
        (
            2..4_u32,
            prop::collection::btree_map(20..24_u32, text, 0..4)
        )
            .prop_map(|(c, s)| Change::Series(c, s.into_iter().collect())),
        text.prop_map(Change::Tick),
        prop::collection::vec((any::<u16>(), text), 0..4).prop_map(Change::Alerts),
    ]
}

fn write(encoder: &mut Encoder, head: &Head, clock: &mut f64, change: &Change) -> Bytes {
    let mut w = encoder.begin(head);
    match change {
        Change::Scalar(cell, value, level) => {
            w.scalars([Scalar {
                cell: *cell,
                value: *value,
                level: Level::from_code(*level),
            }]);
        }
        Change::Text(cell, text, level) => {
            w.texts([Text {
                cell: *cell,
                level: Level::from_code(*level),
                text,
            }]);
        }
        Change::Points(cell, values) => {
            let points: Vec<_> = values
                .iter()
                .map(|v| {
                    *clock += if v.is_sign_positive() { 1.0 } else { 0.0 };
                    Point {
                        t_ms: *clock,
                        v: *v,
                    }
                })
                .collect();
            let (a, b) = points.split_at(points.len() / 2);
            w.points([Points {
                cell: *cell,
                parts: [a, b],
            }]);
        }
        Change::Lane(lane, item) => {
            w.lanes([LaneHead {
                lane: *lane,
                item: *item,
                since_ms: *clock,
                until_ms: *clock + 1.0,
            }]);
        }
        Change::Series(chart, series) if series.is_empty() => {
            w.series([ChartSeries {
                chart: *chart,
                cell: 0,
                label: "",
            }]);
        }
        Change::Series(chart, series) => {
            w.series(series.iter().map(|(cell, label)| ChartSeries {
                chart: *chart,
                cell: *cell,
                label,
            }));
        }
        Change::Tick(text) => {
            w.rows([Row {
                cell: TICKER,
                level: Level::Info,
                row_id: *clock,
                t_ms: *clock,
                text,
            }]);
        }
        Change::Alerts(rows) if rows.is_empty() => w.clear([ALERTS]),
        Change::Alerts(rows) => w.rows(rows.iter().map(|(id, text)| Row {
            cell: ALERTS,
            level: Level::Critical,
            row_id: f64::from(*id),
            t_ms: 0.0,
            text,
        })),
    }
    w.finish()
}

/// The frame that stands alone for `state`.
fn keyframe(state: &State) -> Bytes {
    let mut encoder = Encoder::new();
    let mut w = encoder.begin(&Head {
        keyframe: true,
        generation: state.generation,
        seq: state.seq,
        ..Head::default()
    });
    w.scalars(state.scalars.iter().map(|(cell, (value, level))| Scalar {
        cell: *cell,
        value: *value,
        level: *level,
    }));
    w.texts(state.texts.iter().map(|(cell, (text, level))| Text {
        cell: *cell,
        text,
        level: *level,
    }));
    w.series(state.series.iter().flat_map(|(chart, series)| {
        series.iter().map(|(cell, label)| ChartSeries {
            chart: *chart,
            cell: *cell,
            label,
        })
    }));
    w.points(state.points.iter().map(|(cell, points)| Points {
        cell: *cell,
        parts: [points, &[]],
    }));
    w.lanes(
        state
            .lanes
            .iter()
            .map(|(lane, (item, since_ms, until_ms))| LaneHead {
                lane: *lane,
                item: *item,
                since_ms: *since_ms,
                until_ms: *until_ms,
            }),
    );
    w.rows(state.rows.iter().flat_map(|(cell, rows)| {
        rows.iter().map(|row| Row {
            cell: *cell,
            level: row.level,
            row_id: row.row_id,
            t_ms: row.t_ms,
            text: &row.text,
        })
    }));
    w.finish()
}

proptest! {
    #[test]
    fn a_chain_of_deltas_equals_the_keyframe(changes in prop::collection::vec(change(), 1..60)) {
        let mut encoder = Encoder::new();
        let mut clock = 0.0;
        let mut by_deltas = state();
        let first = Head { keyframe: true, generation: 3, seq: 1, ..Head::default() };
        by_deltas.apply(&Frame::parse(&encoder.begin(&first).finish()).unwrap()).unwrap();
        for (change, seq) in changes.iter().zip(2..) {
            let head = Head { generation: 3, seq, base_seq: seq - 1, ..Head::default() };
            let bytes = write(&mut encoder, &head, &mut clock, change);
            by_deltas.apply(&Frame::parse(&bytes).unwrap()).unwrap();
        }
        let mut by_keyframe = state();
        by_keyframe.apply(&Frame::parse(&keyframe(&by_deltas)).unwrap()).unwrap();
        prop_assert_eq!(by_keyframe.to_json(), by_deltas.to_json());
    }
}

#[test]
fn a_gap_or_another_layout_changes_nothing() {
    let mut encoder = Encoder::new();
    let mut state = state();
    let mut send = |state: &mut State, head: Head| {
        let mut w = encoder.begin(&head);
        w.scalars([Scalar {
            cell: 1,
            value: 1.0,
            level: Level::None,
        }]);
        state.apply(&Frame::parse(&w.finish()).unwrap())
    };
    let delta = |seq, base_seq| Head {
        generation: 3,
        seq,
        base_seq,
        ..Head::default()
    };
    assert_eq!(
        send(&mut state, delta(2, 1)),
        Err(ApplyError::Generation { found: 3, have: 0 })
    );
    send(
        &mut state,
        Head {
            keyframe: true,
            generation: 3,
            seq: 4,
            ..Head::default()
        },
    )
    .unwrap();
    let before = state.to_json();
    assert_eq!(
        send(&mut state, delta(6, 5)),
        Err(ApplyError::Gap { base: 5, have: 4 })
    );
    assert_eq!(
        send(
            &mut state,
            Head {
                generation: 4,
                ..delta(5, 4)
            }
        ),
        Err(ApplyError::Generation { found: 4, have: 3 })
    );
    assert_eq!(state.to_json(), before);
    send(&mut state, delta(5, 4)).unwrap();
    assert_eq!(state.seq, 5);
}

#[test]
fn the_buffer_is_used_again_when_no_viewer_holds_it() {
    let mut encoder = Encoder::new();
    let mut places = std::collections::BTreeSet::new();
    for seq in 1..200 {
        let mut w = encoder.begin(&Head {
            seq,
            ..Head::default()
        });
        w.scalars((1..50).map(|cell| Scalar {
            cell,
            value: f64::from(cell),
            level: Level::None,
        }));
        let bytes = w.finish();
        places.insert(bytes.as_ptr().addr() >> 16);
    }
    assert!(
        places.len() <= 3,
        "frames came from {} places",
        places.len()
    );
}
