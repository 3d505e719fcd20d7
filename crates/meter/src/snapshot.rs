//! What survives a restart: every meter's values with the positions up to which they count, as one
//! JSON record of `lantern.meters`.

use std::collections::BTreeMap;

use model::{PartitionId, Position};
use serde::{Deserialize, Serialize};

use crate::tally::{Cell, Tally};

/// The version written; another one is not read, and counting starts anew.
const VERSION: u32 = 1;

/// One record.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    version: u32,
    meters: BTreeMap<String, MeterSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MeterSnapshot {
    /// The topic's id: another topic of the same name is counted from its start.
    topic: String,
    /// Next position to count by partition; 128 bits as text.
    positions: BTreeMap<u32, String>,
    metrics: BTreeMap<String, Vec<Written>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    labels: Vec<String>,
    #[serde(flatten)]
    cell: WrittenCell,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenCell {
    Number(f64),
    Histogram {
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
}

/// Where counting stands in one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) topic: String,
    pub(crate) positions: BTreeMap<PartitionId, Position>,
}

impl Snapshot {
    /// An empty one of the current version.
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            meters: BTreeMap::new(),
        }
    }

    /// Reads a record's value; `None` when it is of another version or broken.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value)
            .ok()
            .filter(|snapshot: &Self| snapshot.version == VERSION)
    }

    /// The record's value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys and finite numbers are JSON")
    }

    /// Adds a meter.
    pub(crate) fn put(&mut self, meter: &str, progress: &Progress, tally: &Tally) {
        let written = |(labels, cell): (&Vec<String>, &Cell)| Written {
            labels: labels.clone(),
            cell: match cell.clone() {
                Cell::Number(number) => WrittenCell::Number(number),
                Cell::Histogram { counts, sum, count } => {
                    WrittenCell::Histogram { counts, sum, count }
                }
            },
        };
        let metrics = tally
            .values()
            .map(|(name, values)| (name.to_owned(), values.iter().map(written).collect()))
            .collect();
        let positions = progress.positions.iter();
        let positions = positions.map(|(p, position)| (p.get(), position.bits().to_string()));
        let topic = progress.topic.clone();
        let meter_snapshot = MeterSnapshot {
            topic,
            positions: positions.collect(),
            metrics,
        };
        self.meters.insert(meter.to_owned(), meter_snapshot);
    }

    /// Takes a meter out: restores its values and answers where counting stood, if the topic is
    /// still the same.
    pub(crate) fn take(&mut self, meter: &str, topic: &str, tally: &mut Tally) -> Option<Progress> {
        let found = self
            .meters
            .remove(meter)
            .filter(|found| found.topic == topic)?;
        for (metric, values) in found.metrics {
            let cells = values.into_iter().map(|written| {
                let cell = match written.cell {
                    WrittenCell::Number(number) => Cell::Number(number),
                    WrittenCell::Histogram { counts, sum, count } => {
                        Cell::Histogram { counts, sum, count }
                    }
                };
                (written.labels, cell)
            });
            tally.restore(&metric, cells.collect());
        }
        let positions = found.positions.into_iter().filter_map(|(partition, text)| {
            Some((
                PartitionId::new(partition),
                Position::from_bits(text.parse().ok()?),
            ))
        });
        Some(Progress {
            topic: topic.to_owned(),
            positions: positions.collect(),
        })
    }
}
