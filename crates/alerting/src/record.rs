//! The records of `lantern.alerts`: one durable record for each transition of an alert.
//!
//! A CloudEvent in binary mode. Its key is the alert's fingerprint; `ce_type` is `lantern.alert.` and
//! the state, `ce_subject` the alert's name, `ce_source` file and group. The value is JSON and holds
//! all that is needed to go on with the alert after a restart; `docs/operate/rules.md` shows one.
//!
//! Not here: who makes them (`group`), who reads them (`restore`, `webhook`).

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Broker, Durability, DynBroker, TopicConfig, TopicSpec, ensure_topic};
use model::limits::ALERTS_TOPIC;
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use record::{BatchBuilder, Compression};
use serde::{Deserialize, Serialize};
use series::Labels;
use stdx::ByteSize;

use crate::alerts::Transition;
use crate::spec::{GroupSpec, RuleSpec};
use crate::status::{Alert, AlertState, rfc3339, scientific};

/// How long transitions are kept. A firing alert is recorded again every few hours, so that what is
/// active is always within.
const RETENTION: Duration = Duration::from_hours(30 * 24);

/// Most records of one batch: bounds it far below the largest a topic takes.
const BATCH_RECORDS_MAX: usize = 256;

/// The one partition of `lantern.alerts`.
pub(crate) fn partition() -> TopicPartition {
    let topic = TopicName::new(ALERTS_TOPIC).expect("a constant that is a topic name");
    TopicPartition::new(topic, PartitionId::new(0))
}

/// Makes sure that `lantern.alerts` is there.
///
/// # Errors
/// Those of the broker.
pub async fn ensure_alerts_topic(broker: &dyn Broker) -> Result<(), broker::Error> {
    let config = TopicConfig {
        retention: Some(RETENTION),
        segment_bytes: ByteSize::from_mib(64),
        segment_age: Duration::from_hours(24),
        batch_bytes: ByteSize::from_mib(16),
        ..TopicConfig::default()
    };
    let spec = TopicSpec {
        name: partition().topic,
        partitions: 1,
        config,
    };
    ensure_topic(broker, spec).await.map(|_| ())
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AlertRecord {
    pub(crate) state: AlertState,
    /// Whether webhooks are told of it.
    pub(crate) notify: bool,
    /// It was told before and still fires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reminder: bool,
    pub(crate) alertname: String,
    pub(crate) summary: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// As text, since JSON has no infinities.
    pub(crate) value: String,
    pub(crate) fingerprint: String,
    pub(crate) active_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fired_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_firing_since: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved_at: Option<Time>,
    pub(crate) recorded_at: Time,
    pub(crate) file: String,
    pub(crate) group: String,
    /// The rule's identity across restarts.
    pub(crate) rule: String,
    pub(crate) expr: String,
}

/// A moment, RFC 3339 in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(Timestamp::from_millis(time.as_millisecond())))
    }
}

impl AlertRecord {
    pub(crate) fn new(group: &GroupSpec, rule: &RuleSpec, transition: &Transition) -> Self {
        let alert = &transition.alert;
        let changed = transition.was != Some(alert.state);
        let told = matches!(alert.state, AlertState::Firing | AlertState::Resolved);
        Self {
            state: alert.state,
            notify: told && (changed || transition.reminder),
            reminder: transition.reminder,
            alertname: rule.name.clone(),
            summary: alert.summary().to_owned(),
            labels: alert
                .labels
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
            annotations: alert.annotations.iter().cloned().collect(),
            value: scientific(alert.value),
            fingerprint: fingerprint(alert.labels.iter()),
            active_at: Time(alert.active_at),
            fired_at: alert.fired_at.map(Time),
            keep_firing_since: alert.keep_firing_since.map(Time),
            resolved_at: alert.resolved_at.map(Time),
            recorded_at: Time(alert.recorded_at),
            file: group.file.clone(),
            group: group.name.clone(),
            rule: rule.id.clone(),
            expr: rule.expr.text().to_owned(),
        }
    }

    /// The same alert, ended: its rule is gone.
    pub(crate) fn ended(mut self, now: Timestamp) -> Self {
        self.notify = self.state == AlertState::Firing;
        self.state = match self.state {
            AlertState::Firing => AlertState::Resolved,
            _ => AlertState::Inactive,
        };
        self.reminder = false;
        self.keep_firing_since = None;
        self.resolved_at = Some(Time(now));
        self.recorded_at = Time(now);
        self
    }

    /// The alert as it was when it was recorded.
    pub(crate) fn alert(&self) -> Alert {
        let pairs: Vec<(&str, &str)> = self
            .labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        Alert {
            labels: Labels::of(&pairs),
            annotations: self.annotations.clone().into_iter().collect(),
            state: self.state,
            value: self.value.parse().unwrap_or(f64::NAN),
            active_at: self.active_at.0,
            fired_at: self.fired_at.map(|at| at.0),
            keep_firing_since: self.keep_firing_since.map(|at| at.0),
            resolved_at: self.resolved_at.map(|at| at.0),
            recorded_at: self.recorded_at.0,
        }
    }
}

/// Writes records; ready when they are durable. All of them or none.
///
/// # Errors
/// Those of [`broker::Broker::append`].
pub(crate) async fn append(
    broker: &DynBroker,
    records: &[AlertRecord],
) -> Result<(), broker::Error> {
    let batches = records.chunks(BATCH_RECORDS_MAX).map(|part| {
        let mut builder = BatchBuilder::new(Compression::None);
        for record in part {
            let value = serde_json::to_vec(record).unwrap_or_default();
            let id = format!("{}-{}", record.fingerprint, record.recorded_at.0.millis());
            let kind = format!("lantern.alert.{}", record.state.as_str());
            let source = format!("/rules/{}/{}", record.file, record.group);
            let time = rfc3339(record.recorded_at.0);
            let headers = [
                ("ce_specversion", "1.0"),
                ("ce_id", &id),
                ("ce_type", &kind),
                ("ce_source", &source),
                ("ce_subject", &record.alertname),
                ("ce_time", &time),
                ("content-type", "application/json"),
            ]
            .map(|(name, text)| (name, Some(text.as_bytes())));
            let key = record.fingerprint.as_bytes();
            builder.push(record.recorded_at.0, Some(key), Some(&value), &headers);
        }
        builder.build()
    });
    broker
        .append(&partition(), batches.collect(), Durability::Flushed)
        .await?;
    Ok(())
}

/// Sixteen hexadecimal digits that name an alert by its labels: FNV-1a over names and values with the
/// separators of Prometheus' `common/model`, so that they equal Alertmanager's.
pub(crate) fn fingerprint<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = OFFSET;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_brings_the_alert_back_as_it_was() {
        let alert = Alert {
            labels: Labels::of(&[("alertname", "High"), ("desk", "fx \"1\"")]),
            annotations: vec![("summary".to_owned(), "价格 is high".to_owned())],
            state: AlertState::Firing,
            value: f64::INFINITY,
            active_at: Timestamp::from_millis(1_700_000_000_001),
            fired_at: Some(Timestamp::from_millis(1_700_000_060_002)),
            keep_firing_since: Some(Timestamp::from_millis(1_700_000_070_000)),
            resolved_at: None,
            recorded_at: Timestamp::from_millis(1_700_000_070_000),
        };
        let text = "groups: [{name: g, rules: [{alert: High, expr: a > 1}]}]";
        let file = crate::RuleFile {
            path: "a.yaml".into(),
            name: "a.yaml".into(),
            text: text.into(),
        };
        let groups = crate::file::compile(&[file], Duration::from_mins(1)).unwrap();
        let transition = Transition {
            alert: alert.clone(),
            was: None,
            reminder: false,
        };
        let record = AlertRecord::new(&groups[0], &groups[0].rules[0], &transition);
        assert!(record.notify);
        let json = serde_json::to_string(&record).unwrap();
        let read: AlertRecord = serde_json::from_str(&json).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.alert(), alert);
        let again = Transition {
            was: Some(AlertState::Firing),
            ..transition
        };
        assert!(!AlertRecord::new(&groups[0], &groups[0].rules[0], &again).notify);
    }

    #[test]
    fn fingerprints_are_those_of_alertmanager() {
        // The empty set is FNV's offset basis; the order is that of the sorted names.
        assert_eq!(fingerprint([].into_iter()), "cbf29ce484222325");
        let one = [("alertname", "High"), ("desk", "fx")];
        assert_eq!(fingerprint(one.into_iter()).len(), 16);
        assert_ne!(
            fingerprint(one.into_iter()),
            fingerprint([("alertname", "Highdeskfx")].into_iter())
        );
    }
}
