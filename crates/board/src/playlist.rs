//! The rotation of a marquee lane: whose turn it is, since when and until when.
//!
//! Problem: a lane has room for one item at its head and many items that want it. Rotation must be
//! steady (everything comes by), fair by priority, and rude when it matters: what turns critical is
//! shown now and stays longer, what is in warning comes ahead of what is well. And after a restart
//! the lane goes on where it was.
//!
//! Answer: stride scheduling. Every item has a pass, the one with the smallest pass is next, and a turn
//! adds `1 / weight` to it; so an item of weight 4 comes four times as often as one of weight 1, and none
//! can starve. Weight is priority times level. An item that turns critical goes into a queue before all
//! of that and cuts the turn of a less urgent one short, but not below [`TURN_MIN`], so that a reader is
//! not robbed of what just appeared. An item never follows itself while there are others.
//!
//! Invariants: the head is always one of the items; `since <= until`; a turn ends at the first
//! [`Playlist::tick`] at or after `until`. Not here: clocks, cells, storage; it is told the time and its
//! state is read by [`Playlist::state`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use frame::Level;
use model::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Shortest turn: a critical item waits this long before it takes the place of one just shown.
pub const TURN_MIN: Duration = Duration::from_secs(1);

/// How much longer a critical item stays.
const CRITICAL_STAYS: u32 = 2;

/// One item as the playlist needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, stable across edits and restarts, unique in the lane.
    pub name: Arc<str>,
    /// How long one turn lasts.
    pub interval: Duration,
    /// 0 (most often) to 9.
    pub priority: u8,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Place of the item among the entries.
    pub item: usize,
    /// When the turn began.
    pub since: Timestamp,
    /// When it ends, as planned now.
    pub until: Timestamp,
}

/// What must survive a restart or an edit: by name, so that items may come and go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PlaylistState {
    /// The item at the head.
    pub item: String,
    /// How long it had been there, in milliseconds.
    pub elapsed_ms: i64,
    /// The passes, the smallest being 0.
    #[serde(default)]
    pub passes: BTreeMap<String, f64>,
}

/// The rotation of one lane.
#[derive(Debug)]
pub struct Playlist {
    slots: Vec<Slot>,
    current: usize,
    since: Timestamp,
    until: Timestamp,
    /// Items that turned critical and have not had their turn since, at most one entry each.
    urgent: VecDeque<usize>,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    level: Level,
    pass: f64,
}

impl Playlist {
    /// A lane that starts with its first item at `now`. `None` without entries.
    pub fn new(entries: Vec<Entry>, now: Timestamp) -> Option<Self> {
        let first = entries.first()?;
        let until = now.plus(first.interval);
        let slot = |entry| Slot {
            entry,
            level: Level::None,
            pass: 0.0,
        };
        let mut playlist = Self {
            slots: entries.into_iter().map(slot).collect(),
            current: 0,
            since: now,
            until,
            urgent: VecDeque::new(),
        };
        playlist.charge(0);
        Some(playlist)
    }

    /// A lane that goes on where `state` was; time that passed in between is not counted. Items that
    /// `state` does not know come soon; if the one at the head is gone, the lane starts anew.
    pub fn restore(entries: Vec<Entry>, state: &PlaylistState, now: Timestamp) -> Option<Self> {
        let mut playlist = Self::new(entries, now)?;
        let named = |slot: &Slot| *slot.entry.name == *state.item;
        let Some(current) = playlist.slots.iter().position(named) else {
            return Some(playlist);
        };
        for slot in &mut playlist.slots {
            let pass = state.passes.get(&*slot.entry.name).copied();
            slot.pass = pass.filter(|pass| pass.is_finite()).unwrap_or(0.0);
        }
        playlist.current = current;
        let elapsed = u64::try_from(state.elapsed_ms).unwrap_or(0);
        let stays = playlist.stays(current);
        playlist.since = now.minus(Duration::from_millis(elapsed).min(stays));
        playlist.until = playlist.since.plus(stays);
        Some(playlist)
    }

    /// Where the lane is.
    pub fn state(&self, now: Timestamp) -> PlaylistState {
        let least = self.least_pass(None);
        let pass = |slot: &Slot| (slot.entry.name.to_string(), slot.pass - least);
        PlaylistState {
            item: self.slots[self.current].entry.name.to_string(),
            elapsed_ms: now.millis().saturating_sub(self.since.millis()).max(0),
            passes: self.slots.iter().map(pass).collect(),
        }
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        Turn {
            item: self.current,
            since: self.since,
            until: self.until,
        }
    }

    /// Tells how `item` is doing now. May move the end of the current turn.
    ///
    /// # Panics
    /// If `item` is not below the number of entries.
    pub fn set_level(&mut self, item: usize, level: Level, now: Timestamp) {
        let before = std::mem::replace(&mut self.slots[item].level, level);
        if before == level {
            return;
        }
        match level {
            Level::Critical if item != self.current => self.urgent.push_back(item),
            Level::Critical | Level::Info | Level::Healthy | Level::None => (),
            Level::Warning => {
                let least = self.least_pass(Some(item));
                // Half a turn ahead: before its equals, not before all it was ever behind.
                self.slots[item].pass = self.slots[item].pass.min(least - 0.5);
            }
        }
        if level != Level::Critical {
            self.urgent.retain(|waiting| *waiting != item);
        }
        self.plan_end(now);
    }

    /// Ends the turn if it is over at `now`; whether another one began.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        if now < self.since {
            // The wall clock was set back: keep the length of the turn, not its date.
            let length = self.until.since(self.since);
            (self.since, self.until) = (now, now.plus(length));
        }
        if now < self.until {
            return false;
        }
        self.current = self.next();
        self.charge(self.current);
        self.since = now;
        self.plan_end(now);
        true
    }

    /// Lets the time stand still while nobody watches: moves the current turn by `span`.
    pub fn pause(&mut self, span: Duration) {
        self.since = self.since.plus(span);
        self.until = self.until.plus(span);
    }

    /// When the current turn ends: after its interval, or as early as it may while an urgent item waits.
    fn plan_end(&mut self, now: Timestamp) {
        let full = self.since.plus(self.stays(self.current));
        let gives_way =
            !self.urgent.is_empty() && self.slots[self.current].level != Level::Critical;
        let planned = if gives_way {
            full.min(self.since.plus(TURN_MIN))
        } else {
            full
        };
        self.until = planned.max(now);
    }

    fn next(&mut self) -> usize {
        if let Some(item) = self.urgent.pop_front() {
            return item;
        }
        let count = self.slots.len();
        // From the one after the current, so that equals take turns in the order they are written.
        (1..count)
            .map(|step| (self.current + step) % count)
            .min_by(|a, b| self.slots[*a].pass.total_cmp(&self.slots[*b].pass))
            .unwrap_or(self.current)
    }

    fn charge(&mut self, item: usize) {
        let least = self.least_pass(Some(item));
        let slot = &mut self.slots[item];
        // One that was passed over for long does not get all of that back at once.
        slot.pass = slot.pass.max(least - 1.0) + 1.0 / weight(slot);
    }

    fn least_pass(&self, but: Option<usize>) -> f64 {
        let others = self
            .slots
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != but);
        let least = others
            .map(|(_, slot)| slot.pass)
            .fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { 0.0 }
    }

    fn stays(&self, item: usize) -> Duration {
        let slot = &self.slots[item];
        if slot.level == Level::Critical {
            slot.entry.interval * CRITICAL_STAYS
        } else {
            slot.entry.interval
        }
    }
}

/// How often an item comes, against the others: priority 5 and well is 1.
fn weight(slot: &Slot) -> f64 {
    let level = match slot.level {
        Level::Critical => 4.0,
        Level::Warning => 2.0,
        Level::None | Level::Healthy | Level::Info => 1.0,
    };
    level * f64::from(10 - slot.entry.priority.min(9)) / 5.0
}
