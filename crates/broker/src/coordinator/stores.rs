//! Group states that wait to be stored, and the writing of them.
//!
//! Invariants: at most one state per group and member waits (a newer one replaces it and carries its
//! ids), so the queue is bounded by the number of groups and members; states of one group are stored in
//! order, since one task writes, and those of one moment in one batch, whole or not at all; every id is
//! reported exactly once.

use std::collections::BTreeMap;

use groups::consumer::{Changes, HeaderRecord, MemberRecord};
use groups::{Snapshot, StoreId};
use model::{GroupId, Timestamp};
use record::{BatchBuilder, CheckedBatch, Compression};
use tokio::sync::oneshot;

use super::records::{header_key, key, member_key};

/// A batch of states is closed from here on: one state may be larger, many are not.
const BATCH_BYTES: usize = 256 << 10;

/// One group's state that waits to be stored.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Keys, and values unless they are gone.
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
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
    pub(super) fn push(&mut self, group: GroupId, id: StoreId, snapshot: Option<&Snapshot>) {
        let record = (key(&group), snapshot.map(Snapshot::encode));
        let waiting = self.waiting.entry(group).or_default();
        waiting.records.extend([record]);
        waiting.ids.push(id);
    }

    pub(super) fn push_changes(&mut self, group: GroupId, id: StoreId, changes: Changes) {
        let header = changes.header.into_iter();
        let header = header.map(|header| {
            let value = header.as_ref().map(HeaderRecord::encode);
            (header_key(&group), value)
        });
        let members = changes.members.into_iter();
        let members = members.map(|(member, record)| {
            let value = record.as_ref().map(MemberRecord::encode);
            (member_key(&group, &member), value)
        });
        let records: Vec<_> = header.chain(members).collect();
        let waiting = self.waiting.entry(group).or_default();
        waiting.records.extend(records);
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
            for (key, value) in &waiting.records {
                builder.push(now, Some(key), value.as_deref(), &[]);
            }
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
