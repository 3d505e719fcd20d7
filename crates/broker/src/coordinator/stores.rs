//! Group states that wait to be stored, and the writing of them.
//!
//! Invariants: at most one state per group waits (a newer one replaces it and carries its ids), so
//! the queue is bounded by the number of groups; states of one group are stored in order, since one
//! task writes; every id is reported exactly once.

use std::collections::BTreeMap;

use groups::{Snapshot, StoreId};
use model::{GroupId, Timestamp};
use record::{BatchBuilder, CheckedBatch, Compression};
use tokio::sync::oneshot;

use super::records::key;

/// A batch of states is closed from here on: one state may be larger, many are not.
const BATCH_BYTES: usize = 256 << 10;

/// One group's state that waits to be stored.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) snapshot: Option<Snapshot>,
    /// Everyone this state answers: its own id and those of the states it replaced.
    pub(super) ids: Vec<StoreId>,
    /// Callers outside the engine who wait for it.
    pub(super) told: Vec<oneshot::Sender<bool>>,
}

/// All that wait, by group.
#[derive(Debug, Default)]
pub(super) struct Stores {
    waiting: BTreeMap<GroupId, Waiting>,
}

/// Some of them as one batch.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) batch: CheckedBatch,
    pub(super) stored: Vec<(GroupId, Waiting)>,
}

impl Stores {
    pub(super) fn push(&mut self, group: GroupId, id: StoreId, snapshot: Option<Snapshot>) {
        let fresh = || Waiting {
            snapshot: None,
            ids: Vec::new(),
            told: Vec::new(),
        };
        let waiting = self.waiting.entry(group).or_insert_with(fresh);
        waiting.snapshot = snapshot;
        waiting.ids.push(id);
    }

    /// Tells when what waits for `group` is stored. `None`: nothing waits.
    pub(super) fn tell(&mut self, group: &GroupId) -> Option<oneshot::Receiver<bool>> {
        let waiting = self.waiting.get_mut(group)?;
        let (sender, receiver) = oneshot::channel();
        waiting.told.push(sender);
        Some(receiver)
    }

    /// Takes all that wait, as batches.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut builder = BatchBuilder::new(Compression::Lz4);
        let mut stored = Vec::new();
        for (group, waiting) in std::mem::take(&mut self.waiting) {
            let value = waiting.snapshot.as_ref().map(Snapshot::encode);
            builder.push(now, Some(&key(&group)), value.as_deref(), &[]);
            stored.push((group, waiting));
            if builder.size() >= BATCH_BYTES {
                let batch = builder.build();
                builder = BatchBuilder::new(Compression::Lz4);
                chunks.push(Chunk {
                    batch,
                    stored: std::mem::take(&mut stored),
                });
            }
        }
        if !stored.is_empty() {
            chunks.push(Chunk {
                batch: builder.build(),
                stored,
            });
        }
        chunks
    }
}
