//! Groups and rules after every check: what is in force.

use std::sync::Arc;
use std::time::Duration;

use promql::Expr;

use crate::status::RuleKind;
use crate::template::Template;

/// A group of rules that are evaluated in order.
#[derive(Debug)]
pub(crate) struct GroupSpec {
    /// The file, as it was named when loaded.
    pub(crate) file: String,
    /// Unique in its file.
    pub(crate) name: String,
    /// Time between ticks.
    pub(crate) interval: Duration,
    /// Most results of one rule; 0 is no limit.
    pub(crate) limit: usize,
    /// How far before the tick expressions look.
    pub(crate) query_offset: Duration,
    /// Whether arriving samples evaluate rules before the tick.
    pub(crate) early: bool,
    /// In order of evaluation.
    pub(crate) rules: Vec<Arc<RuleSpec>>,
}

impl GroupSpec {
    /// Whether two groups are the same one: a reload matches them by this.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.file == other.file
    }

    /// Whether nothing at all differs.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.is(other)
            && self.interval == other.interval
            && self.limit == other.limit
            && self.query_offset == other.query_offset
            && self.early == other.early
            && self.rules.len() == other.rules.len()
            && self
                .rules
                .iter()
                .zip(&other.rules)
                .all(|(a, b)| a.same_as(b))
    }
}

/// One rule.
#[derive(Debug)]
pub(crate) struct RuleSpec {
    /// Who the rule is across reloads and restarts: file name, group, rule name and labels. A rule
    /// whose expression changes keeps its alerts, as in Prometheus.
    pub(crate) id: String,
    /// Name of the series it records, or of its alerts.
    pub(crate) name: String,
    pub(crate) expr: Expr,
    /// Labels of the group and the rule, the rule's winning; templates for alerts.
    pub(crate) labels: Vec<(String, Template)>,
    /// What only alerts have.
    pub(crate) alert: Option<AlertSpec>,
}

/// What only alerting rules have.
#[derive(Debug, PartialEq)]
pub(crate) struct AlertSpec {
    /// `for`.
    pub(crate) wait: Duration,
    pub(crate) keep_firing_for: Duration,
    pub(crate) annotations: Vec<(String, Template)>,
}

impl RuleSpec {
    pub(crate) fn kind(&self) -> RuleKind {
        match self.alert {
            Some(_) => RuleKind::Alerting,
            None => RuleKind::Recording,
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        self.id == other.id
            && self.expr.text() == other.expr.text()
            && self.labels == other.labels
            && self.alert == other.alert
    }
}
