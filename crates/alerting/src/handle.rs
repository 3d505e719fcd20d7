//! The outside of the service: load rules, look at groups and alerts.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};

use crate::Options;
use crate::file::{Problem, Report, RuleFile, compile, report};
use crate::metrics::Metrics;
use crate::spec::GroupSpec;
use crate::status::{Alert, GroupStatus};

/// Groups on their way into force.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) generation: u64,
    pub(crate) groups: Vec<Arc<GroupSpec>>,
    /// The files are all there are: alerts of rules that are in none of them end.
    pub(crate) complete: bool,
}

/// What is in force, as it is shown.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    pub(crate) generation: u64,
    pub(crate) groups: Vec<Arc<GroupStatus>>,
}

/// What the running service and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// The newest load that the service has not taken yet.
    pub(crate) inbox: Mutex<Option<Load>>,
    pub(crate) bell: Notify,
    pub(crate) in_force: RwLock<InForce>,
    pub(crate) alerts: watch::Sender<Arc<Vec<Alert>>>,
    pub(crate) metrics: Metrics,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            inbox: Mutex::default(),
            bell: Notify::new(),
            in_force: RwLock::default(),
            alerts: watch::Sender::new(Arc::default()),
            metrics: Metrics::default(),
        }
    }
}

/// A handle on the running service; clones are the same one.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// Puts the rules of these files in force instead of those there are. Rules that stay keep their
    /// alerts; those of rules that go are resolved, unless `complete` says that there are files which
    /// could not be taken now.
    ///
    /// # Errors
    /// Everything that is wrong in any of the files; then nothing changes.
    pub fn load(&self, files: &[RuleFile], complete: bool) -> Result<Report, Vec<Problem>> {
        let groups = compile(files, self.0.options.interval)?;
        let report = report(&groups);
        let mut in_force = self.0.in_force.write();
        in_force.generation += 1;
        let known = std::mem::take(&mut in_force.groups);
        in_force.groups = groups
            .iter()
            .map(|spec| {
                let same = known.iter().find(|group| group.spec.same_as(spec));
                same.map_or_else(|| Arc::new(GroupStatus::new(spec)), Arc::clone)
            })
            .collect();
        let generation = in_force.generation;
        *self.0.inbox.lock() = Some(Load {
            generation,
            groups,
            complete,
        });
        drop(in_force);
        self.0.bell.notify_one();
        Ok(report)
    }

    /// The groups in force, in the order of their files.
    pub fn rules(&self) -> Vec<Arc<GroupStatus>> {
        self.0.in_force.read().groups.clone()
    }

    /// Pending and firing alerts of all rules.
    pub fn alerts(&self) -> Vec<Alert> {
        let groups = self.rules();
        let rules = groups.iter().flat_map(|group| &group.rules);
        rules.flat_map(|rule| rule.active().cloned()).collect()
    }

    /// All alerts, resolved ones for a while included; changes with every transition.
    pub fn watch_alerts(&self) -> watch::Receiver<Arc<Vec<Alert>>> {
        self.0.alerts.subscribe()
    }

    /// Puts the service's metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }
}
