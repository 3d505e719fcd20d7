//! The section `groups` of `lantern.yaml`: how consumer groups are coordinated.
//!
//! Not here: what the values mean together (`groups::Options`).

use broker::CoordinatorOptions;
use serde::{Deserialize, Serialize};
use stdx::HumanDuration;

/// What can be said about groups. Names in comments are Kafka's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Groups {
    /// `group.min.session.timeout.ms`: the shortest session timeout a member of the classic protocol may
    /// ask for.
    pub(crate) session_timeout_min: HumanDuration,
    /// `group.max.session.timeout.ms`: the longest.
    pub(crate) session_timeout_max: HumanDuration,
    /// `group.consumer.session.timeout.ms`: a member of the consumer protocol is out without a
    /// heartbeat for this long.
    pub(crate) consumer_session_timeout: HumanDuration,
    /// `group.consumer.heartbeat.interval.ms`: how often such members are told to send heartbeats.
    pub(crate) consumer_heartbeat_interval: HumanDuration,
    /// `group.consumer.max.size`: most members of such a group.
    pub(crate) consumer_members_max: usize,
    /// `offsets.retention.minutes`: offsets of a group without members and commits go after this long.
    pub(crate) offsets_retention: HumanDuration,
}

impl Default for Groups {
    fn default() -> Self {
        let options = CoordinatorOptions::default();
        Self {
            session_timeout_min: HumanDuration::new(options.session_timeout_min),
            session_timeout_max: HumanDuration::new(options.session_timeout_max),
            consumer_session_timeout: HumanDuration::new(options.consumer_session_timeout),
            consumer_heartbeat_interval: HumanDuration::new(options.consumer_heartbeat_interval),
            consumer_members_max: options.consumer_members_max,
            offsets_retention: HumanDuration::new(options.offsets_retention),
        }
    }
}

impl Groups {
    /// The coordinator's options that say so.
    pub(crate) fn options(&self) -> CoordinatorOptions {
        CoordinatorOptions {
            session_timeout_min: self.session_timeout_min.get(),
            session_timeout_max: self.session_timeout_max.get(),
            consumer_session_timeout: self.consumer_session_timeout.get(),
            consumer_heartbeat_interval: self.consumer_heartbeat_interval.get(),
            consumer_members_max: self.consumer_members_max,
            offsets_retention: self.offsets_retention.get(),
            ..CoordinatorOptions::default()
        }
    }
}
