//! Charts, alert lanes and tickers.

use std::collections::BTreeMap;
use std::time::Duration;

use frame::Level;
use serde_saphyr::Spanned;
use stdx::HumanDuration;

use super::Compiler;
use crate::limits;
use crate::plan::{AlertsPlan, ChartPlan, FixedLine, LaneContent, Lines, TickerPlan};
use crate::schema;
use crate::template::Template;
use crate::text::Text;

/// [`limits::POINTS_MAX`] as durations are multiplied.
const POINTS_MAX: u32 = 4_096;

const _: () = assert!(limits::POINTS_MAX == 1 << POINTS_MAX.trailing_zeros());

impl Compiler<'_> {
    pub(super) fn chart(&mut self, path: &str, mut chart: schema::Chart) -> usize {
        let id = self.id();
        let steps = self.heat_steps(path, &mut chart);
        let window = self.span(
            &format!("{path}.window"),
            chart.window,
            Duration::from_mins(5),
            limits::WINDOW,
        );
        let points = match &steps {
            Some(_) => limits::HEATMAP_COLUMNS,
            None => limits::CHART_POINTS,
        };
        let step = if chart.delays.is_some() {
            delay::SLICE
        } else {
            (window / points).max(Duration::from_millis(250))
        };
        let title_at = chart.title.referenced;
        let step_at = chart.step.as_ref().map_or(title_at, |step| step.referenced);
        let step = self.span(
            &format!("{path}.step"),
            chart.step,
            step,
            (limits::STEP_MIN, window),
        );
        if step * POINTS_MAX < window {
            let (step, window) = (HumanDuration::from(step), HumanDuration::from(window));
            let reason = format!("{step} makes more than {POINTS_MAX} points in {window}");
            self.problem(&format!("{path}.step"), step_at, reason);
        }
        if let (Some(min), Some(max)) = (chart.min, &chart.max)
            && max.value <= min
        {
            let reason = format!("{} is not above min, which is {min}", max.value);
            self.problem(&format!("{path}.max"), max.referenced, reason);
        }
        let at = chart.title.referenced;
        let lines = if let Some(delays) = chart.delays {
            self.delays(path, delays, chart.legend, chart.limit)
        } else {
            match (chart.query, chart.series.is_empty()) {
                (Some(query), true) => {
                    let query = self.query(&format!("{path}.query"), &query);
                    let any = |_: &str| true;
                    let legend = chart
                        .legend
                        .and_then(|it| self.template(&format!("{path}.legend"), &it, any, ""));
                    let limit = self.limit(&format!("{path}.limit"), chart.limit);
                    Lines::Dynamic {
                        query,
                        legend,
                        limit,
                    }
                }
                (None, false) => {
                    if let Some(legend) = chart.legend {
                        self.problem(
                            &format!("{path}.legend"),
                            legend.referenced,
                            "belongs to a query; each entry of series has a label",
                        );
                    }
                    let series = chart.series.into_iter().enumerate();
                    Lines::Fixed(
                        series
                            .map(|(at, series)| FixedLine {
                                query: self
                                    .query(&format!("{path}.series[{at}].query"), &series.query),
                                label: series.label,
                                cell: self.id(),
                            })
                            .collect(),
                    )
                }
                (None, true) => {
                    self.problem(path, at, "has neither a query nor series");
                    Lines::Fixed(Vec::new())
                }
                (Some(query), false) => {
                    self.problem(
                        &format!("{path}.query"),
                        query.referenced,
                        "cannot stand beside series: a chart has one or the other",
                    );
                    Lines::Fixed(Vec::new())
                }
            }
        };
        self.charts.push(ChartPlan {
            id,
            title: chart.title.value,
            unit: chart.unit,
            window,
            step,
            stack: chart.stack,
            min: chart.min,
            max: chart.max.map(|max| max.value),
            steps,
            lines,
        });
        self.charts.len() - 1
    }

    pub(super) fn limit(&mut self, path: &str, limit: Option<Spanned<u32>>) -> usize {
        let found = limit
            .as_ref()
            .map_or(limits::SERIES_DEFAULT, |limit| limit.value);
        if let Some(limit) = limit
            && !(1..=limits::SERIES_MAX).contains(&found)
        {
            let reason = format!("{found} is not between 1 and {}", limits::SERIES_MAX);
            self.problem(path, limit.referenced, reason);
        }
        usize::try_from(found).unwrap_or(1)
    }

    pub(super) fn alert_lane(
        &mut self,
        path: &str,
        lane: schema::Alerts,
    ) -> (Option<Text>, LaneContent) {
        let bounds = (Duration::ZERO, Duration::from_hours(1));
        let default = Duration::from_secs(30);
        let resolved = self.span(&format!("{path}.resolved"), lane.resolved, default, bounds);
        let cell = self.id();
        self.alerts.push(AlertsPlan {
            cell,
            only: lane.only,
            resolved,
        });
        (lane.title, LaneContent::Alerts(self.alerts.len() - 1))
    }

    pub(super) fn ticker(
        &mut self,
        path: &str,
        lane: schema::Ticker,
    ) -> (Option<Text>, LaneContent) {
        let cell = self.id();
        let topic = self.topic(&format!("{path}.topic"), &lane.topic);
        let rows = lane.rows.map_or(50, |rows| {
            if !(1..=limits::TICKER_ROWS_MAX).contains(&rows.value) {
                let reason = format!(
                    "{} is not between 1 and {}",
                    rows.value,
                    limits::TICKER_ROWS_MAX
                );
                self.problem(&format!("{path}.rows"), rows.referenced, reason);
            }
            rows.value
        });
        let mut template = |key: &str, text: Option<Spanned<String>>, default: &str| {
            let known = |name: &str| {
                let prefixed = |prefix| name.strip_prefix(prefix).is_some_and(|it| !it.is_empty());
                matches!(name, "key" | "value" | "size" | "offset")
                    || prefixed("header.")
                    || prefixed("value.")
            };
            let names = "key, header.NAME, value, value.FIELD, size or offset";
            let given =
                text.and_then(|text| self.template(&format!("{path}.{key}"), &text, known, names));
            given.unwrap_or_else(|| Template::parse(default).expect("the default template parses"))
        };
        let kind = template("type", lane.kind, "{header.ce_type|key}");
        let subject = template("subject", lane.subject, "{header.ce_subject|key}");
        let text = template("text", lane.text, "");
        let mut levels = BTreeMap::new();
        for (kind, level) in lane.levels {
            if let Some(known) = level_named(&level.value) {
                levels.insert(kind, known);
            } else {
                let found = &level.value;
                let reason = format!("'{found}' is no level: healthy, info, warning or critical");
                self.problem(&format!("{path}.levels.{kind}"), level.referenced, reason);
            }
        }
        self.tickers.push(TickerPlan {
            cell,
            rows: usize::try_from(rows).unwrap_or(1),
            topic,
            types: lane.types,
            kind,
            subject,
            text,
            levels,
        });
        (lane.title, LaneContent::Ticker(self.tickers.len() - 1))
    }
}

fn level_named(name: &str) -> Option<Level> {
    Some(match name {
        "healthy" => Level::Healthy,
        "info" => Level::Info,
        "warning" => Level::Warning,
        "critical" => Level::Critical,
        _ => return None,
    })
}
