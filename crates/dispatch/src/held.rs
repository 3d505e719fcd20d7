//! A record that a listener holds, and what it keeps in memory.
//!
//! A record is a place in its batch, and a batch may be a place in a whole answer of the log: one record that waits long
//! would keep all of it. So each keeps the [`Charge`] of what it lies in, and [`compact`] copies records out of what is
//! mostly done with.

use std::collections::HashMap;
use std::sync::Arc;

use delivery::Queue;
use model::{Offset, TopicPartition};
use record::SharedRecord;

use crate::memory::{Budget, Charge};

/// What a copy costs besides its bytes.
const COPY_BYTES: usize = 256;
/// Smaller pieces of memory are left whole.
const COMPACT_BYTES: usize = 4 << 10;

/// Where records came from, and the memory they lie in.
#[derive(Debug)]
pub(crate) struct Lot {
    pub(crate) partition: Arc<TopicPartition>,
    pub(crate) charge: Arc<Charge>,
}

/// A record, its coordinates, and the memory it lies in.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) lot: Arc<Lot>,
    pub(crate) offset: Offset,
    pub(crate) shared: SharedRecord,
}

impl Held {
    /// A record that lies in no batch with others.
    pub(crate) fn alone(
        partition: Arc<TopicPartition>,
        offset: Offset,
        shared: SharedRecord,
        budget: &Arc<Budget>,
    ) -> Self {
        let charge = Arc::new(budget.charge(shared.size() + COPY_BYTES));
        let lot = Arc::new(Lot { partition, charge });
        Self {
            lot,
            offset,
            shared,
        }
    }

    /// A copy that keeps nothing but itself.
    pub(crate) fn copied(&self, budget: &Arc<Budget>) -> Self {
        let partition = Arc::clone(&self.lot.partition);
        Self::alone(partition, self.offset, self.shared.detached(), budget)
    }
}

/// Copies records out of memory of which less than half is still waited for.
pub(crate) fn compact(queue: &mut Queue<Held>, budget: &Arc<Budget>) {
    let mut used: HashMap<*const Charge, usize> = HashMap::new();
    for held in queue.payloads_mut() {
        *used.entry(Arc::as_ptr(&held.lot.charge)).or_default() += held.shared.size() + COPY_BYTES;
    }
    for held in queue.payloads_mut() {
        let charge = &held.lot.charge;
        let used = used.get(&Arc::as_ptr(charge)).copied().unwrap_or_default();
        if charge.bytes() > COMPACT_BYTES && used < charge.bytes() / 2 {
            *held = held.copied(budget);
        }
    }
}
