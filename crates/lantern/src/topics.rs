//! The section `topics` of `lantern.yaml`: topics that come about without their own words for it.
//!
//! Not here: what the values mean together (`kafka_edge::Options`).

use serde::{Deserialize, Serialize};

/// What can be said about new topics. Names in comments are Kafka's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Topics {
    /// `auto.create.topics.enable`: whether asking about a topic may create it, when the client wishes so.
    pub(crate) auto_create: bool,
    /// `num.partitions`: partitions of a topic whose creator names no number.
    pub(crate) partitions: u32,
}

impl Default for Topics {
    fn default() -> Self {
        let options = kafka_edge::Options::default();
        Self {
            auto_create: options.auto_create_topics,
            partitions: options.partitions_default,
        }
    }
}
