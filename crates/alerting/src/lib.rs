//! Runs Prometheus rule groups, owns the states of alerts, and tells webhooks.
//!
//! Read first: [`Service`] and [`Handle`], then `group` (what is evaluated when), `alerts` (the state
//! machine of one rule) and `webhook`.
//!
//! A group keeps Prometheus' timeline: every `interval` all its rules are evaluated in order. Between
//! two ticks a rule is evaluated early when a sample arrived that one of its selectors matches, and
//! when a `for` or `keep_firing_for` ends. What an early evaluation finds unchanged is not written.
//!
//! A transition of an alert (pending, firing, resolved, inactive) is one durable record of
//! `lantern.alerts`. The states in memory are the replay of that topic, so a start after kill -9 goes on
//! where the last one stopped; a webhook is a consumer of the topic with a committed offset, so nothing
//! is told twice that was taken, nothing is lost that was not, and a dead receiver costs no memory.
//!
//! Invariants: rule files are taken whole or not at all; a rule that fails or panics harms no other; no
//! evaluation runs on the threads of the runtime; results of rules reach the store before the next rule
//! of the pass reads it.
//! Not here: the meaning of expressions (`promql`), where samples come from (`ingest`), the HTTP shapes'
//! envelope (`http-edge`). Source: Prometheus' `rules` and Alertmanager's webhook documentation.
#![forbid(unsafe_code)]

mod alerts;
mod file;
mod group;
mod handle;
mod metrics;
mod record;
mod restore;
mod rule;
mod service;
mod spec;
mod status;
mod template;
mod webhook;

use std::collections::BTreeMap;
use std::time::Duration;

pub use file::{Problem, Report, RuleFile, check};
pub use handle::Handle;
pub use record::ensure_alerts_topic;
pub use service::{Inputs, Service};
pub use status::{Alert, AlertState, GroupStatus, Health, RuleKind, RuleStatus};

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Options {
    /// URLs that receive Alertmanager's webhook JSON, `http://` or `https://`.
    pub webhooks: Vec<String>,
    /// Labels put on every alert that is sent, unless it has a label of that name.
    pub external_labels: BTreeMap<String, String>,
    /// How this Lantern is reached from outside, without a slash at the end: for links.
    pub external_url: String,
    /// Time between two ticks of groups that name no `interval`. Default 1 min.
    pub interval: Duration,
    /// After this long a firing alert is told again. Default 4 h.
    pub repeat_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            webhooks: Vec::new(),
            external_labels: BTreeMap::new(),
            external_url: "http://127.0.0.1:8787".to_owned(),
            interval: Duration::from_mins(1),
            repeat_interval: Duration::from_hours(4),
        }
    }
}
