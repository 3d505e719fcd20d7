//! The newest value of everything a board shows, and what of it changed since the last frame.
//!
//! Invariants: what [`Cells::write_delta`] writes, applied on the state of the frame before, gives
//! exactly what [`Cells::write_keyframe`] writes at that moment; every kind of cell has a bound, so
//! neither frame can grow without one; setting an equal value is no change.
//! Not here: where values come from, and the numbers of frames.

use std::collections::VecDeque;

use frame::{ChartSeries, FrameWriter, LaneHead, Level, Point, Points, Row, Scalar, Text};

use crate::limits::POINTS_MAX;

#[derive(Debug, Default)]
pub(crate) struct Cells {
    values: Vec<ValueCell>,
    lanes: Vec<(LaneHead, bool)>,
    charts: Vec<ChartCell>,
    tickers: Vec<TickerCell>,
    alerts: Vec<AlertsCell>,
    events: Events,
}

/// One value with its status text.
#[derive(Debug)]
struct ValueCell {
    cell: u32,
    value: f64,
    level: Level,
    text: String,
    /// Whether viewers were ever told a text, empty or not.
    has_text: bool,
    value_changed: bool,
    text_changed: bool,
}

/// One chart: its series in order, each a window of points.
#[derive(Debug)]
struct ChartCell {
    chart: u32,
    window_ms: f64,
    /// Whether viewers learn the series from frames, not from the layout.
    dynamic: bool,
    declared: bool,
    series: Vec<SeriesCell>,
}

#[derive(Debug)]
pub(crate) struct SeriesCell {
    pub(crate) cell: u32,
    pub(crate) label: String,
    points: VecDeque<Point>,
    /// How many of the newest points viewers have not seen as they are.
    fresh: usize,
}

#[derive(Debug)]
struct TickerCell {
    cell: u32,
    most: usize,
    rows: VecDeque<OwnedRow>,
    fresh: usize,
}

#[derive(Debug)]
struct AlertsCell {
    cell: u32,
    rows: Vec<OwnedRow>,
    changed: bool,
}

/// A row as a board keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnedRow {
    pub(crate) row_id: f64,
    pub(crate) t_ms: f64,
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// Events that the next frame shows for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Events {
    pub(crate) count: u32,
    /// Arrival of the oldest, Unix nanoseconds; 0 for none.
    pub(crate) oldest_ns: u64,
    pub(crate) newest_ns: u64,
}

impl Events {
    /// Counts one more event that arrived at `at_ns`.
    pub(crate) fn add(&mut self, at_ns: u64) {
        self.merge(Self {
            count: 1,
            oldest_ns: at_ns,
            newest_ns: at_ns,
        });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other;
            return;
        }
        self.count = self.count.saturating_add(other.count);
        self.oldest_ns = self.oldest_ns.min(other.oldest_ns);
        self.newest_ns = self.newest_ns.max(other.newest_ns);
    }
}

impl Cells {
    pub(crate) fn add_value(&mut self, cell: u32) -> usize {
        self.values.push(ValueCell {
            cell,
            value: f64::NAN,
            level: Level::None,
            text: String::new(),
            has_text: false,
            value_changed: true,
            text_changed: false,
        });
        self.values.len() - 1
    }

    pub(crate) fn add_lane(&mut self, head: LaneHead) -> usize {
        self.lanes.push((head, true));
        self.lanes.len() - 1
    }

    pub(crate) fn add_chart(&mut self, chart: u32, window_ms: f64, dynamic: bool) -> usize {
        self.charts.push(ChartCell {
            chart,
            window_ms,
            dynamic,
            declared: !dynamic,
            series: Vec::new(),
        });
        self.charts.len() - 1
    }

    pub(crate) fn add_ticker(&mut self, cell: u32, most: usize) -> usize {
        self.tickers.push(TickerCell {
            cell,
            most,
            rows: VecDeque::new(),
            fresh: 0,
        });
        self.tickers.len() - 1
    }

    pub(crate) fn add_alerts(&mut self, cell: u32) -> usize {
        self.alerts.push(AlertsCell {
            cell,
            rows: Vec::new(),
            changed: true,
        });
        self.alerts.len() - 1
    }

    /// Sets a value and its status text.
    pub(crate) fn set_value(&mut self, at: usize, value: f64, level: Level, text: &str) {
        let kept = &mut self.values[at];
        if kept.value.to_bits() != value.to_bits() || kept.level != level {
            (kept.value, kept.level, kept.value_changed) = (value, level, true);
            // A text carries the level as well.
            kept.text_changed |= kept.has_text;
        }
        if kept.text != text {
            kept.text.clear();
            kept.text.push_str(text);
            (kept.has_text, kept.text_changed) = (true, true);
        }
    }

    pub(crate) fn set_lane(&mut self, at: usize, head: LaneHead) {
        let (kept, changed) = &mut self.lanes[at];
        *changed |= *kept != head;
        *kept = head;
    }

    /// The series of a chart, in the order viewers have them.
    pub(crate) fn series(&self, chart: usize) -> &[SeriesCell] {
        &self.charts[chart].series
    }

    /// Adds a series at `place` of a chart.
    pub(crate) fn insert_series(&mut self, chart: usize, place: usize, cell: u32, label: &str) {
        let chart = &mut self.charts[chart];
        let series = SeriesCell {
            cell,
            label: label.to_owned(),
            points: VecDeque::new(),
            fresh: 0,
        };
        chart.series.insert(place, series);
        chart.declared &= !chart.dynamic;
    }

    /// Appends a point; one at the time of the last replaces it, an older one is dropped.
    pub(crate) fn push_point(&mut self, chart: usize, place: usize, point: Point) {
        let window_ms = self.charts[chart].window_ms;
        let series = &mut self.charts[chart].series[place];
        match series.points.back_mut() {
            Some(last) if last.t_ms > point.t_ms => return,
            Some(last) if last.t_ms.to_bits() == point.t_ms.to_bits() => {
                if last.v.to_bits() == point.v.to_bits() {
                    return;
                }
                *last = point;
                series.fresh = series.fresh.max(1);
            }
            _ => {
                series.points.push_back(point);
                series.fresh += 1;
            }
        }
        // One point before the window stays: the line comes in from the edge.
        let oldest = point.t_ms - window_ms;
        while series.points.len() > POINTS_MAX
            || series.points.get(1).is_some_and(|next| next.t_ms < oldest)
        {
            series.points.pop_front();
        }
        series.fresh = series.fresh.min(series.points.len());
    }

    /// Removes the series of a dynamic chart that have no point at or after `oldest_ms` with a value.
    pub(crate) fn drop_silent_series(&mut self, chart: usize, oldest_ms: f64) -> usize {
        let chart = &mut self.charts[chart];
        let before = chart.series.len();
        chart.series.retain(|series| {
            series
                .points
                .iter()
                .rev()
                .take_while(|point| point.t_ms >= oldest_ms)
                .any(|point| !point.v.is_nan())
        });
        let dropped = before - chart.series.len();
        chart.declared &= dropped == 0;
        dropped
    }

    /// Appends rows to a ticker, oldest first.
    pub(crate) fn push_rows(&mut self, ticker: usize, rows: impl IntoIterator<Item = OwnedRow>) {
        let ticker = &mut self.tickers[ticker];
        for row in rows {
            if ticker.rows.len() == ticker.most {
                ticker.rows.pop_front();
            }
            ticker.rows.push_back(row);
            ticker.fresh = (ticker.fresh + 1).min(ticker.rows.len());
        }
    }

    /// Replaces the rows of an alert lane.
    pub(crate) fn set_alerts(&mut self, at: usize, rows: Vec<OwnedRow>) {
        let kept = &mut self.alerts[at];
        if kept.rows != rows {
            (kept.rows, kept.changed) = (rows, true);
        }
    }

    pub(crate) fn add_events(&mut self, events: Events) {
        self.events.merge(events);
    }

    /// Events the next frame will show first.
    pub(crate) fn events(&self) -> Events {
        self.events
    }

    /// Whether a delta would say anything.
    pub(crate) fn changed(&self) -> bool {
        self.events.count > 0
            || self
                .values
                .iter()
                .any(|kept| kept.value_changed || kept.text_changed)
            || self.lanes.iter().any(|(_, changed)| *changed)
            || self
                .charts
                .iter()
                .any(|chart| !chart.declared || chart.series.iter().any(|series| series.fresh > 0))
            || self.tickers.iter().any(|ticker| ticker.fresh > 0)
            || self.alerts.iter().any(|alerts| alerts.changed)
    }

    /// Writes what changed and forgets that it did.
    pub(crate) fn write_delta(&mut self, writer: &mut FrameWriter<'_>) {
        writer.clear(
            self.alerts
                .iter()
                .filter(|kept| kept.changed && kept.rows.is_empty())
                .map(|kept| kept.cell),
        );
        self.write(writer, Which::Changed);
        self.forget_changes();
    }

    /// Writes everything. Changes stay marked: whoever follows by deltas has not seen them.
    pub(crate) fn write_keyframe(&self, writer: &mut FrameWriter<'_>) {
        self.write(writer, Which::All);
    }

    fn write(&self, writer: &mut FrameWriter<'_>, which: Which) {
        let all = which == Which::All;
        writer.scalars(
            self.values
                .iter()
                .filter(|kept| all || kept.value_changed)
                .map(|kept| Scalar {
                    cell: kept.cell,
                    value: kept.value,
                    level: kept.level,
                }),
        );
        let has_text = |kept: &&ValueCell| kept.has_text && (all || kept.text_changed);
        writer.texts(self.values.iter().filter(has_text).map(|kept| Text {
            cell: kept.cell,
            level: kept.level,
            text: &kept.text,
        }));
        let declared = self
            .charts
            .iter()
            .filter(|chart| chart.dynamic && (all || !chart.declared));
        writer.series(declared.flat_map(|chart| {
            let none = chart.series.is_empty().then_some(ChartSeries {
                chart: chart.chart,
                cell: 0,
                label: "",
            });
            let series = chart.series.iter().map(|series| ChartSeries {
                chart: chart.chart,
                cell: series.cell,
                label: &series.label,
            });
            none.into_iter().chain(series)
        }));
        let series = self.charts.iter().flat_map(|chart| &chart.series);
        writer.points(
            series
                .filter(|series| {
                    if all {
                        !series.points.is_empty()
                    } else {
                        series.fresh > 0
                    }
                })
                .map(|series| {
                    let from = if all {
                        0
                    } else {
                        series.points.len() - series.fresh
                    };
                    Points {
                        cell: series.cell,
                        parts: newest(&series.points, from),
                    }
                }),
        );
        writer.lanes(
            self.lanes
                .iter()
                .filter(|(_, changed)| all || *changed)
                .map(|(head, _)| *head),
        );
        let tickers = self.tickers.iter().flat_map(|ticker| {
            let from = if all {
                0
            } else {
                ticker.rows.len() - ticker.fresh
            };
            ticker
                .rows
                .iter()
                .skip(from)
                .map(|row| row.as_row(ticker.cell))
        });
        let alerts = self.alerts.iter().filter(|kept| all || kept.changed);
        writer.rows(
            tickers
                .chain(alerts.flat_map(|kept| kept.rows.iter().map(|row| row.as_row(kept.cell)))),
        );
    }

    /// Takes everything as known to viewers: they will start from a keyframe.
    pub(crate) fn forget_changes(&mut self) {
        self.events = Events::default();
        for kept in &mut self.values {
            (kept.value_changed, kept.text_changed) = (false, false);
        }
        for (_, changed) in &mut self.lanes {
            *changed = false;
        }
        for chart in &mut self.charts {
            chart.declared = true;
            for series in &mut chart.series {
                series.fresh = 0;
            }
        }
        for ticker in &mut self.tickers {
            ticker.fresh = 0;
        }
        for kept in &mut self.alerts {
            kept.changed = false;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Changed,
}

impl SeriesCell {
    /// The newest point.
    pub(crate) fn last(&self) -> Option<Point> {
        self.points.back().copied()
    }
}

impl OwnedRow {
    fn as_row(&self, cell: u32) -> Row<'_> {
        Row {
            cell,
            level: self.level,
            row_id: self.row_id,
            t_ms: self.t_ms,
            text: &self.text,
        }
    }
}

/// The points from place `from` on, in the two halves of their ring.
fn newest(points: &VecDeque<Point>, from: usize) -> [&[Point]; 2] {
    let (front, back) = points.as_slices();
    match front.get(from..) {
        Some(front) => [front, back],
        None => [&[], back.get(from - front.len()..).unwrap_or_default()],
    }
}

#[cfg(test)]
mod tests;
