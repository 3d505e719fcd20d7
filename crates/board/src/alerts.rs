//! The alert lane: alerts as rows, the worst first, resolved ones for a while.
//!
//! Invariant: an alert keeps its row id as long as its labels. Not here: where alerts come from; the
//! service that owns them hands over the whole set whenever it changes.

use std::collections::BTreeMap;

use frame::Level;
use model::Timestamp;
use serde_json::{Map, Value, json};
use series::Labels;

use crate::cells::OwnedRow;
use crate::plan::AlertsPlan;

/// Most rows of an alert lane: the worst are shown, more than these nobody reads.
const ROWS_MAX: usize = 200;

/// One alert as boards show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// What identifies it, `alertname` and `severity` among them.
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    /// Where it is in its life.
    pub state: AlertState,
    /// Since when its condition holds.
    pub since: Timestamp,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// Its condition holds, not yet for long enough.
    Pending,
    /// It is being notified.
    Firing,
    /// It was firing and is over.
    Resolved,
}

impl AlertState {
    const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What one alert lane shows.
#[derive(Debug, Default)]
pub(crate) struct AlertLane {
    /// Alerts that fired when last looked.
    firing: BTreeMap<Labels, Alert>,
    /// Alerts that stopped firing, and when.
    resolved: BTreeMap<Labels, (Alert, Timestamp)>,
}

impl AlertLane {
    /// The rows for the alerts there are now.
    pub(crate) fn rows(
        &mut self,
        plan: &AlertsPlan,
        alerts: &[Alert],
        now: Timestamp,
    ) -> Vec<OwnedRow> {
        let wanted = |alert: &&Alert| {
            plan.only
                .iter()
                .all(|(name, value)| alert.labels.get(name) == Some(value))
        };
        let current: Vec<&Alert> = alerts.iter().filter(wanted).collect();
        for (labels, mut alert) in std::mem::take(&mut self.firing) {
            alert.state = AlertState::Resolved;
            self.resolved.insert(labels, (alert, now));
        }
        for alert in &current {
            match alert.state {
                AlertState::Firing => {
                    self.resolved.remove(&alert.labels);
                    self.firing.insert(alert.labels.clone(), (*alert).clone());
                }
                AlertState::Pending | AlertState::Resolved => {
                    self.resolved.remove(&alert.labels);
                }
            }
        }
        self.resolved
            .retain(|_, (_, at)| now.since(*at) < plan.resolved);
        let mut shown: Vec<&Alert> = current;
        shown.extend(self.resolved.values().map(|(alert, _)| alert));
        shown.sort_by(|a, b| rank(b).cmp(&rank(a)).then_with(|| a.labels.cmp(&b.labels)));
        shown.truncate(ROWS_MAX);
        shown.into_iter().map(row).collect()
    }

    /// Whether time alone will change the rows.
    pub(crate) fn has_resolved(&self) -> bool {
        !self.resolved.is_empty()
    }
}

/// Firing before pending before resolved, the worst level first, the newest of these first.
fn rank(alert: &Alert) -> (u8, Level, Timestamp) {
    let state = match alert.state {
        AlertState::Firing => 2,
        AlertState::Pending => 1,
        AlertState::Resolved => 0,
    };
    (state, severity_level(alert), alert.since)
}

fn severity_level(alert: &Alert) -> Level {
    match alert.labels.get("severity") {
        Some("critical" | "page" | "error" | "emergency" | "disaster") => Level::Critical,
        Some("info" | "none" | "notice" | "debug") => Level::Info,
        _ => Level::Warning,
    }
}

fn row(alert: &Alert) -> OwnedRow {
    let level = match alert.state {
        AlertState::Firing => severity_level(alert),
        AlertState::Pending => Level::Info,
        AlertState::Resolved => Level::Healthy,
    };
    let labels: Map<String, Value> = alert
        .labels
        .iter()
        .filter(|(name, _)| *name != "alertname" && *name != "severity")
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let text = json!({
        "name": alert.labels.get("alertname").unwrap_or_default(),
        "state": alert.state.word(),
        "severity": alert.labels.get("severity").unwrap_or_default(),
        "summary": alert.summary,
        "since": alert.since.millis(),
        "labels": labels,
    });
    OwnedRow {
        // 53 bits of the hash, so that the number survives JavaScript.
        row_id: (alert.labels.hash_value() >> 11) as f64,
        t_ms: alert.since.millis() as f64,
        level,
        text: text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn alert(name: &str, severity: &str, state: AlertState, since: i64) -> Alert {
        Alert {
            labels: Labels::of(&[("alertname", name), ("severity", severity), ("job", "a")]),
            summary: format!("{name} is bad"),
            state,
            since: Timestamp::from_millis(since),
        }
    }

    fn plan() -> AlertsPlan {
        AlertsPlan {
            cell: 1,
            only: BTreeMap::new(),
            resolved: Duration::from_secs(30),
        }
    }

    fn show(rows: &[OwnedRow]) -> String {
        let show = |row: &OwnedRow| {
            let text: Value = serde_json::from_str(&row.text).unwrap();
            format!(
                "{} {} {:?}",
                text["name"].as_str().unwrap(),
                text["state"].as_str().unwrap(),
                row.level
            )
        };
        rows.iter().map(show).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_worst_come_first_and_what_fired_is_shown_as_resolved_for_a_while() {
        use AlertState::{Firing, Pending};
        let mut lane = AlertLane::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let all = [
            alert("slow", "warning", Firing, 1),
            alert("new", "critical", Pending, 2),
            alert("down", "critical", Firing, 0),
        ];
        let rows = lane.rows(&plan(), &all, at(10));
        assert_eq!(
            show(&rows),
            "down firing Critical, slow firing Warning, new pending Info"
        );
        let ids: Vec<_> = rows.iter().map(|row| row.row_id).collect();
        let rows = lane.rows(&plan(), &all[..1], at(20));
        assert_eq!(show(&rows), "slow firing Warning, down resolved Healthy");
        assert_eq!(rows[1].row_id, ids[0], "the same alert is the same row");
        assert!(lane.has_resolved());
        assert_eq!(
            show(&lane.rows(&plan(), &all[..1], at(49))),
            "slow firing Warning, down resolved Healthy"
        );
        assert_eq!(
            show(&lane.rows(&plan(), &all[..1], at(50))),
            "slow firing Warning"
        );
        assert_eq!(
            show(&lane.rows(&plan(), &all, at(51))),
            "down firing Critical, slow firing Warning, new pending Info"
        );
        assert_eq!(
            show(&lane.rows(&plan(), &[], at(52))),
            "down resolved Healthy, slow resolved Healthy"
        );
        let again = lane.rows(&plan(), &all[2..], at(53));
        assert_eq!(show(&again), "down firing Critical, slow resolved Healthy");
    }

    #[test]
    fn a_lane_may_want_some_alerts_only() {
        let only = BTreeMap::from([("severity".to_owned(), "critical".to_owned())]);
        let all = [
            alert("a", "warning", AlertState::Firing, 1),
            alert("b", "critical", AlertState::Firing, 1),
        ];
        let rows = AlertLane::default().rows(
            &AlertsPlan { only, ..plan() },
            &all,
            Timestamp::from_millis(0),
        );
        assert_eq!(show(&rows), "b firing Critical");
        assert_eq!(
            rows[0].text,
            r#"{"labels":{"job":"a"},"name":"b","severity":"critical","since":1,"state":"firing","summary":"b is bad"}"#
        );
    }
}
