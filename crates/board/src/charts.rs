//! Series of charts: history when somebody comes to look, then a point per evaluation.
//!
//! Invariants: points of one evaluation have the same time in all series of a chart, so that stacks add
//! up; where a series stops having values it gets one NaN, which breaks its line; a series from labels goes
//! when its whole window is empty. Cells of such series are numbered on, never reused within a layout.

use std::collections::BTreeMap;

use broker::{Delays, PlaceDelay};
use delay::SliceSeen;
use frame::Point;
use model::Timestamp;
use promql::{Prepared, RangeSeries, Value};
use series::{Labels, Store};
use tracing::debug;

use crate::cells::{Cells, SeriesCell};
use crate::plan::{ChartPlan, Lines, Plan};
use crate::queries::{QueryState, options};
use crate::screen::Evaluated;
use crate::template::{Field, Template};
use crate::unit::Unit;

#[derive(Debug)]
pub(crate) struct ChartState {
    /// Place in the plan and in the cells alike.
    at: usize,
    last: Option<Timestamp>,
    /// Cells of series that come from labels.
    dynamic: BTreeMap<Labels, u32>,
}

impl ChartState {
    pub(crate) fn new(plan: &ChartPlan, cells: &mut Cells) -> Self {
        let window_ms = plan.window.as_secs_f64() * 1000.0;
        let at = cells.add_chart(plan.id, window_ms, plan.lines.come_and_go());
        if let Lines::Fixed(lines) = &plan.lines {
            for (place, line) in lines.iter().enumerate() {
                cells.insert_series(at, place, line.cell, &line.label.en);
            }
        }
        Self {
            at,
            last: None,
            dynamic: BTreeMap::new(),
        }
    }

    /// Fills the window from the store, one point per step.
    pub(crate) fn load(
        &mut self,
        plan: &Plan,
        cells: &mut Cells,
        next_cell: &mut u32,
        store: &Store,
        now: Timestamp,
        done: &mut Evaluated,
    ) {
        let chart = &plan.charts[self.at];
        let mut range = |query: usize| {
            done.queries += 1;
            let mut prepared = Prepared::new(plan.queries[query].clone());
            match prepared.range(store, now.minus(chart.window), now, chart.step, &options()) {
                Ok(Value::Matrix(series)) => series,
                Ok(Value::Vector(_) | Value::Scalar(..) | Value::String(..)) => Vec::new(),
                Err(error) => {
                    done.failures += 1;
                    debug!(query = %plan.queries[query], %error, "History of a chart failed.");
                    Vec::new()
                }
            }
        };
        match &chart.lines {
            Lines::Fixed(lines) => {
                for (place, line) in lines.iter().enumerate() {
                    if let Some(series) = range(line.query).first() {
                        self.fill(chart, cells, place, series);
                    }
                }
            }
            Lines::Dynamic {
                query,
                legend,
                limit,
            } => {
                for series in range(*query).iter().take(*limit) {
                    let place = self.place(cells, next_cell, legend.as_ref(), &series.labels);
                    self.fill(chart, cells, place, series);
                }
            }
            // The broker has their past.
            Lines::Delays { .. } => (),
        }
        self.last = Some(now);
    }

    fn fill(&self, chart: &ChartPlan, cells: &mut Cells, place: usize, series: &RangeSeries) {
        let mut before: Option<Timestamp> = None;
        for (at, v) in &series.samples {
            // A step without a value in between: break the line there.
            let gap = before.is_some_and(|before| at.since(before) > chart.step * 3 / 2);
            if let Some(before) = before.filter(|_| gap) {
                let t_ms = before.plus(chart.step).millis() as f64;
                cells.push_point(self.at, place, Point { t_ms, v: f64::NAN });
            }
            let t_ms = at.millis() as f64;
            cells.push_point(self.at, place, Point { t_ms, v: *v });
            before = Some(*at);
        }
    }

    /// Appends a point to every series if one of the chart's queries was evaluated at `now` and its step
    /// has passed.
    pub(crate) fn append(
        &mut self,
        plan: &Plan,
        cells: &mut Cells,
        next_cell: &mut u32,
        queries: &[QueryState],
        fresh: &[bool],
        now: Timestamp,
    ) {
        let chart = &plan.charts[self.at];
        let fresh = match &chart.lines {
            Lines::Fixed(lines) => lines.iter().any(|line| fresh[line.query]),
            Lines::Dynamic { query, .. } => fresh[*query],
            Lines::Delays { .. } => false,
        };
        let early = self
            .last
            .is_some_and(|last| now >= last && now.since(last) < chart.step * 4 / 5);
        if !fresh || early {
            return;
        }
        self.last = Some(now);
        let t_ms = now.millis() as f64;
        match &chart.lines {
            Lines::Fixed(lines) => {
                for (place, line) in lines.iter().enumerate() {
                    let value = queries[line.query]
                        .result()
                        .first()
                        .map(|sample| sample.value);
                    self.push(cells, place, t_ms, value);
                }
            }
            Lines::Dynamic {
                query,
                legend,
                limit,
            } => {
                let result = queries[*query].result();
                for sample in result {
                    if self.dynamic.len() < *limit && !self.dynamic.contains_key(&sample.labels) {
                        self.place(cells, next_cell, legend.as_ref(), &sample.labels);
                    }
                }
                for (labels, cell) in &self.dynamic {
                    let found = result.binary_search_by(|sample| sample.labels.cmp(labels));
                    let value = found
                        .ok()
                        .and_then(|found| result.get(found))
                        .map(|it| it.value);
                    if let Some(place) = place_of(cells, self.at, *cell) {
                        self.push(cells, place, t_ms, value);
                    }
                }
                let oldest = now.minus(chart.window).millis() as f64;
                if cells.drop_silent_series(self.at, oldest) > 0 {
                    self.dynamic
                        .retain(|_, cell| place_of(cells, self.at, *cell).is_some());
                }
            }
            Lines::Delays { .. } => (),
        }
    }

    /// Shows how late groups are: a series per group and partition, a point per slice. The slice that is not over
    /// is told again each time, and once more when it is.
    pub(crate) fn take_delays(
        &mut self,
        plan: &Plan,
        cells: &mut Cells,
        next_cell: &mut u32,
        delays: &Delays,
        now: Timestamp,
    ) {
        let chart = &plan.charts[self.at];
        let Lines::Delays { legend, limit, .. } = &chart.lines else {
            return;
        };
        let oldest = now.minus(chart.window).millis() as f64;
        let shown = |place: &&PlaceDelay| !place.seen.slices.is_empty();
        let mut places: Vec<&PlaceDelay> = delays.places.iter().filter(shown).collect();
        // Where there is no room for all, the latest are seen.
        places.sort_by_key(|place| {
            let worst = place.seen.slices.iter().filter_map(SliceSeen::worst_ms);
            std::cmp::Reverse(worst.max())
        });
        for delay in places {
            let partition = delay.of.partition.to_string();
            let labels = Labels::of(&[
                ("group", delay.group.as_str()),
                ("topic", delay.of.topic.as_str()),
                ("partition", partition.as_str()),
            ]);
            if self.dynamic.len() >= *limit && !self.dynamic.contains_key(&labels) {
                continue;
            }
            let place = self.place(cells, next_cell, legend.as_ref(), &labels);
            for slice in &delay.seen.slices {
                let t_ms = slice.begin.millis() as f64;
                if let Some(worst) = slice.worst_ms().filter(|_| t_ms > oldest) {
                    let v = worst as f64 / 1_000.0;
                    cells.push_point(self.at, place, Point { t_ms, v });
                }
            }
        }
        if cells.drop_silent_series(self.at, oldest) > 0 {
            self.dynamic
                .retain(|_, cell| place_of(cells, self.at, *cell).is_some());
        }
    }

    fn push(&self, cells: &mut Cells, place: usize, t_ms: f64, value: Option<f64>) {
        let v = value.unwrap_or(f64::NAN);
        let last = cells.series(self.at).get(place).and_then(SeriesCell::last);
        // One NaN breaks a line; more say nothing new.
        if v.is_nan() && last.is_none_or(|last| last.v.is_nan()) {
            return;
        }
        cells.push_point(self.at, place, Point { t_ms, v });
    }

    /// The place of the series with these labels, made if it is new; in the order of labels.
    fn place(
        &mut self,
        cells: &mut Cells,
        next_cell: &mut u32,
        legend: Option<&Template>,
        labels: &Labels,
    ) -> usize {
        if let Some(cell) = self.dynamic.get(labels)
            && let Some(place) = place_of(cells, self.at, *cell)
        {
            return place;
        }
        let cell = *next_cell;
        *next_cell += 1;
        self.dynamic.insert(labels.clone(), cell);
        let before = self.dynamic.range(..labels.clone()).count();
        let place = before.min(cells.series(self.at).len());
        cells.insert_series(self.at, place, cell, &name(legend, labels));
        place
    }
}

fn place_of(cells: &Cells, chart: usize, cell: u32) -> Option<usize> {
    cells
        .series(chart)
        .iter()
        .position(|series| series.cell == cell)
}

/// What a series is called: by the legend, or by its labels.
fn name(legend: Option<&Template>, labels: &Labels) -> String {
    let mut out = String::new();
    if let Some(legend) = legend {
        legend.render(&mut out, Unit::Short, |label| {
            let value = labels.get(label)?;
            Some(Field::Text(value.into()))
        });
        return out;
    }
    for (name, value) in labels
        .iter()
        .filter(|(name, _)| *name != series::METRIC_NAME)
    {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.extend([name, "=", value]);
    }
    if out.is_empty() {
        out.push_str(labels.metric_name().unwrap_or("value"));
    }
    out
}
