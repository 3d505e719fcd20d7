//! What is known by partition and by group, as metrics.
//!
//! Where `kafka_exporter` has a name for something it is used, with its labels, so that dashboards and rules made
//! for it work as they are; everything else is `lantern_broker_partition_*` and `lantern_delay_*`.
//! Invariant: at most [`PARTITIONS_SHOWN_MAX`] partitions, [`PLACES_SHOWN_MAX`] places and
//! [`GROUPS_SHOWN_MAX`] groups, the first by name; `lantern_delay_hidden` says how many places that leaves out. The API
//! tells of all.
//!
//! Not here: members and states of groups (`coordinator`).

use std::fmt::Error;
use std::sync::{Arc, Weak};

use delay::Quantiles;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::super::metrics::TOPICS_SHOWN_MAX;
use super::super::partition::{Counts, Partition};
use super::super::{Shared, topics::Topics};
use crate::{DelayFilter, Delays, PlaceDelay};

/// Partitions that have metrics of their own: ten each.
pub(crate) const PARTITIONS_SHOWN_MAX: usize = 200;

/// Groups times partitions that have metrics of their own: six each.
pub(crate) const PLACES_SHOWN_MAX: usize = 200;

/// Groups that have metrics of their own: six each.
pub(crate) const GROUPS_SHOWN_MAX: usize = 100;

/// Adds them.
pub(crate) fn register(registry: &mut Registry, shared: &Arc<Shared>) {
    registry.register_collector(Box::new(Levels {
        shared: Arc::downgrade(shared),
    }));
}

/// Read when somebody asks.
#[derive(Debug)]
struct Levels {
    shared: Weak<Shared>,
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let topics = shared.topics.load();
        of_topics(&mut encoder, &topics)?;
        of_partitions(&mut encoder, &topics)?;
        drop(topics);
        let delays = super::look(&shared, &DelayFilter::default());
        of_places(&mut encoder, &delays)?;
        of_groups(&mut encoder, &delays)
    }
}

type Labels<'l> = Vec<(&'l str, String)>;

/// Writes one metric of many series.
fn family<'l>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, kind): (&str, &str, MetricType),
    series: impl Iterator<Item = (Labels<'l>, f64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let encoder = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(encoder)?,
            _ => ConstGauge::new(value).encode(encoder)?,
        }
    }
    Ok(())
}

/// Name without its `_total`, help, and what of the counts it is.
type Counted = (&'static str, &'static str, fn(&Counts) -> u64);

const COUNTED: [Counted; 4] = [
    ("append_records", "Records appended", |it| it.records_in),
    ("append_bytes", "Bytes of batches appended", |it| {
        it.bytes_in
    }),
    ("read_records", "Records read", |it| it.records_out),
    ("read_bytes", "Bytes of batches read", |it| it.bytes_out),
];

fn of_topics(encoder: &mut DescriptorEncoder<'_>, topics: &Topics) -> Result<(), Error> {
    let shown: Vec<_> = topics.in_order().take(TOPICS_SHOWN_MAX).collect();
    let label = |topic: &str| vec![("topic", topic.to_owned())];
    let partitions = shown.iter().map(|topic| {
        let count = topic.partitions.len() as f64;
        (label(topic.info.name.as_str()), count)
    });
    let head = (
        "kafka_topic_partitions",
        "Partitions of a topic",
        MetricType::Gauge,
    );
    family(encoder, head, partitions)?;
    for (name, help, value) in COUNTED {
        let series = shown.iter().map(|topic| {
            let mut counts = Counts::default();
            for partition in &topic.partitions {
                counts += partition.tally().counts();
            }
            (label(topic.info.name.as_str()), value(&counts) as f64)
        });
        let name = format!("lantern_broker_topic_{name}");
        let help = format!("{help}, by topic");
        family(encoder, (&name, &help, MetricType::Counter), series)?;
    }
    Ok(())
}

/// Name, help, and what of a partition it is.
type Level = (&'static str, &'static str, fn(&Partition) -> u64);

fn of_partitions(encoder: &mut DescriptorEncoder<'_>, topics: &Topics) -> Result<(), Error> {
    let all = topics.in_order().flat_map(|topic| &topic.partitions);
    let shown: Vec<&Arc<Partition>> = all.take(PARTITIONS_SHOWN_MAX).collect();
    let labels = |partition: &Partition| {
        let of = partition.id();
        vec![
            ("topic", of.topic.to_string()),
            ("partition", of.partition.to_string()),
        ]
    };
    let levels: [Level; 4] = [
        (
            "kafka_topic_partition_current_offset",
            "High watermark of a partition",
            |it| it.readable().get(),
        ),
        (
            "kafka_topic_partition_oldest_offset",
            "Log start of a partition",
            |it| it.log_start().get(),
        ),
        (
            "lantern_broker_partition_log_end",
            "Log end of a partition",
            |it| it.end().get(),
        ),
        (
            "lantern_broker_partition_log_bytes",
            "Bytes of the log of a partition",
            |it| it.size_bytes(),
        ),
    ];
    for (name, help, value) in levels {
        let series = shown.iter().map(|it| (labels(it), value(it) as f64));
        family(encoder, (name, help, MetricType::Gauge), series)?;
    }
    for (name, help, value) in COUNTED {
        let series = shown
            .iter()
            .map(|it| (labels(it), value(&it.tally().counts()) as f64));
        let name = format!("lantern_broker_partition_{name}");
        let help = format!("{help}, by partition");
        family(encoder, (&name, &help, MetricType::Counter), series)?;
    }
    Ok(())
}

/// The value of the label, and what of the quantiles it is.
type Quantile = (&'static str, fn(&Quantiles) -> u64);

const QUANTILES: [Quantile; 3] = [
    ("0.5", |it| it.p50),
    ("0.9", |it| it.p90),
    ("0.99", |it| it.p99),
];

fn of_places(encoder: &mut DescriptorEncoder<'_>, delays: &Delays) -> Result<(), Error> {
    let shown = delays.places.get(..PLACES_SHOWN_MAX);
    let shown = shown.unwrap_or(&delays.places);
    let labels = |it: &PlaceDelay| {
        vec![
            ("consumergroup", it.group.to_string()),
            ("topic", it.of.topic.to_string()),
            ("partition", it.of.partition.to_string()),
        ]
    };
    let gauge = |name, help| (name, help, MetricType::Gauge);
    let head = gauge(
        "kafka_consumergroup_current_offset",
        "Committed offset of a group in a partition",
    );
    let offsets = shown
        .iter()
        .map(|it| (labels(it), it.seen.committed.get() as f64));
    family(encoder, head, offsets)?;
    let head = gauge(
        "kafka_consumergroup_lag",
        "Records between a group's committed offset and the high watermark",
    );
    family(
        encoder,
        head,
        shown.iter().map(|it| (labels(it), it.lag as f64)),
    )?;
    let head = gauge(
        "lantern_delay_partition_age_seconds",
        "Since when the oldest record waits that a group has not committed past; 0 where none does",
    );
    let ages = shown
        .iter()
        .filter_map(|it| Some((labels(it), seconds(it.seen.age_ms?))));
    family(encoder, head, ages)?;
    let head = gauge(
        "lantern_delay_partition_seconds",
        "From readable to committed past, of the records of the last five minutes, by quantile",
    );
    let delays_of = shown.iter().filter_map(|it| Some((it, it.seen.delay?)));
    let quantiles = delays_of.flat_map(|(it, delay)| {
        QUANTILES.map(|(name, value)| {
            let mut labels = labels(it);
            labels.push(("quantile", name.to_owned()));
            (labels, seconds(value(&delay)))
        })
    });
    family(encoder, head, quantiles)?;
    let hidden = delays.places.len() - shown.len();
    single(
        encoder,
        "lantern_delay_hidden",
        "Groups times partitions that have no metrics of their own, because there are too many",
        hidden,
    )?;
    single(
        encoder,
        "lantern_delay_unmeasured",
        "Groups times partitions whose delay is not measured, because there are too many",
        delays.unmeasured,
    )
}

fn of_groups(encoder: &mut DescriptorEncoder<'_>, delays: &Delays) -> Result<(), Error> {
    let shown = delays.groups.get(..GROUPS_SHOWN_MAX);
    let shown = shown.unwrap_or(&delays.groups);
    let labels = |group: &model::GroupId| vec![("consumergroup", group.to_string())];
    let gauge = |name, help| (name, help, MetricType::Gauge);
    let head = gauge(
        "lantern_delay_group_lag",
        "Records that a group has still to pass, in all its partitions",
    );
    let lags = shown.iter().map(|it| (labels(&it.group), it.lag as f64));
    family(encoder, head, lags)?;
    let head = gauge(
        "lantern_delay_group_age_seconds",
        "Since when the oldest record waits that a group has not committed past, in any partition",
    );
    let ages = shown
        .iter()
        .filter_map(|it| Some((labels(&it.group), seconds(it.age_ms?))));
    family(encoder, head, ages)?;
    let head = gauge(
        "lantern_delay_group_records",
        "Records that a group passed in the last five minutes",
    );
    let records = shown.iter().map(|it| {
        let records = it.delay.map_or(0, |delay| delay.records);
        (labels(&it.group), records as f64)
    });
    family(encoder, head, records)?;
    let head = gauge(
        "lantern_delay_group_seconds",
        "From readable to committed past, of all records of a group of the last five minutes, by quantile",
    );
    let delays_of = shown.iter().filter_map(|it| Some((it, it.delay?)));
    let quantiles = delays_of.flat_map(|(it, delay)| {
        QUANTILES.map(|(name, value)| {
            let mut labels = labels(&it.group);
            labels.push(("quantile", name.to_owned()));
            (labels, seconds(value(&delay)))
        })
    });
    family(encoder, head, quantiles)
}

fn single(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value as f64).encode(metric)
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}
