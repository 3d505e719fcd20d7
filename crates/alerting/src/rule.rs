//! One rule as it runs: asks its expression, makes samples, moves its alerts.
//!
//! Invariants: samples reach the store before this returns; a failed evaluation changes no alert, as in
//! Prometheus; an evaluation between ticks writes only what changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use promql::{Prepared, Value};
use series::{Labels, METRIC_NAME, STALE_NAN_BITS, Store, Touched, WatchId, same_value};

use crate::alerts::{Alerts, Found, Spans, Transition};
use crate::spec::{AlertSpec, RuleSpec};
use crate::status::{Alert, AlertState, Health, RuleStatus};
use crate::template::{self, Context, Template};

/// Most results one rule may have when its group sets no `limit`.
const RESULTS_MAX: usize = 100_000;

/// What every rule of an engine is evaluated with.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) external_url: String,
    pub(crate) external_labels: BTreeMap<String, String>,
    pub(crate) repeat: Duration,
}

/// One evaluation.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    pub(crate) world: &'a World,
    /// The time of its samples.
    pub(crate) at: Timestamp,
    /// A tick: everything is written.
    pub(crate) tick: bool,
    /// The group's `limit`.
    pub(crate) limit: usize,
    pub(crate) options: &'a promql::Options,
    /// Samples to be made durable.
    pub(crate) samples: Vec<(Labels, [(Timestamp, f64); 1])>,
    /// Watches that the samples touched.
    pub(crate) touched: Touched,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        world: &'a World,
        at: Timestamp,
        tick: bool,
        limit: usize,
        options: &'a promql::Options,
    ) -> Self {
        Self {
            world,
            at,
            tick,
            limit,
            options,
            samples: Vec::new(),
            touched: Touched::new(),
        }
    }

    fn sample(&mut self, labels: &Labels, value: f64) -> Result<(), String> {
        let appended = self
            .world
            .store
            .append_touching(labels, self.at, value, &mut self.touched);
        appended.map_err(|error| error.to_string())?;
        self.samples.push((labels.clone(), [(self.at, value)]));
        Ok(())
    }

    fn stale(&mut self, labels: &Labels) -> Result<(), String> {
        self.sample(labels, f64::from_bits(STALE_NAN_BITS))
    }
}

/// A rule as it runs.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) spec: Arc<RuleSpec>,
    prepared: Prepared,
    watches: Vec<WatchId>,
    pub(crate) alerts: Alerts,
    /// What a recording rule wrote last.
    recorded: HashMap<Labels, f64>,
    pub(crate) status: RuleStatus,
}

impl Rule {
    pub(crate) fn new(spec: &Arc<RuleSpec>, store: &Store) -> Self {
        let selectors = spec.expr.selectors().into_iter();
        Self {
            spec: Arc::clone(spec),
            prepared: Prepared::new(spec.expr.clone()),
            watches: selectors.map(|matchers| store.watch(matchers)).collect(),
            alerts: Alerts::default(),
            recorded: HashMap::new(),
            status: RuleStatus::new(spec),
        }
    }

    /// Goes on with what the same rule had before a reload.
    pub(crate) fn inherit(&mut self, old: &mut Self) {
        self.alerts = std::mem::take(&mut old.alerts);
        self.recorded = std::mem::take(&mut old.recorded);
        self.show();
    }

    /// Goes on with alerts of an earlier run.
    pub(crate) fn restore(&mut self, alerts: Vec<Alert>) {
        self.alerts = Alerts::restore(alerts);
        self.show();
    }

    /// Watches of the store that evaluate it early.
    pub(crate) fn watches(&self) -> &[WatchId] {
        &self.watches
    }

    pub(crate) fn unwatch(&mut self, store: &Store) {
        for watch in self.watches.drain(..) {
            store.unwatch(watch);
        }
    }

    /// When a `for` or `keep_firing_for` ends. A rule that just failed waits for its next tick or
    /// touch: nothing would come of trying again at once, and again.
    pub(crate) fn deadline(&self, repeat: Duration) -> Option<Timestamp> {
        let spec = self.spec.alert.as_ref()?;
        if self.status.health == Health::Err {
            return None;
        }
        self.alerts.deadline(spans(spec, repeat))
    }

    /// Evaluates it.
    pub(crate) fn evaluate(&mut self, pass: &mut Pass<'_>) -> Vec<Transition> {
        let (transitions, result) = self.try_evaluate(pass);
        self.status.health = if result.is_ok() {
            Health::Ok
        } else {
            Health::Err
        };
        self.status.last_error = result.err().map(Arc::from);
        self.status.last_evaluation = pass.at;
        self.show();
        transitions
    }

    /// Says what went wrong around the evaluation.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.status.health = Health::Err;
        self.status.last_error = Some(Arc::from(reason));
    }

    fn show(&mut self) {
        if self.spec.alert.is_some() {
            self.status.alerts = Arc::new(self.alerts.sorted());
        }
    }

    fn try_evaluate(&mut self, pass: &mut Pass<'_>) -> (Vec<Transition>, Result<(), String>) {
        let asked = self
            .prepared
            .instant(&pass.world.store, pass.at, pass.options);
        let results = match asked {
            Ok(Value::Vector(samples)) => samples
                .into_iter()
                .map(|sample| (sample.labels, sample.value))
                .collect(),
            Ok(Value::Scalar(_, value)) => vec![(Labels::empty(), value)],
            Ok(_) => {
                return (
                    Vec::new(),
                    Err("the result is no instant vector".to_owned()),
                );
            }
            Err(error) => return (Vec::new(), Err(error.to_string())),
        };
        let spec = Arc::clone(&self.spec);
        match &spec.alert {
            Some(alert) => self.alert(alert, results, pass),
            None => (Vec::new(), self.record(&results, pass)),
        }
    }

    fn over_limit(&self, count: usize, limit: usize) -> Result<(), String> {
        let limit = if limit == 0 { RESULTS_MAX } else { limit };
        if count <= limit {
            return Ok(());
        }
        Err(format!(
            "'{}' has {count} results, the limit is {limit}",
            self.spec.name
        ))
    }

    fn record(&mut self, results: &[(Labels, f64)], pass: &mut Pass<'_>) -> Result<(), String> {
        self.over_limit(results.len(), pass.limit)?;
        let mut written: HashMap<Labels, f64> = HashMap::with_capacity(results.len());
        for (result, value) in results {
            let mut labels = result.to_builder();
            labels.set(METRIC_NAME, &self.spec.name);
            for (name, text) in &self.spec.labels {
                labels.set(name, text.text());
            }
            let labels = labels.build();
            if written.insert(labels.clone(), *value).is_some() {
                return Err(format!("two results have the labels {labels}"));
            }
        }
        for (labels, value) in &written {
            let known = self.recorded.get(labels);
            if pass.tick || !known.is_some_and(|known| same_value(*known, *value)) {
                pass.sample(labels, *value)?;
            }
        }
        for gone in self
            .recorded
            .keys()
            .filter(|labels| !written.contains_key(*labels))
        {
            pass.stale(gone)?;
        }
        self.recorded = written;
        Ok(())
    }

    fn alert(
        &mut self,
        spec: &AlertSpec,
        results: Vec<(Labels, f64)>,
        pass: &mut Pass<'_>,
    ) -> (Vec<Transition>, Result<(), String>) {
        if let Err(reason) = self.over_limit(results.len(), pass.limit) {
            let transitions = self.alerts.end(pass.at);
            let written = self.write_alerts(&transitions, pass);
            return (transitions, written.and(Err(reason)));
        }
        let world = pass.world;
        let (at, options) = (pass.at, pass.options);
        let query = |text: &str| template_query(text, &world.store, at, options);
        let context = Context {
            now: at,
            external_url: &world.external_url,
            external_labels: template::Value::labels(
                world
                    .external_labels
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_str())),
            ),
            query: &query,
        };
        let mut found = Vec::with_capacity(results.len());
        let mut seen = HashSet::with_capacity(results.len());
        for (result, value) in results {
            let labels = self.labels_of(&result, value, &context);
            if !seen.insert(labels.clone()) {
                let reason = format!("two results have the labels {labels}");
                return (Vec::new(), Err(reason));
            }
            found.push(Found {
                labels,
                result,
                value,
            });
        }
        let annotate = |found: &Found| {
            let result = label_values(&found.result);
            let expanded = spec
                .annotations
                .iter()
                .map(|(name, text)| (name.clone(), expand(text, &context, &result, found.value)));
            expanded.collect()
        };
        let spans = spans(spec, world.repeat);
        let transitions = self.alerts.advance(found, at, spans, pass.tick, annotate);
        let written = self.write_alerts(&transitions, pass);
        (transitions, written)
    }

    /// The labels of an alert: the result's, then the rule's, then its name.
    fn labels_of(&self, result: &Labels, value: f64, context: &Context<'_>) -> Labels {
        let mut labels = result.without_name().to_builder();
        let values = label_values(result);
        for (name, text) in &self.spec.labels {
            labels.set(name, &expand(text, context, &values, value));
        }
        labels.set("alertname", &self.spec.name);
        labels.build()
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`: all on a tick, else of what changed.
    fn write_alerts(&self, changed: &[Transition], pass: &mut Pass<'_>) -> Result<(), String> {
        for Transition { alert, was, .. } in changed {
            let active =
                |state: &AlertState| matches!(state, AlertState::Pending | AlertState::Firing);
            if let Some(was) = was.filter(|was| *was != alert.state && active(was)) {
                pass.stale(&alerts_series(&alert.labels, was))?;
            }
            if !alert.is_active() {
                pass.stale(&for_state_series(&alert.labels))?;
            } else if !pass.tick {
                write_active(alert, pass)?;
            }
        }
        if pass.tick {
            for alert in self.alerts.active() {
                write_active(alert, pass)?;
            }
        }
        Ok(())
    }

    /// Ends everything it made: it is no longer in force.
    pub(crate) fn retire(&mut self, pass: &mut Pass<'_>) -> Vec<Transition> {
        let transitions = self.alerts.end(pass.at);
        // The store refuses only new series, and these are not new.
        let _ = self.write_alerts(&transitions, pass);
        for labels in std::mem::take(&mut self.recorded).into_keys() {
            let _ = pass.stale(&labels);
        }
        transitions
    }
}

fn spans(spec: &AlertSpec, repeat: Duration) -> Spans {
    Spans {
        wait: spec.wait,
        keep_firing_for: spec.keep_firing_for,
        repeat,
    }
}

fn write_active(alert: &Alert, pass: &mut Pass<'_>) -> Result<(), String> {
    pass.sample(&alerts_series(&alert.labels, alert.state), 1.0)?;
    pass.sample(
        &for_state_series(&alert.labels),
        alert.active_at.seconds().floor(),
    )
}

fn alerts_series(labels: &Labels, state: AlertState) -> Labels {
    let mut labels = labels.to_builder();
    labels
        .set(METRIC_NAME, "ALERTS")
        .set("alertstate", state.as_str());
    labels.build()
}

/// The series that holds since when an alert is active, in seconds.
pub(crate) const FOR_STATE: &str = "ALERTS_FOR_STATE";

fn for_state_series(labels: &Labels) -> Labels {
    labels.with(METRIC_NAME, FOR_STATE)
}

fn label_values(labels: &Labels) -> template::Value {
    template::Value::labels(labels.iter())
}

/// The text, or what is wrong with it in its place, as Prometheus has it.
fn expand(text: &Template, context: &Context<'_>, labels: &template::Value, value: f64) -> String {
    text.expand(context, labels, value)
        .unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

/// What the template function `query` does.
fn template_query(
    text: &str,
    store: &Store,
    at: Timestamp,
    options: &promql::Options,
) -> Result<Vec<template::Value>, String> {
    let expr = promql::parse(text).map_err(|error| error.to_string())?;
    let value = promql::instant(&expr, store, at, options).map_err(|error| error.to_string())?;
    match value {
        Value::Vector(samples) => {
            let sample = |sample: &promql::Sample| {
                template::Value::sample(label_values(&sample.labels), sample.value)
            };
            Ok(samples.iter().map(sample).collect())
        }
        Value::Scalar(_, value) => Ok(vec![template::Value::sample(
            label_values(&Labels::empty()),
            value,
        )]),
        _ => Err("the result is no instant vector".to_owned()),
    }
}
