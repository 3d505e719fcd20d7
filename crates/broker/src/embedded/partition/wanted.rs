//! Who waits for bytes of one partition: long polls, each woken when what it asked for is there.

use std::sync::{Arc, Weak};

use model::Offset;

use super::publishing::Staged;
use crate::Demand;

/// One demand as this partition counts towards it.
#[derive(Debug)]
struct Want {
    demand: Weak<Demand>,
    /// What is published from here on counts.
    from: Offset,
    /// Bytes that count still.
    room: usize,
    committed: bool,
    /// Where readers of what is committed stopped last, and bytes published since that are behind that.
    stable: Offset,
    held: usize,
}

#[derive(Debug, Default)]
pub(super) struct Wants {
    wants: Vec<Want>,
    /// How many there may be before the forgotten ones are looked for.
    sweep_at: usize,
}

/// Fewer are not worth a sweep.
const SWEEP_MIN: usize = 16;

impl Wants {
    pub(super) fn add(
        &mut self,
        demand: &Arc<Demand>,
        from: Offset,
        room: Option<usize>,
        stable: Option<Offset>,
    ) {
        if self.wants.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.wants.retain(|want| want.demand.strong_count() > 0);
            self.sweep_at = self.wants.len() * 2;
        }
        let stable_now = stable.unwrap_or(from);
        self.wants.push(Want {
            demand: Arc::downgrade(demand),
            from,
            room: room.unwrap_or(usize::MAX),
            committed: stable.is_some(),
            stable: stable_now,
            // What is open already may be of any size.
            held: if stable_now < from { usize::MAX } else { 0 },
        });
    }

    /// Counts what was just published; readers of what is committed stop at `stable`.
    pub(super) fn published(&mut self, burst: &[Staged], readable: Offset, stable: Offset) {
        self.wants.retain_mut(|want| {
            let Some(demand) = want.demand.upgrade() else {
                return false;
            };
            let new = burst.iter().filter(|staged| staged.next > want.from);
            let new: usize = new.map(|staged| staged.size).sum();
            let bytes = want.due(new, readable, stable).min(want.room);
            want.room -= bytes;
            (bytes == 0 && !demand.is_over()) || demand.credit(bytes)
        });
    }

    /// No more will be published.
    pub(super) fn end(&mut self) {
        for want in self.wants.drain(..) {
            if let Some(demand) = want.demand.upgrade() {
                demand.end();
            }
        }
    }
}

impl Want {
    /// Bytes its reader can see now and could not before, of `new` ones and those held.
    fn due(&mut self, new: usize, readable: Offset, stable: Offset) -> usize {
        if !self.committed || stable >= readable {
            self.stable = readable;
            return std::mem::take(&mut self.held).saturating_add(new);
        }
        if stable > self.stable {
            // Some of it is decided; how much is not known in bytes, so all that was held counts.
            self.stable = stable;
            return std::mem::replace(&mut self.held, new);
        }
        self.held = self.held.saturating_add(new);
        0
    }
}
