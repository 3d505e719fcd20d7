//! What an earlier run left: the alerts of the topic `lantern.alerts`, by rule.

use std::collections::HashMap;
use std::time::Duration;

use broker::{DynBroker, Error, Place, Tail};
use model::{Position, Timestamp};
use record::Batches;
use series::{Labels, Matcher, Store};
use tracing::warn;

use crate::record::{AlertRecord, partition};
use crate::rule::FOR_STATE;
use crate::status::{Alert, AlertState};

/// A pending alert begins anew when nobody evaluated it for longer: what was between is unknown.
/// Prometheus' `--rules.alert.for-outage-tolerance`.
const OUTAGE_TOLERANCE: Duration = Duration::from_hours(1);

/// Alerts of an earlier run by the identity of their rule, until a rule claims them.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    by_rule: HashMap<String, HashMap<Labels, AlertRecord>>,
}

impl Restored {
    /// Replays the topic up to its end, or to `until` if that comes first, and says how far that was.
    /// Its newest record of an alert is what the alert is.
    ///
    /// # Errors
    /// Those of the broker.
    pub(crate) async fn read(
        broker: &DynBroker,
        until: Option<Position>,
    ) -> Result<(Self, Position), Error> {
        let mut restored = Self::default();
        let end = broker.marks(&partition()).await?.high_watermark;
        let end = until.map_or(end, |until| until.min(end));
        let mut tail =
            Tail::from_place(DynBroker::clone(broker), partition(), Place::Earliest).await?;
        while tail.position() < end {
            let Some(fetched) = tail.try_next().await? else {
                break;
            };
            for record in records_before(&fetched.batches, end) {
                restored.take(record);
            }
            tokio::task::yield_now().await;
        }
        Ok((restored, tail.position()))
    }

    /// The last word on every alert that fires.
    pub(crate) fn firing(self) -> Vec<AlertRecord> {
        let all = self.by_rule.into_values().flat_map(HashMap::into_values);
        let firing = all.filter(|record| record.state == AlertState::Firing);
        firing
            .map(|record| AlertRecord {
                notify: true,
                ..record
            })
            .collect()
    }

    fn take(&mut self, record: AlertRecord) {
        let alerts = self.by_rule.entry(record.rule.clone()).or_default();
        let labels = record.alert().labels;
        match record.state {
            AlertState::Inactive => drop(alerts.remove(&labels)),
            _ => drop(alerts.insert(labels, record)),
        }
    }

    /// The alerts of a rule, which are no longer here then. A pending one that nobody looked at for
    /// more than an hour is left out.
    pub(crate) fn claim(&mut self, rule: &str, store: &Store, now: Timestamp) -> Vec<Alert> {
        let records = self.by_rule.remove(rule).unwrap_or_default().into_values();
        let alerts = records.map(|record| record.alert());
        alerts
            .filter(|alert| !forgotten(alert, store, now))
            .collect()
    }

    /// Everything no rule claimed, as resolved now.
    pub(crate) fn end(&mut self, now: Timestamp) -> Vec<AlertRecord> {
        let left = std::mem::take(&mut self.by_rule)
            .into_values()
            .flat_map(HashMap::into_values);
        let active = left.filter(|record| record.alert().is_active());
        active.map(|record| record.ended(now)).collect()
    }
}

fn forgotten(alert: &Alert, store: &Store, now: Timestamp) -> bool {
    if alert.state != AlertState::Pending {
        return false;
    }
    let mut matchers = vec![Matcher::equal(series::METRIC_NAME, FOR_STATE)];
    matchers.extend(
        alert
            .labels
            .iter()
            .map(|(name, value)| Matcher::equal(name, value)),
    );
    let found = store.find(&matchers);
    let sampled = found.iter().filter_map(|series| {
        series
            .newest(Timestamp::MIN, now)
            .filter(|(_, value)| !series::is_stale(*value))
    });
    let seen = sampled.map(|(at, _)| at).max().unwrap_or(alert.recorded_at);
    now.since(seen.max(alert.recorded_at)) > OUTAGE_TOLERANCE
}

/// The records of some batches; what cannot be read is said and passed over.
pub(crate) fn records(batches: &bytes::Bytes) -> Vec<AlertRecord> {
    records_before(batches, Position::from_bits(u128::MAX))
}

/// The same, of batches that begin before `end`.
fn records_before(batches: &bytes::Bytes, end: Position) -> Vec<AlertRecord> {
    let mut found = Vec::new();
    for batch in Batches::new(batches.clone()) {
        if matches!(&batch, Ok(batch) if Position::from(batch.base_offset()) >= end) {
            break;
        }
        let records = match batch.and_then(|batch| batch.records()) {
            Ok(records) => records,
            Err(error) => {
                warn!(%error, "A batch of lantern.alerts cannot be read and is passed over.");
                continue;
            }
        };
        for record in &records {
            let value = record.as_ref().ok().and_then(|record| record.value);
            match serde_json::from_slice(value.unwrap_or_default()) {
                Ok(record) => found.push(record),
                Err(error) => {
                    warn!(%error, "A record of lantern.alerts is none of ours and is passed over.");
                }
            }
        }
    }
    found
}
