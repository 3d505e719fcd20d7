//! What alerting counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::group::{Outcome, Why};
use crate::status::{Alert, AlertState};

/// Counters of the service; clones share.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    ticks: Counter,
    early: Counter,
    evaluations: Counter,
    failures: Counter,
    missed: Counter,
    seconds: Histogram,
    pending: Gauge,
    firing: Gauge,
    records: Counter,
    unwritten: Counter,
    pub(crate) sent: Counter,
    pub(crate) send_failures: Counter,
    pub(crate) refused: Counter,
    pub(crate) send_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        Self {
            ticks: Counter::default(),
            early: Counter::default(),
            evaluations: Counter::default(),
            failures: Counter::default(),
            missed: Counter::default(),
            seconds: histogram(),
            pending: Gauge::default(),
            firing: Gauge::default(),
            records: Counter::default(),
            unwritten: Counter::default(),
            sent: Counter::default(),
            send_failures: Counter::default(),
            refused: Counter::default(),
            send_seconds: histogram(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("lantern_alerting_{name}"), help, counter.clone());
        };
        counter("ticks", "Groups evaluated at their interval", &self.ticks);
        counter(
            "early_passes",
            "Groups evaluated between ticks",
            &self.early,
        );
        counter("rule_evaluations", "Rules evaluated", &self.evaluations);
        counter(
            "rule_evaluation_failures",
            "Rules that could not be evaluated",
            &self.failures,
        );
        counter(
            "ticks_missed",
            "Ticks that were over before they began",
            &self.missed,
        );
        counter(
            "transitions",
            "Transitions of alerts recorded",
            &self.records,
        );
        counter(
            "write_failures",
            "Results that could not be made durable",
            &self.unwritten,
        );
        counter(
            "notifications_sent",
            "Notifications a webhook took",
            &self.sent,
        );
        counter(
            "notification_failures",
            "Attempts that failed and are made again",
            &self.send_failures,
        );
        counter(
            "notifications_refused",
            "Notifications a webhook refused for good",
            &self.refused,
        );
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(format!("lantern_alerting_{name}"), help, gauge.clone());
        };
        gauge(
            "alerts_pending",
            "Alerts whose for is not over",
            &self.pending,
        );
        gauge("alerts_firing", "Alerts that fire", &self.firing);
        let help = "Time one pass over a group took";
        registry.register("lantern_alerting_pass_seconds", help, self.seconds.clone());
        let help = "Time a webhook took to answer";
        registry.register(
            "lantern_alerting_notification_seconds",
            help,
            self.send_seconds.clone(),
        );
    }

    pub(crate) fn pass(&self, why: &Why, outcome: &Outcome) {
        match why {
            Why::Tick => self.ticks.inc(),
            Why::Part(_) => self.early.inc(),
        };
        self.evaluations.inc_by(outcome.evaluated as u64);
        self.failures.inc_by(outcome.failed as u64);
        self.missed.inc_by(outcome.missed_ticks);
        self.seconds.observe(outcome.took.as_secs_f64());
    }

    pub(crate) fn recorded(&self, count: usize) {
        self.records.inc_by(count as u64);
    }

    pub(crate) fn unwritten(&self) {
        self.unwritten.inc();
    }

    pub(crate) fn alerts(&self, alerts: &[Alert]) {
        let count = |state| alerts.iter().filter(|alert| alert.state == state).count();
        let set = |gauge: &Gauge, count: usize| {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.pending, count(AlertState::Pending));
        set(&self.firing, count(AlertState::Firing));
    }
}
