//! What one meter knows: its series' values, and the keys that wait for a second event.
//!
//! Told the time by the events themselves, so that counting a topic again gives the same values.

use std::collections::{BTreeMap, HashMap, VecDeque};

use model::Timestamp;
use series::{Labels, METRIC_NAME};

use crate::field::{Event, Field};
use crate::spec::{Meter, Metric};

/// Most series of one metric: a label of a field with endless values must not eat the memory.
pub(crate) const SERIES_MAX: usize = 1_000;
/// Most keys one metric waits for.
pub(crate) const KEYS_MAX: usize = 1_000_000;

/// Entries of gone keys that are not worth a clean-up.
const ORDER_SLACK: usize = 1_024;

/// The state of one meter.
#[derive(Debug, Clone)]
pub struct Tally {
    metrics: Vec<State>,
    /// Events whose series or key was over a bound.
    over: u64,
}

#[derive(Debug, Clone)]
struct State {
    metric: Metric,
    /// Values by the texts of the labels, in the order of the label names.
    values: BTreeMap<Vec<String>, Cell>,
    waiting: Waiting,
}

/// The value of one series, or of one histogram's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Number(f64),
    Histogram {
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
}

/// Keys with the time they wait since, oldest first.
#[derive(Debug, Clone, Default)]
struct Waiting {
    since: HashMap<Box<[u8]>, i64>,
    /// Every start in order; an entry whose key has since gone or started anew is passed over.
    order: VecDeque<(i64, Box<[u8]>)>,
}

impl Waiting {
    fn start(&mut self, key: &[u8], at: i64) -> bool {
        if self.since.contains_key(key) {
            return true;
        }
        if self.since.len() >= KEYS_MAX {
            return false;
        }
        self.since.insert(key.into(), at);
        self.order.push_back((at, key.into()));
        true
    }

    fn end(&mut self, key: &[u8]) -> Option<i64> {
        let since = self.since.remove(key);
        // Entries of keys that have gone would pile up until they expire: at most as many as wait.
        if self.order.len() > 2 * self.since.len() + ORDER_SLACK {
            let since = &self.since;
            self.order
                .retain(|(at, key)| since.get(key).is_some_and(|since| since == at));
        }
        since
    }

    /// Gives up the keys that wait since before `limit`.
    fn expire(&mut self, limit: i64) {
        while let Some((at, key)) = self.order.front() {
            let current = self.since.get(key).is_some_and(|since| since == at);
            if current && *at >= limit {
                return;
            }
            if current {
                self.since.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// How many wait since `limit` or longer.
    fn count(&self, limit: i64) -> usize {
        if self.order.back().is_none_or(|(newest, _)| *newest <= limit) {
            return self.since.len();
        }
        // Oldest first, as nearly as the events came in order.
        let old = self.order.iter().take_while(|(at, _)| *at <= limit);
        old.filter(|(at, key)| self.since.get(key).is_some_and(|since| since == at))
            .count()
    }
}

impl Tally {
    /// Nothing counted yet. Metrics without labels start at zero, so that a rate sees their first
    /// event.
    pub fn new(meter: &Meter) -> Self {
        let state = |metric: &Metric| {
            let mut values = BTreeMap::new();
            match metric {
                Metric::Counter { labels, .. } if labels.is_empty() => {
                    values.insert(Vec::new(), Cell::Number(0.0));
                }
                Metric::Histogram {
                    labels, buckets, ..
                } if labels.is_empty() => {
                    values.insert(Vec::new(), Cell::empty(buckets));
                }
                Metric::Between { buckets, .. } => {
                    values.insert(Vec::new(), Cell::empty(buckets));
                }
                _ => {}
            }
            State {
                metric: metric.clone(),
                values,
                waiting: Waiting::default(),
            }
        };
        Self {
            metrics: meter.metrics.iter().map(state).collect(),
            over: 0,
        }
    }

    /// Events that were over a bound and not kept.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// Counts one event.
    pub fn count(&mut self, event: &dyn Event) {
        self.follow(event, true);
    }

    /// Follows which keys wait without counting: for events that are counted already.
    pub fn remember(&mut self, event: &dyn Event) {
        self.follow(event, false);
    }

    fn follow(&mut self, event: &dyn Event, counts: bool) {
        let at = event.millis();
        for state in &mut self.metrics {
            if !state.follow(event, at, counts) {
                self.over += 1;
            }
        }
    }

    /// All series with their values at `now`.
    pub fn samples(&mut self, now: Timestamp) -> Vec<(Labels, Vec<(Timestamp, f64)>)> {
        let mut samples = Vec::new();
        for state in &mut self.metrics {
            state.samples(now, &mut |labels, value| {
                samples.push((labels, vec![(now, value)]));
            });
        }
        samples
    }

    /// The values alone, by metric: what a snapshot keeps.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &BTreeMap<Vec<String>, Cell>)> {
        self.metrics
            .iter()
            .map(|state| (state.metric.name(), &state.values))
    }

    /// Puts back the values of one metric; those of another shape are left out.
    pub(crate) fn restore(&mut self, metric: &str, values: Vec<(Vec<String>, Cell)>) {
        let Some(state) = self
            .metrics
            .iter_mut()
            .find(|state| state.metric.name() == metric)
        else {
            return;
        };
        let (labels, buckets) = state.shape();
        for (texts, cell) in values {
            let fits = match (&cell, buckets) {
                (Cell::Number(_), None) => true,
                (Cell::Histogram { counts, .. }, Some(buckets)) => counts.len() == buckets,
                _ => false,
            };
            if fits && texts.len() == labels {
                state.values.insert(texts, cell);
            }
        }
    }
}

impl Cell {
    fn empty(buckets: &[f64]) -> Self {
        Self::Histogram {
            counts: vec![0; buckets.len()],
            sum: 0.0,
            count: 0,
        }
    }

    fn observe(&mut self, buckets: &[f64], value: f64) {
        let Self::Histogram { counts, sum, count } = self else {
            return;
        };
        // Kept apart by bucket, added up when written.
        let index = buckets.partition_point(|bound| *bound < value);
        if let Some(bucket) = counts.get_mut(index) {
            *bucket += 1;
        }
        *sum += value;
        *count += 1;
    }
}

impl State {
    /// Number of labels, and of buckets if it is a histogram.
    fn shape(&self) -> (usize, Option<usize>) {
        match &self.metric {
            Metric::Counter { labels, .. } | Metric::Gauge { labels, .. } => (labels.len(), None),
            Metric::Histogram {
                labels, buckets, ..
            } => (labels.len(), Some(buckets.len())),
            Metric::Between { buckets, .. } => (0, Some(buckets.len())),
            Metric::Waiting { .. } => (0, None),
        }
    }

    /// False when the event was over a bound.
    fn follow(&mut self, event: &dyn Event, at: i64, counts: bool) -> bool {
        let Self {
            metric,
            values,
            waiting,
        } = self;
        match metric {
            Metric::Counter {
                add, when, labels, ..
            } => {
                if !counts || !when.holds(event) {
                    return true;
                }
                let amount = add.as_ref().map_or(Some(1.0), |field| field.number(event));
                // A counter cannot go back: what is negative or no number is left out.
                let Some(amount) = amount.filter(|amount| *amount >= 0.0) else {
                    return true;
                };
                match cell(values, labels, event, || Cell::Number(0.0)) {
                    Some(Cell::Number(value)) => *value += amount,
                    _ => return false,
                }
            }
            Metric::Gauge {
                value,
                when,
                labels,
                ..
            } => {
                if !counts || !when.holds(event) {
                    return true;
                }
                let Some(newest) = value.number(event) else {
                    return true;
                };
                match cell(values, labels, event, || Cell::Number(0.0)) {
                    Some(Cell::Number(value)) => *value = newest,
                    _ => return false,
                }
            }
            Metric::Histogram {
                value,
                buckets,
                when,
                labels,
                ..
            } => {
                if !counts || !when.holds(event) {
                    return true;
                }
                let Some(value) = value.number(event) else {
                    return true;
                };
                match cell(values, labels, event, || Cell::empty(buckets)) {
                    Some(cell) => cell.observe(buckets, value),
                    None => return false,
                }
            }
            Metric::Between {
                from,
                to,
                within,
                buckets,
                ..
            } => {
                let Some(key) = event.key() else { return true };
                waiting.expire(at.saturating_sub(millis(*within)));
                if from.holds(event) {
                    return waiting.start(key, at);
                }
                if to.holds(event)
                    && let Some(since) = waiting.end(key)
                    && counts
                    && let Some(cell) = values.get_mut(&Vec::new())
                {
                    cell.observe(buckets, (at - since).max(0) as f64 / 1_000.0);
                }
            }
            Metric::Waiting {
                from, to, within, ..
            } => {
                let Some(key) = event.key() else { return true };
                waiting.expire(at.saturating_sub(millis(*within)));
                if to.holds(event) {
                    waiting.end(key);
                } else if from.holds(event) {
                    return waiting.start(key, at);
                }
            }
        }
        true
    }

    fn samples(&mut self, now: Timestamp, put: &mut dyn FnMut(Labels, f64)) {
        let Self {
            metric,
            values,
            waiting,
        } = self;
        let metric = &*metric;
        let (labels, buckets) = match metric {
            Metric::Counter { labels, .. } | Metric::Gauge { labels, .. } => (Some(labels), None),
            Metric::Histogram {
                labels, buckets, ..
            } => (Some(labels), Some(buckets)),
            Metric::Between { buckets, .. } => (None, Some(buckets)),
            Metric::Waiting {
                name,
                longer_than,
                within,
                ..
            } => {
                waiting.expire(now.minus(*within).millis());
                let count = waiting.count(now.minus(*longer_than).millis());
                put(Labels::of(&[(METRIC_NAME, name)]), count as f64);
                return;
            }
        };
        for (texts, cell) in values.iter() {
            let names = labels
                .into_iter()
                .flat_map(BTreeMap::keys)
                .map(String::as_str);
            let own: Vec<(&str, &str)> = names.zip(texts.iter().map(String::as_str)).collect();
            let series = |suffix: &str, bound: Option<&str>| {
                let name = format!("{}{suffix}", metric.name());
                let mut pairs = own.clone();
                pairs.push((METRIC_NAME, &name));
                pairs.extend(bound.map(|bound| ("le", bound)));
                Labels::of(&pairs)
            };
            match cell {
                Cell::Number(value) => put(series("", None), *value),
                Cell::Histogram { counts, sum, count } => {
                    let mut below = 0;
                    for (bound, count) in buckets.into_iter().flatten().zip(counts) {
                        below += count;
                        let bound = series::format_value(*bound);
                        put(series("_bucket", Some(&bound)), below as f64);
                    }
                    put(series("_bucket", Some("+Inf")), *count as f64);
                    put(series("_sum", None), *sum);
                    put(series("_count", None), *count as f64);
                }
            }
        }
    }
}

/// The value of the series an event belongs to, made if there is room.
fn cell<'v>(
    values: &'v mut BTreeMap<Vec<String>, Cell>,
    labels: &BTreeMap<String, Field>,
    event: &dyn Event,
    make: impl FnOnce() -> Cell,
) -> Option<&'v mut Cell> {
    let text = |field: &Field| {
        field
            .text(event)
            .map_or_else(String::new, std::borrow::Cow::into_owned)
    };
    let texts: Vec<String> = labels.values().map(text).collect();
    let room = values.len() < SERIES_MAX;
    match values.entry(texts) {
        std::collections::btree_map::Entry::Occupied(entry) => Some(entry.into_mut()),
        std::collections::btree_map::Entry::Vacant(entry) if room => Some(entry.insert(make())),
        std::collections::btree_map::Entry::Vacant(_) => None,
    }
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
