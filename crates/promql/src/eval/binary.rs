//! Operators between two sides, and how elements of two vectors find each other.

use std::collections::HashMap;

use series::{Labels, METRIC_NAME};

use super::cache::{LabelHash, LabelSet};
use super::{Element, Evaluation};
use crate::Error;
use crate::compile::is_scalar;
use crate::tree::{Binary, Cardinality, Grouping, Operator};

/// The value of `op` between two numbers; comparisons give 0 or 1.
pub(crate) fn scalars(op: Operator, lhs: f64, rhs: f64) -> f64 {
    if op.is_comparison() {
        return f64::from(u8::from(holds(op, lhs, rhs)));
    }
    arithmetic(op, lhs, rhs)
}

fn arithmetic(op: Operator, lhs: f64, rhs: f64) -> f64 {
    match op {
        Operator::Add => lhs + rhs,
        Operator::Sub => lhs - rhs,
        Operator::Mul => lhs * rhs,
        Operator::Div => lhs / rhs,
        Operator::Mod => lhs % rhs,
        Operator::Pow => lhs.powf(rhs),
        Operator::Atan2 => lhs.atan2(rhs),
        _ => f64::NAN,
    }
}

fn holds(op: Operator, lhs: f64, rhs: f64) -> bool {
    match op {
        Operator::Equal => lhs == rhs,
        Operator::NotEqual => lhs != rhs,
        Operator::Greater => lhs > rhs,
        Operator::Less => lhs < rhs,
        Operator::GreaterEqual => lhs >= rhs,
        Operator::LessEqual => lhs <= rhs,
        _ => false,
    }
}

/// The labels two sides are matched by.
fn signature(grouping: &Grouping, labels: &Labels) -> Labels {
    let named = |name: &str| grouping.names.iter().any(|n| n == name);
    if grouping.only {
        labels.filter(named)
    } else {
        labels.filter(|name| name != METRIC_NAME && !named(name))
    }
}

impl Evaluation<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, at: i64) -> Result<Vec<Element>, Error> {
        match (is_scalar(&binary.lhs), is_scalar(&binary.rhs)) {
            (false, true) => {
                let vector = self.vector(&binary.lhs, at)?;
                let number = self.scalar(&binary.rhs, at)?;
                self.with_number(binary, vector, number, false)
            }
            (true, false) => {
                let number = self.scalar(&binary.lhs, at)?;
                let vector = self.vector(&binary.rhs, at)?;
                self.with_number(binary, vector, number, true)
            }
            _ => {
                let lhs = self.vector(&binary.lhs, at)?;
                let rhs = self.vector(&binary.rhs, at)?;
                if binary.op.is_set() {
                    Ok(self.sets(binary, lhs, rhs))
                } else {
                    self.vectors(binary, lhs, rhs)
                }
            }
        }
    }

    fn with_number(
        &mut self,
        binary: &Binary,
        mut vector: Vec<Element>,
        number: f64,
        number_first: bool,
    ) -> Result<Vec<Element>, Error> {
        let op = binary.op;
        let sides = |value: f64| {
            if number_first {
                (number, value)
            } else {
                (value, number)
            }
        };
        if op.is_comparison() && !binary.return_bool {
            vector.retain(|element| {
                let (lhs, rhs) = sides(element.value);
                holds(op, lhs, rhs)
            });
            return Ok(vector);
        }
        for element in &mut vector {
            let (lhs, rhs) = sides(element.value);
            element.value = scalars(op, lhs, rhs);
        }
        self.drop_names(binary.results, &mut vector)?;
        Ok(vector)
    }

    fn signatures(&mut self, binary: &Binary, vector: &[Element]) -> Vec<Labels> {
        let grouping = &binary.matching.grouping;
        let make = |labels: &Labels| signature(grouping, labels);
        let of = |element: &Element| self.caches.get(binary.signatures, &element.labels, make);
        vector.iter().map(of).collect()
    }

    fn sets(&mut self, binary: &Binary, lhs: Vec<Element>, rhs: Vec<Element>) -> Vec<Element> {
        let left = self.signatures(binary, &lhs);
        let right = self.signatures(binary, &rhs);
        if binary.op == Operator::Or {
            let present: LabelSet<'_> = left.iter().collect();
            let more = rhs
                .into_iter()
                .zip(&right)
                .filter(|(_, sig)| !present.contains(sig));
            return lhs
                .into_iter()
                .chain(more.map(|(element, _)| element))
                .collect();
        }
        let present: LabelSet<'_> = right.iter().collect();
        let wanted = binary.op == Operator::And;
        let kept = lhs
            .into_iter()
            .zip(&left)
            .filter(|(_, sig)| present.contains(sig) == wanted);
        kept.map(|(element, _)| element).collect()
    }

    fn vectors(
        &mut self,
        binary: &Binary,
        lhs: Vec<Element>,
        rhs: Vec<Element>,
    ) -> Result<Vec<Element>, Error> {
        if lhs.is_empty() || rhs.is_empty() {
            return Ok(Vec::new());
        }
        let swapped = binary.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let one_signatures = self.signatures(binary, &one);
        let mut by_signature: HashMap<&Labels, usize, LabelHash> =
            HashMap::with_capacity_and_hasher(one.len(), LabelHash::default());
        for (index, signature) in one_signatures.iter().enumerate() {
            if let Some(before) = by_signature.insert(signature, index) {
                let side = if swapped { "left" } else { "right" };
                return Err(duplicate_series(signature, side, &one[before], &one[index]));
            }
        }
        let many_signatures = self.signatures(binary, &many);
        let one_to_one = binary.matching.cardinality == Cardinality::OneToOne;
        let mut matched = vec![false; one.len()];
        let mut out = Vec::with_capacity(many.len());
        // Many-to-one: the labels of results, those filtered away included.
        let mut results: LabelResults = LabelResults::default();
        for (element, signature) in many.into_iter().zip(&many_signatures) {
            let Some(index) = by_signature.get(signature).copied() else {
                continue;
            };
            let other = &one[index];
            let (left, right) = if swapped {
                (other.value, element.value)
            } else {
                (element.value, other.value)
            };
            let labels = self.result_labels(binary, &element.labels, &other.labels);
            if one_to_one {
                if std::mem::replace(&mut matched[index], true) {
                    return Err(many_matches(
                        "many-to-one matching must be explicit (group_left/group_right)",
                    ));
                }
            } else if !results.insert((index, labels.clone())) {
                return Err(many_matches("grouping labels must ensure unique matches"));
            }
            let comparison = binary.op.is_comparison();
            if comparison && !binary.return_bool && !holds(binary.op, left, right) {
                continue;
            }
            let value = if comparison && !binary.return_bool {
                left
            } else {
                scalars(binary.op, left, right)
            };
            out.push(Element {
                labels,
                value,
                drop_name: binary.return_bool || (comparison && element.drop_name),
            });
        }
        super::check_unique(&out)?;
        Ok(out)
    }

    /// The labels of what two matched elements give.
    fn result_labels(&mut self, binary: &Binary, many: &Labels, one: &Labels) -> Labels {
        let delayed = self.options.delayed_name_removal;
        let matching = &binary.matching;
        let drops_name = !binary.op.is_comparison() || (binary.return_bool && !delayed);
        let make = |labels: &Labels| {
            let names = &matching.grouping.names;
            let named = |name: &str| names.iter().any(|n| n == name);
            labels.filter(|name| {
                let matched = match matching.cardinality {
                    Cardinality::OneToOne => named(name) == matching.grouping.only,
                    Cardinality::ManyToOne | Cardinality::OneToMany => true,
                };
                matched && !(drops_name && name == METRIC_NAME)
            })
        };
        if matching.include.is_empty() {
            return self.caches.get(binary.results, many, make);
        }
        self.caches.of_pair(binary.results, many, one, || {
            let mut builder = make(many).to_builder();
            for name in &matching.include {
                builder.set(name, one.get(name).unwrap_or_default());
            }
            builder.build()
        })
    }
}

type LabelResults = std::collections::HashSet<(usize, Labels), LabelHash>;

fn many_matches(advice: &str) -> Error {
    Error::Matching {
        message: format!("multiple matches for labels: {advice}"),
    }
}

fn duplicate_series(signature: &Labels, side: &str, a: &Element, b: &Element) -> Error {
    let (mut first, mut second) = (a.labels.to_string(), b.labels.to_string());
    if first > second {
        std::mem::swap(&mut first, &mut second);
    }
    Error::Matching {
        message: format!(
            "found duplicate series for the match group {signature} on the {side} hand-side of the \
             operation: [{first}, {second}];many-to-many matching not allowed: matching labels must \
             be unique on one side"
        ),
    }
}
