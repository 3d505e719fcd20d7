//! What a user writes: the Meter resource.
//!
//! ```yaml
//! apiVersion: lantern/v1
//! kind: Meter
//! metadata: {name: orders}
//! spec:
//!   topic: orders
//!   metrics:
//!     - counter: orders_events_total
//!       labels: {type: header.ce_type}
//!     - counter: orders_revenue_cents_total
//!       add: value.amount_cents
//!       when: {header.ce_type: [order.paid]}
//!     - between: orders_created_to_paid_seconds
//!       from: {header.ce_type: [order.created]}
//!       to: {header.ce_type: [order.paid]}
//!       buckets: [0.1, 1, 10]
//!     - waiting: orders_open
//!       from: {header.ce_type: [order.created]}
//!       to: {header.ce_type: [order.paid, order.cancelled]}
//!       longer_than: 30s
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::TopicName;
use serde::Deserialize;
use stdx::HumanDuration;

use crate::field::{Event, Field};

/// A file of one Meter resource.
#[derive(Debug, Clone)]
pub struct MeterFile {
    /// Where it came from, for messages.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// What is wrong with a file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with line and column where the parser knows them.
    pub reason: String,
}

/// A checked meter.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    /// Its name, unique among meters.
    pub name: String,
    /// The topic it counts.
    pub topic: TopicName,
    /// What it counts.
    pub metrics: Vec<Metric>,
}

/// One metric of a meter.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// Grows by one, or by a field, for each event.
    Counter {
        /// The series' name.
        name: String,
        /// What to add; one when absent.
        add: Option<Field>,
        /// Which events count; all when empty.
        when: Condition,
        /// Labels by field.
        labels: BTreeMap<String, Field>,
    },
    /// The newest value of a field.
    Gauge {
        /// The series' name.
        name: String,
        /// The field.
        value: Field,
        /// Which events count.
        when: Condition,
        /// Labels by field.
        labels: BTreeMap<String, Field>,
    },
    /// The distribution of a field.
    Histogram {
        /// The series' name, without `_bucket`.
        name: String,
        /// The field.
        value: Field,
        /// Upper bounds, ascending, without `+Inf`.
        buckets: Vec<f64>,
        /// Which events count.
        when: Condition,
        /// Labels by field.
        labels: BTreeMap<String, Field>,
    },
    /// The distribution of the seconds from one event to another of the same key.
    Between {
        /// The series' name, without `_bucket`.
        name: String,
        /// Starts the time.
        from: Condition,
        /// Ends it.
        to: Condition,
        /// Pairs further apart are given up.
        within: Duration,
        /// Upper bounds in seconds, ascending, without `+Inf`.
        buckets: Vec<f64>,
    },
    /// How many keys have seen one event and not yet another.
    Waiting {
        /// The series' name.
        name: String,
        /// A key waits from here on.
        from: Condition,
        /// It no longer does.
        to: Condition,
        /// Counts only those that waited this long.
        longer_than: Duration,
        /// Those that waited this long are given up.
        within: Duration,
    },
}

/// Which events are meant: each field must have one of its texts. Empty means all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition(Vec<(Field, Vec<String>)>);

impl Condition {
    /// Whether the event is meant.
    pub fn holds(&self, event: &dyn Event) -> bool {
        self.0.iter().all(|(field, texts)| {
            field
                .text(event)
                .is_some_and(|found| texts.iter().any(|text| *text == found))
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    topic: TopicName,
    metrics: Vec<Written>,
}

/// One metric as written; exactly one of the first five names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    counter: Option<String>,
    gauge: Option<String>,
    histogram: Option<String>,
    between: Option<String>,
    waiting: Option<String>,
    add: Option<Field>,
    value: Option<Field>,
    #[serde(default)]
    when: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    from: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    to: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    labels: BTreeMap<String, Field>,
    buckets: Option<Vec<f64>>,
    longer_than: Option<HumanDuration>,
    within: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Prometheus' own default buckets, in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Most buckets of one histogram.
const BUCKETS_MAX: usize = 100;
/// How long a key is remembered unless the meter says.
const WITHIN: Duration = Duration::from_mins(10);

impl MeterFile {
    /// Checks the file whole.
    ///
    /// # Errors
    /// Every [`Problem`] found.
    pub fn parse(&self) -> Result<Meter, Vec<Problem>> {
        let problem = |reason: String| Problem {
            path: self.path.clone(),
            reason,
        };
        let document: Document =
            serde_saphyr::from_str(&self.text).map_err(|error| vec![problem(error.to_string())])?;
        let mut problems = Vec::new();
        let mut metrics = Vec::new();
        for (index, written) in document.spec.metrics.into_iter().enumerate() {
            match check(written) {
                Ok(metric) => metrics.push(metric),
                Err(reason) => problems.push(problem(format!("spec.metrics[{index}]: {reason}"))),
            }
        }
        let mut names: Vec<&str> = metrics.iter().map(Metric::name).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            problems.push(problem(format!("spec.metrics: '{twice}' comes twice")));
        }
        if metrics.is_empty() && problems.is_empty() {
            problems.push(problem("spec.metrics is empty".to_owned()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Meter {
            name: document.metadata.name,
            topic: document.spec.topic,
            metrics,
        })
    }
}

impl Metric {
    /// The series' name.
    pub fn name(&self) -> &str {
        match self {
            Self::Counter { name, .. }
            | Self::Gauge { name, .. }
            | Self::Histogram { name, .. }
            | Self::Between { name, .. }
            | Self::Waiting { name, .. } => name,
        }
    }
}

fn check(written: Written) -> Result<Metric, String> {
    let Written {
        counter,
        gauge,
        histogram,
        between,
        waiting,
        ..
    } = &written;
    let named = [counter, gauge, histogram, between, waiting]
        .into_iter()
        .flatten()
        .count();
    if named != 1 {
        return Err("write exactly one of counter, gauge, histogram, between, waiting".to_owned());
    }
    let when = condition(written.when)?;
    let labels = written.labels;
    if let Some(label) = labels
        .keys()
        .find(|label| !series::is_plain_label_name(label))
    {
        return Err(format!("'{label}' cannot be a label"));
    }
    let within = written.within.map_or(WITHIN, HumanDuration::get);
    let needs_value = |value: Option<Field>| value.ok_or("value is missing: name a field");
    let metric = if let Some(name) = written.counter {
        Metric::Counter {
            name,
            add: written.add,
            when,
            labels,
        }
    } else if let Some(name) = written.gauge {
        Metric::Gauge {
            name,
            value: needs_value(written.value)?,
            when,
            labels,
        }
    } else if let Some(name) = written.histogram {
        let buckets = buckets(written.buckets)?;
        Metric::Histogram {
            name,
            value: needs_value(written.value)?,
            buckets,
            when,
            labels,
        }
    } else {
        let (from, to) = (condition(written.from)?, condition(written.to)?);
        if from == Condition::default() || to == Condition::default() {
            return Err(
                "from and to are needed: they say which events begin and end it".to_owned(),
            );
        }
        match (written.between, written.waiting) {
            (Some(name), _) => Metric::Between {
                name,
                from,
                to,
                within,
                buckets: buckets(written.buckets)?,
            },
            (None, name) => Metric::Waiting {
                name: name.unwrap_or_default(),
                from,
                to,
                longer_than: written.longer_than.unwrap_or_default().get(),
                within,
            },
        }
    };
    if !series::is_plain_metric_name(metric.name()) {
        return Err(format!("'{}' cannot be a metric name", metric.name()));
    }
    Ok(metric)
}

fn condition(written: BTreeMap<String, OneOrMany>) -> Result<Condition, String> {
    let mut fields = Vec::new();
    for (field, texts) in written {
        let field: Field = field.parse().map_err(|error| format!("{error}"))?;
        let texts = match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        fields.push((field, texts));
    }
    Ok(Condition(fields))
}

fn buckets(written: Option<Vec<f64>>) -> Result<Vec<f64>, String> {
    let buckets = written.unwrap_or_else(|| BUCKETS.to_vec());
    let ascending = buckets.windows(2).all(|two| two[0] < two[1]);
    if buckets.is_empty() || !ascending || buckets.iter().any(|bound| !bound.is_finite()) {
        return Err("buckets must be numbers that grow".to_owned());
    }
    if buckets.len() > BUCKETS_MAX {
        return Err(format!("more than {BUCKETS_MAX} buckets"));
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(metrics: &str) -> Result<Meter, String> {
        let text = format!(
            "apiVersion: lantern/v1\nkind: Meter\nmetadata: {{name: m}}\nspec:\n  topic: t\n  \
             metrics:\n{metrics}"
        );
        let file = MeterFile {
            path: "m.yaml".into(),
            text,
        };
        file.parse().map_err(|problems| {
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    #[test]
    fn a_meter_is_checked_whole() {
        let meter =
            parse("    - counter: a_total\n      labels: {type: header.ce_type}\n").unwrap();
        assert_eq!(meter.metrics[0].name(), "a_total");
        for (metrics, parts) in [
            ("    []", &["empty"][..]),
            (
                "    - counter: a\n      gauge: b\n",
                &["metrics[0]", "exactly one"],
            ),
            (
                "    - counter: 1a\n    - gauge: b\n",
                &["metrics[0]", "'1a'", "metrics[1]", "value"],
            ),
            ("    - counter: a\n    - counter: a\n", &["'a' comes twice"]),
            (
                "    - counter: a\n      add: amount\n",
                &["amount", "value.PATH", "line 8"],
            ),
            ("    - between: a\n      from: {key: x}\n", &["from and to"]),
            (
                "    - histogram: a\n      value: value.x\n      buckets: [2, 1]\n",
                &["grow"],
            ),
            ("    - countr: a\n", &["countr"]),
        ] {
            let error = parse(metrics).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "'{part}' is not in: {error}");
            }
        }
    }
}
