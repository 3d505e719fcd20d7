//! The section `ring_memory` of `lantern.yaml`: how much of what was published last is kept for followers in the process.
//!
//! Not here: what a ring is (`docs/operate/following.md`).

use serde::{Deserialize, Serialize};
use stdx::ByteSize;

/// The greatest size of the rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RingMemory {
    /// Bytes of batches in all rings; 0 keeps none, and followers read the log.
    pub(crate) process: ByteSize,
    /// Bytes of batches in the ring of one partition.
    pub(crate) partition: ByteSize,
    /// Slots that the ring of one partition may grow to, each for one append.
    pub(crate) slots: usize,
}

impl Default for RingMemory {
    fn default() -> Self {
        Self {
            process: ByteSize::from_mib(64),
            partition: ByteSize::from_mib(4),
            slots: 4_096,
        }
    }
}

/// Slots that a ring has at first, and those it may have: a slot is about 100 bytes also when it is empty.
const SLOTS: std::ops::RangeInclusive<usize> = 64..=65_536;

impl RingMemory {
    /// All problems, in words.
    pub(crate) fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !SLOTS.contains(&self.slots) {
            problems.push(format!(
                "ring_memory.slots is {}: it must be {} to {}",
                self.slots,
                SLOTS.start(),
                SLOTS.end()
            ));
        }
        if self.partition > self.process {
            problems.push(format!(
                "ring_memory.partition is {}: it cannot be more than ring_memory.process, which is {}",
                self.partition, self.process
            ));
        }
        problems
    }

    /// The options of a broker that say so.
    pub(crate) fn bounds(&self, options: broker::Options) -> broker::Options {
        broker::Options {
            ring_slots: *SLOTS.start(),
            ring_slots_max: self.slots,
            ring_bytes: self.partition,
            rings_bytes: self.process,
            ..options
        }
    }
}
