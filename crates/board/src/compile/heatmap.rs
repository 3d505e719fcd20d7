//! Heat maps and tables.

use broker::DelayFilter;
use serde_saphyr::Spanned;

use super::Compiler;
use crate::limits;
use crate::plan::{ColumnPlan, LaneContent, Lines, TablePlan};
use crate::schema::{self, Draw};
use crate::template::Template;
use crate::text::Text;

/// Where the colour changes unless the board says otherwise, in seconds: what nobody notices, what somebody does, what a
/// client that commits every five seconds shows, and what is too late.
const DELAY_STEPS: [f64; 5] = [0.1, 1.0, 6.0, 30.0, 120.0];

impl Compiler<'_> {
    /// The steps of a heat map; takes out of `chart` what only a heat map has, and says what cannot stand beside it.
    pub(super) fn heat_steps(&mut self, path: &str, chart: &mut schema::Chart) -> Option<Vec<f64>> {
        let at = chart.title.referenced;
        let given = chart.steps.take();
        if chart.draw == Draw::Lines {
            if let Some(steps) = given {
                let reason = "belongs to a heat map: write draw: heatmap beside it";
                self.problem(&format!("{path}.steps"), steps.referenced, reason);
            }
            if let Some(delays) = &chart.delays {
                let reason = "are drawn as a heat map: write draw: heatmap beside it";
                self.problem(&format!("{path}.delays"), delays.referenced, reason);
            }
            return None;
        }
        if chart.stack || chart.min.is_some() || chart.max.is_some() {
            let reason = "a heat map has steps, and neither stack nor min nor max";
            self.problem(path, at, reason);
        }
        if let Some(delays) = &chart.delays {
            if chart.query.is_some() || !chart.series.is_empty() {
                let reason = "cannot stand beside a query or series: a chart has one source";
                self.problem(&format!("{path}.delays"), delays.referenced, reason);
            }
            if let Some(step) = &chart.step {
                let reason = "delays come in slices of 10s: leave the step out";
                self.problem(&format!("{path}.step"), step.referenced, reason);
            }
            let most = delay::SLICE * u32::try_from(delay::SLICES).unwrap_or(u32::MAX);
            if let Some(window) = chart.window.as_ref().filter(|it| it.value.get() > most) {
                let reason = "delays are kept for 5m";
                self.problem(&format!("{path}.window"), window.referenced, reason);
            }
        }
        let Some(steps) = given else {
            if chart.delays.is_none() {
                let reason =
                    "needs steps, the values at which its colour changes: steps: [1, 10, 100]";
                self.problem(path, at, reason);
            }
            return Some(DELAY_STEPS.to_vec());
        };
        let values = steps.value;
        let most = limits::HEATMAP_STEPS_MAX;
        let ascend = values.is_sorted_by(|a, b| a < b);
        if values.is_empty()
            || values.len() > most
            || !ascend
            || values.iter().any(|it| !it.is_finite())
        {
            let reason = format!("must be 1 to {most} numbers, each above the one before");
            self.problem(&format!("{path}.steps"), steps.referenced, reason);
        }
        Some(values)
    }

    pub(super) fn delays(
        &mut self,
        path: &str,
        delays: Spanned<schema::DelaySource>,
        legend: Option<Spanned<String>>,
        limit: Option<Spanned<u32>>,
    ) -> Lines {
        let schema::DelaySource { group, topic } = delays.value;
        let group = group.and_then(|group| {
            let path = format!("{path}.delays.group");
            let parsed = group.value.parse();
            parsed
                .map_err(|error: model::InvalidName| {
                    self.problem(&path, group.referenced, error.to_string());
                })
                .ok()
        });
        let topic = topic.map(|topic| self.topic(&format!("{path}.delays.topic"), &topic));
        // What all rows have in common need not stand before each.
        let default = match (&group, &topic) {
            (None, None) => "{group} · {topic}/{partition}",
            (Some(_), None) => "{topic}/{partition}",
            (None, Some(_)) => "{group} · {partition}",
            (Some(_), Some(_)) => "{partition}",
        };
        let known = |name: &str| matches!(name, "group" | "topic" | "partition");
        let names = "group, topic or partition";
        let given =
            legend.and_then(|text| self.template(&format!("{path}.legend"), &text, known, names));
        let default = || Template::parse(default).expect("the default template parses");
        Lines::Delays {
            filter: DelayFilter { group, topic },
            legend: Some(given.unwrap_or_else(default)),
            limit: self.limit(&format!("{path}.limit"), limit),
        }
    }

    pub(super) fn table(&mut self, path: &str, lane: schema::Table) -> (Option<Text>, LaneContent) {
        let cell = self.id();
        if lane.by.value.is_empty() {
            let reason = "must name at least one label that tells rows apart";
            self.problem(&format!("{path}.by"), lane.by.referenced, reason);
        }
        let (most, default) = limits::TABLE_ROWS;
        let rows = lane.rows.map_or(default, |rows| {
            if !(1..=most).contains(&rows.value) {
                let reason = format!("{} is not between 1 and {most}", rows.value);
                self.problem(&format!("{path}.rows"), rows.referenced, reason);
            }
            rows.value
        });
        let path = format!("{path}.columns");
        self.count(
            &path,
            lane.columns.referenced,
            lane.columns.value.len(),
            limits::LANE_ITEMS_MAX,
        );
        let columns = lane.columns.value.into_iter().enumerate();
        let columns = columns.map(|(at, column)| {
            let path = format!("{path}[{at}]");
            let levels = column.levels;
            ColumnPlan {
                label: column.label.value,
                unit: column.unit,
                query: self.query(&format!("{path}.query"), &column.query),
                levels: levels.map(|levels| self.levels(&format!("{path}.levels"), levels)),
            }
        });
        let columns = columns.collect();
        self.tables.push(TablePlan {
            cell,
            by: lane.by.value,
            label: lane.label.value,
            rows: usize::try_from(rows).unwrap_or(1),
            columns,
        });
        (lane.title, LaneContent::Table(self.tables.len() - 1))
    }
}
