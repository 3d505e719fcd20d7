//! A query of a board: when it is due, and what it gave last.

use std::time::Duration;

use frame::Level;
use model::Timestamp;
use promql::{Expr, Options, Prepared, Value};
use series::{Labels, Store, Touched, WatchId};
use tracing::debug;

use crate::plan::{Op, Threshold, Thresholds};
use crate::screen::Evaluated;

/// Least time between two evaluations of a query whose series got samples.
pub(crate) const TOUCHED_EVERY: Duration = Duration::from_millis(50);

/// Time between two evaluations of a query that nothing touched.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Time between two evaluations while it is not known what was touched.
const UNKNOWN_EVERY: Duration = Duration::from_millis(250);

/// One value a query gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

#[derive(Debug)]
pub(crate) struct QueryState {
    prepared: Prepared,
    /// Least time between two evaluations.
    every: Duration,
    watches: Vec<WatchId>,
    touched: Option<Touch>,
    last: Option<Timestamp>,
    /// In the order of labels.
    result: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    Known,
    Perhaps,
}

impl QueryState {
    pub(crate) fn new(expr: Expr, every: Duration) -> Self {
        Self {
            prepared: Prepared::new(expr),
            every,
            watches: Vec::new(),
            touched: None,
            last: None,
            result: Vec::new(),
        }
    }

    pub(crate) fn watch(&mut self, store: &Store) {
        let selectors = self.prepared.expr().selectors();
        self.watches = selectors
            .into_iter()
            .map(|matchers| store.watch(matchers))
            .collect();
    }

    pub(crate) fn watches(&self) -> &[WatchId] {
        &self.watches
    }

    pub(crate) fn touched(&mut self, touched: &Touched) {
        if self.watches.iter().any(|watch| touched.contains(*watch)) {
            self.touched = Some(Touch::Known);
        }
    }

    pub(crate) fn touched_unknown(&mut self) {
        self.touched.get_or_insert(Touch::Perhaps);
    }

    fn due(&self, now: Timestamp) -> bool {
        let Some(last) = self.last else { return true };
        let wait = match self.touched {
            Some(Touch::Known) => self.every,
            Some(Touch::Perhaps) => self.every.max(UNKNOWN_EVERY),
            None => self.every.max(REFRESH_EVERY),
        };
        // A clock set back must not hold it.
        now < last || now.since(last) >= wait
    }

    /// Evaluates the query if it is due; whether it was.
    pub(crate) fn evaluate(&mut self, store: &Store, now: Timestamp, done: &mut Evaluated) -> bool {
        if !self.due(now) {
            return false;
        }
        self.last = Some(now);
        self.touched = None;
        self.result.clear();
        done.queries += 1;
        match self.prepared.instant(store, now, &options()) {
            Ok(value) => take(&mut self.result, value),
            Err(error) => {
                done.failures += 1;
                debug!(query = %self.prepared.expr(), %error, "Query of a board failed.");
            }
        }
        true
    }

    /// What it gave last, in the order of labels.
    pub(crate) fn result(&self) -> &[Sample] {
        &self.result
    }

    /// The sample to show where there is room for one: of the worst level, then the largest value, or the
    /// smallest if small values are the bad ones.
    pub(crate) fn worst(&self, levels: Option<&Thresholds>, none: Level) -> Option<&Sample> {
        let level = |value: f64| levels.map_or(none, |levels| levels.level(value));
        let small_is_bad = levels.is_some_and(small_is_bad);
        let key = |value: f64| if small_is_bad { -value } else { value };
        let known = self.result.iter().filter(|sample| !sample.value.is_nan());
        known.max_by(|a, b| {
            let levels = level(a.value).cmp(&level(b.value));
            // The first of equals, so that the shown one does not flicker.
            levels
                .then(key(a.value).total_cmp(&key(b.value)))
                .then(b.labels.cmp(&a.labels))
        })
    }
}

fn small_is_bad(levels: &Thresholds) -> bool {
    let all = [levels.critical, levels.warning, levels.info];
    let first: Option<Threshold> = all.into_iter().flatten().next();
    first.is_some_and(|threshold| matches!(threshold.op, Op::Less | Op::LessEqual))
}

/// Evaluation limits of boards: what one query may load before it is stopped.
pub(crate) fn options() -> Options {
    Options {
        samples_max: 5_000_000,
        ..Options::default()
    }
}

fn take(result: &mut Vec<Sample>, value: Value) {
    match value {
        Value::Scalar(_, value) => result.push(Sample {
            labels: Labels::empty(),
            value,
        }),
        Value::Vector(samples) => {
            result.extend(samples.into_iter().map(|it| Sample {
                labels: it.labels,
                value: it.value,
            }));
            result.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        // `compile` refuses queries of these kinds.
        Value::Matrix(_) | Value::String(..) => (),
    }
}
