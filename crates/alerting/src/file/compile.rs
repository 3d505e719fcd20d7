//! From a file's YAML to groups; everything that is wrong is said at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use promql::ValueKind;
use serde_saphyr::{Location, Spanned};
use series::{METRIC_NAME, is_plain_label_name, is_plain_metric_name};
use stdx::HumanDuration;

use super::Problem;
use super::schema::{File, Group, Pairs, Rule};
use crate::spec::{AlertSpec, GroupSpec, RuleSpec};
use crate::template::Template;

pub(super) struct Compiler {
    file: String,
    file_name: String,
    interval: Duration,
    pub(super) problems: Vec<Problem>,
}

impl Compiler {
    pub(super) fn new(file: String, file_name: String, interval: Duration) -> Self {
        Self {
            file,
            file_name,
            interval,
            problems: Vec::new(),
        }
    }

    fn problem(&mut self, at: Location, reason: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: at.line(),
            column: at.column(),
            reason: reason.into(),
        });
    }

    pub(super) fn file(&mut self, text: &str) -> Vec<GroupSpec> {
        let file: Option<File> = match serde_saphyr::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let (line, column) = error
                    .location()
                    .map_or((0, 0), |at| (at.line(), at.column()));
                let (file, reason) = (self.file.clone(), reason_of(&error));
                self.problems.push(Problem {
                    file,
                    line,
                    column,
                    reason,
                });
                return Vec::new();
            }
        };
        let mut groups: Vec<GroupSpec> = Vec::new();
        for group in file.map(|file| file.groups).unwrap_or_default() {
            let at = group.name.referenced;
            let group = self.group(group);
            if groups.iter().any(|known| known.name == group.name) {
                self.problem(at, format!("group '{}' is in this file twice", group.name));
            }
            groups.push(group);
        }
        groups
    }

    fn group(&mut self, group: Group) -> GroupSpec {
        let name = group.name.value;
        if name.is_empty() {
            self.problem(group.name.referenced, "a group needs a name");
        }
        let interval = match group.interval {
            Some(given) if given.value.get().is_zero() => {
                self.problem(given.referenced, format!("interval of group '{name}' is 0"));
                self.interval
            }
            Some(given) => given.value.get(),
            None => self.interval,
        };
        let query_offset = group
            .query_offset
            .map_or(Duration::ZERO, HumanDuration::get);
        let mut twins: HashMap<String, u32> = HashMap::new();
        let mut rules = Vec::new();
        for rule in group.rules {
            let at = rule.referenced;
            let Some(mut rule) = self.rule(rule.value, at, &name, &group.labels) else {
                continue;
            };
            let twin = twins.entry(rule.id.clone()).or_insert(0);
            if *twin > 0 {
                rule.id = format!("{}#{twin}", rule.id);
            }
            *twin += 1;
            rules.push(Arc::new(rule));
        }
        GroupSpec {
            file: self.file.clone(),
            name,
            interval,
            limit: group.limit,
            query_offset,
            early: group.early_evaluation.unwrap_or(true) && query_offset.is_zero(),
            rules,
        }
    }

    fn rule(
        &mut self,
        rule: Rule,
        at: Location,
        group: &str,
        group_labels: &Pairs,
    ) -> Option<RuleSpec> {
        let Some(expr) = rule.expr else {
            self.problem(at, "the rule has no expr");
            return None;
        };
        let (name, is_alert) = match (rule.record, rule.alert) {
            (Some(record), None) => {
                if !is_plain_metric_name(&record.value) {
                    let reason = format!("'{}' is not a metric name", record.value);
                    self.problem(record.referenced, reason);
                }
                (record.value, false)
            }
            (None, Some(alert)) => {
                if alert.value.is_empty() {
                    self.problem(alert.referenced, "an alert needs a name");
                }
                (alert.value, true)
            }
            (Some(both), Some(_)) => {
                self.problem(
                    both.referenced,
                    "the rule has both record and alert: choose one",
                );
                return None;
            }
            (None, None) => {
                self.problem(at, "the rule has neither record nor alert");
                return None;
            }
        };
        let parsed = match promql::parse(&expr.value) {
            Ok(parsed) if matches!(parsed.kind(), ValueKind::Scalar | ValueKind::Vector) => {
                Some(parsed)
            }
            Ok(_) => {
                let reason = format!("the expression of '{name}' gives no instant vector");
                self.problem(expr.referenced, reason);
                None
            }
            Err(error) => {
                self.problem(
                    expr.referenced,
                    format!("expression of '{name}', {:?}: {error}", expr.value.trim()),
                );
                None
            }
        };
        let mut pairs: BTreeMap<String, Spanned<String>> = group_labels.clone();
        pairs.extend(rule.labels);
        let labels = self.pairs("label", pairs, is_alert);
        let alert = if is_alert {
            Some(AlertSpec {
                wait: rule.wait.map_or(Duration::ZERO, |span| span.value.get()),
                keep_firing_for: rule
                    .keep_firing_for
                    .map_or(Duration::ZERO, |s| s.value.get()),
                annotations: self.pairs("annotation", rule.annotations, true),
            })
        } else {
            let only_alerts = [
                ("for", rule.wait.map(|given| given.referenced)),
                (
                    "keep_firing_for",
                    rule.keep_firing_for.map(|given| given.referenced),
                ),
                (
                    "annotations",
                    rule.annotations
                        .values()
                        .next()
                        .map(|given| given.referenced),
                ),
            ];
            for (field, given) in only_alerts {
                if let Some(at) = given {
                    self.problem(at, format!("'{name}' is recorded: {field} is for alerts"));
                }
            }
            None
        };
        let texts: Vec<_> = labels
            .iter()
            .map(|(name, text)| (name, text.text()))
            .collect();
        Some(RuleSpec {
            id: format!("{}/{group}/{name}{texts:?}", self.file_name),
            name,
            expr: parsed?,
            labels,
            alert,
        })
    }

    /// Names and texts of labels or annotations.
    fn pairs(&mut self, what: &str, pairs: Pairs, templates: bool) -> Vec<(String, Template)> {
        let mut checked = Vec::with_capacity(pairs.len());
        for (name, text) in pairs {
            if !is_plain_label_name(&name) || name == METRIC_NAME {
                self.problem(text.referenced, format!("'{name}' is not a {what} name"));
            }
            let template = match Template::parse(&text.value) {
                _ if !templates => Template::literal(&text.value),
                Ok(template) => template,
                Err(error) => {
                    let reason = format!("{what} '{name}', byte {}: {error}", error.at);
                    self.problem(text.referenced, reason);
                    continue;
                }
            };
            checked.push((name, template));
        }
        checked
    }
}

/// The message of the YAML reader without the place, which a [`Problem`] has.
fn reason_of(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let cut = text.find(" at line ").unwrap_or(text.len());
    text.get(..cut).unwrap_or(&text).trim().to_owned()
}
