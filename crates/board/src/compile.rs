//! From YAML to a plan: everything is checked, and everything that is wrong is said at once.
//!
//! Invariants: a plan comes out only when there is no problem at all; ids depend on the document alone, so
//! the same file gives the same numbers. Not here: what replaces what (`service`).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use frame::Level;
use frameclock::Rate;
use model::TopicName;
use promql::{Expr, ValueKind};
use serde_saphyr::{Location, Spanned};
use stdx::HumanDuration;

use crate::limits;
use crate::plan::{
    AlertsPlan, ChartPlan, CountPlan, FixedLine, LaneContent, LanePlan, Lines, MarqueeItem, Plan,
    Source, Threshold, Thresholds, TickerPlan, ValuePlan,
};
use crate::playlist::Entry;
use crate::problem::{Problem, path_at};
use crate::schema;
use crate::template::Template;
use crate::text::Text;
use crate::unit::Unit;

#[cfg(test)]
mod tests;

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
    counts: Vec<CountPlan>,
}

/// The parts that items and stats share.
struct RawValue {
    label: Spanned<Text>,
    query: Option<Spanned<String>>,
    count: Option<Spanned<schema::Count>>,
    unit: Unit,
    levels: Option<Spanned<schema::Levels>>,
    detail: Option<Spanned<String>>,
    with: std::collections::BTreeMap<String, Spanned<String>>,
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
        let lanes = self.lanes(spec.lanes);
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
            schema::Lane::Ticker(it) => self.ticker(&format!("{path}.ticker"), it),
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

    fn value(&mut self, path: &str, raw: RawValue) -> usize {
        let cell = self.id();
        if raw.label.value.is_empty() {
            self.problem(
                &format!("{path}.label"),
                raw.label.referenced,
                "must not be empty",
            );
        }
        let source = match (raw.query, raw.count) {
            (Some(query), None) => Source::Query(self.query(&format!("{path}.query"), &query)),
            (None, Some(count)) => Source::Count(self.counting(&format!("{path}.count"), count)),
            (None, None) => {
                if raw.detail.is_none() {
                    self.problem(
                        path,
                        raw.label.referenced,
                        "has no query, no count and no detail: nothing to show",
                    );
                }
                if let Some(levels) = &raw.levels {
                    self.problem(
                        &format!("{path}.levels"),
                        levels.referenced,
                        "needs a query or a count to compare",
                    );
                }
                Source::None
            }
            (Some(_), Some(count)) => {
                self.problem(
                    &format!("{path}.count"),
                    count.referenced,
                    "cannot stand beside a query: a value has one source",
                );
                Source::None
            }
        };
        let mut with = Vec::new();
        for (name, query) in &raw.with {
            let path = format!("{path}.with.{name}");
            if name == "value" || name.starts_with("label.") {
                self.problem(
                    &path,
                    query.referenced,
                    format!("'{name}' is the name of something else"),
                );
            }
            with.push((name.clone(), self.query(&path, query)));
        }
        let known = |name: &str| {
            (name == "value" && source != Source::None)
                || (name.starts_with("label.") && matches!(source, Source::Query(_)))
                || raw.with.contains_key(name)
        };
        let detail = raw.detail.and_then(|detail| {
            self.template(
                &format!("{path}.detail"),
                &detail,
                known,
                "value, label.NAME or a name under with",
            )
        });
        let levels = raw
            .levels
            .map(|levels| self.levels(&format!("{path}.levels"), levels));
        self.values.push(ValuePlan {
            cell,
            label: raw.label.value,
            unit: raw.unit,
            source,
            levels,
            detail,
            with,
        });
        self.values.len() - 1
    }

    fn levels(&mut self, path: &str, levels: Spanned<schema::Levels>) -> Thresholds {
        let schema::Levels {
            info,
            warning,
            critical,
        } = levels.value;
        if info.is_none() && warning.is_none() && critical.is_none() {
            self.problem(
                path,
                levels.referenced,
                "names no level: info, warning or critical",
            );
        }
        let mut threshold = |level: &str, text: Option<Spanned<String>>| {
            let text = text?;
            let parsed = Threshold::parse(&text.value);
            parsed
                .map_err(|reason| self.problem(&format!("{path}.{level}"), text.referenced, reason))
                .ok()
        };
        Thresholds {
            info: threshold("info", info),
            warning: threshold("warning", warning),
            critical: threshold("critical", critical),
        }
    }

    /// Parses a query, or finds that the board has it already.
    fn query(&mut self, path: &str, query: &Spanned<String>) -> usize {
        let text = query.value.trim();
        if let Some(known) = self.query_of.get(text) {
            return *known;
        }
        let expr = match promql::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                self.problem(path, query.referenced, error.to_string());
                return 0;
            }
        };
        if !matches!(expr.kind(), ValueKind::Vector | ValueKind::Scalar) {
            self.problem(
                path,
                query.referenced,
                "gives no number: a board shows scalars and instant vectors",
            );
            return 0;
        }
        if self.queries.len() == limits::QUERIES_MAX {
            let reason = format!(
                "is one query too many: a board has at most {}",
                limits::QUERIES_MAX
            );
            self.problem(path, query.referenced, reason);
            return 0;
        }
        self.queries.push(expr);
        self.query_of
            .insert(text.to_owned(), self.queries.len() - 1);
        self.queries.len() - 1
    }

    fn counting(&mut self, path: &str, count: Spanned<schema::Count>) -> usize {
        let schema::Count {
            topic,
            show,
            types,
            window,
        } = count.value;
        if show == schema::Show::Total {
            let reason =
                "only a rate can: the total of some types is a query over a meter's series";
            if !types.is_empty() {
                self.problem(&format!("{path}.types"), count.referenced, reason);
            }
            if let Some(window) = &window {
                self.problem(
                    &format!("{path}.window"),
                    window.referenced,
                    "only a rate has a window",
                );
            }
        }
        let topic = self.topic(&format!("{path}.topic"), &topic);
        let default = Duration::from_secs(5);
        let window = self.span(
            &format!("{path}.window"),
            window,
            default,
            limits::RATE_WINDOW,
        );
        self.counts.push(CountPlan {
            topic,
            show,
            types,
            window,
        });
        self.counts.len() - 1
    }

    fn topic(&mut self, path: &str, topic: &Spanned<String>) -> TopicName {
        TopicName::new(&topic.value).unwrap_or_else(|error| {
            self.problem(path, topic.referenced, error.to_string());
            TopicName::new("invalid").expect("the word is a topic name")
        })
    }

    fn span(
        &mut self,
        path: &str,
        span: Option<Spanned<HumanDuration>>,
        default: Duration,
        (least, most): (Duration, Duration),
    ) -> Duration {
        let Some(span) = span else { return default };
        let found = span.value.get();
        if found < least || found > most {
            let (least, most) = (HumanDuration::from(least), HumanDuration::from(most));
            let reason = format!("{} is not between {least} and {most}", span.value);
            self.problem(path, span.referenced, reason);
            return default;
        }
        found
    }

    fn template(
        &mut self,
        path: &str,
        text: &Spanned<String>,
        known: impl Fn(&str) -> bool,
        names: &str,
    ) -> Option<Template> {
        let template = match Template::parse(&text.value) {
            Ok(template) => template,
            Err(reason) => {
                self.problem(path, text.referenced, reason);
                return None;
            }
        };
        let unknown = template
            .names()
            .find(|name| !known(name))
            .map(str::to_owned);
        if let Some(name) = unknown {
            let reason = format!("'{name}' is not known here: it can be {names}");
            self.problem(path, text.referenced, reason);
        }
        Some(template)
    }

    fn chart(&mut self, path: &str, chart: schema::Chart) -> usize {
        let id = self.id();
        let window = self.span(
            &format!("{path}.window"),
            chart.window,
            Duration::from_mins(5),
            limits::WINDOW,
        );
        let step = (window / limits::CHART_POINTS).max(Duration::from_millis(250));
        let step = self.span(
            &format!("{path}.step"),
            chart.step,
            step,
            (limits::STEP_MIN, window),
        );
        if let (Some(min), Some(max)) = (chart.min, &chart.max)
            && max.value <= min
        {
            let reason = format!("{} is not above min, which is {min}", max.value);
            self.problem(&format!("{path}.max"), max.referenced, reason);
        }
        let at = chart.title.referenced;
        let lines = match (chart.query, chart.series.is_empty()) {
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
                            query: self.query(&format!("{path}.series[{at}].query"), &series.query),
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
            lines,
        });
        self.charts.len() - 1
    }

    fn limit(&mut self, path: &str, limit: Option<Spanned<u32>>) -> usize {
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

    fn alert_lane(&mut self, path: &str, lane: schema::Alerts) -> (Option<Text>, LaneContent) {
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

    fn ticker(&mut self, path: &str, lane: schema::Ticker) -> (Option<Text>, LaneContent) {
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
                matches!(name, "key" | "value") || prefixed("header.") || prefixed("value.")
            };
            let names = "key, header.NAME, value or value.FIELD";
            let given =
                text.and_then(|text| self.template(&format!("{path}.{key}"), &text, known, names));
            given.unwrap_or_else(|| Template::parse(default).expect("the default template parses"))
        };
        let kind = template("type", lane.kind, "{header.ce_type|key}");
        let subject = template("subject", lane.subject, "{header.ce_subject|key}");
        let text = template("text", lane.text, "");
        let mut levels = std::collections::BTreeMap::new();
        for (kind, level) in lane.levels {
            match level_named(&level.value) {
                Some(known) => {
                    levels.insert(kind, known);
                }
                None => {
                    let reason = format!(
                        "'{}' is no level: healthy, info, warning or critical",
                        level.value
                    );
                    self.problem(&format!("{path}.levels.{kind}"), level.referenced, reason);
                }
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
