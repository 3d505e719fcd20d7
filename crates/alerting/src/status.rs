//! What is shown of groups, rules and alerts: the shapes of Prometheus' `/api/v1/rules` and `/alerts`.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use series::Labels;

use crate::spec::{GroupSpec, RuleSpec};
use crate::template::Template;

/// What a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleKind {
    /// Alerts.
    Alerting,
    /// A series.
    Recording,
}

/// Where an alert stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition holds, but not for long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// It fired and does no more.
    Resolved,
    /// Its condition ceased to hold before it fired.
    Inactive,
}

impl AlertState {
    /// The word for labels, headers and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Inactive => "inactive",
        }
    }
}

/// Whether a rule could be evaluated the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not evaluated yet.
    Unknown,
    /// It could.
    Ok,
    /// It could not.
    Err,
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Whose alert, `alertname` included.
    pub labels: Labels,
    /// Expanded annotations, by name.
    pub annotations: Vec<(String, String)>,
    /// Where it stands.
    pub state: AlertState,
    /// The last result of its expression.
    pub value: f64,
    /// When its condition began to hold.
    pub active_at: Timestamp,
    /// When it began to fire.
    pub fired_at: Option<Timestamp>,
    /// Since when it fires only by `keep_firing_for`.
    pub keep_firing_since: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// When its last record was written; a firing one gets another after `repeat_interval`.
    pub(crate) recorded_at: Timestamp,
}

impl Alert {
    /// Pending or firing.
    pub fn is_active(&self) -> bool {
        matches!(self.state, AlertState::Pending | AlertState::Firing)
    }

    /// The annotation `summary`, else `description`, else nothing.
    pub fn summary(&self) -> &str {
        let named = |name: &str| self.annotations.iter().find(|(known, _)| known == name);
        let found = named("summary").or_else(|| named("description"));
        found.map_or("", |(_, text)| text)
    }
}

/// RFC 3339 in UTC, as JSON has times.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    time.to_string()
}

/// A sample value as Prometheus prints it in alerts: `1e+00`.
pub(crate) fn scientific(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Pairs as a JSON object.
pub(crate) struct Pairs<'a, T>(pub(crate) &'a [(String, T)]);

impl Serialize for Pairs<'_, String> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

impl Serialize for Pairs<'_, Template> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text.text())))
    }
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("labels", &self.labels)?;
        map.serialize_entry("annotations", &Pairs(&self.annotations))?;
        map.serialize_entry("state", &self.state)?;
        map.serialize_entry("activeAt", &rfc3339(self.active_at))?;
        if let Some(since) = self.keep_firing_since {
            map.serialize_entry("keepFiringSince", &rfc3339(since))?;
        }
        map.serialize_entry("value", &scientific(self.value))?;
        map.end()
    }
}

/// A rule as it stands.
#[derive(Debug, Clone)]
pub struct RuleStatus {
    pub(crate) spec: Arc<RuleSpec>,
    pub(crate) health: Health,
    pub(crate) last_error: Option<Arc<str>>,
    pub(crate) took: Duration,
    pub(crate) last_evaluation: Timestamp,
    /// Active ones, and those resolved within the last minutes.
    pub(crate) alerts: Arc<Vec<Alert>>,
}

impl RuleStatus {
    pub(crate) fn new(spec: &Arc<RuleSpec>) -> Self {
        Self {
            spec: Arc::clone(spec),
            health: Health::Unknown,
            last_error: None,
            took: Duration::ZERO,
            last_evaluation: Timestamp::default(),
            alerts: Arc::default(),
        }
    }

    /// What the rule makes.
    pub fn kind(&self) -> RuleKind {
        self.spec.kind()
    }

    /// The recorded series, or the name of the alerts.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it could be evaluated the last time.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Why not.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Pending and firing alerts.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.is_active())
    }
}

impl Serialize for RuleStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(alert) = &self.spec.alert {
            let active: Vec<&Alert> = self.active().collect();
            let state = active.iter().map(|alert| alert.state).max();
            let state = state.unwrap_or(AlertState::Inactive);
            map.serialize_entry("state", &state)?;
            map.serialize_entry("name", &self.spec.name)?;
            map.serialize_entry("query", self.spec.expr.text())?;
            map.serialize_entry("duration", &alert.wait.as_secs_f64())?;
            map.serialize_entry("keepFiringFor", &alert.keep_firing_for.as_secs_f64())?;
            map.serialize_entry("labels", &Pairs(&self.spec.labels))?;
            map.serialize_entry("annotations", &Pairs(&alert.annotations))?;
            map.serialize_entry("alerts", &active)?;
        } else {
            map.serialize_entry("name", &self.spec.name)?;
            map.serialize_entry("query", self.spec.expr.text())?;
            map.serialize_entry("labels", &Pairs(&self.spec.labels))?;
        }
        map.serialize_entry("health", &self.health)?;
        if let Some(error) = &self.last_error {
            map.serialize_entry("lastError", &**error)?;
        }
        map.serialize_entry("evaluationTime", &self.took.as_secs_f64())?;
        map.serialize_entry("lastEvaluation", &rfc3339(self.last_evaluation))?;
        map.serialize_entry("type", &self.kind())?;
        map.end()
    }
}

/// A group as it stands.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    pub(crate) spec: Arc<GroupSpec>,
    /// Its rules, in order of evaluation.
    pub rules: Vec<RuleStatus>,
    pub(crate) took: Duration,
    pub(crate) last_evaluation: Timestamp,
}

impl GroupStatus {
    pub(crate) fn new(spec: &Arc<GroupSpec>) -> Self {
        Self {
            spec: Arc::clone(spec),
            rules: spec.rules.iter().map(RuleStatus::new).collect(),
            took: Duration::ZERO,
            last_evaluation: Timestamp::default(),
        }
    }

    /// Its name, unique in its file.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The file it is in.
    pub fn file(&self) -> &str {
        &self.spec.file
    }
}

impl Serialize for GroupStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.spec.name)?;
        map.serialize_entry("file", &self.spec.file)?;
        map.serialize_entry("rules", &self.rules)?;
        map.serialize_entry("interval", &self.spec.interval.as_secs_f64())?;
        map.serialize_entry("limit", &self.spec.limit)?;
        map.serialize_entry("evaluationTime", &self.took.as_secs_f64())?;
        map.serialize_entry("lastEvaluation", &rfc3339(self.last_evaluation))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_prometheus() {
        let printed: Vec<String> = [1.0, 0.0, 123.5, 0.001, -2e300, f64::INFINITY, f64::NAN]
            .map(scientific)
            .into();
        let expected = [
            "1e+00",
            "0e+00",
            "1.235e+02",
            "1e-03",
            "-2e+300",
            "+Inf",
            "NaN",
        ];
        assert_eq!(printed, expected);
    }
}
