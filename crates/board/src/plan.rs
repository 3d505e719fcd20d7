//! A board as it runs: checked, numbered, its queries parsed and shared.
//!
//! Invariant: every index in a plan points into the lists of the same plan. Made by `compile`; nothing
//! here can fail any more.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::DelayFilter;
use frame::Level;
use frameclock::Rate;
use model::TopicName;
use promql::Expr;

use crate::limits;
use crate::playlist::Entry;
use crate::schema::{Show, Theme};
use crate::template::Template;
use crate::text::Text;
use crate::unit::Unit;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) title: Text,
    pub(crate) beat: Rate,
    pub(crate) theme: Theme,
    pub(crate) lanes: Vec<LanePlan>,
    /// Items and stats: everything that has a value and a status text.
    pub(crate) values: Vec<ValuePlan>,
    pub(crate) charts: Vec<ChartPlan>,
    pub(crate) tickers: Vec<TickerPlan>,
    pub(crate) alerts: Vec<AlertsPlan>,
    pub(crate) tables: Vec<TablePlan>,
    /// Each query once, however often the board uses it.
    pub(crate) queries: Vec<Expr>,
    /// Each counting source once per value that shows it.
    pub(crate) counts: Vec<CountPlan>,
    /// The first cell number that frames may give to series that come and go.
    pub(crate) first_free_cell: u32,
}

#[derive(Debug)]
pub(crate) struct LanePlan {
    pub(crate) id: u32,
    pub(crate) title: Text,
    pub(crate) content: LaneContent,
}

/// What a lane shows, by index into the plan's lists.
#[derive(Debug)]
pub(crate) enum LaneContent {
    Marquee {
        visible: u32,
        items: Vec<MarqueeItem>,
    },
    Charts(Vec<usize>),
    Stats(Vec<usize>),
    Alerts(usize),
    Ticker(usize),
    Table(usize),
}

#[derive(Debug)]
pub(crate) struct MarqueeItem {
    pub(crate) id: u32,
    pub(crate) value: usize,
    pub(crate) entry: Entry,
}

#[derive(Debug)]
pub(crate) struct ValuePlan {
    pub(crate) cell: u32,
    pub(crate) label: Text,
    pub(crate) unit: Unit,
    pub(crate) source: Source,
    pub(crate) levels: Option<Thresholds>,
    pub(crate) detail: Option<Template>,
    /// Further queries whose values the detail shows, by name.
    pub(crate) with: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Only the detail says something.
    None,
    Query(usize),
    Count(usize),
}

#[derive(Debug)]
pub(crate) struct ChartPlan {
    pub(crate) id: u32,
    pub(crate) title: Text,
    pub(crate) unit: Unit,
    pub(crate) window: Duration,
    /// Least time between two points.
    pub(crate) step: Duration,
    pub(crate) stack: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// For a heat map: the values at which its colour changes, ascending.
    pub(crate) steps: Option<Vec<f64>>,
    pub(crate) lines: Lines,
}

#[derive(Debug)]
pub(crate) enum Lines {
    /// One query per series, known from the file.
    Fixed(Vec<FixedLine>),
    /// One query, one series per label set it gives.
    Dynamic {
        query: usize,
        legend: Option<Template>,
        limit: usize,
    },
    /// One series per group and partition, from what the broker measures.
    Delays {
        filter: DelayFilter,
        legend: Option<Template>,
        limit: usize,
    },
}

/// Rows by label, a column per query.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) cell: u32,
    /// Labels that name a row.
    pub(crate) by: Vec<String>,
    /// Over the names.
    pub(crate) label: Text,
    pub(crate) rows: usize,
    pub(crate) columns: Vec<ColumnPlan>,
}

#[derive(Debug)]
pub(crate) struct ColumnPlan {
    pub(crate) label: Text,
    pub(crate) unit: Unit,
    pub(crate) query: usize,
    pub(crate) levels: Option<Thresholds>,
}

#[derive(Debug)]
pub(crate) struct FixedLine {
    pub(crate) cell: u32,
    pub(crate) label: Text,
    pub(crate) query: usize,
}

#[derive(Debug)]
pub(crate) struct TickerPlan {
    pub(crate) cell: u32,
    pub(crate) rows: usize,
    pub(crate) topic: TopicName,
    pub(crate) types: Vec<String>,
    pub(crate) kind: Template,
    pub(crate) subject: Template,
    pub(crate) text: Template,
    pub(crate) levels: BTreeMap<String, Level>,
}

#[derive(Debug)]
pub(crate) struct CountPlan {
    pub(crate) topic: TopicName,
    pub(crate) show: Show,
    pub(crate) types: Vec<String>,
    pub(crate) window: Duration,
}

#[derive(Debug)]
pub(crate) struct AlertsPlan {
    pub(crate) cell: u32,
    pub(crate) only: BTreeMap<String, String>,
    pub(crate) resolved: Duration,
}

/// A comparison of a value with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) op: Op,
    pub(crate) bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Thresholds {
    pub(crate) info: Option<Threshold>,
    pub(crate) warning: Option<Threshold>,
    pub(crate) critical: Option<Threshold>,
}

impl Threshold {
    /// Reads `> 80`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // The longer operators first: `>=` starts with `>`.
        let ops = [
            (">=", Op::GreaterEqual),
            ("<=", Op::LessEqual),
            ("==", Op::Equal),
            ("!=", Op::NotEqual),
            (">", Op::Greater),
            ("<", Op::Less),
        ];
        let found = ops
            .iter()
            .find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)));
        let Some((op, bound)) = found else {
            return Err(format!(
                "'{text}' is no comparison: write it as '> 80', with one of > >= < <= == !="
            ));
        };
        match bound.trim().parse::<f64>() {
            Ok(bound) if bound.is_finite() => Ok(Self { op, bound }),
            _ => Err(format!("'{}' is no number", bound.trim())),
        }
    }

    #[expect(
        clippy::float_cmp,
        reason = "a threshold with == means exactly that number"
    )]
    fn holds(self, value: f64) -> bool {
        match self.op {
            Op::Less => value < self.bound,
            Op::LessEqual => value <= self.bound,
            Op::Greater => value > self.bound,
            Op::GreaterEqual => value >= self.bound,
            Op::Equal => value == self.bound,
            Op::NotEqual => value != self.bound,
        }
    }
}

impl Thresholds {
    /// The most severe level whose comparison holds; healthy when none does, nothing without data.
    pub(crate) fn level(&self, value: f64) -> Level {
        if value.is_nan() {
            return Level::None;
        }
        let ladder = [
            (self.critical, Level::Critical),
            (self.warning, Level::Warning),
            (self.info, Level::Info),
        ];
        let holds = |threshold: Option<Threshold>| threshold.is_some_and(|it| it.holds(value));
        let found = ladder.into_iter().find(|(threshold, _)| holds(*threshold));
        found.map_or(Level::Healthy, |(_, level)| level)
    }
}

impl Lines {
    /// Whether displays learn the series from frames, as they come and go.
    pub(crate) fn come_and_go(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Dynamic { .. } | Self::Delays { .. } => true,
        }
    }
}

impl ChartPlan {
    /// Most points it may have.
    pub(crate) fn points_most(&self) -> usize {
        let series = match &self.lines {
            Lines::Fixed(lines) => lines.len(),
            Lines::Dynamic { limit, .. } | Lines::Delays { limit, .. } => *limit,
        };
        // Points may come a fifth closer than the step; one stays from before the window.
        let each = self.window.as_millis() * 5 / (self.step.as_millis().max(1) * 4) + 2;
        series
            * usize::try_from(each)
                .unwrap_or(usize::MAX)
                .min(limits::POINTS_MAX)
    }
}

impl Plan {
    /// Topics it follows, each once.
    pub(crate) fn topics(&self) -> Vec<TopicName> {
        let counts = self.counts.iter().map(|count| &count.topic);
        let mut topics: Vec<_> = self
            .tickers
            .iter()
            .map(|ticker| &ticker.topic)
            .chain(counts)
            .cloned()
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_comparison_wins() {
        let parse = |text| Some(Threshold::parse(text).unwrap());
        let levels = Thresholds {
            info: parse("> 50"),
            warning: parse(">= 80"),
            critical: parse(">95.5"),
        };
        let all = [f64::NAN, 50.0, 50.1, 80.0, 95.5, 96.0].map(|value| levels.level(value).code());
        assert_eq!(all, [0, 1, 2, 3, 3, 4]);
        let falling = Thresholds {
            warning: parse("< 10"),
            critical: parse("<= 5"),
            info: parse("!= 100"),
        };
        assert_eq!(
            [100.0, 99.0, 9.0, 5.0].map(|value| falling.level(value).code()),
            [1, 2, 3, 4]
        );
        assert_eq!(
            Thresholds {
                info: parse("== 1"),
                ..Thresholds::default()
            }
            .level(1.0),
            Level::Info
        );
        assert!(
            Threshold::parse("80")
                .unwrap_err()
                .contains("no comparison")
        );
        assert!(
            Threshold::parse("> many")
                .unwrap_err()
                .contains("'many' is no number")
        );
        assert!(Threshold::parse("> NaN").is_err());
    }
}
