//! Alertmanager's webhook JSON, version 4.
//!
//! Transitions that are told together stand in one notification if they have one `alertname`; an alert
//! stands in it once. Source: Alertmanager's `docs/configuration` (`webhook_config`).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::outside;
use crate::Options;
use crate::record::{AlertRecord, fingerprint};
use crate::status::{AlertState, rfc3339};

/// Most alerts of one notification.
const ALERTS_MAX: usize = 256;

/// What an alert that still fires has as its end.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// One request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    version: &'static str,
    group_key: String,
    truncated_alerts: u32,
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

/// The notifications that tell of these records, in their order.
pub(super) fn notifications(records: Vec<AlertRecord>, options: &Options) -> Vec<Notification> {
    // The last run of each name may grow until an alert comes for the second time.
    let mut runs: Vec<(String, HashSet<String>, Vec<AlertRecord>)> = Vec::new();
    for record in records.into_iter().filter(|record| record.notify) {
        let name = record.alertname.clone();
        let open = runs.iter_mut().rev().find(|(known, ..)| *known == name);
        match open
            .filter(|(_, seen, _)| seen.len() < ALERTS_MAX && !seen.contains(&record.fingerprint))
        {
            Some((_, seen, run)) => {
                seen.insert(record.fingerprint.clone());
                run.push(record);
            }
            None => runs.push((
                name,
                HashSet::from([record.fingerprint.clone()]),
                vec![record],
            )),
        }
    }
    runs.into_iter()
        .map(|(name, _, run)| notification(name, &run, options))
        .collect()
}

fn notification(name: String, run: &[AlertRecord], options: &Options) -> Notification {
    let alerts: Vec<Alert> = run.iter().map(|record| alert(record, options)).collect();
    let firing = alerts.iter().any(|alert| alert.status == "firing");
    Notification {
        version: "4",
        group_key: format!("{{}}:{{alertname={name:?}}}"),
        truncated_alerts: 0,
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
        let all = notifications(records, &options);
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
        let all = notifications(records, &Options::default());
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
}
