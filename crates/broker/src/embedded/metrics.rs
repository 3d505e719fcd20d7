//! The broker's own numbers, named `lantern_broker_*`.
//!
//! Invariants: counting never allocates or waits; what is per topic is bounded by
//! [`TOPICS_SHOWN_MAX`], the first by name.
//!
//! Not here: log lines that go with a count (`events`).

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Shared;

/// Topics whose own gauges are shown; more would make every scrape large.
pub(crate) const TOPICS_SHOWN_MAX: usize = 100;

type Label = [(&'static str, &'static str); 1];

/// Counters and histograms; clones count into the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) appends: Counter,
    pub(crate) append_failures: Counter,
    pub(crate) append_bytes: Counter,
    pub(crate) append_records: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) reads: Counter,
    pub(crate) read_bytes: Counter,
    pub(crate) cold_reads: Counter,
    pub(crate) flushes: Counter,
    pub(crate) flush_seconds: Histogram,
    pub(crate) journal_commits: Counter,
    pub(crate) journal_bytes: Counter,
    pub(crate) journal_refusals: Counter,
    pub(crate) round_appends: Histogram,
    pub(crate) catalog_seconds: Histogram,
    pub(crate) frozen: Counter,
    pub(crate) disk_full: Counter,
    pub(crate) panics: Counter,
    pub(crate) retained_bytes: Counter,
    pub(crate) compactions: Counter,
    /// Reads that followers got from a ring.
    pub(crate) ring_reads: Counter,
    pub(crate) lapped: Counter,
    resizes: Family<Label, Counter>,
    pub(crate) clean_runs: Counter,
    pub(crate) clean_failures: Counter,
    pub(crate) clean_read_bytes: Counter,
    pub(crate) clean_written_bytes: Counter,
    pub(crate) clean_removed_records: Counter,
    pub(crate) clean_dirty_ratio: Gauge<f64, AtomicU64>,
    pub(crate) clean_uncleanable: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            appends: Counter::default(),
            append_failures: Counter::default(),
            append_bytes: Counter::default(),
            append_records: Counter::default(),
            duplicates: Counter::default(),
            reads: Counter::default(),
            read_bytes: Counter::default(),
            cold_reads: Counter::default(),
            flushes: Counter::default(),
            flush_seconds: Histogram::new(exponential_buckets(0.000_025, 2.0, 16)),
            journal_commits: Counter::default(),
            journal_bytes: Counter::default(),
            journal_refusals: Counter::default(),
            round_appends: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            catalog_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 13)),
            frozen: Counter::default(),
            disk_full: Counter::default(),
            panics: Counter::default(),
            retained_bytes: Counter::default(),
            compactions: Counter::default(),
            ring_reads: Counter::default(),
            lapped: Counter::default(),
            resizes: Family::default(),
            clean_runs: Counter::default(),
            clean_failures: Counter::default(),
            clean_read_bytes: Counter::default(),
            clean_written_bytes: Counter::default(),
            clean_removed_records: Counter::default(),
            clean_dirty_ratio: Gauge::default(),
            clean_uncleanable: Gauge::default(),
        }
    }

    /// A follower got so many bytes from a ring.
    pub(crate) fn handed(&self, bytes: usize) {
        self.ring_reads.inc();
        self.reads.inc();
        self.read_bytes
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A ring has more slots now, or fewer.
    pub(crate) fn resized(&self, grown: bool) {
        let to = if grown { "larger" } else { "smaller" };
        self.resizes.get_or_create(&[("to", to)]).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry, shared: &Arc<Shared>) {
        let registry = registry.sub_registry_with_prefix("lantern_broker");
        let mut count = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        count("appends", "Appends answered with success", &self.appends);
        count(
            "append_failures",
            "Appends answered with an error",
            &self.append_failures,
        );
        count("append_records", "Records appended", &self.append_records);
        count(
            "append_duplicates",
            "Appends that were retries of batches already stored",
            &self.duplicates,
        );
        count("reads", "Reads that returned batches", &self.reads);
        count(
            "cold_reads",
            "Reads that went to the disk",
            &self.cold_reads,
        );
        count(
            "ring_reads",
            "Reads of followers in this process that a ring answered",
            &self.ring_reads,
        );
        count(
            "ring_lapped",
            "Followers that were too slow for a ring and went on in the log",
            &self.lapped,
        );
        count("flushes", "Files flushed to the disk", &self.flushes);
        count(
            "journal_commits",
            "Frames made durable in the journal, each for several partitions",
            &self.journal_commits,
        );
        count(
            "journal_refusals",
            "Frames the journal could not take; their partitions were flushed one by one",
            &self.journal_refusals,
        );
        count(
            "partitions_frozen",
            "Partitions frozen by a storage failure",
            &self.frozen,
        );
        count(
            "disk_full",
            "Appends refused because the disk was full",
            &self.disk_full,
        );
        count("panics", "Panics fenced in the writer", &self.panics);
        count(
            "groups_compactions",
            "Snapshots written of group progress",
            &self.compactions,
        );
        count(
            "compaction_runs",
            "Compactions of a partition that ended well",
            &self.clean_runs,
        );
        count(
            "compaction_failures",
            "Compactions of a partition that failed",
            &self.clean_failures,
        );
        count(
            "compaction_removed_records",
            "Records that compaction removed",
            &self.clean_removed_records,
        );
        let mut bytes = |name: &str, help: &str, counter: &Counter| {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        };
        bytes(
            "compaction_read",
            "Bytes read by compaction",
            &self.clean_read_bytes,
        );
        bytes(
            "compaction_written",
            "Bytes written by compaction",
            &self.clean_written_bytes,
        );
        bytes("append", "Bytes of batches appended", &self.append_bytes);
        bytes(
            "journal",
            "Bytes written to the journal",
            &self.journal_bytes,
        );
        bytes("read", "Bytes of batches read", &self.read_bytes);
        bytes(
            "retention_removed",
            "Bytes removed by retention",
            &self.retained_bytes,
        );
        registry.register(
            "compaction_dirty_ratio_max",
            "Share of the dirtiest compacted partition that waits for compaction",
            self.clean_dirty_ratio.clone(),
        );
        registry.register(
            "compaction_uncleanable_partitions",
            "Partitions that are damaged and cannot be compacted",
            self.clean_uncleanable.clone(),
        );
        registry.register_with_unit(
            "flush",
            "Time one flush of one file took",
            Unit::Seconds,
            self.flush_seconds.clone(),
        );
        registry.register_with_unit(
            "catalog_write",
            "Time one replacement of the catalog took",
            Unit::Seconds,
            self.catalog_seconds.clone(),
        );
        registry.register(
            "round_appends",
            "Appends gathered in one round of the writer",
            self.round_appends.clone(),
        );
        registry.register(
            "ring_resizes",
            "Rings that got more slots, or fewer",
            self.resizes.clone(),
        );
        registry.register_collector(Box::new(Levels {
            shared: Arc::downgrade(shared),
        }));
    }
}

/// Gauges read when somebody asks.
#[derive(Debug)]
struct Levels {
    shared: Weak<Shared>,
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let topics = shared.topics.load();
        let gauge = |encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        let queued: usize = shared.log_dirs.in_use().map(|dir| dir.queue.len()).sum();
        let queued = u64::try_from(queued).unwrap_or(u64::MAX);
        gauge(
            &mut encoder,
            "queue_appends",
            "Appends waiting for a writer",
            queued,
        )?;
        let count = u64::try_from(topics.live.len()).unwrap_or(u64::MAX);
        gauge(&mut encoder, "topics", "Topics that exist", count)?;
        let partitions = topics
            .live
            .values()
            .map(|topic| topic.partitions.len())
            .sum::<usize>();
        let partitions = u64::try_from(partitions).unwrap_or(u64::MAX);
        gauge(
            &mut encoder,
            "partitions",
            "Partitions that exist",
            partitions,
        )?;
        let all = topics.live.values().flat_map(|topic| &topic.partitions);
        let out = all.filter(|partition| partition.check_readable().is_err());
        gauge(
            &mut encoder,
            "partitions_out_of_service",
            "Partitions that cannot be read: their log is damaged, or its disk is missing",
            u64::try_from(out.count()).unwrap_or(u64::MAX),
        )?;
        let size: u64 = topics.live.values().map(|topic| topic.size_bytes()).sum();
        gauge(&mut encoder, "log_bytes", "Bytes of all logs", size)?;
        let mut sizes = encoder.encode_descriptor(
            "log_dir_bytes",
            "Bytes of the logs in a log directory",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for log_dir in shared.log_dirs.iter() {
            let labels = [("log_dir", &*log_dir.name)];
            let all = topics.live.values().flat_map(|topic| &topic.partitions);
            let in_it = all.filter(|partition| Arc::ptr_eq(partition.log_dir(), log_dir));
            let size: u64 = in_it.map(|partition| partition.size_bytes()).sum();
            ConstGauge::new(size).encode(sizes.encode_family(&labels)?)?;
        }

        let rings = topics.live.values().flat_map(|topic| &topic.partitions);
        let rings = rings.filter_map(|partition| partition.ring_levels());
        let (mut count, mut slots, mut unread) = (0_u64, 0, 0);
        for ring in rings {
            count += 1;
            slots += ring.slots;
            unread += ring.unread;
        }
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let memory = &shared.memory;
        let pool = memory.pool.counts();
        for (name, help, value) in [
            ("rings", "Partitions with followers in this process", count),
            ("ring_slots", "Slots of all rings", wide(slots)),
            (
                "ring_slots_unread",
                "Slots that the slowest follower of each ring has not read",
                wide(unread),
            ),
            (
                "ring_held_bytes",
                "Bytes of batches in all rings",
                wide(memory.held()),
            ),
            (
                "buffers_idle_bytes",
                "Bytes of buffers that wait to be used again",
                wide(pool.idle_bytes),
            ),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        let mut buffers = encoder.encode_descriptor(
            "buffers",
            "Buffers for appends and reads, by where they came from",
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        for (source, value) in [("pool", pool.reused), ("allocated", pool.made)] {
            let labels = [("source", source)];
            ConstCounter::new(value).encode(buffers.encode_family(&labels)?)?;
        }

        let mut size = encoder.encode_descriptor(
            "topic_log_bytes",
            "Bytes of the logs of a topic",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for topic in topics.in_order().take(TOPICS_SHOWN_MAX) {
            let labels = [("topic", topic.info.name.as_str())];
            ConstGauge::new(topic.size_bytes()).encode(size.encode_family(&labels)?)?;
        }
        let mut marks = encoder.encode_descriptor(
            "topic_high_watermark",
            "Sum of the high watermarks of a topic's partitions",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for topic in topics.in_order().take(TOPICS_SHOWN_MAX) {
            let labels = [("topic", topic.info.name.as_str())];
            ConstGauge::new(topic.readable_until()).encode(marks.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
