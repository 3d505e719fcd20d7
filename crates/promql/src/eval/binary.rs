//! Operators between two sides, and how elements of two vectors find each other.

use std::collections::{HashMap, HashSet};

use series::{Labels, METRIC_NAME};

use super::cache::is_metadata;

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
        let matching = &binary.matching;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if !fills && (lhs.is_empty() || rhs.is_empty()) {
            return Ok(Vec::new());
        }
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        // Under `group_right` Prometheus swaps the sides but not their fill values; so does this.
        let (many_fill, one_fill) = (matching.fill_left, matching.fill_right);
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
        let mut join = Join {
            binary,
            swapped,
            taken: HashSet::default(),
            out: Vec::with_capacity(many.len()),
        };
        for (element, signature) in many.iter().zip(&many_signatures) {
            match (by_signature.get(signature), one_fill) {
                (Some(index), _) => join.add(self, element, &one[*index], signature)?,
                (None, Some(fill)) => {
                    join.add(self, element, &filled(signature, fill), signature)?;
                }
                (None, None) => (),
            }
        }
        if let Some(fill) = many_fill {
            let matched: LabelSet<'_> = many_signatures.iter().collect();
            for (element, signature) in one.iter().zip(&one_signatures) {
                if !matched.contains(signature) {
                    join.add(self, &filled(signature, fill), element, signature)?;
                }
            }
        }
        super::check_unique(&join.out)?;
        Ok(join.out)
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
                matched && !(drops_name && is_metadata(name))
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

/// What stands in for an element that is not there.
fn filled(signature: &Labels, value: f64) -> Element {
    Element {
        labels: signature.clone(),
        value,
        drop_name: false,
    }
}

/// Elements that found each other, one after the other.
struct Join<'a> {
    binary: &'a Binary,
    /// The "many" side is the right one.
    swapped: bool,
    /// Signatures that were matched; with the labels of the result where several may be.
    taken: HashSet<(Labels, Option<Labels>), LabelHash>,
    out: Vec<Element>,
}

impl Join<'_> {
    fn add(
        &mut self,
        evaluation: &mut Evaluation<'_>,
        many: &Element,
        one: &Element,
        signature: &Labels,
    ) -> Result<(), Error> {
        let binary = self.binary;
        let (left, right) = if self.swapped {
            (one.value, many.value)
        } else {
            (many.value, one.value)
        };
        let labels = evaluation.result_labels(binary, &many.labels, &one.labels);
        let one_to_one = binary.matching.cardinality == Cardinality::OneToOne;
        let result = (!one_to_one).then(|| labels.clone());
        // What a comparison filters away counts too.
        if !self.taken.insert((signature.clone(), result)) {
            return Err(many_matches(if one_to_one {
                "many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "grouping labels must ensure unique matches"
            }));
        }
        let filters = binary.op.is_comparison() && !binary.return_bool;
        if filters && !holds(binary.op, left, right) {
            return Ok(());
        }
        self.out.push(Element {
            labels,
            value: if filters {
                left
            } else {
                scalars(binary.op, left, right)
            },
            drop_name: binary.return_bool || (filters && many.drop_name),
        });
        Ok(())
    }
}

fn many_matches(advice: &str) -> Error {
    Error::Matching {
        message: format!("multiple matches for labels: {advice}"),
    }
}

fn duplicate_series(signature: &Labels, side: &str, a: &Element, b: &Element) -> Error {
    let (mut first, mut second) = (all_labels(&a.labels), all_labels(&b.labels));
    if first > second {
        std::mem::swap(&mut first, &mut second);
    }
    Error::Matching {
        message: format!(
            "found duplicate series for the match group {} on the {side} hand-side of the \
             operation: [{first}, {second}];many-to-many matching not allowed: matching labels must \
             be unique on one side",
            all_labels(signature)
        ),
    }
}

/// Labels as Go writes them, with the metric name among them.
fn all_labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}
