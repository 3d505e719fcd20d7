//! What a viewer knows after applying frames: the reference for every decoder.
//!
//! Invariants: a frame applies whole or not at all; after any chain of deltas the state equals the
//! keyframe that the server would send at that moment (chart points older than the keyframe's are
//! the viewer's to trim, see [`State::trim`]). Not here: layouts; the caller says per cell how rows
//! behave.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::block::{Level, Point};
use crate::decode::Frame;
use crate::view::Block;

/// How the rows of a cell behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPolicy {
    /// A ticker: new rows are appended, the newest this many are kept.
    Keep(usize),
    /// An alert lane: a block carries the complete set.
    Replace,
}

/// One row as a viewer holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct StateRow {
    /// What it is.
    pub row_id: f64,
    /// When, milliseconds since 1970.
    pub t_ms: f64,
    /// How it is doing.
    pub level: Level,
    /// A JSON object.
    pub text: String,
}

/// Why a frame does not apply: the viewer keeps what it has and asks for a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Frames between the last one and this were not received.
    #[error("a delta on frame {base} cannot follow frame {have}")]
    Gap {
        /// The frame the delta applies on.
        base: u64,
        /// The frame the viewer has.
        have: u64,
    },
    /// The frame belongs to another layout.
    #[error("a frame of layout {found} cannot apply to layout {have}")]
    Generation {
        /// The frame's layout.
        found: u32,
        /// The viewer's layout.
        have: u32,
    },
}

/// Everything shown, by cell.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The layout, set by the last keyframe.
    pub generation: u32,
    /// The last frame applied; 0 before the first.
    pub seq: u64,
    /// Newest values.
    pub scalars: BTreeMap<u32, (f64, Level)>,
    /// Newest texts.
    pub texts: BTreeMap<u32, (String, Level)>,
    /// Points, oldest first.
    pub points: BTreeMap<u32, Vec<Point>>,
    /// Heads of lanes: item, since, until.
    pub lanes: BTreeMap<u32, (u32, f64, f64)>,
    /// Series of charts: cell and name, in order.
    pub series: BTreeMap<u32, Vec<(u32, String)>>,
    /// Rows, in order.
    pub rows: BTreeMap<u32, Vec<StateRow>>,
    policies: BTreeMap<u32, RowPolicy>,
}

impl State {
    /// Nothing known yet. Cells without a policy keep all rows.
    pub fn new(policies: impl IntoIterator<Item = (u32, RowPolicy)>) -> Self {
        Self {
            policies: policies.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Applies one frame.
    ///
    /// # Errors
    /// [`ApplyError`]; the state is unchanged then.
    pub fn apply(&mut self, frame: &Frame<'_>) -> Result<(), ApplyError> {
        let head = frame.head();
        if head.keyframe {
            let policies = std::mem::take(&mut self.policies);
            *self = Self {
                generation: head.generation,
                policies,
                ..Self::default()
            };
        } else if head.generation != self.generation {
            return Err(ApplyError::Generation {
                found: head.generation,
                have: self.generation,
            });
        } else if head.base_seq != self.seq || self.seq == 0 {
            return Err(ApplyError::Gap {
                base: head.base_seq,
                have: self.seq,
            });
        }
        self.seq = head.seq;
        frame.blocks().for_each(|block| self.apply_block(block));
        Ok(())
    }

    /// Drops the points of `cell` that are older than `oldest_ms`.
    pub fn trim(&mut self, cell: u32, oldest_ms: f64) {
        if let Some(points) = self.points.get_mut(&cell) {
            points.retain(|point| point.t_ms >= oldest_ms);
        }
    }

    fn apply_block(&mut self, block: Block<'_>) {
        match block {
            Block::Scalars(rows) => {
                self.scalars
                    .extend(rows.iter().map(|row| (row.cell, (row.value, row.level))));
            }
            Block::Texts(rows) => {
                let rows = rows
                    .iter()
                    .map(|row| (row.cell, (row.text.to_owned(), row.level)));
                self.texts.extend(rows);
            }
            Block::Points(rows) => {
                for row in rows.iter() {
                    append(self.points.entry(row.cell).or_default(), row.iter());
                }
            }
            Block::Lanes(rows) => {
                let rows = rows
                    .iter()
                    .map(|row| (row.lane, (row.item, row.since_ms, row.until_ms)));
                self.lanes.extend(rows);
            }
            Block::Series(rows) => {
                let rows = rows
                    .iter()
                    .map(|row| (row.chart, row.cell, row.label.to_owned()));
                self.declare(rows.collect());
            }
            Block::Rows(rows) => {
                let rows = rows.iter().map(|row| {
                    let text = row.text.to_owned();
                    let (row_id, t_ms, level) = (row.row_id, row.t_ms, row.level);
                    (
                        row.cell,
                        StateRow {
                            row_id,
                            t_ms,
                            level,
                            text,
                        },
                    )
                });
                self.take_rows(rows.collect());
            }
            Block::Clear(cells) => {
                for cell in cells.iter() {
                    self.points.remove(&cell);
                    self.rows.remove(&cell);
                }
            }
            Block::Unknown { .. } => (),
        }
    }

    /// Replaces the series of every chart named and forgets the cells that went.
    fn declare(&mut self, rows: Vec<(u32, u32, String)>) {
        let mut charts: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
        for (chart, cell, label) in rows {
            let series = charts.entry(chart).or_default();
            if cell != 0 {
                series.push((cell, label));
            }
        }
        for (chart, series) in charts {
            for (old, _) in self.series.remove(&chart).unwrap_or_default() {
                if series.iter().all(|(cell, _)| *cell != old) {
                    self.points.remove(&old);
                }
            }
            if !series.is_empty() {
                self.series.insert(chart, series);
            }
        }
    }

    fn take_rows(&mut self, rows: Vec<(u32, StateRow)>) {
        for (cell, _) in &rows {
            if self.policies.get(cell) == Some(&RowPolicy::Replace) {
                self.rows.remove(cell);
            }
        }
        for (cell, row) in rows {
            let kept = self.rows.entry(cell).or_default();
            kept.push(row);
            if let Some(RowPolicy::Keep(most)) = self.policies.get(&cell) {
                kept.drain(..kept.len().saturating_sub(*most));
            }
        }
    }

    /// The state as JSON, as the golden files show it: NaN is `null`, infinities are texts.
    pub fn to_json(&self) -> Value {
        let level = |level: Level| level.code();
        json!({
            "generation": self.generation,
            "seq": self.seq,
            "scalars": map(&self.scalars, |(value, l)| json!({"value": number(*value), "level": level(*l)})),
            "texts": map(&self.texts, |(text, l)| json!({"text": text, "level": level(*l)})),
            "points": map(&self.points, |points| points.iter()
                .map(|point| json!([number(point.t_ms), number(point.v)])).collect()),
            "lanes": map(&self.lanes, |(item, since, until)|
                json!({"item": item, "since_ms": number(*since), "until_ms": number(*until)})),
            "series": map(&self.series, |series| series.iter()
                .map(|(cell, label)| json!({"cell": cell, "label": label})).collect()),
            "rows": map(&self.rows, |rows| rows.iter().map(|row| json!({
                "row_id": number(row.row_id), "t_ms": number(row.t_ms),
                "level": level(row.level), "text": row.text})).collect()),
        })
    }
}

/// Appends points; one at the last time replaces the last.
fn append(kept: &mut Vec<Point>, new: impl Iterator<Item = Point>) {
    for point in new {
        match kept.last_mut() {
            Some(last) if last.t_ms.to_bits() == point.t_ms.to_bits() => *last = point,
            _ => kept.push(point),
        }
    }
}

fn map<T>(rows: &BTreeMap<u32, T>, show: impl Fn(&T) -> Value) -> Value {
    rows.iter()
        .map(|(key, row)| (key.to_string(), show(row)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A number in JSON: NaN is `null`, infinities are the texts `Infinity` and `-Infinity`.
pub(crate) fn number(value: f64) -> Value {
    if value.is_nan() {
        Value::Null
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}
