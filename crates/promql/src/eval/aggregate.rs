//! Aggregations: many elements in, one (or a few) out per group.

use std::collections::HashMap;

use series::{Labels, METRIC_NAME, format_value};

use super::cache::LabelHash;
use super::numeric::{Mean, Sum, nan_lowest, quantile};
use super::{Element, Evaluation};
use crate::Error;
use crate::compile::is_scalar;
use crate::tree::{Aggregate, Aggregation, Grouping, Node};

/// One group as it fills.
#[derive(Debug)]
struct Group {
    labels: Labels,
    drop_name: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Sum(Sum),
    Mean(Mean),
    /// Smallest or largest so far.
    Extreme(f64),
    Count(f64),
    Group,
    Variance {
        count: f64,
        mean: f64,
        squares: f64,
    },
    Values(Vec<f64>),
    Elements(Vec<Element>),
}

impl Evaluation<'_> {
    pub(super) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        at: i64,
    ) -> Result<Vec<Element>, Error> {
        let param = match &aggregate.param {
            Some(param) if is_scalar(param) => self.scalar(param, at)?,
            _ => 0.0,
        };
        let mut elements = self.vector(&aggregate.expr, at)?;
        let op = aggregate.op;
        let keep = match op {
            Aggregation::Topk | Aggregation::Bottomk | Aggregation::Limitk => match whole(param)? {
                0 => return Ok(Vec::new()),
                count => count,
            },
            Aggregation::CountValues => {
                name_values(aggregate, &mut elements)?;
                0
            }
            _ => 0,
        };
        let groups = self.group(aggregate, elements);
        let finish = |group: Group| finish(op, param, keep, group);
        Ok(groups.into_iter().flat_map(finish).collect())
    }

    fn group(&mut self, aggregate: &Aggregate, elements: Vec<Element>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<Labels, usize, LabelHash> = HashMap::default();
        let label = match (&aggregate.op, &aggregate.param) {
            (Aggregation::CountValues, Some(Node::Text(label))) => Some(label.as_str()),
            _ => None,
        };
        let make = |labels: &Labels| group_labels(&aggregate.grouping, label, labels);
        for element in elements {
            let labels = self.caches.get(aggregate.cache, &element.labels, make);
            if let Some(place) = places.get(&labels) {
                groups[*place].add(aggregate.op, element);
                continue;
            }
            places.insert(labels.clone(), groups.len());
            groups.push(Group::new(aggregate.op, labels, element));
        }
        groups
    }
}

fn group_labels(grouping: &Grouping, value_label: Option<&str>, labels: &Labels) -> Labels {
    let named = |name: &str| grouping.names.iter().any(|n| n == name);
    if grouping.only {
        labels.filter(|name| named(name) || Some(name) == value_label)
    } else {
        labels.filter(|name| name != METRIC_NAME && !named(name))
    }
}

/// Puts the value of each element into the label that `count_values` asks for.
fn name_values(aggregate: &Aggregate, elements: &mut [Element]) -> Result<(), Error> {
    let Some(Node::Text(label)) = &aggregate.param else {
        return Ok(());
    };
    if label.is_empty() {
        return Err(Error::Argument {
            message: format!("invalid label name {label:?}"),
        });
    }
    for element in elements {
        let text = if element.value.is_finite() {
            format!("{}", element.value)
        } else {
            format_value(element.value)
        };
        element.labels = element.labels.with(label, &text);
    }
    Ok(())
}

/// How many elements `topk` and its like keep.
fn whole(param: f64) -> Result<usize, Error> {
    if param.is_nan() {
        return Err(Error::Argument {
            message: "Parameter value is NaN".to_owned(),
        });
    }
    if !(-9.223_372_036_854_775e18..=9.223_372_036_854_775e18).contains(&param) {
        return Err(Error::Argument {
            message: format!("Scalar value {} overflows int64", format_value(param)),
        });
    }
    if param < 1.0 {
        return Ok(0);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the largest integer; the fraction is cut off"
    )]
    let count = param as usize;
    Ok(count)
}

impl Group {
    fn new(op: Aggregation, labels: Labels, first: Element) -> Self {
        let drop_name = first.drop_name;
        let value = first.value;
        let state = match op {
            Aggregation::Sum => State::Sum(Sum {
                sum: value,
                lost: 0.0,
            }),
            Aggregation::Avg => {
                let mut mean = Mean::default();
                mean.add(value);
                State::Mean(mean)
            }
            Aggregation::Min | Aggregation::Max => State::Extreme(value),
            Aggregation::Count | Aggregation::CountValues => State::Count(1.0),
            Aggregation::Group => State::Group,
            Aggregation::Stddev | Aggregation::Stdvar => State::Variance {
                count: 1.0,
                mean: value,
                squares: if value.is_finite() { 0.0 } else { f64::NAN },
            },
            Aggregation::Quantile => State::Values(vec![value]),
            Aggregation::Topk | Aggregation::Bottomk | Aggregation::Limitk => {
                State::Elements(vec![first])
            }
        };
        Self {
            labels,
            drop_name,
            state,
        }
    }

    fn add(&mut self, op: Aggregation, element: Element) {
        let value = element.value;
        self.drop_name |= element.drop_name;
        match &mut self.state {
            State::Sum(sum) => sum.add(value),
            State::Mean(mean) => mean.add(value),
            State::Extreme(extreme) => {
                let better = match op {
                    Aggregation::Min => value < *extreme,
                    _ => value > *extreme,
                };
                if better || extreme.is_nan() {
                    *extreme = value;
                }
            }
            State::Count(count) => *count += 1.0,
            State::Group => (),
            State::Variance {
                count,
                mean,
                squares,
            } => {
                *count += 1.0;
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            State::Values(values) => values.push(value),
            State::Elements(elements) => elements.push(element),
        }
    }
}

/// The elements a full group gives.
fn finish(op: Aggregation, param: f64, keep: usize, group: Group) -> Vec<Element> {
    let value = match group.state {
        State::Elements(elements) => return best(op, keep, elements),
        State::Sum(sum) => sum.total(),
        State::Mean(mean) => mean.mean(),
        State::Extreme(value) | State::Count(value) => value,
        State::Group => 1.0,
        State::Variance { count, squares, .. } => match op {
            Aggregation::Stddev => (squares / count).sqrt(),
            _ => squares / count,
        },
        State::Values(mut values) => quantile(param, &mut values),
    };
    vec![Element {
        labels: group.labels,
        value,
        drop_name: group.drop_name,
    }]
}

fn best(op: Aggregation, keep: usize, mut elements: Vec<Element>) -> Vec<Element> {
    match op {
        // NaN comes last in both.
        Aggregation::Topk => elements.sort_by(|a, b| nan_lowest(b.value, a.value)),
        Aggregation::Bottomk => elements.sort_by(|a, b| nan_last(a.value, b.value)),
        _ => (),
    }
    elements.truncate(keep);
    elements
}

pub(super) fn nan_last(a: f64, b: f64) -> std::cmp::Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
