//! From YAML to a plan: everything is checked, and everything that is wrong is said at once.
//!
//! Invariants: a plan comes out only when there is no problem at all; ids depend on the document alone, so
//! the same file gives the same numbers. Not here: what replaces what (`service`).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use frameclock::Rate;
use promql::Expr;
use serde_saphyr::{Location, Spanned};

use crate::limits;
use crate::plan::{
    AlertsPlan, ChartPlan, CountPlan, LaneContent, LanePlan, MarqueeItem, Plan, TablePlan,
    TickerPlan, ValuePlan,
};
use crate::playlist::Entry;
use crate::problem::{Problem, path_at};
use crate::schema;
use crate::text::Text;

mod heatmap;
mod lanes;
mod value;

#[cfg(test)]
mod tests;

use value::RawValue;

const API_VERSION: &str = "lantern/v1";

/// Beats per second unless the board says otherwise.
const BEAT_DEFAULT: u32 = 20;

/// Reads the boards of one file, which may hold several documents.
///
/// # Errors
/// All problems found. A file that is no YAML, or has a value of the wrong type, has exactly one.
pub(crate) fn compile(file: &str, text: &str) -> Result<Vec<Plan>, Vec<Problem>> {
    let resources: Vec<schema::Resource> = serde_saphyr::from_multiple(text).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((0, 0), |at| (at.line(), at.column()));
        vec![Problem {
            file: file.to_owned(),
            line,
            column,
            path: path_at(text, line),
            reason: reason_of(&error),
        }]
    })?;
    let mut problems = Vec::new();
    if resources.is_empty() {
        problems.push(Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            reason: "the file holds no board".to_owned(),
        });
    }
    let mut plans: Vec<Plan> = Vec::new();
    for resource in resources {
        let at = resource.metadata.name.referenced;
        let mut compiler = Compiler::new(file);
        let plan = compiler.board(resource);
        if plans.iter().any(|known| known.name == plan.name) {
            compiler.problem(
                "metadata.name",
                at,
                format!("'{}' is in this file twice", plan.name),
            );
        }
        problems.append(&mut compiler.problems);
        plans.push(plan);
    }
    if problems.is_empty() {
        Ok(plans)
    } else {
        Err(problems)
    }
}

/// The message of a parser's error, without the place, which a [`Problem`] has.
fn reason_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let cut = text.find(" at line ").unwrap_or(text.len());
    text.get(..cut).unwrap_or(&text).trim().to_owned()
}

struct Compiler<'a> {
    file: &'a str,
    problems: Vec<Problem>,
    next_id: u32,
    queries: Vec<Expr>,
    query_of: HashMap<String, usize>,
    values: Vec<ValuePlan>,
    charts: Vec<ChartPlan>,
    tickers: Vec<TickerPlan>,
    alerts: Vec<AlertsPlan>,
    tables: Vec<TablePlan>,
    counts: Vec<CountPlan>,
}

impl<'a> Compiler<'a> {
    fn new(file: &'a str) -> Self {
        Self {
            file,
            problems: Vec::new(),
            next_id: 1,
            queries: Vec::new(),
            query_of: HashMap::new(),
            values: Vec::new(),
            charts: Vec::new(),
            tickers: Vec::new(),
            alerts: Vec::new(),
            tables: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn problem(&mut self, path: &str, at: Location, reason: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: at.line(),
            column: at.column(),
            path: path.to_owned(),
            reason: reason.into(),
        });
    }

    fn id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn board(&mut self, resource: schema::Resource) -> Plan {
        let schema::Resource {
            api_version,
            kind,
            metadata,
            spec,
        } = resource;
        if api_version.value != API_VERSION {
            let reason = format!("'{}' is not known: write {API_VERSION}", api_version.value);
            self.problem("apiVersion", api_version.referenced, reason);
        }
        if kind.value != "Board" {
            let reason = format!(
                "'{}' is no Board, and this folder holds boards only",
                kind.value
            );
            self.problem("kind", kind.referenced, reason);
        }
        let name = metadata.name.value;
        if let Err(reason) = check_name(&name) {
            self.problem("metadata.name", metadata.name.referenced, reason);
        }
        let beat = self.beat(spec.beat);
        let lanes_at = spec.lanes.referenced;
        let lanes = self.lanes(spec.lanes);
        let points: usize = self.charts.iter().map(ChartPlan::points_most).sum();
        if points > limits::BOARD_POINTS_MAX {
            let most = limits::BOARD_POINTS_MAX;
            let reason = format!(
                "charts may have {points} points together, at most {most}: take longer steps, shorter windows or lower limits"
            );
            self.problem("spec.lanes", lanes_at, reason);
        }
        Plan {
            title: spec.title.unwrap_or_else(|| Text::same(&name)),
            name,
            beat,
            theme: spec.theme,
            lanes,
            values: std::mem::take(&mut self.values),
            charts: std::mem::take(&mut self.charts),
            tickers: std::mem::take(&mut self.tickers),
            alerts: std::mem::take(&mut self.alerts),
            tables: std::mem::take(&mut self.tables),
            queries: std::mem::take(&mut self.queries),
            counts: std::mem::take(&mut self.counts),
            first_free_cell: self.next_id,
        }
    }

    fn beat(&mut self, beat: Option<Spanned<u32>>) -> Rate {
        let default = Rate::from_hertz(BEAT_DEFAULT).expect("the default is in the range");
        let Some(beat) = beat else { return default };
        Rate::from_hertz(beat.value).unwrap_or_else(|error| {
            self.problem("spec.beat", beat.referenced, error.to_string());
            default
        })
    }

    fn lanes(&mut self, lanes: Spanned<Vec<schema::Lane>>) -> Vec<LanePlan> {
        self.count(
            "spec.lanes",
            lanes.referenced,
            lanes.value.len(),
            limits::LANES_MAX,
        );
        let lanes = lanes.value.into_iter().enumerate();
        lanes
            .map(|(at, lane)| self.lane(&format!("spec.lanes[{at}]"), lane))
            .collect()
    }

    /// A list must have between one and `most` entries.
    fn count(&mut self, path: &str, at: Location, found: usize, most: usize) {
        if found == 0 {
            self.problem(path, at, "must have at least one entry");
        } else if found > most {
            self.problem(
                path,
                at,
                format!("has {found} entries, at most {most} are allowed"),
            );
        }
    }

    fn lane(&mut self, path: &str, lane: schema::Lane) -> LanePlan {
        let id = self.id();
        let (title, content) = match lane {
            schema::Lane::Marquee(it) => self.marquee(&format!("{path}.marquee"), it),
            schema::Lane::Charts(it) => {
                let path = format!("{path}.charts.charts");
                self.count(
                    &path,
                    it.charts.referenced,
                    it.charts.value.len(),
                    limits::LANE_ITEMS_MAX,
                );
                let charts = it.charts.value.into_iter().enumerate();
                let charts = charts.map(|(at, chart)| self.chart(&format!("{path}[{at}]"), chart));
                (it.title, LaneContent::Charts(charts.collect()))
            }
            schema::Lane::Stats(it) => {
                let path = format!("{path}.stats.stats");
                self.count(
                    &path,
                    it.stats.referenced,
                    it.stats.value.len(),
                    limits::LANE_ITEMS_MAX,
                );
                let stats = it.stats.value.into_iter().enumerate();
                let stats = stats.map(|(at, stat)| self.stat(&format!("{path}[{at}]"), stat));
                (it.title, LaneContent::Stats(stats.collect()))
            }
            schema::Lane::Alerts(it) => self.alert_lane(&format!("{path}.alerts"), it),
            schema::Lane::Ticker(it) => self.ticker(&format!("{path}.ticker"), *it),
            schema::Lane::Table(it) => self.table(&format!("{path}.table"), it),
        };
        LanePlan {
            id,
            title: title.unwrap_or_default(),
            content,
        }
    }

    fn marquee(&mut self, path: &str, lane: schema::Marquee) -> (Option<Text>, LaneContent) {
        let visible = match lane.visible {
            None => 4,
            Some(visible) => {
                if !(1..=12).contains(&visible.value) {
                    self.problem(
                        &format!("{path}.visible"),
                        visible.referenced,
                        "must be 1 to 12",
                    );
                }
                visible.value
            }
        };
        let path = format!("{path}.items");
        self.count(
            &path,
            lane.items.referenced,
            lane.items.value.len(),
            limits::LANE_ITEMS_MAX,
        );
        let mut names = BTreeSet::new();
        let items = lane.items.value.into_iter().enumerate();
        let items = items.map(|(at, item)| self.item(&format!("{path}[{at}]"), item, &mut names));
        (
            lane.title,
            LaneContent::Marquee {
                visible,
                items: items.collect(),
            },
        )
    }

    fn item(
        &mut self,
        path: &str,
        item: schema::Item,
        names: &mut BTreeSet<String>,
    ) -> MarqueeItem {
        let id = self.id();
        let (name, name_at) = match &item.name {
            Some(name) => (name.value.clone(), name.referenced),
            None => (slug(&item.label.value.en), item.label.referenced),
        };
        if name.is_empty() {
            self.problem(&format!("{path}.name"), name_at, "must not be empty");
        } else if !names.insert(name.clone()) {
            let reason = format!(
                "'{name}' is the name of an item before it; give this one a name of its own"
            );
            self.problem(&format!("{path}.name"), name_at, reason);
        }
        let default = Duration::from_secs(4);
        let interval = self.span(
            &format!("{path}.interval"),
            item.interval,
            default,
            limits::INTERVAL,
        );
        let priority = item.priority.map_or(5, |priority| {
            if priority.value > 9 {
                let reason = format!("{} is not between 0 (most often) and 9", priority.value);
                self.problem(&format!("{path}.priority"), priority.referenced, reason);
            }
            priority.value
        });
        let value = self.value(
            path,
            RawValue {
                label: item.label,
                query: item.query,
                count: item.count,
                unit: item.unit,
                levels: item.levels,
                detail: item.detail,
                with: item.with,
            },
        );
        let entry = Entry {
            name: name.into(),
            interval,
            priority,
        };
        MarqueeItem { id, value, entry }
    }

    fn stat(&mut self, path: &str, stat: schema::Stat) -> usize {
        self.value(
            path,
            RawValue {
                label: stat.label,
                query: stat.query,
                count: stat.count,
                unit: stat.unit,
                levels: stat.levels,
                detail: stat.detail,
                with: stat.with,
            },
        )
    }
}

/// A board's name is part of an address.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: Option<char>| c.is_some_and(|c| c != '-');
    let fits = name.len() <= limits::NAME_BYTES_MAX && name.chars().all(allowed);
    if fits && ends(name.chars().next()) && ends(name.chars().last()) {
        return Ok(());
    }
    let most = limits::NAME_BYTES_MAX;
    Err(format!(
        "'{name}' cannot be a name: up to {most} of a-z 0-9 -, no dash at its ends"
    ))
}

/// `Memory in use` becomes `memory-in-use`.
fn slug(label: &str) -> String {
    let words = label
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}
