//! Function calls.

use std::collections::HashMap;

use series::{Labels, METRIC_NAME, format_value};

use super::aggregate::nan_last;
use super::cache::LabelHash;
use super::histogram::{Bucket, fraction, quantile};
use super::math::{is_calendar, math, round};
use super::numeric::{max, min, nan_lowest};
use super::over::{Window, over};
use super::{Element, Evaluation, check_unique};
use crate::Error;
use crate::compile::is_scalar;
use crate::functions::{Instant, Over};
use crate::tree::{Call, Function, LabelJoin, LabelReplace, Node};

/// The label that holds a classic bucket's bound.
const BOUND: &str = "le";

impl Evaluation<'_> {
    pub(super) fn scalar_call(&mut self, call: &Call, at: i64) -> Result<f64, Error> {
        match (&call.function, call.args.first()) {
            (Function::Instant(Instant::Time), _) => Ok(at as f64 / 1_000.0),
            (Function::Instant(Instant::Pi), _) => Ok(std::f64::consts::PI),
            (Function::Instant(Instant::Start), _) => Ok(self.start as f64 / 1_000.0),
            (Function::Instant(Instant::End), _) => Ok(self.end as f64 / 1_000.0),
            (Function::Instant(Instant::Step), _) => Ok(self.step as f64 / 1_000.0),
            (Function::Instant(Instant::Range), _) => Ok((self.end - self.start) as f64 / 1_000.0),
            (Function::Instant(Instant::MinOf), Some(arg)) => {
                Ok(min(self.scalar(arg, at)?, self.scalar(&call.args[1], at)?))
            }
            (Function::Instant(Instant::MaxOf), Some(arg)) => {
                Ok(max(self.scalar(arg, at)?, self.scalar(&call.args[1], at)?))
            }
            (Function::Instant(Instant::Scalar), Some(arg)) => {
                let vector = self.vector(arg, at)?;
                match vector.as_slice() {
                    [only] => Ok(only.value),
                    _ => Ok(f64::NAN),
                }
            }
            _ => Ok(f64::NAN),
        }
    }

    pub(super) fn call(&mut self, call: &Call, at: i64) -> Result<Vec<Element>, Error> {
        match &call.function {
            Function::Math(function) => {
                let mut elements = match call.args.first() {
                    Some(arg) => self.vector(arg, at)?,
                    None if is_calendar(*function) => vec![number(at as f64 / 1_000.0)],
                    None => Vec::new(),
                };
                for element in &mut elements {
                    element.value = math(*function, element.value);
                }
                self.drop_names(call.cache, &mut elements)?;
                Ok(elements)
            }
            Function::Over(function) => self.over(*function, call, at),
            Function::Instant(function) => self.instant_call(*function, call, at),
            Function::Absent(labels) => self.absent(labels, &call.args[0], at),
            Function::LabelReplace(replace) => {
                let elements = self.vector(&call.args[0], at)?;
                let applies = |labels: &Labels| {
                    replace
                        .pattern
                        .is_match(labels.get(&replace.source).unwrap_or_default())
                };
                self.relabel(call.cache, elements, &replace.target, applies, |labels| {
                    label_replace(replace, labels)
                })
            }
            Function::LabelJoin(join) => {
                let elements = self.vector(&call.args[0], at)?;
                let make = |labels: &Labels| label_join(join, labels);
                self.relabel(call.cache, elements, &join.target, |_| true, make)
            }
        }
    }

    /// A function of a range, and of scalars before or behind it.
    fn over(&mut self, function: Over, call: &Call, at: i64) -> Result<Vec<Element>, Error> {
        let mut params = [0.0; 2];
        let mut scalars = 0;
        let mut window = None;
        for arg in &call.args {
            if is_scalar(arg) {
                params[scalars.min(1)] = self.scalar(arg, at)?;
                scalars += 1;
            } else {
                window = Some(self.window(arg, at)?);
            }
        }
        if function == Over::DoubleExponentialSmoothing {
            check_factor("smoothing", "sf", params[0])?;
            check_factor("trend", "tf", params[1])?;
        }
        let Some(range) = window else {
            return Ok(Vec::new());
        };
        let tracks = self.tracks(range.source);
        let mut elements = Vec::with_capacity(tracks.len());
        for track in tracks {
            let samples = track.within(range.start, range.end);
            if samples.is_empty() {
                continue;
            }
            let window = Window {
                samples,
                start: range.start,
                end: range.end,
                now: at,
                params,
            };
            if let Some(value) = over(function, window) {
                elements.push(track.element(value));
            }
        }
        if !function.keeps_name() {
            self.drop_names(call.cache, &mut elements)?;
        }
        Ok(elements)
    }

    fn absent(&mut self, labels: &Labels, arg: &Node, at: i64) -> Result<Vec<Element>, Error> {
        let there = match arg {
            Node::Select(id) if self.plan.selectors[*id].range.is_none() => {
                !self.vector(arg, at)?.is_empty()
            }
            Node::Select(_) | Node::Subquery(_) => {
                let range = self.window(arg, at)?;
                let mut tracks = self.tracks(range.source).iter();
                tracks.any(|track| !track.within(range.start, range.end).is_empty())
            }
            _ => !self.vector(arg, at)?.is_empty(),
        };
        if there {
            return Ok(Vec::new());
        }
        Ok(vec![Element {
            labels: labels.clone(),
            ..number(1.0)
        }])
    }

    fn relabel(
        &mut self,
        cache: usize,
        mut elements: Vec<Element>,
        target: &str,
        applies: impl Fn(&Labels) -> bool,
        make: impl Fn(&Labels) -> Labels,
    ) -> Result<Vec<Element>, Error> {
        for element in &mut elements {
            if target == METRIC_NAME && applies(&element.labels) {
                element.drop_name = false;
            }
            element.labels = self.caches.get(cache, &element.labels, &make);
        }
        check_unique(&elements)?;
        Ok(elements)
    }

    fn instant_call(
        &mut self,
        function: Instant,
        call: &Call,
        at: i64,
    ) -> Result<Vec<Element>, Error> {
        let args = call.args.as_slice();
        match function {
            Instant::Vector => Ok(vec![number(self.scalar(&args[0], at)?)]),
            Instant::Timestamp => self.timestamp(call, at),
            Instant::Round => {
                let unit = args.get(1).map_or(Ok(1.0), |unit| self.scalar(unit, at))?;
                self.map(call, at, |value| round(value, unit))
            }
            Instant::Clamp => {
                let lower = self.scalar(&args[1], at)?;
                let upper = self.scalar(&args[2], at)?;
                if upper < lower {
                    return Ok(Vec::new());
                }
                self.map(call, at, |value| max(lower, min(upper, value)))
            }
            Instant::ClampMin => {
                let lower = self.scalar(&args[1], at)?;
                self.map(call, at, |value| max(lower, value))
            }
            Instant::ClampMax => {
                let upper = self.scalar(&args[1], at)?;
                self.map(call, at, |value| min(upper, value))
            }
            Instant::Sort => {
                let mut elements = self.vector(&args[0], at)?;
                elements.sort_by(|a, b| nan_last(a.value, b.value));
                Ok(elements)
            }
            Instant::SortDesc => {
                let mut elements = self.vector(&args[0], at)?;
                elements.sort_by(|a, b| nan_lowest(b.value, a.value));
                Ok(elements)
            }
            Instant::SortByLabel | Instant::SortByLabelDesc => {
                let mut elements = self.vector(&args[0], at)?;
                elements.sort_by(|a, b| by_labels(&args[1..], &a.labels, &b.labels));
                if function == Instant::SortByLabelDesc {
                    elements.reverse();
                }
                Ok(elements)
            }
            Instant::HistogramQuantile => {
                let q = self.scalar(&args[0], at)?;
                let elements = self.vector(&args[1], at)?;
                self.histograms(call.cache, elements, |buckets| quantile(q, buckets))
            }
            Instant::HistogramFraction => {
                let lower = self.scalar(&args[0], at)?;
                let upper = self.scalar(&args[1], at)?;
                let elements = self.vector(&args[2], at)?;
                self.histograms(call.cache, elements, |buckets| {
                    fraction(lower, upper, buckets)
                })
            }
            Instant::HistogramQuantiles => self.quantiles(call, at),
            // Scalars, which `scalar_call` evaluates.
            Instant::Time
            | Instant::Pi
            | Instant::Start
            | Instant::End
            | Instant::Step
            | Instant::Range
            | Instant::MinOf
            | Instant::MaxOf
            | Instant::Scalar => Ok(vec![number(self.scalar_call(call, at)?)]),
        }
    }

    fn map(
        &mut self,
        call: &Call,
        at: i64,
        change: impl Fn(f64) -> f64,
    ) -> Result<Vec<Element>, Error> {
        let mut elements = self.vector(&call.args[0], at)?;
        for element in &mut elements {
            element.value = change(element.value);
        }
        self.drop_names(call.cache, &mut elements)?;
        Ok(elements)
    }

    /// When the samples of a selector were taken; of anything else, the time of the evaluation.
    fn timestamp(&mut self, call: &Call, at: i64) -> Result<Vec<Element>, Error> {
        let mut elements = if let Node::Select(id) = &call.args[0] {
            let moment = self.moment(self.plan.selectors[*id].when, at);
            let tracks = self.loaded[*id].iter();
            let taken = tracks.filter_map(|track| {
                let (taken, _) = track.newest(moment, self.lookback)?;
                Some(track.element(taken as f64 / 1_000.0))
            });
            taken.collect()
        } else {
            let mut elements = self.vector(&call.args[0], at)?;
            for element in &mut elements {
                element.value = at as f64 / 1_000.0;
            }
            elements
        };
        self.drop_names(call.cache, &mut elements)?;
        Ok(elements)
    }

    /// Several quantiles of each histogram, told apart by a label.
    fn quantiles(&mut self, call: &Call, at: i64) -> Result<Vec<Element>, Error> {
        let elements = self.vector(&call.args[0], at)?;
        let Node::Text(label) = &call.args[1] else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for arg in &call.args[2..] {
            let q = self.scalar(arg, at)?;
            let mut values =
                self.histograms(call.cache, elements.clone(), |buckets| quantile(q, buckets))?;
            let text = quantile_text(q);
            for element in &mut values {
                element.labels = element.labels.with(label, &text);
            }
            out.extend(values);
        }
        check_unique(&out)?;
        Ok(out)
    }

    /// One value for each histogram among `elements`.
    fn histograms(
        &mut self,
        cache: usize,
        elements: Vec<Element>,
        value: impl Fn(&mut Vec<Bucket>) -> f64,
    ) -> Result<Vec<Element>, Error> {
        let mut places: HashMap<Labels, usize, LabelHash> = HashMap::default();
        let mut histograms: Vec<(Element, Vec<Bucket>)> = Vec::new();
        for element in elements {
            let bound = element.labels.get(BOUND).and_then(read_bound);
            let Some(bound) = bound else {
                continue;
            };
            let bucket = Bucket {
                bound,
                count: element.value,
            };
            let labels = self
                .caches
                .get(cache, &element.labels, |l| l.without(&[BOUND]));
            if let Some(place) = places.get(&labels) {
                histograms[*place].1.push(bucket);
                continue;
            }
            places.insert(labels.clone(), histograms.len());
            histograms.push((Element { labels, ..element }, vec![bucket]));
        }
        let mut out: Vec<Element> = histograms
            .into_iter()
            .map(|(element, mut buckets)| Element {
                value: value(&mut buckets),
                ..element
            })
            .collect();
        self.drop_names(cache, &mut out)?;
        Ok(out)
    }
}

/// An element without labels.
fn number(value: f64) -> Element {
    Element {
        labels: Labels::empty(),
        value,
        drop_name: false,
    }
}

/// A bound as Go reads it; `None` for what is no number.
fn read_bound(text: &str) -> Option<f64> {
    let bound: f64 = text.parse().ok()?;
    (!bound.is_nan()).then_some(bound)
}

/// A quantile as OpenMetrics writes it: whole numbers keep a `.0`.
fn quantile_text(q: f64) -> String {
    let text = format_value(q);
    if q.is_finite() && !text.contains(['.', 'e']) {
        return text + ".0";
    }
    text
}

fn check_factor(what: &str, short: &str, factor: f64) -> Result<(), Error> {
    if factor > 0.0 && factor < 1.0 {
        return Ok(());
    }
    Err(Error::Argument {
        message: format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}"),
    })
}

fn label_replace(replace: &LabelReplace, labels: &Labels) -> Labels {
    let source = labels.get(&replace.source).unwrap_or_default();
    let Some(captures) = replace.pattern.captures(source) else {
        return labels.clone();
    };
    let mut value = String::new();
    captures.expand(&replace.replacement, &mut value);
    labels.with(&replace.target, &value)
}

fn label_join(join: &LabelJoin, labels: &Labels) -> Labels {
    let values = join
        .sources
        .iter()
        .map(|name| labels.get(name).unwrap_or_default());
    let value: Vec<&str> = values.collect();
    labels.with(&join.target, &value.join(&join.separator))
}

/// By the values of the labels named, numbers inside them by size; then by all labels.
fn by_labels(names: &[Node], a: &Labels, b: &Labels) -> std::cmp::Ordering {
    for name in names {
        let Node::Text(name) = name else {
            continue;
        };
        let (left, right) = (
            a.get(name).unwrap_or_default(),
            b.get(name).unwrap_or_default(),
        );
        let order = natural(left, right);
        if order.is_ne() {
            return order;
        }
    }
    a.cmp(b)
}

/// Texts with the numbers inside them compared by size.
fn natural(mut a: &str, mut b: &str) -> std::cmp::Ordering {
    fn split(text: &str, digits: bool) -> (&str, &str) {
        let end = text.find(|c: char| c.is_ascii_digit() != digits);
        text.split_at(end.unwrap_or(text.len()))
    }
    while !a.is_empty() && !b.is_empty() {
        let digits = a.starts_with(|c: char| c.is_ascii_digit());
        if digits != b.starts_with(|c: char| c.is_ascii_digit()) {
            return a.cmp(b);
        }
        let ((head_a, rest_a), (head_b, rest_b)) = (split(a, digits), split(b, digits));
        let order = if digits {
            let (x, y) = (
                head_a.trim_start_matches('0'),
                head_b.trim_start_matches('0'),
            );
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            head_a.cmp(head_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}
