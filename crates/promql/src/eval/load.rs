//! Unpacks what a query can look at, before it is evaluated.

use model::Timestamp;
use series::{Labels, SeriesRef, is_stale};
use smallvec::SmallVec;

use super::Evaluation;
use crate::Error;
use crate::tree::{Node, Subquery};

/// The unpacked samples of one series, or the values of one label set of a subquery.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub(crate) labels: Labels,
    pub(crate) drop_name: bool,
    /// Milliseconds and values, in order. One is enough for an instant query.
    pub(crate) samples: SmallVec<[(i64, f64); 1]>,
}

/// When a subquery is evaluated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

impl Evaluation<'_> {
    /// Unpacks the samples of all selectors; `found` has the series of each.
    pub(crate) fn load(&mut self, found: &[Vec<SeriesRef>]) -> Result<(), Error> {
        let plan = self.plan;
        self.load_node(&plan.root, found, self.start, self.end)
    }

    /// Unpacks what `node` looks at when it is evaluated within `[from, to]`.
    fn load_node(
        &mut self,
        node: &Node,
        found: &[Vec<SeriesRef>],
        from: i64,
        to: i64,
    ) -> Result<(), Error> {
        match node {
            Node::Number(_) | Node::Text(_) => Ok(()),
            Node::Select(id) => self.load_selector(*id, &found[*id], from, to),
            Node::Subquery(subquery) => {
                let span = self.span(subquery, from, to);
                self.spans[subquery.id] = span;
                self.load_node(&subquery.expr, found, span.start, span.end)
            }
            Node::Negate { expr, .. } => self.load_node(expr, found, from, to),
            Node::Binary(binary) => {
                self.load_node(&binary.lhs, found, from, to)?;
                self.load_node(&binary.rhs, found, from, to)
            }
            Node::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.load_node(param, found, from, to)?;
                }
                self.load_node(&aggregate.expr, found, from, to)
            }
            Node::Call(call) => {
                let mut args = call.args.iter();
                args.try_for_each(|arg| self.load_node(arg, found, from, to))
            }
        }
    }

    fn load_selector(
        &mut self,
        id: usize,
        found: &[SeriesRef],
        from: i64,
        to: i64,
    ) -> Result<(), Error> {
        self.check_stop()?;
        let selector = &self.plan.selectors[id];
        let (first, last) = (
            self.moment(selector.when, from),
            self.moment(selector.when, to),
        );
        let back = selector.range.unwrap_or(self.lookback);
        let open = Timestamp::from_millis(first.saturating_sub(back).saturating_add(1));
        let end = Timestamp::from_millis(last);
        let mut tracks = Vec::with_capacity(found.len());
        for series in found {
            let mut samples = SmallVec::new();
            if selector.range.is_none() && first == last {
                samples.extend(series.newest(open, end).map(|(t, v)| (t.millis(), v)));
            } else {
                let all = series.samples(open, end);
                samples.reserve_exact(all.len_max());
                all.read_into(&mut samples);
                // A range has no staleness markers; an instant selector stops at them.
                if selector.range.is_some() {
                    samples.retain(|(_, value)| !is_stale(*value));
                }
            }
            if samples.is_empty() {
                continue;
            }
            self.spend(samples.len())?;
            tracks.push(Track {
                labels: series.labels().clone(),
                drop_name: false,
                samples,
            });
        }
        self.loaded[id] = tracks;
        Ok(())
    }

    /// The steps of a subquery that evaluations within `[from, to]` can look at: multiples of its step,
    /// whatever the query's own times are.
    fn span(&self, subquery: &Subquery, from: i64, to: i64) -> Span {
        let default = i64::try_from(self.options.subquery_step.as_millis()).unwrap_or(i64::MAX);
        let step = subquery.step.unwrap_or(default).max(1);
        let open = self
            .moment(subquery.when, from)
            .saturating_sub(subquery.range);
        let mut start = open / step * step;
        if start <= open {
            start += step;
        }
        Span {
            start,
            end: self.moment(subquery.when, to),
            step,
        }
    }
}
