//! The golden files in `docs/format/golden`, which the web decoder's tests read as well.
//!
//! `LANTERN_BLESS=1` writes them anew; without it they must be what the code produces, so a change
//! of the format cannot pass unseen.

use std::path::PathBuf;

use bytes::Bytes;
use frame::{
    Block, ChartSeries, Encoder, Frame, FrameWriter, Head, LaneHead, Level, Point, Points, Row,
    RowPolicy, Scalar, State, Text,
};
use serde_json::{Value, json};

const T: f64 = 1_763_690_000_000.0;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/format/golden")
}

/// Compares a file with what it should be, or writes it when blessing.
fn check_file(name: &str, content: &[u8]) {
    let path = directory().join(name);
    if std::env::var_os("LANTERN_BLESS").is_some() {
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(&path, content).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        kept == content,
        "{name} is not what the encoder writes; LANTERN_BLESS=1 renews it"
    );
}

fn check(name: &str, bytes: &[u8]) {
    check_file(&format!("frame-{name}.bin"), bytes);
    let described = match Frame::parse(bytes) {
        Ok(frame) => describe(&frame),
        Err(error) => json!({ "error": error.word(), "message": error.to_string() }),
    };
    check_json(&format!("frame-{name}.json"), &described);
}

fn check_json(name: &str, value: &Value) {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    check_file(name, text.as_bytes());
}

fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => Value::Null,
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

fn describe(frame: &Frame<'_>) -> Value {
    let head = frame.head();
    json!({
        "head": {
            "keyframe": head.keyframe, "generation": head.generation,
            "seq": head.seq, "base_seq": head.base_seq,
            "sent_ns": head.sent_ns.to_string(), "stamp_ns": head.stamp_ns.to_string(),
            "stamp_newest_ns": head.stamp_newest_ns.to_string(), "events": head.events,
        },
        "blocks": frame.blocks().map(describe_block).collect::<Vec<_>>(),
    })
}

fn describe_block(block: Block<'_>) -> Value {
    let (kind, rows): (&str, Vec<Value>) = match block {
        Block::Scalars(rows) => (
            "scalars",
            rows.iter()
                .map(|row| {
                    json!({
            "cell": row.cell, "value": number(row.value), "level": row.level.code()})
                })
                .collect(),
        ),
        Block::Texts(rows) => (
            "texts",
            rows.iter()
                .map(|row| {
                    json!({
            "cell": row.cell, "level": row.level.code(), "text": row.text})
                })
                .collect(),
        ),
        Block::Points(rows) => (
            "points",
            rows.iter()
                .map(|row| {
                    json!({
            "cell": row.cell,
            "t_ms": row.times.iter().map(number).collect::<Vec<_>>(),
            "v": row.values.iter().map(number).collect::<Vec<_>>()})
                })
                .collect(),
        ),
        Block::Lanes(rows) => (
            "lanes",
            rows.iter()
                .map(|row| {
                    json!({
            "lane": row.lane, "item": row.item,
            "since_ms": number(row.since_ms), "until_ms": number(row.until_ms)})
                })
                .collect(),
        ),
        Block::Series(rows) => (
            "series",
            rows.iter()
                .map(|row| {
                    json!({
            "chart": row.chart, "cell": row.cell, "label": row.label})
                })
                .collect(),
        ),
        Block::Rows(rows) => (
            "rows",
            rows.iter()
                .map(|row| {
                    json!({
            "cell": row.cell, "level": row.level.code(), "row_id": number(row.row_id),
            "t_ms": number(row.t_ms), "text": row.text})
                })
                .collect(),
        ),
        Block::Clear(cells) => (
            "clear",
            cells.iter().map(|cell| json!({"cell": cell})).collect(),
        ),
        Block::Unknown { kind, bytes } => {
            return json!({ "kind": "unknown", "code": kind, "bytes": bytes });
        }
    };
    json!({ "kind": kind, "rows": rows })
}

fn frame(head: Head, write: impl FnOnce(&mut FrameWriter<'_>)) -> Bytes {
    let mut encoder = Encoder::new();
    let mut writer = encoder.begin(&head);
    write(&mut writer);
    writer.finish()
}

fn point(second: u32, v: f64) -> Point {
    Point {
        t_ms: T + f64::from(second) * 1000.0,
        v,
    }
}

fn keyframe_head() -> Head {
    Head {
        keyframe: true,
        generation: 7,
        seq: 1001,
        base_seq: 0,
        sent_ns: 1_763_690_005_123_456_789,
        stamp_ns: 1_763_690_005_100_000_001,
        stamp_newest_ns: 1_763_690_005_120_000_002,
        events: 3,
    }
}

fn keyframe() -> Bytes {
    frame(keyframe_head(), |w| {
        w.scalars([
            Scalar {
                cell: 100,
                value: 42.5,
                level: Level::Healthy,
            },
            Scalar {
                cell: 101,
                value: f64::NAN,
                level: Level::None,
            },
            Scalar {
                cell: 500,
                value: 1e15,
                level: Level::Critical,
            },
        ]);
        w.texts([
            Text {
                cell: 100,
                level: Level::Healthy,
                text: "2.1 of 24 GiB",
            },
            Text {
                cell: 101,
                level: Level::None,
                text: "",
            },
            Text {
                cell: 500,
                level: Level::Critical,
                text: "走马灯 ¥ 12.30",
            },
        ]);
        w.series([
            ChartSeries {
                chart: 20,
                cell: 200,
                label: "user",
            },
            ChartSeries {
                chart: 20,
                cell: 201,
                label: "设备 sda",
            },
        ]);
        w.points([
            Points {
                cell: 200,
                parts: [&[point(0, 1.0), point(1, 2.0)], &[point(2, 3.0)]],
            },
            Points {
                cell: 201,
                parts: [&[point(1, f64::NAN), point(2, -0.5)], &[]],
            },
        ]);
        w.lanes([LaneHead {
            lane: 1,
            item: 10,
            since_ms: T,
            until_ms: T + 4000.0,
        }]);
        w.rows([
            Row { cell: 400, level: Level::None, row_id: 1.0, t_ms: T,
                text: r#"{"type":"order.created","subject":"o-1","text":"€ 12.30"}"# },
            Row { cell: 400, level: Level::Info, row_id: 2.0, t_ms: T + 10.0,
                text: r#"{"type":"order.paid","subject":"o-1","text":"€ 12.30"}"# },
            Row { cell: 300, level: Level::Critical, row_id: 77.0, t_ms: T,
                text: r#"{"name":"HostDown","state":"firing","severity":"critical","summary":"down","since":1763690000000,"labels":{"job":"a"}}"# },
        ]);
    })
}

fn delta_head(seq: u64) -> Head {
    let sent_ns = 1_763_690_005_000_000_000 + seq * 50_000_000;
    Head {
        keyframe: false,
        generation: 7,
        seq,
        base_seq: seq - 1,
        sent_ns,
        ..Head::default()
    }
}

fn delta() -> Bytes {
    let head = Head {
        stamp_ns: 1_763_690_005_140_000_000,
        stamp_newest_ns: 1_763_690_005_149_999_999,
        events: 112,
        ..delta_head(1002)
    };
    frame(head, |w| {
        w.clear([300]);
        w.scalars([Scalar {
            cell: 100,
            value: -0.0,
            level: Level::Warning,
        }]);
        w.texts([Text {
            cell: 101,
            level: Level::Info,
            text: "now there",
        }]);
        w.points([Points {
            cell: 200,
            parts: [&[point(2, 3.5), point(3, 4.0)], &[]],
        }]);
        w.lanes([LaneHead {
            lane: 1,
            item: 11,
            since_ms: T + 4000.0,
            until_ms: T + 8000.0,
        }]);
        w.rows([Row {
            cell: 400,
            level: Level::None,
            row_id: 3.0,
            t_ms: T + 20.0,
            text: r#"{"type":"order.shipped","subject":"o-1","text":""}"#,
        }]);
    })
}

fn delta_series() -> Bytes {
    frame(delta_head(1003), |w| {
        w.series([
            ChartSeries {
                chart: 20,
                cell: 201,
                label: "设备 sda",
            },
            ChartSeries {
                chart: 20,
                cell: 202,
                label: "",
            },
        ]);
        w.points([Points {
            cell: 202,
            parts: [&[], &[point(4, 9.0)]],
        }]);
        w.rows([
            Row {
                cell: 300,
                level: Level::Warning,
                row_id: 78.0,
                t_ms: T + 3000.0,
                text: r#"{"name":"A","state":"pending"}"#,
            },
            Row {
                cell: 300,
                level: Level::Critical,
                row_id: 79.0,
                t_ms: T + 4000.0,
                text: r#"{"name":"B","state":"firing"}"#,
            },
        ]);
    })
}

/// The next alert set, and a chart whose last series went.
fn delta_empty_chart() -> Bytes {
    frame(delta_head(1004), |w| {
        w.series([ChartSeries {
            chart: 20,
            cell: 0,
            label: "",
        }]);
        w.rows([Row {
            cell: 300,
            level: Level::None,
            row_id: 79.0,
            t_ms: T + 4000.0,
            text: r#"{"name":"B","state":"resolved"}"#,
        }]);
    })
}

fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn edges() -> Bytes {
    frame(
        Head {
            seq: u64::MAX >> 11,
            events: u32::MAX,
            ..keyframe_head()
        },
        |w| {
            let values = [
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MAX,
                f64::MIN_POSITIVE,
                -0.0,
                0.1,
            ];
            w.scalars(values.into_iter().zip(1..).map(|(value, cell)| Scalar {
                cell,
                value,
                level: Level::None,
            }));
            w.texts([Text {
                cell: u32::MAX,
                level: Level::Critical,
                text: "𝄞🏮",
            }]);
            w.points([Points {
                cell: 9,
                parts: [&[], &[]],
            }]);
        },
    )
}

#[test]
fn every_block_of_a_keyframe_and_of_a_delta() {
    check("keyframe", &keyframe());
    check("delta", &delta());
    check("delta-series", &delta_series());
    check("edges", &edges());
    check("empty-delta", &frame(delta_head(5), |_| ()));
}

#[test]
fn a_block_of_an_unknown_kind_is_skipped() {
    let mut bytes = frame(delta_head(1002), |w| w.clear([1])).to_vec();
    bytes[64..68].copy_from_slice(&99_u32.to_le_bytes());
    let mut other = frame(delta_head(1), |w| {
        w.scalars([Scalar {
            cell: 3,
            value: 4.0,
            level: Level::Info,
        }]);
    })
    .to_vec();
    bytes.extend(other.drain(64..));
    bytes[6..8].copy_from_slice(&2_u16.to_le_bytes());
    check("unknown-block", &reseal(bytes));
}

#[test]
fn broken_frames_are_refused_by_name() {
    let good = keyframe().to_vec();
    let changed = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    check("bad-crc", &changed(200, good[200] ^ 0x10));
    check("bad-magic", &changed(0, b'X'));
    check("bad-version", &reseal(changed(4, 2)));
    check("bad-flags", &reseal(changed(5, 0x81)));
    check("bad-base", &reseal(changed(5, 0)));
    check("bad-short", &good[..63]);
    check("bad-cut", &reseal(good[..good.len() - 8].to_vec()));
    check(
        "bad-left-over",
        &reseal([good.as_slice(), &[0; 8]].concat()),
    );
    // Three scalars that claim to be thirty.
    check("bad-count", &reseal(changed(72, 30)));
    let mut ends = frame(keyframe_head(), |w| {
        w.texts([
            Text {
                cell: 1,
                level: Level::None,
                text: "走",
            },
            Text {
                cell: 2,
                level: Level::None,
                text: "马",
            },
        ]);
    })
    .to_vec();
    // Body at 72: n, bytes, cells at 80, ends at 88. The first text now ends inside a character.
    ends[88] = 2;
    check("bad-utf8-border", &reseal(ends.clone()));
    ends[88] = 7;
    check("bad-ends", &reseal(ends));
}

#[test]
fn a_chain_leads_to_these_states() {
    let policies = [(400, RowPolicy::Keep(2)), (300, RowPolicy::Replace)];
    let mut state = State::new(policies);
    let chain = [
        ("keyframe", keyframe()),
        ("delta", delta()),
        ("delta-series", delta_series()),
        ("chain-empty-chart", delta_empty_chart()),
        (
            "chain-keyframe-again",
            frame(
                Head {
                    seq: 1005,
                    ..keyframe_head()
                },
                |w| {
                    w.scalars([Scalar {
                        cell: 1,
                        value: 1.0,
                        level: Level::None,
                    }]);
                },
            ),
        ),
    ];
    let mut steps = Vec::new();
    for (name, bytes) in chain {
        check(name, &bytes);
        state.apply(&Frame::parse(&bytes).unwrap()).unwrap();
        steps.push(json!({ "file": format!("frame-{name}.bin"), "state": state.to_json() }));
    }
    check_json(
        "frame-chain.json",
        &json!({
            "policies": { "400": { "keep": 2 }, "300": "replace" },
            "steps": steps,
        }),
    );
}
