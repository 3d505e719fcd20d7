//! The section `groups` of `lantern.yaml`: how consumer groups are coordinated.
//!
//! Not here: what the values mean together (`groups::Options`).

use broker::CoordinatorOptions;
use serde::{Deserialize, Serialize};
use stdx::HumanDuration;

/// What can be said about groups. Names in comments are Kafka's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_field_names,
    reason = "named as in the coordinator's options; those of the classic protocol may join them"
)]
pub(crate) struct Groups {
    /// `group.consumer.session.timeout.ms`: a member of the consumer protocol is out without a
    /// heartbeat for this long.
    pub(crate) consumer_session_timeout: HumanDuration,
    /// `group.consumer.heartbeat.interval.ms`: how often such members are told to send heartbeats.
    pub(crate) consumer_heartbeat_interval: HumanDuration,
    /// `group.consumer.max.size`: most members of such a group.
    pub(crate) consumer_members_max: usize,
}

impl Default for Groups {
    fn default() -> Self {
        let options = CoordinatorOptions::default();
        Self {
            consumer_session_timeout: HumanDuration::new(options.consumer_session_timeout),
            consumer_heartbeat_interval: HumanDuration::new(options.consumer_heartbeat_interval),
            consumer_members_max: options.consumer_members_max,
        }
    }
}

impl Groups {
    /// The coordinator's options that say so.
    pub(crate) fn options(&self) -> CoordinatorOptions {
        CoordinatorOptions {
            consumer_session_timeout: self.consumer_session_timeout.get(),
            consumer_heartbeat_interval: self.consumer_heartbeat_interval.get(),
            consumer_members_max: self.consumer_members_max,
            ..CoordinatorOptions::default()
        }
    }
}
