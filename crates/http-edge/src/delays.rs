//! How late consumer groups are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use broker::{DelayFilter, Delays};
use delay::{Quantiles, SLICE, SLICES};
use model::{GroupId, TopicName};
use serde::Serialize;

use crate::Parts;
use crate::error::ApiError;
use crate::params::Params;

/// The answer. Times are Unix milliseconds, delays and ages milliseconds; `null` is not known, or of nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    window_ms: u64,
    slice_ms: u64,
    groups: Vec<Whole>,
    items: Vec<Item>,
    unmeasured: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    group: String,
    lag: u64,
    age_ms: Option<u64>,
    records: u64,
    delay_ms: Option<DelayMs>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    group: String,
    topic: String,
    partition: u32,
    committed: u64,
    end: u64,
    lag: u64,
    age_ms: Option<u64>,
    records: u64,
    delay_ms: Option<DelayMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slices: Option<Slices>,
}

#[derive(Debug, Serialize)]
struct DelayMs {
    p50: u64,
    p90: u64,
    p99: u64,
}

/// The window as columns, oldest first: entry `i` of each is of the slice that begins at `begin[i]`. Slices in which
/// nothing was passed and nothing waited are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Slices {
    begin: Vec<i64>,
    records: Vec<u64>,
    p50: Vec<Option<u64>>,
    p90: Vec<Option<u64>>,
    p99: Vec<Option<u64>>,
    age_ms: Vec<Option<u64>>,
}

/// `/apis/lantern/v1/delays`, by `group`, `topic` and `slices`.
pub(crate) async fn list(
    State(parts): State<Arc<Parts>>,
    params: Params,
) -> Result<Json<Answer>, ApiError> {
    let group: Option<GroupId> = name(&params, "group")?;
    let topic: Option<TopicName> = name(&params, "topic")?;
    let slices = match params.get("slices") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let reason = format!("parameter \"slices\" is '{other}', must be true or false");
            return Err(ApiError::bad_data(reason));
        }
    };
    let filter = DelayFilter { group, topic };
    let broker = Arc::clone(&parts.broker);
    let asked = filter.clone();
    // Thousands of places take milliseconds: not on a thread that serves others.
    let looked = tokio::task::spawn_blocking(move || broker.delays(&asked)).await;
    let delays = looked
        .map_err(|error| ApiError::internal(error.to_string()))?
        .ok_or_else(|| ApiError::not_found("this broker does not measure delays"))?;
    if delays.places.is_empty() {
        check_known(&parts, &filter).await?;
    }
    Ok(Json(answer(&delays, slices)))
}

/// A name that nobody knows is more likely misspelt than idle.
async fn check_known(parts: &Parts, filter: &DelayFilter) -> Result<(), ApiError> {
    if let Some(topic) = &filter.topic
        && parts.broker.topic(topic).is_none()
    {
        return Err(ApiError::not_found(format!(
            "topic '{topic}' does not exist"
        )));
    }
    if let Some(group) = &filter.group {
        let known = parts.broker.committed_groups().await;
        let known = known.map_err(|error| ApiError::internal(error.to_string()))?;
        if !known.contains(group) {
            let reason = format!("group '{group}' has committed nothing");
            return Err(ApiError::not_found(reason));
        }
    }
    Ok(())
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(
    params: &Params,
    name: &str,
) -> Result<Option<T>, ApiError> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|error| ApiError::bad_data(format!("parameter \"{name}\": {error}")))
    };
    params.get(name).map(parse).transpose()
}

fn answer(delays: &Delays, slices: bool) -> Answer {
    let groups = delays.groups.iter().map(|it| Whole {
        group: it.group.to_string(),
        lag: it.lag,
        age_ms: it.age_ms,
        records: it.delay.map_or(0, |delay| delay.records),
        delay_ms: it.delay.map(delay_ms),
    });
    let items = delays.places.iter().map(|it| Item {
        group: it.group.to_string(),
        topic: it.of.topic.to_string(),
        partition: it.of.partition.get(),
        committed: it.seen.committed.get(),
        end: it.end.get(),
        lag: it.lag,
        age_ms: it.seen.age_ms,
        records: it.seen.delay.map_or(0, |delay| delay.records),
        delay_ms: it.seen.delay.map(delay_ms),
        slices: slices.then(|| columns(&it.seen.slices)),
    });
    let slice_ms = u64::try_from(SLICE.as_millis()).unwrap_or(u64::MAX);
    Answer {
        window_ms: slice_ms * u64::try_from(SLICES).unwrap_or(u64::MAX),
        slice_ms,
        groups: groups.collect(),
        items: items.collect(),
        unmeasured: delays.unmeasured,
    }
}

fn delay_ms(delay: Quantiles) -> DelayMs {
    DelayMs {
        p50: delay.p50,
        p90: delay.p90,
        p99: delay.p99,
    }
}

fn columns(seen: &[delay::SliceSeen]) -> Slices {
    let mut slices = Slices::default();
    for slice in seen {
        slices.begin.push(slice.begin.millis());
        let records = slice.delay.map_or(0, |delay| delay.records);
        slices.records.push(records);
        slices.p50.push(slice.delay.map(|delay| delay.p50));
        slices.p90.push(slice.delay.map(|delay| delay.p90));
        slices.p99.push(slice.delay.map(|delay| delay.p99));
        slices.age_ms.push(slice.age_ms);
    }
    slices
}

#[cfg(test)]
mod tests {
    use broker::{GroupDelay, PlaceDelay};
    use delay::{Seen, SliceSeen};
    use model::{Offset, PartitionId, Timestamp, TopicPartition};

    use super::*;

    #[test]
    fn what_is_not_known_is_null_and_slices_come_when_asked_for() {
        let delay = Some(Quantiles {
            records: 7,
            p50: 1,
            p90: 20,
            p99: 300,
        });
        let slice = |second: i64, delay, age_ms| SliceSeen {
            begin: Timestamp::from_millis(second * 1_000),
            delay,
            age_ms,
        };
        let delays = Delays {
            places: vec![PlaceDelay {
                group: "shop".parse().unwrap(),
                of: TopicPartition::new("orders".parse().unwrap(), PartitionId::new(3)),
                end: Offset::new(9),
                lag: 2,
                seen: Seen {
                    committed: Offset::new(7),
                    age_ms: None,
                    delay,
                    slices: vec![slice(10, delay, None), slice(20, None, Some(5))],
                },
            }],
            groups: vec![GroupDelay {
                group: "shop".parse().unwrap(),
                lag: 2,
                age_ms: None,
                delay: None,
            }],
            unmeasured: 4,
        };
        let text = |slices| serde_json::to_value(answer(&delays, slices)).unwrap();
        let plain = text(false);
        assert_eq!(
            plain["groups"][0],
            serde_json::json!({"group": "shop", "lag": 2, "ageMs": null, "records": 0, "delayMs": null})
        );
        assert_eq!(plain["windowMs"], 300_000);
        assert_eq!(plain["unmeasured"], 4);
        assert_eq!(plain["items"][0].get("slices"), None);
        assert_eq!(plain["items"][0]["delayMs"]["p99"], 300);
        assert_eq!(
            text(true)["items"][0]["slices"],
            serde_json::json!({
                "begin": [10_000, 20_000], "records": [7, 0],
                "p50": [1, null], "p90": [20, null], "p99": [300, null], "ageMs": [null, 5]
            })
        );
    }
}
