//! What the coordinator says about itself: each event writes its log line and bumps its counter.
//!
//! Metric names: `lantern_broker_group_*`.

use std::sync::Weak;
use std::time::Duration;

use groups::{Note, Reason};
use model::GroupId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing::{debug, info, warn};

use super::{GroupCoordinator, GroupError};

/// Why something happened, as a label. The values are those of [`Reason`], so they are few.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

impl Why {
    fn of(reason: Reason) -> Self {
        Self {
            reason: reason.as_str(),
        }
    }
}

/// The coordinator's counters; clones count into the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Events {
    rebalances: Family<Why, Counter>,
    generations: Counter,
    members_removed: Family<Why, Counter>,
    instances_taken_over: Counter,
    unused: Counter,
    stores: Counter,
    store_failures: Counter,
    store_seconds: Histogram,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            rebalances: Family::default(),
            generations: Counter::default(),
            members_removed: Family::default(),
            instances_taken_over: Counter::default(),
            unused: Counter::default(),
            stores: Counter::default(),
            store_failures: Counter::default(),
            store_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, levels: Weak<GroupCoordinator>) {
        registry.register_collector(Box::new(ByGroup {
            coordinator: Weak::clone(&levels),
        }));
        let registry = registry.sub_registry_with_prefix("lantern_broker_group");
        registry.register("rebalances", "Rebalances begun", self.rebalances.clone());
        registry.register(
            "generations",
            "Rebalances completed",
            self.generations.clone(),
        );
        registry.register(
            "members_removed",
            "Members removed without having asked for it",
            self.members_removed.clone(),
        );
        registry.register(
            "instances_taken_over",
            "Static members that came back under a new member id",
            self.instances_taken_over.clone(),
        );
        registry.register(
            "unused",
            "Groups whose offsets went because nobody used them for long",
            self.unused.clone(),
        );
        registry.register("stores", "Group states stored", self.stores.clone());
        registry.register(
            "store_failures",
            "Group states that could not be stored",
            self.store_failures.clone(),
        );
        registry.register_with_unit(
            "store",
            "Time one round of storing group states took",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register_collector(Box::new(Levels {
            coordinator: levels,
        }));
    }

    pub(super) fn note(&self, note: &Note) {
        match note {
            Note::Rebalancing {
                group,
                generation,
                reason,
            } => {
                self.rebalances.get_or_create(&Why::of(*reason)).inc();
                debug!(%group, generation, reason = reason.as_str(), "Group is rebalancing.");
            }
            Note::Joined {
                group,
                generation,
                members,
            } => {
                self.generations.inc();
                debug!(%group, generation, members, "All members joined; the leader assigns.");
            }
            Note::Stable {
                group,
                generation,
                members,
            } => {
                info!(%group, generation, members, "Group is stable.");
            }
            Note::Emptied { group, generation } => {
                info!(%group, generation, "Group has no members any more.");
            }
            Note::MemberRemoved {
                group,
                member,
                reason,
            } => {
                self.members_removed.get_or_create(&Why::of(*reason)).inc();
                info!(%group, %member, reason = reason.as_str(), "Member was removed.");
            }
            Note::InstanceTakenOver {
                group,
                instance,
                old,
                new,
            } => {
                self.instances_taken_over.inc();
                info!(%group, %instance, %old, %new, "Static member came back.");
            }
            Note::Forgotten { group } => debug!(%group, "Group was forgotten."),
        }
    }

    pub(super) fn unused(&self, group: &GroupId) {
        self.unused.inc();
        info!(%group, "Offsets of a group that nobody uses are forgotten.");
    }

    pub(super) fn stored(&self, groups: usize, took: Duration) {
        self.stores
            .inc_by(u64::try_from(groups).unwrap_or(u64::MAX));
        self.store_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn store_failed(&self, groups: usize, error: &crate::Error) {
        self.store_failures
            .inc_by(u64::try_from(groups).unwrap_or(u64::MAX));
        warn!(groups, %error, "Group states could not be stored.");
    }
}

pub(super) fn loaded(groups: usize, members: usize, took: Duration) {
    info!(groups, members, ?took, "Consumer groups are loaded.");
}

pub(super) fn load_failed(error: &crate::Error) {
    warn!(%error, "Consumer groups could not be loaded; trying again.");
}

pub(super) fn forget_failed(error: &GroupError) {
    warn!(
        error = stdx::causes(error),
        "Groups that nobody uses could not be forgotten; trying again later."
    );
}

pub(super) fn passed_over(unreadable: u64, too_many: usize) {
    if unreadable > 0 {
        warn!(
            unreadable,
            "Records of groups could not be read and were passed over."
        );
    }
    if too_many > 0 {
        warn!(
            groups = too_many,
            "There are more stored groups than allowed; some were passed over."
        );
    }
}

/// Gauges read when somebody asks.
#[derive(Debug)]
struct Levels {
    coordinator: Weak<GroupCoordinator>,
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(coordinator) = self.coordinator.upgrade() else {
            return Ok(());
        };
        let (states, members) = coordinator.census();
        let number = |count: usize| ConstGauge::new(u64::try_from(count).unwrap_or(u64::MAX));
        let total = encoder.encode_descriptor(
            "members",
            "Members of all groups",
            None,
            MetricType::Gauge,
        )?;
        number(members).encode(total)?;
        let mut by_state =
            encoder.encode_descriptor("groups", "Groups by state", None, MetricType::Gauge)?;
        for (state, count) in states {
            let labels = [("state", state.as_str()), ("protocol", state.protocol())];
            number(count).encode(by_state.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Groups whose members and state are shown, the first by id.
const GROUPS_SHOWN_MAX: usize = 100;

/// What is known by group, read when somebody asks. Names and labels of members are those of `kafka_exporter`.
#[derive(Debug)]
struct ByGroup {
    coordinator: Weak<GroupCoordinator>,
}

impl Collector for ByGroup {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(coordinator) = self.coordinator.upgrade() else {
            return Ok(());
        };
        let mut groups = coordinator.engine_list();
        groups.truncate(GROUPS_SHOWN_MAX);
        let mut members = encoder.encode_descriptor(
            "kafka_consumergroup_members",
            "Members of a group",
            None,
            MetricType::Gauge,
        )?;
        for group in &groups {
            let labels = [("consumergroup", group.group.as_str())];
            let count = u64::try_from(group.members).unwrap_or(u64::MAX);
            ConstGauge::new(count).encode(members.encode_family(&labels)?)?;
        }
        let mut states = encoder.encode_descriptor(
            "lantern_broker_group_state",
            "1 for the state that a group is in",
            None,
            MetricType::Gauge,
        )?;
        for group in &groups {
            let labels = [
                ("consumergroup", group.group.as_str()),
                ("protocol", group.state.protocol()),
                ("state", group.state.as_str()),
            ];
            ConstGauge::new(1_u64).encode(states.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
