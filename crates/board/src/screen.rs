//! One board at work: what sources say becomes cells. Sans I/O: it is told the time and handed what came.
//!
//! Queries are evaluated when series they select got samples, at the next beat but not more often than
//! [`TOUCHED_EVERY`], and otherwise once in [`REFRESH_EVERY`], because a window slides even when nothing
//! arrives. A query that only charts use waits for its chart's step. Each query is evaluated once for all
//! who show it.
//!
//! Not here: frames and beats (`runner`), reading topics (`topic`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::{DelayFilter, Delays};
use frame::{LaneHead, Level};
use model::Timestamp;
use series::{Store, Touched, WatchId};

use crate::alerts::{Alert, AlertLane};
use crate::cells::{Cells, Events};
use crate::charts::ChartState;
use crate::plan::{LaneContent, Lines, Plan, Source, ValuePlan};
use crate::playlist::{Playlist, PlaylistState, Turn};
use crate::queries::{QueryState, Sample};
use crate::schema::Show;
use crate::table;
use crate::template::Field;
use crate::topic::{RowBuilder, Taken};

pub(crate) use crate::queries::{REFRESH_EVERY, TOUCHED_EVERY};

/// Where each lane is, by the lane's key.
pub(crate) type LaneStates = BTreeMap<String, PlaylistState>;

#[derive(Debug)]
pub(crate) struct Screen {
    plan: Arc<Plan>,
    pub(crate) cells: Cells,
    queries: Vec<QueryState>,
    charts: Vec<ChartState>,
    marquees: Vec<MarqueeState>,
    /// By value: the lane and item it belongs to, if any.
    item_of: Vec<Option<(usize, usize)>>,
    alert_lanes: Vec<AlertLane>,
    /// Newest of what topics said: by count, total or rate.
    counted: Vec<f64>,
    rows: RowBuilder,
    next_cell: u32,
    text: String,
}

#[derive(Debug)]
struct MarqueeState {
    key: String,
    lane: u32,
    ids: Vec<u32>,
    playlist: Playlist,
}

/// What an evaluation cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Evaluated {
    pub(crate) queries: u64,
    pub(crate) failures: u64,
}

impl Screen {
    /// An empty screen; lanes go on where `lanes` says they were.
    pub(crate) fn new(plan: Arc<Plan>, lanes: &LaneStates, now: Timestamp) -> Self {
        let mut cells = Cells::default();
        for value in &plan.values {
            cells.add_value(value.cell);
        }
        for ticker in &plan.tickers {
            cells.add_ticker(ticker.cell, ticker.rows);
        }
        for alerts in &plan.alerts {
            cells.add_alerts(alerts.cell);
        }
        // Their rows are complete sets, as those of alerts are, and stand behind them.
        for table in &plan.tables {
            cells.add_alerts(table.cell);
        }
        let charts = plan
            .charts
            .iter()
            .map(|chart| ChartState::new(chart, &mut cells))
            .collect();
        let mut item_of = vec![None; plan.values.len()];
        let mut marquees = Vec::new();
        for lane in &plan.lanes {
            let LaneContent::Marquee { items, .. } = &lane.content else {
                continue;
            };
            let key = marquees.len().to_string();
            let entries: Vec<_> = items.iter().map(|item| item.entry.clone()).collect();
            let playlist = match lanes.get(&key) {
                Some(state) => Playlist::restore(entries, state, now),
                None => Playlist::new(entries, now),
            };
            // A lane without items does not compile.
            let Some(playlist) = playlist else { continue };
            for (at, item) in items.iter().enumerate() {
                item_of[item.value] = Some((marquees.len(), at));
            }
            let ids: Vec<_> = items.iter().map(|item| item.id).collect();
            cells.add_lane(head(lane.id, &ids, playlist.turn()));
            marquees.push(MarqueeState {
                key,
                lane: lane.id,
                ids,
                playlist,
            });
        }
        let mut screen = Self {
            cells,
            queries: queries(&plan),
            charts,
            marquees,
            item_of,
            alert_lanes: plan.alerts.iter().map(|_| AlertLane::default()).collect(),
            counted: vec![f64::NAN; plan.counts.len()],
            rows: RowBuilder::new(now),
            next_cell: plan.first_free_cell,
            plan,
            text: String::new(),
        };
        screen.show_values(now, |value| {
            value.source == Source::None && value.with.is_empty()
        });
        screen
    }

    /// Watches what the queries select, so that [`Screen::touched`] knows them.
    pub(crate) fn watch(&mut self, store: &Store) {
        for query in &mut self.queries {
            query.watch(store);
        }
    }

    /// The watches it took out, for whoever must give them back.
    pub(crate) fn watches(&self) -> Vec<WatchId> {
        self.queries
            .iter()
            .flat_map(QueryState::watches)
            .copied()
            .collect()
    }

    /// Series got samples: queries that select some of them are due.
    pub(crate) fn touched(&mut self, touched: &Touched) {
        for query in &mut self.queries {
            query.touched(touched);
        }
    }

    /// It is not known which series got samples: all queries are due.
    pub(crate) fn touched_all(&mut self) {
        for query in &mut self.queries {
            query.touched_unknown();
        }
    }

    /// Fills the charts from what the store has.
    pub(crate) fn load_history(&mut self, store: &Store, now: Timestamp) -> Evaluated {
        let mut done = Evaluated::default();
        for chart in &mut self.charts {
            chart.load(
                &self.plan,
                &mut self.cells,
                &mut self.next_cell,
                store,
                now,
                &mut done,
            );
        }
        done
    }

    /// Evaluates what is due at `now` and writes what came of it.
    pub(crate) fn evaluate(&mut self, store: &Store, now: Timestamp) -> Evaluated {
        let mut done = Evaluated::default();
        let mut fresh = vec![false; self.queries.len()];
        for (query, fresh) in self.queries.iter_mut().zip(&mut fresh) {
            *fresh = query.evaluate(store, now, &mut done);
        }
        if !fresh.contains(&true) {
            return done;
        }
        for chart in &mut self.charts {
            chart.append(
                &self.plan,
                &mut self.cells,
                &mut self.next_cell,
                &self.queries,
                &fresh,
                now,
            );
        }
        for (at, plan) in self.plan.tables.iter().enumerate() {
            if plan.columns.iter().any(|column| fresh[column.query]) {
                let rows = table::rows(plan, &self.queries);
                self.cells.set_alerts(self.plan.alerts.len() + at, rows);
            }
        }
        self.show_values(now, |value| {
            let own = matches!(value.source, Source::Query(query) if fresh[query]);
            own || value.with.iter().any(|(_, query)| fresh[*query])
        });
        done
    }

    /// Takes what a topic said. At most `rows_most` new rows of a ticker are shown, the newest.
    pub(crate) fn take_topic(
        &mut self,
        topic: &model::TopicName,
        taken: &Taken,
        rows_most: usize,
        now: Timestamp,
    ) {
        self.cells.add_events(taken.events);
        let plan = Arc::clone(&self.plan);
        for (at, count) in plan.counts.iter().enumerate() {
            if count.topic == *topic && count.show == Show::Total {
                self.counted[at] = taken.total.map_or(f64::NAN, |total| total as f64);
            }
        }
        for (at, rate) in &taken.rates {
            self.counted[*at] = *rate;
        }
        for (at, raws) in &taken.rows {
            let skipped = raws.len().saturating_sub(rows_most);
            let rows = raws
                .iter()
                .skip(skipped)
                .map(|raw| self.rows.build(&plan.tickers[*at], raw));
            self.cells.push_rows(*at, rows);
        }
        self.show_values(now, |value| {
            matches!(value.source, Source::Count(count) if plan.counts[count].topic == *topic)
        });
    }

    /// Whether a chart shows how late groups are.
    pub(crate) fn shows_delays(&self) -> bool {
        self.filters().next().is_some()
    }

    /// What its charts want to know of how late groups are, by chart.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (usize, &DelayFilter)> {
        let charts = self.plan.charts.iter().enumerate();
        charts.filter_map(|(at, chart)| match &chart.lines {
            Lines::Delays { filter, .. } => Some((at, filter)),
            Lines::Fixed(_) | Lines::Dynamic { .. } => None,
        })
    }

    /// Shows in `chart` how late groups are.
    pub(crate) fn take_delays(&mut self, chart: usize, delays: &Delays, now: Timestamp) {
        self.charts[chart].take_delays(
            &self.plan,
            &mut self.cells,
            &mut self.next_cell,
            delays,
            now,
        );
    }

    /// Shows these alerts.
    pub(crate) fn set_alerts(&mut self, alerts: &[Alert], now: Timestamp) {
        for (at, lane) in self.alert_lanes.iter_mut().enumerate() {
            let rows = lane.rows(&self.plan.alerts[at], alerts, now);
            self.cells.set_alerts(at, rows);
        }
    }

    /// Whether an alert lane shows what only time takes away.
    pub(crate) fn has_resolved_alerts(&self) -> bool {
        self.alert_lanes.iter().any(AlertLane::has_resolved)
    }

    /// Moves lanes on; whether one turned.
    pub(crate) fn tick(&mut self, now: Timestamp) -> bool {
        let mut turned = false;
        for (at, marquee) in self.marquees.iter_mut().enumerate() {
            turned |= marquee.playlist.tick(now);
            self.cells.set_lane(
                at,
                head(marquee.lane, &marquee.ids, marquee.playlist.turn()),
            );
        }
        turned
    }

    /// Where the lanes are.
    pub(crate) fn lane_states(&self, now: Timestamp) -> LaneStates {
        let state = |it: &MarqueeState| (it.key.clone(), it.playlist.state(now));
        self.marquees.iter().map(state).collect()
    }

    /// Events the next frame shows first.
    pub(crate) fn events(&self) -> Events {
        self.cells.events()
    }

    /// Writes the cells of those values that `which` picks.
    fn show_values(&mut self, now: Timestamp, which: impl Fn(&ValuePlan) -> bool) {
        let plan = Arc::clone(&self.plan);
        for (at, value) in plan
            .values
            .iter()
            .enumerate()
            .filter(|(_, value)| which(value))
        {
            let mut text = std::mem::take(&mut self.text);
            let (number, level, sample) = self.resolve(value);
            text.clear();
            if let Some(detail) = &value.detail {
                detail.render(&mut text, value.unit, |name| {
                    match name.strip_prefix("label.") {
                        Some(label) => Some(Field::Text(sample?.labels.get(label)?.into())),
                        None if name == "value" => Some(Field::Number(number)),
                        None => {
                            let (_, query) = value.with.iter().find(|(known, _)| known == name)?;
                            Some(Field::Number(
                                self.queries[*query].worst(None, Level::None)?.value,
                            ))
                        }
                    }
                });
            }
            self.cells.set_value(at, number, level, &text);
            self.text = text;
            if let Some((marquee, item)) = self.item_of[at] {
                self.marquees[marquee].playlist.set_level(item, level, now);
            }
        }
    }

    /// A value's number, its level, and the sample it came from.
    fn resolve(&self, value: &ValuePlan) -> (f64, Level, Option<&Sample>) {
        let level = |number: f64| {
            value
                .levels
                .map_or(Level::None, |levels| levels.level(number))
        };
        match value.source {
            Source::None => (f64::NAN, Level::None, None),
            Source::Count(count) => (self.counted[count], level(self.counted[count]), None),
            Source::Query(query) => {
                let worst = self.queries[query].worst(value.levels.as_ref(), Level::None);
                let number = worst.map_or(f64::NAN, |sample| sample.value);
                (number, level(number), worst)
            }
        }
    }
}

fn head(lane: u32, ids: &[u32], turn: Turn) -> LaneHead {
    LaneHead {
        lane,
        item: ids[turn.item],
        since_ms: turn.since.millis() as f64,
        until_ms: turn.until.millis() as f64,
    }
}

/// One state per query: how often it is due depends on who shows it.
fn queries(plan: &Plan) -> Vec<QueryState> {
    let mut fastest: Vec<Option<Duration>> = vec![None; plan.queries.len()];
    for chart in &plan.charts {
        let used: Vec<usize> = match &chart.lines {
            Lines::Fixed(lines) => lines.iter().map(|line| line.query).collect(),
            Lines::Dynamic { query, .. } => vec![*query],
            Lines::Delays { .. } => Vec::new(),
        };
        for query in used {
            // A little less than the step, so that samples that come each step are not skipped over.
            let step = chart.step * 4 / 5;
            fastest[query] = Some(fastest[query].map_or(step, |known| known.min(step)));
        }
    }
    for value in &plan.values {
        let own = match value.source {
            Source::Query(query) => Some(query),
            Source::Count(_) | Source::None => None,
        };
        for query in value.with.iter().map(|(_, query)| *query).chain(own) {
            fastest[query] = Some(TOUCHED_EVERY);
        }
    }
    let every = fastest
        .into_iter()
        .map(|it| it.unwrap_or(REFRESH_EVERY).max(TOUCHED_EVERY));
    plan.queries
        .iter()
        .zip(every)
        .map(|(expr, every)| QueryState::new(expr.clone(), every))
        .collect()
}
