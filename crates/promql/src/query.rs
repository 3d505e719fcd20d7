//! The front door: expressions, options, values, and queries that are asked again and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use series::{Labels, Matcher, SeriesRef, Store};

use crate::Error;
use crate::compile::compile;
use crate::eval::{Caches, Evaluation};
use crate::tree::{Kind, Plan};

/// Most steps of a range query, as Prometheus' API has it.
pub const STEPS_MAX: i64 = 11_000;

/// How an expression is evaluated.
#[derive(Clone)]
pub struct Options {
    /// How far an instant selector looks back for a sample. Default 5 min.
    pub lookback: Duration,
    /// Step of subqueries that name none. Default 1 min.
    pub subquery_step: Duration,
    /// Most samples one query may load and make. Default 50,000,000.
    pub samples_max: usize,
    /// Keeps metric names until the end of the evaluation, as Prometheus does under its feature flag
    /// `promql-delayed-name-removal`. Default off.
    pub delayed_name_removal: bool,
    /// Asked again and again while a query runs; once it says yes, the query stops.
    pub stop: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback: Duration::from_mins(5),
            subquery_step: Duration::from_mins(1),
            samples_max: 50_000_000,
            delayed_name_removal: false,
            stop: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("lookback", &self.lookback)
            .field("subquery_step", &self.subquery_step)
            .field("samples_max", &self.samples_max)
            .field("delayed_name_removal", &self.delayed_name_removal)
            .field("stop", &self.stop.is_some())
            .finish()
    }
}

/// A checked expression, cheap to clone.
#[derive(Clone)]
pub struct Expr(Arc<Plan>);

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// One number.
    Scalar,
    /// One value for each of several label sets.
    Vector,
    /// A run of samples for each of several label sets.
    Matrix,
    /// A text.
    String,
}

/// Reads an expression.
///
/// # Errors
/// [`Error::Syntax`] when it is no PromQL, [`Error::Unsupported`] when it uses what Lantern does not
/// cover, [`Error::Pattern`] or [`Error::Argument`] when a constant argument cannot work.
pub fn parse(text: &str) -> Result<Expr, Error> {
    compile(text).map(|plan| Expr(Arc::new(plan)))
}

impl Expr {
    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it gives.
    pub fn kind(&self) -> ValueKind {
        match self.0.kind {
            Kind::Scalar => ValueKind::Scalar,
            Kind::Vector => ValueKind::Vector,
            Kind::Matrix => ValueKind::Matrix,
            Kind::String => ValueKind::String,
        }
    }

    /// The matchers of each of its selectors: what to watch to hear when its value may change.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        self.0
            .selectors
            .iter()
            .map(|selector| selector.matchers.clone())
            .collect()
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.text()).finish()
    }
}

impl std::str::FromStr for Expr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text)
    }
}

/// One value of one label set.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Whose value.
    pub labels: Labels,
    /// When: the time of the evaluation.
    pub timestamp: Timestamp,
    /// The value.
    pub value: f64,
}

/// The values of one label set over time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// Whose values.
    pub labels: Labels,
    /// Times and values, in order.
    pub samples: Vec<(Timestamp, f64)>,
}

/// What an expression gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number, and when.
    Scalar(Timestamp, f64),
    /// At most one sample for each label set. In the order of `sort`, `topk` and their like if the
    /// expression asks for one; else in no order worth relying on.
    Vector(Vec<Sample>),
    /// Runs of samples, by label set.
    Matrix(Vec<RangeSeries>),
    /// A text, and when.
    String(Timestamp, String),
}

/// Evaluates `expr` at one moment.
///
/// # Errors
/// [`Error`] by what goes wrong with the data there is, [`Error::TooManySamples`] and
/// [`Error::Stopped`] by `options`.
pub fn instant(
    expr: &Expr,
    store: &Store,
    at: Timestamp,
    options: &Options,
) -> Result<Value, Error> {
    Prepared::new(expr.clone()).instant(store, at, options)
}

/// Evaluates `expr` at `start`, `start + step`, … up to `end`. Always a [`Value::Matrix`], sorted by
/// labels.
///
/// # Errors
/// As [`instant`]; [`Error::Range`] when `end` is before `start`, `step` is no millisecond long or
/// there are more than [`STEPS_MAX`] steps; [`Error::NotForRange`] for a range vector or a text.
pub fn range(
    expr: &Expr,
    store: &Store,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    options: &Options,
) -> Result<Value, Error> {
    Prepared::new(expr.clone()).range(store, start, end, step, options)
}

/// An expression with what can be kept from one evaluation to the next: the series its selectors
/// found, until a series comes or goes in the store, and the labels its operators made. Use it with one
/// store.
#[derive(Debug)]
pub struct Prepared {
    expr: Expr,
    /// Of each selector.
    found: Vec<Vec<SeriesRef>>,
    /// The store's generation at which they were found.
    generation: Option<u64>,
    caches: Caches,
}

impl Prepared {
    /// `expr`, with nothing found yet.
    pub fn new(expr: Expr) -> Self {
        let caches = Caches::new(expr.0.caches);
        Self {
            expr,
            found: Vec::new(),
            generation: None,
            caches,
        }
    }

    /// The expression.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// As [`instant`].
    ///
    /// # Errors
    /// As [`instant`].
    pub fn instant(
        &mut self,
        store: &Store,
        at: Timestamp,
        options: &Options,
    ) -> Result<Value, Error> {
        self.find(store);
        let plan = Arc::clone(&self.expr.0);
        let mut evaluation = Evaluation::new(
            &plan,
            options,
            [at.millis(), at.millis(), 0],
            &mut self.caches,
        );
        evaluation.load(&self.found)?;
        evaluation.instant()
    }

    /// As [`range`].
    ///
    /// # Errors
    /// As [`range`].
    pub fn range(
        &mut self,
        store: &Store,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &Options,
    ) -> Result<Value, Error> {
        let plan = Arc::clone(&self.expr.0);
        if !matches!(plan.kind, Kind::Scalar | Kind::Vector) {
            let kind = plan.kind.name();
            return Err(Error::NotForRange { kind });
        }
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        check_range(start, end, step)?;
        self.find(store);
        let times = [start.millis(), end.millis(), step];
        let mut evaluation = Evaluation::new(&plan, options, times, &mut self.caches);
        evaluation.load(&self.found)?;
        evaluation.range()
    }

    fn find(&mut self, store: &Store) {
        // The generation is read first: a series that comes in between is found twice, never missed.
        let generation = store.generation();
        if self.generation == Some(generation) {
            return;
        }
        let selectors = &self.expr.0.selectors;
        self.found = selectors
            .iter()
            .map(|selector| store.find(&selector.matchers))
            .collect();
        self.generation = Some(generation);
        self.caches.clear();
    }
}

fn check_range(start: Timestamp, end: Timestamp, step: i64) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::Range { message });
    if end < start {
        return refuse("end timestamp must not be before start time".to_owned());
    }
    if step < 1 {
        return refuse("the step must be at least a millisecond".to_owned());
    }
    if end.millis().saturating_sub(start.millis()) / step >= STEPS_MAX {
        return refuse(format!(
            "exceeded maximum resolution of {STEPS_MAX} points per timeseries; take a longer step"
        ));
    }
    Ok(())
}
