//! The alerts of one rule: a state machine that is told what its expression found.
//!
//! ```text
//!            found                 for is over
//!   (none) ────────> pending ───────────────────────> firing
//!            not found │                                │ not found, and keep_firing_for is over
//!                      v                                v
//!                  inactive (forgotten)             resolved (kept for a while, then forgotten)
//! ```
//!
//! Invariants: an alert has one state at a time and each change of it is told once; `active_at` stays
//! from pending to resolved; time is an argument. Source: Prometheus' alerting rules and the alert
//! generator's compliance text.

use std::collections::HashMap;
use std::time::Duration;

use model::Timestamp;
use series::Labels;

use crate::status::{Alert, AlertState};

/// How long a resolved alert is shown.
const RESOLVED_KEPT: Duration = Duration::from_mins(15);

/// Most resolved alerts of one rule that are kept to be shown.
const RESOLVED_MAX: usize = 100;

/// `for`, `keep_firing_for` and how often a firing alert is told again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    pub(crate) wait: Duration,
    pub(crate) keep_firing_for: Duration,
    pub(crate) repeat: Duration,
}

/// One result of the expression, with the alert's own labels.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) labels: Labels,
    /// The result's labels, for templates.
    pub(crate) result: Labels,
    pub(crate) value: f64,
}

/// A change of one alert.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    /// As it is now.
    pub(crate) alert: Alert,
    /// What it was; `None` when it is new. The same as it is now when it fires on and only what it
    /// waits for changed, which must be recorded too.
    pub(crate) was: Option<AlertState>,
    /// Nothing changed: it fires on and is told again.
    pub(crate) reminder: bool,
}

/// The alerts of one rule.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    by_labels: HashMap<Labels, Alert>,
}

impl Alerts {
    /// Goes on with alerts of an earlier run.
    pub(crate) fn restore(alerts: impl IntoIterator<Item = Alert>) -> Self {
        let by_labels = alerts
            .into_iter()
            .map(|alert| (alert.labels.clone(), alert))
            .collect();
        Self { by_labels }
    }

    /// All there are, sorted by labels.
    pub(crate) fn sorted(&self) -> Vec<Alert> {
        let mut all: Vec<Alert> = self.by_labels.values().cloned().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }

    /// Pending and firing ones.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Alert> {
        self.by_labels.values().filter(|alert| alert.is_active())
    }

    /// Takes what the expression found at `now`. `annotate` makes the annotations of new alerts, of
    /// those that begin to fire, and with `refresh` of all.
    pub(crate) fn advance(
        &mut self,
        found: Vec<Found>,
        now: Timestamp,
        spans: Spans,
        refresh: bool,
        mut annotate: impl FnMut(&Found) -> Vec<(String, String)>,
    ) -> Vec<Transition> {
        let mut transitions = Vec::new();
        let mut seen = std::collections::HashSet::with_capacity(found.len());
        for found in found {
            seen.insert(found.labels.clone());
            let known = self
                .by_labels
                .get_mut(&found.labels)
                .filter(|alert| alert.is_active());
            let Some(alert) = known else {
                let alert = begin(&found, now, spans, annotate(&found));
                transitions.push(Transition {
                    alert: alert.clone(),
                    was: None,
                    reminder: false,
                });
                self.by_labels.insert(found.labels, alert);
                continue;
            };
            alert.value = found.value;
            let back = alert.keep_firing_since.take().is_some();
            let fires =
                alert.state == AlertState::Pending && now >= alert.active_at.plus(spans.wait);
            let again =
                alert.state == AlertState::Firing && now >= alert.recorded_at.plus(spans.repeat);
            if fires || again || refresh {
                alert.annotations = annotate(&found);
            }
            if fires || again || back {
                let was = Some(alert.state);
                alert.state = AlertState::Firing;
                alert.fired_at = alert.fired_at.or(Some(now));
                alert.recorded_at = now;
                transitions.push(Transition {
                    alert: alert.clone(),
                    was,
                    reminder: again,
                });
            }
        }
        for alert in self.by_labels.values_mut() {
            if alert.is_active() && !seen.contains(&alert.labels) {
                transitions.extend(missing(alert, now, spans));
            }
        }
        self.forget(now);
        transitions.sort_by(|a, b| a.alert.labels.cmp(&b.alert.labels));
        transitions
    }

    /// Ends all of them: the rule is gone, or may have none.
    pub(crate) fn end(&mut self, now: Timestamp) -> Vec<Transition> {
        let ended = self
            .by_labels
            .values_mut()
            .filter(|alert| alert.is_active());
        let mut transitions: Vec<_> = ended.map(|alert| finish(alert, now)).collect();
        self.forget(now);
        transitions.sort_by(|a, b| a.alert.labels.cmp(&b.alert.labels));
        transitions
    }

    /// When the next `for` or `keep_firing_for` ends.
    pub(crate) fn deadline(&self, spans: Spans) -> Option<Timestamp> {
        self.active()
            .filter_map(|alert| match (alert.state, alert.keep_firing_since) {
                (AlertState::Pending, _) => Some(alert.active_at.plus(spans.wait)),
                (_, Some(since)) => Some(since.plus(spans.keep_firing_for)),
                _ => None,
            })
            .min()
    }

    fn forget(&mut self, now: Timestamp) {
        self.by_labels.retain(|_, alert| match alert.state {
            AlertState::Pending | AlertState::Firing => true,
            AlertState::Inactive => false,
            AlertState::Resolved => alert
                .resolved_at
                .is_some_and(|at| now < at.plus(RESOLVED_KEPT)),
        });
        let resolved = self.by_labels.values().filter(|alert| !alert.is_active());
        let mut resolved: Vec<_> = resolved
            .map(|alert| (alert.resolved_at, alert.labels.clone()))
            .collect();
        if resolved.len() > RESOLVED_MAX {
            resolved.sort();
            for (_, labels) in &resolved[..resolved.len() - RESOLVED_MAX] {
                self.by_labels.remove(labels);
            }
        }
    }
}

fn begin(found: &Found, now: Timestamp, spans: Spans, annotations: Vec<(String, String)>) -> Alert {
    let fires = spans.wait.is_zero();
    Alert {
        labels: found.labels.clone(),
        annotations,
        state: if fires {
            AlertState::Firing
        } else {
            AlertState::Pending
        },
        value: found.value,
        active_at: now,
        fired_at: fires.then_some(now),
        keep_firing_since: None,
        resolved_at: None,
        recorded_at: now,
    }
}

/// What becomes of an active alert whose expression finds it no more.
fn missing(alert: &mut Alert, now: Timestamp, spans: Spans) -> Option<Transition> {
    if alert.state == AlertState::Firing && !spans.keep_firing_for.is_zero() {
        if let Some(since) = alert.keep_firing_since {
            return (now >= since.plus(spans.keep_firing_for)).then(|| finish(alert, now));
        }
        alert.keep_firing_since = Some(now);
        alert.recorded_at = now;
        let was = Some(alert.state);
        return Some(Transition {
            alert: alert.clone(),
            was,
            reminder: false,
        });
    }
    Some(finish(alert, now))
}

fn finish(alert: &mut Alert, now: Timestamp) -> Transition {
    let was = Some(alert.state);
    alert.state = match alert.state {
        AlertState::Firing => AlertState::Resolved,
        _ => AlertState::Inactive,
    };
    alert.resolved_at = Some(now);
    alert.recorded_at = now;
    Transition {
        alert: alert.clone(),
        was,
        reminder: false,
    }
}

#[cfg(test)]
mod tests;
