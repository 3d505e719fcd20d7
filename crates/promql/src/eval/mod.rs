//! Walks an expression step by step over samples loaded once.
//!
//! Invariants: samples of selectors are unpacked before the first step, for the whole time the query
//! can look at; a subquery is evaluated once, over all steps that look into it; no two elements of a
//! vector have the same labels.

mod aggregate;
mod binary;
mod cache;
mod calendar;
mod call;
mod histogram;
mod load;
mod math;
mod numeric;
mod over;

use std::collections::HashMap;

use model::Timestamp;
use series::{Labels, is_stale};

pub(crate) use self::cache::Caches;
use self::cache::{LabelHash, LabelSet, is_metadata, nameless};
use self::load::{Span, Track};
use crate::Error;
use crate::compile::is_scalar;
use crate::query::{Options, RangeSeries, Sample, Value};
use crate::tree::{At, Kind, Node, Plan, Subquery, When};

/// One value of a vector under evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    /// The metric name goes at the end of the evaluation.
    pub(crate) drop_name: bool,
}

/// One query at work.
pub(crate) struct Evaluation<'a> {
    plan: &'a Plan,
    options: &'a Options,
    start: i64,
    end: i64,
    step: i64,
    lookback: i64,
    /// What each selector found, unpacked.
    loaded: Vec<Vec<Track>>,
    /// When each subquery is evaluated.
    spans: Vec<Span>,
    /// What each subquery gave, once it is wanted.
    subqueries: Vec<Option<Vec<Track>>>,
    caches: &'a mut Caches,
    /// Samples the query may still load or make.
    budget: usize,
}

/// Where range functions find their samples.
#[derive(Debug, Clone, Copy)]
enum Source {
    Selector(usize),
    Subquery(usize),
}

/// Samples of `source` within `(start, end]`.
#[derive(Debug, Clone, Copy)]
struct Range {
    source: Source,
    start: i64,
    end: i64,
}

impl<'a> Evaluation<'a> {
    /// Evaluates `plan` at `[start, end, step]`, in milliseconds.
    pub(crate) fn new(
        plan: &'a Plan,
        options: &'a Options,
        [start, end, step]: [i64; 3],
        caches: &'a mut Caches,
    ) -> Self {
        Self {
            plan,
            options,
            start,
            end,
            step,
            lookback: i64::try_from(options.lookback.as_millis()).unwrap_or(i64::MAX),
            loaded: vec![Vec::new(); plan.selectors.len()],
            spans: vec![Span::default(); plan.subqueries],
            subqueries: vec![None; plan.subqueries],
            caches,
            budget: options.samples_max,
        }
    }

    /// The value at `start`.
    pub(crate) fn instant(&mut self) -> Result<Value, Error> {
        let plan = self.plan;
        let at = Timestamp::from_millis(self.start);
        Ok(match plan.kind {
            Kind::Scalar => Value::Scalar(at, self.scalar(&plan.root, self.start)?),
            Kind::String => match &plan.root {
                Node::Text(text) => Value::String(at, text.clone()),
                _ => Value::String(at, String::new()),
            },
            Kind::Vector => {
                let elements = self.vector(&plan.root, self.start)?;
                let elements = finish_names(elements)?;
                let sample = |element: Element| Sample {
                    labels: element.labels,
                    timestamp: at,
                    value: element.value,
                };
                Value::Vector(elements.into_iter().map(sample).collect())
            }
            Kind::Matrix => {
                let range = self.window(&plan.root, self.start)?;
                Value::Matrix(self.matrix(range)?)
            }
        })
    }

    /// The values at all steps.
    pub(crate) fn range(&mut self) -> Result<Value, Error> {
        let plan = self.plan;
        let tracks = self.walk(&plan.root, [self.start, self.end, self.step])?;
        let mut matrix: Vec<RangeSeries> = Vec::with_capacity(tracks.len());
        let mut places: HashMap<Labels, usize, LabelHash> = HashMap::default();
        for track in tracks {
            let labels = if track.drop_name {
                nameless(&track.labels)
            } else {
                track.labels
            };
            let samples = track
                .samples
                .iter()
                .map(|(t, v)| (Timestamp::from_millis(*t), *v));
            if let Some(place) = places.get(&labels) {
                let merged = &mut matrix[*place].samples;
                merged.extend(samples);
                merged.sort_by_key(|(t, _)| *t);
                if merged.windows(2).any(|two| two[0].0 == two[1].0) {
                    let labels = labels.to_string();
                    return Err(Error::DuplicateLabels { labels });
                }
                continue;
            }
            places.insert(labels.clone(), matrix.len());
            matrix.push(RangeSeries {
                labels,
                samples: samples.collect(),
            });
        }
        matrix.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Value::Matrix(matrix))
    }

    /// The values of `node` at `start`, `start + step`, … up to `end`, by label set.
    fn walk(&mut self, node: &Node, [start, end, step]: [i64; 3]) -> Result<Vec<Track>, Error> {
        let mut tracks: Vec<Track> = Vec::new();
        let mut places: HashMap<Labels, usize, LabelHash> = HashMap::default();
        let scalar = is_scalar(node);
        let mut at = start;
        while at <= end {
            self.check_stop()?;
            let elements = if scalar {
                vec![Element {
                    labels: Labels::empty(),
                    value: self.scalar(node, at)?,
                    drop_name: false,
                }]
            } else {
                self.vector(node, at)?
            };
            self.spend(elements.len())?;
            for (index, element) in elements.into_iter().enumerate() {
                // Steps mostly give the same label sets in the same order.
                let guess = tracks
                    .get_mut(index)
                    .filter(|track| track.labels == element.labels);
                if let Some(track) = guess {
                    track.samples.push((at, element.value));
                    continue;
                }
                let place = *places.entry(element.labels.clone()).or_insert_with(|| {
                    tracks.push(Track {
                        labels: element.labels,
                        drop_name: element.drop_name,
                        samples: smallvec::SmallVec::new(),
                    });
                    tracks.len() - 1
                });
                tracks[place].samples.push((at, element.value));
            }
            match at.checked_add(step) {
                Some(next) if step > 0 => at = next,
                _ => break,
            }
        }
        Ok(tracks)
    }

    /// The vector `node` gives at `at`.
    fn vector(&mut self, node: &Node, at: i64) -> Result<Vec<Element>, Error> {
        match node {
            Node::Select(id) => Ok(self.select(*id, at)),
            Node::Negate { expr, cache } => {
                let mut elements = self.vector(expr, at)?;
                for element in &mut elements {
                    element.value = -element.value;
                }
                self.drop_names(*cache, &mut elements)?;
                Ok(elements)
            }
            Node::Binary(binary) => self.binary(binary, at),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, at),
            Node::Call(call) => self.call(call, at),
            // The compiler lets none of these stand where a vector is wanted.
            Node::Number(_) | Node::Text(_) | Node::Subquery(_) => Ok(Vec::new()),
        }
    }

    /// The number `node` gives at `at`.
    fn scalar(&mut self, node: &Node, at: i64) -> Result<f64, Error> {
        match node {
            Node::Number(number) => Ok(*number),
            Node::Negate { expr, .. } => Ok(-self.scalar(expr, at)?),
            Node::Binary(binary) => {
                let lhs = self.scalar(&binary.lhs, at)?;
                let rhs = self.scalar(&binary.rhs, at)?;
                Ok(binary::scalars(binary.op, lhs, rhs))
            }
            Node::Call(call) => self.scalar_call(call, at),
            // The compiler lets none of these stand where a number is wanted.
            Node::Text(_) | Node::Select(_) | Node::Subquery(_) | Node::Aggregate(_) => {
                Ok(f64::NAN)
            }
        }
    }

    /// The newest samples of an instant selector within the lookback.
    fn select(&self, id: usize, at: i64) -> Vec<Element> {
        let at = self.moment(self.plan.selectors[id].when, at);
        let tracks = self.loaded[id].iter();
        let newest = tracks.filter_map(|track| Some((track, track.newest(at, self.lookback)?)));
        newest
            .map(|(track, (_, value))| track.element(value))
            .collect()
    }

    /// The samples a range selector or a subquery looks at from `at`.
    fn window(&mut self, node: &Node, at: i64) -> Result<Range, Error> {
        let (source, when, range) = match node {
            Node::Select(id) => {
                let selector = &self.plan.selectors[*id];
                (
                    Source::Selector(*id),
                    selector.when,
                    selector.range.unwrap_or_default(),
                )
            }
            Node::Subquery(subquery) => {
                self.run_subquery(subquery)?;
                (Source::Subquery(subquery.id), subquery.when, subquery.range)
            }
            // The compiler lets nothing else stand where a range is wanted.
            _ => (Source::Selector(usize::MAX), When::default(), 0),
        };
        let end = self.moment(when, at);
        Ok(Range {
            source,
            start: end.saturating_sub(range),
            end,
        })
    }

    fn run_subquery(&mut self, subquery: &Subquery) -> Result<(), Error> {
        if self.subqueries[subquery.id].is_none() {
            let span = self.spans[subquery.id];
            let tracks = self.walk(&subquery.expr, [span.start, span.end, span.step])?;
            self.subqueries[subquery.id] = Some(tracks);
        }
        Ok(())
    }

    fn tracks(&self, source: Source) -> &[Track] {
        match source {
            Source::Selector(id) => self.loaded.get(id).map(Vec::as_slice),
            Source::Subquery(id) => self.subqueries[id].as_deref(),
        }
        .unwrap_or_default()
    }

    fn matrix(&mut self, range: Range) -> Result<Vec<RangeSeries>, Error> {
        let mut matrix: Vec<RangeSeries> = Vec::new();
        for track in self.tracks(range.source) {
            let samples = track.within(range.start, range.end);
            if samples.is_empty() {
                continue;
            }
            let labels = if track.drop_name {
                nameless(&track.labels)
            } else {
                track.labels.clone()
            };
            let samples = samples
                .iter()
                .map(|(t, v)| (Timestamp::from_millis(*t), *v));
            matrix.push(RangeSeries {
                labels,
                samples: samples.collect(),
            });
        }
        matrix.sort_by(|a, b| a.labels.cmp(&b.labels));
        match matrix.windows(2).find(|two| two[0].labels == two[1].labels) {
            Some(two) => Err(Error::DuplicateLabels {
                labels: two[0].labels.to_string(),
            }),
            None => Ok(matrix),
        }
    }

    /// Where something that looks by `when` stands, seen from `at`.
    fn moment(&self, when: When, at: i64) -> i64 {
        let base = match when.at {
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
            Some(At::Millis(millis)) => millis,
            None => at,
        };
        base.saturating_sub(when.offset)
    }

    /// Takes the metric names away, now or at the end, and refuses what that makes equal.
    fn drop_names(&mut self, cache: usize, elements: &mut [Element]) -> Result<(), Error> {
        // What differs in more than the metric still differs without it.
        let one_metric = all_of_one_metric(elements);
        for element in elements.iter_mut() {
            element.drop_name = true;
            if !self.options.delayed_name_removal {
                element.labels = self.caches.nameless(cache, &element.labels);
            }
        }
        if one_metric {
            return Ok(());
        }
        check_unique(elements)
    }

    fn spend(&mut self, samples: usize) -> Result<(), Error> {
        let left = self.budget.checked_sub(samples);
        self.budget = left.ok_or(Error::TooManySamples {
            limit: self.options.samples_max,
        })?;
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Error> {
        match &self.options.stop {
            Some(stop) if stop() => Err(Error::Stopped),
            _ => Ok(()),
        }
    }
}

impl Track {
    fn element(&self, value: f64) -> Element {
        Element {
            labels: self.labels.clone(),
            value,
            drop_name: self.drop_name,
        }
    }

    /// The newest sample in `(at - lookback, at]`, unless it is a staleness marker.
    fn newest(&self, at: i64, lookback: i64) -> Option<(i64, f64)> {
        let after = self.samples.partition_point(|(t, _)| *t <= at);
        let sample = *self.samples.get(after.checked_sub(1)?)?;
        let in_time = sample.0 > at.saturating_sub(lookback);
        (in_time && !is_stale(sample.1)).then_some(sample)
    }

    /// The samples in `(start, end]`.
    fn within(&self, start: i64, end: i64) -> &[(i64, f64)] {
        let from = self.samples.partition_point(|(t, _)| *t <= start);
        let count = self.samples[from..].partition_point(|(t, _)| *t <= end);
        &self.samples[from..from + count]
    }
}

/// Takes away the names that were to go at the end.
fn finish_names(mut elements: Vec<Element>) -> Result<Vec<Element>, Error> {
    let mut dropped = false;
    for element in elements.iter_mut().filter(|element| element.drop_name) {
        if element.labels.iter().any(|(name, _)| is_metadata(name)) {
            element.labels = nameless(&element.labels);
            dropped = true;
        }
    }
    if dropped {
        check_unique(&elements)?;
    }
    Ok(elements)
}

fn all_of_one_metric(elements: &[Element]) -> bool {
    elements.windows(2).all(|two| {
        let of = |at: usize| two[at].labels.iter().filter(|(name, _)| is_metadata(name));
        of(0).eq(of(1))
    })
}

fn check_unique(elements: &[Element]) -> Result<(), Error> {
    if elements.len() < 2 {
        return Ok(());
    }
    let mut seen = LabelSet::with_capacity_and_hasher(elements.len(), LabelHash::default());
    match elements
        .iter()
        .find(|element| !seen.insert(&element.labels))
    {
        Some(twice) => Err(Error::DuplicateLabels {
            labels: twice.labels.to_string(),
        }),
        None => Ok(()),
    }
}
