//! Alertmanager's webhook JSON, version 4.
//!
//! Alerts of one `alertname` are a group. A notification tells of changes in a group that came together, and
//! of everything else in it that still fires, so that its status is the group's: a receiver that closes what
//! is `resolved` closes nothing that fires. An alert stands in it once.
//! Source: Alertmanager's `docs/configuration` (`webhook_config`).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::outside;
use crate::Options;
use crate::record::{AlertRecord, fingerprint};
use crate::status::{AlertState, rfc3339};

/// Most alerts of one notification; changes come first, and `truncatedAlerts` counts what has no room.
const ALERTS_MAX: usize = 256;

/// What an alert that still fires has as its end.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// One request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
    /// `firing` when any of its alerts is.
    status: &'static str,
    receiver: &'static str,
    group_labels: BTreeMap<&'static str, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: String,
    alerts: Vec<Alert>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: &'static str,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// What a webhook knows: the alerts that fire, by `alertname`, and then by rule and fingerprint, since two
/// rules may have an alert of the same labels.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<String, BTreeMap<(String, String), AlertRecord>>);

impl Groups {
    /// Takes note of what a webhook was told before.
    pub(super) fn learn(&mut self, record: AlertRecord) {
        let group = self.0.entry(record.alertname.clone()).or_default();
        let alert = (record.rule.clone(), record.fingerprint.clone());
        match record.state {
            AlertState::Firing => drop(group.insert(alert, record)),
            AlertState::Resolved | AlertState::Inactive => drop(group.remove(&alert)),
            AlertState::Pending => {}
        }
        self.0.retain(|_, group| !group.is_empty());
    }

    /// The notifications that tell of these records, in their order.
    pub(super) fn notifications(
        &mut self,
        records: Vec<AlertRecord>,
        options: &Options,
    ) -> Vec<Notification> {
        let mut all = Vec::new();
        for run in runs(records) {
            for record in &run.changes {
                self.learn(record.clone());
            }
            let group = self.0.get(&run.name);
            let firing = group.into_iter().flat_map(BTreeMap::iter);
            let told = |one: &AlertRecord| {
                let same = |change: &AlertRecord| {
                    (&change.rule, &change.fingerprint) == (&one.rule, &one.fingerprint)
                };
                run.seen.contains(&one.fingerprint) && run.changes.iter().any(same)
            };
            let others = firing.map(|(_, record)| record);
            let others: Vec<&AlertRecord> = others.filter(|one| !told(one)).collect();
            all.push(notification(run, &others, options));
        }
        all
    }
}

/// Changes of one group that are told together.
struct Run {
    name: String,
    seen: HashSet<String>,
    changes: Vec<AlertRecord>,
}

fn runs(records: Vec<AlertRecord>) -> Vec<Run> {
    // The last run of each name may grow until an alert comes for the second time.
    let mut runs: Vec<Run> = Vec::new();
    for record in records.into_iter().filter(|record| record.notify) {
        let last = runs.iter_mut().rev();
        let open = last
            .filter(|run| run.name == record.alertname)
            .take(1)
            .find(|run| run.seen.len() < ALERTS_MAX && !run.seen.contains(&record.fingerprint));
        match open {
            Some(run) => {
                run.seen.insert(record.fingerprint.clone());
                run.changes.push(record);
            }
            None => runs.push(Run {
                name: record.alertname.clone(),
                seen: HashSet::from([record.fingerprint.clone()]),
                changes: vec![record],
            }),
        }
    }
    runs
}

fn notification(run: Run, others: &[&AlertRecord], options: &Options) -> Notification {
    let Run { name, changes, .. } = run;
    let room = ALERTS_MAX - changes.len().min(ALERTS_MAX);
    let shown = changes.iter().chain(others.iter().take(room).copied());
    let alerts: Vec<Alert> = shown.map(|record| alert(record, options)).collect();
    let firing = !others.is_empty() || alerts.iter().any(|alert| alert.status == "firing");
    Notification {
        version: "4",
        group_key: format!("{{}}:{{alertname={name:?}}}"),
        truncated_alerts: others.len().saturating_sub(room),
        status: if firing { "firing" } else { "resolved" },
        receiver: "webhook",
        group_labels: BTreeMap::from([("alertname", name)]),
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url: options.external_url.clone(),
        alerts,
    }
}

fn alert(record: &AlertRecord, options: &Options) -> Alert {
    let labels = outside(&record.labels, &options.external_labels);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &record.expr)
        .finish();
    Alert {
        status: match record.state {
            AlertState::Resolved | AlertState::Inactive => "resolved",
            AlertState::Firing | AlertState::Pending => "firing",
        },
        starts_at: rfc3339(record.fired_at.unwrap_or(record.active_at).0),
        ends_at: record
            .resolved_at
            .map_or_else(|| NO_END.to_owned(), |at| rfc3339(at.0)),
        generator_url: format!("{}/api/v1/query?{query}", options.external_url),
        fingerprint: fingerprint(labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
        labels,
        annotations: record.annotations.clone(),
    }
}

/// What all of them have.
fn common<'a>(
    mut all: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut shared = all.next().cloned().unwrap_or_default();
    for one in all {
        shared.retain(|name, value| one.get(name) == Some(value));
    }
    shared
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::record::Time;

    fn record(name: &str, desk: &str, state: AlertState, millis: i64) -> AlertRecord {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let time = |millis: i64| Time(Timestamp::from_millis(1_700_000_000_000 + millis));
        AlertRecord {
            state,
            notify: true,
            reminder: false,
            alertname: name.to_owned(),
            summary: String::new(),
            labels: pairs(&[("alertname", name), ("desk", desk)]),
            annotations: pairs(&[("summary", "high")]),
            value: "1e+00".to_owned(),
            fingerprint: format!("{name}{desk}"),
            active_at: time(0),
            fired_at: Some(time(500)),
            keep_firing_since: None,
            resolved_at: (state == AlertState::Resolved).then(|| time(millis)),
            recorded_at: time(millis),
            file: "desk.yaml".to_owned(),
            group: "desk".to_owned(),
            rule: "r".to_owned(),
            expr: "exposure > 100".to_owned(),
        }
    }

    #[test]
    fn the_json_is_that_of_alertmanager() {
        let options = Options {
            external_url: "http://lantern.example".to_owned(),
            external_labels: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
            ..Options::default()
        };
        let records = vec![
            record("High", "fx", AlertState::Firing, 500),
            record("High", "bonds", AlertState::Resolved, 900),
        ];
        let all = Groups::default().notifications(records, &options);
        assert_eq!(all.len(), 1);
        insta::assert_json_snapshot!(all[0]);
    }

    #[test]
    fn an_alert_stands_once_in_a_notification_and_names_stay_apart() {
        let records = vec![
            record("High", "fx", AlertState::Firing, 500),
            record("Slow", "fx", AlertState::Firing, 600),
            record("High", "fx", AlertState::Resolved, 700),
            record("High", "bonds", AlertState::Firing, 800),
            AlertRecord {
                notify: false,
                ..record("High", "rates", AlertState::Pending, 900)
            },
        ];
        let all = Groups::default().notifications(records, &Options::default());
        let shown: Vec<_> = all
            .iter()
            .map(|one| {
                (
                    one.group_labels["alertname"].as_str(),
                    one.status,
                    one.alerts.len(),
                )
            })
            .collect();
        let expected = [
            ("High", "firing", 1),
            ("Slow", "firing", 1),
            ("High", "firing", 2),
        ];
        assert_eq!(shown, expected);
    }

    /// Status of the notification, and the desks it says are firing and resolved.
    fn told(groups: &mut Groups, changes: Vec<AlertRecord>) -> (&'static str, String, usize) {
        let mut all = groups.notifications(changes, &Options::default());
        assert_eq!(all.len(), 1);
        let one = all.remove(0);
        let desks = one
            .alerts
            .iter()
            .map(|alert| format!("{} {}", alert.labels["desk"], alert.status));
        let desks: Vec<String> = desks.collect();
        (one.status, desks.join(", "), one.truncated_alerts)
    }

    #[test]
    fn what_still_fires_in_the_group_is_told_with_every_change() {
        let mut groups = Groups::default();
        let firing = |desk| record("High", desk, AlertState::Firing, 500);
        let resolved = |desk| record("High", desk, AlertState::Resolved, 900);
        // Told by an earlier run; and another group, which has no part in this.
        groups.learn(firing("bonds"));
        groups.learn(record("Slow", "rates", AlertState::Firing, 500));
        let fires = told(&mut groups, vec![firing("fx")]);
        assert_eq!(fires, ("firing", "fx firing, bonds firing".to_owned(), 0));
        let one_left = told(&mut groups, vec![resolved("fx")]);
        assert_eq!(
            one_left,
            ("firing", "fx resolved, bonds firing".to_owned(), 0)
        );
        let none_left = told(&mut groups, vec![resolved("bonds")]);
        assert_eq!(none_left, ("resolved", "bonds resolved".to_owned(), 0));
        assert_eq!(groups.0.len(), 1, "what ended is forgotten");
    }

    #[test]
    fn an_alert_of_another_rule_with_the_same_labels_keeps_its_group_firing() {
        let mut groups = Groups::default();
        groups.learn(AlertRecord {
            rule: "another".to_owned(),
            ..record("High", "fx", AlertState::Firing, 1)
        });
        groups.learn(record("High", "fx", AlertState::Firing, 1));
        let resolved = vec![record("High", "fx", AlertState::Resolved, 2)];
        let told = told(&mut groups, resolved);
        assert_eq!(told, ("firing", "fx resolved, fx firing".to_owned(), 0));
    }

    #[test]
    fn a_large_group_is_cut_and_what_is_cut_is_counted() {
        let mut groups = Groups::default();
        for number in 0..300 {
            groups.learn(record("High", &number.to_string(), AlertState::Firing, 1));
        }
        let (status, alerts, truncated) = told(
            &mut groups,
            vec![record("High", "7", AlertState::Resolved, 2)],
        );
        assert_eq!((status, truncated), ("firing", 300 - 1 - (ALERTS_MAX - 1)));
        assert!(
            alerts.starts_with("7 resolved, ") && alerts.matches(',').count() == ALERTS_MAX - 1
        );
    }
}
