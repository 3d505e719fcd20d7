//! The numbers of admission, named `lantern_admission_*`.

use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::gate::Line;
use crate::{Admission, Reason};

type Label = [(&'static str, &'static str); 1];

/// Clones count into the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    throttled: Family<Label, Counter>,
    pauses: Family<Label, Counter<f64, AtomicU64>>,
    refused: Family<Label, Counter>,
    waits: Histogram,
    aside: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            throttled: Family::default(),
            pauses: Family::default(),
            refused: Family::default(),
            waits: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            aside: Histogram::new(exponential_buckets(0.001, 2.0, 12)),
        }
    }

    pub(crate) fn throttled(&self, what: &'static str, pause: Duration) {
        self.throttled.get_or_create(&[("reason", what)]).inc();
        self.pauses
            .get_or_create(&[("reason", what)])
            .inc_by(pause.as_secs_f64());
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refused
            .get_or_create(&[("reason", reason.as_str())])
            .inc();
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waits.observe(time.as_secs_f64());
    }

    pub(crate) fn aside(&self, took: Duration) {
        self.aside.observe(took.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry, admission: Weak<Admission>) {
        let registry = registry.sub_registry_with_prefix("lantern_admission");
        registry.register(
            "throttled",
            "Requests whose sender was told to pause",
            self.throttled.clone(),
        );
        registry.register_with_unit(
            "throttle",
            "Pauses that senders were told",
            Unit::Seconds,
            self.pauses.clone(),
        );
        registry.register("refused", "Requests not admitted", self.refused.clone());
        registry.register_with_unit(
            "wait",
            "Time requests stood in the line before the log, of those that had to",
            Unit::Seconds,
            self.waits.clone(),
        );
        registry.register_with_unit(
            "aside",
            "Time that large compressed batches and bodies took to be checked, on threads of their own",
            Unit::Seconds,
            self.aside.clone(),
        );
        registry.register_collector(Box::new(Now(admission)));
    }
}

/// The line, read when somebody asks.
#[derive(Debug)]
struct Now(Weak<Admission>);

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(admission) = self.0.upgrade() else {
            return Ok(());
        };
        let Line {
            limit,
            in_flight,
            waiting,
            p95,
        } = admission.line();
        let names = u64::try_from(admission.names()).unwrap_or(u64::MAX);
        let bytes = Some(&Unit::Bytes);
        for (name, help, unit, value) in [
            (
                "limit",
                "Cost of appends that may be in flight",
                bytes,
                limit,
            ),
            ("in_flight", "Cost of appends in flight", bytes, in_flight),
            (
                "waiting",
                "Requests in the line before the log",
                None,
                waiting,
            ),
            (
                "names",
                "Clients and topics kept for their quotas",
                None,
                names,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let gauge = ConstGauge::new(p95.as_secs_f64());
        let help = "The p95 of appends that the limit was judged by";
        let unit = Some(&Unit::Seconds);
        let metric = encoder.encode_descriptor("append_p95", help, unit, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
