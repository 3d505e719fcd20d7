//! Records whose time has not come: which are due next, of any number, in bounded memory.
//!
//! They lie in a log of their own, in the order they were put there. Memory holds the earliest, up to a capacity, in the
//! order of their [`Turn`]: by time, and by place where times are equal. Every turn at the *horizon* or later is in the log
//! only. When little is left in memory, the log is read once more for the next ones. With capacity C and N records each of
//! them is looked at about N / C times in its life, and memory does not grow with N, also when all are due at once.
//!
//! How far deliveries are is one turn, the *threshold*: whatever had its turn before is done. It is committed, and a start
//! reads the log from it on. So a restart may deliver again what came after the threshold, and loses nothing: the threshold is
//! never after the turn of something that is being put into the log, waits, or is under way.
//!
//! A log can be cut only from its front, where one record that is due in a year would keep all that came after it. So when
//! more of the log is done than waits, its front is *carried*: what still waits there is appended again, and all of it deleted.
//! Each carry frees at least as many records as it copies, over the whole log; the log stays within twice what waits and a
//! slack. What is due soon is left alone, so that nothing is taken from a place that is being deleted.
//!
//! Times are Unix milliseconds. Not here: reading and writing the log (`dispatch`).

mod scan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use model::Position;
use stdx::TimingWheel;

pub use scan::{Found, Scan, Scanner};

/// Records due sooner than this after a carry began are not carried, and others are not delivered until it ended.
const QUIET_MILLIS: u64 = 60_000;

/// When a record is due and where it lies: records come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Turn {
    /// Unix milliseconds.
    pub due: u64,
    /// Its place in the log of what waits.
    pub place: Position,
}

impl Turn {
    /// The first turn at a time.
    pub fn at(due: u64) -> Self {
        Self {
            due,
            place: Position::default(),
        }
    }
}

/// The records of one listener that wait for their time.
#[derive(Debug)]
pub struct Delayed {
    capacity: usize,
    wheel: TimingWheel<Position>,
    /// This turn and later ones are in the log only; `None`: none is.
    horizon: Option<Turn>,
    /// How many those are; `None`: not known before the first scan.
    beyond: Option<u64>,
    /// A scan of the log is under way, up to this position.
    scanning: Option<Position>,
    /// What was put aside behind a scan's end while it ran.
    during: Vec<Turn>,
    /// What is due at this time or later may be moving in the log.
    carrying: Option<u64>,
    /// Being written to the log, by due time.
    asides: BTreeMap<u64, usize>,
    /// Due, and not taken yet.
    due: VecDeque<Turn>,
    /// Taken and not finished, by ticket.
    under_way: VecDeque<(Position, Turn)>,
    tickets: u128,
    /// Every turn before it is done.
    threshold: Turn,
}

/// How the front of the log is to be carried; see [`Delayed::carry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carry {
    done_before: Turn,
    due_from: u64,
}

/// What becomes of a record at the front of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and may be deleted.
    Done,
    /// It is to be appended again, and then deleted.
    Carried,
    /// It has to stay, and so has all that follows.
    Stays,
}

impl Carry {
    /// What becomes of a record.
    pub fn fate(&self, turn: Turn) -> Fate {
        if turn < self.done_before {
            Fate::Done
        } else if turn.due >= self.due_from {
            Fate::Carried
        } else {
            Fate::Stays
        }
    }
}

impl Delayed {
    /// Before the first scan: every turn at `threshold` or later may be in the log.
    pub fn new(capacity: usize, now: u64, threshold: Turn) -> Self {
        Self {
            horizon: Some(threshold),
            beyond: None,
            threshold,
            ..Self::empty(capacity, now)
        }
    }

    /// Without anything in the log.
    pub fn empty(capacity: usize, now: u64) -> Self {
        Self {
            capacity: capacity.max(1),
            wheel: TimingWheel::new(now),
            horizon: None,
            beyond: Some(0),
            scanning: None,
            during: Vec::new(),
            carrying: None,
            asides: BTreeMap::new(),
            due: VecDeque::new(),
            under_way: VecDeque::new(),
            tickets: 0,
            threshold: Turn::default(),
        }
    }

    /// A scan that should be made now, of a log that ends at `end`; [`Self::scanned`] takes what it found.
    pub fn scan(&mut self, end: Position) -> Option<Scan> {
        let low = self.wheel.len() + self.due.len() <= self.capacity / 4;
        let may = low && self.scanning.is_none() && self.carrying.is_none();
        let from = self.horizon.filter(|_| may)?;
        self.scanning = Some(end);
        Some(Scan {
            from,
            end,
            capacity: self.capacity,
        })
    }

    /// What a scan found; `None` if it failed and should be made again.
    pub fn scanned(&mut self, found: Option<Found>) {
        self.scanning = None;
        let during = std::mem::take(&mut self.during);
        let Some(found) = found else {
            // The next scan finds them.
            return;
        };
        self.horizon = found.horizon;
        self.beyond = Some(found.beyond);
        for turn in found.records.into_iter().chain(during) {
            self.wait(turn);
        }
    }

    /// A record is about to be written to the log.
    pub fn put_aside(&mut self, due: u64) {
        *self.asides.entry(due).or_default() += 1;
    }

    /// It is there, durable; `None`: it could not be written.
    pub fn was_put_aside(&mut self, due: u64, place: Option<Position>) {
        if let Some(count) = self.asides.get_mut(&due) {
            *count -= 1;
            if *count == 0 {
                self.asides.remove(&due);
            }
        }
        let Some(place) = place else { return };
        let turn = Turn { due, place };
        match self.scanning {
            // The scan will find it, as it lies before its end.
            Some(end) if self.is_beyond(turn) && place < end => {}
            Some(_) if self.is_beyond(turn) => self.during.push(turn),
            _ => self.wait(turn),
        }
    }

    fn is_beyond(&self, turn: Turn) -> bool {
        self.horizon.is_some_and(|horizon| turn >= horizon)
    }

    fn wait(&mut self, turn: Turn) {
        if self.is_beyond(turn) {
            self.beyond = self.beyond.map(|beyond| beyond + 1);
            return;
        }
        if turn.due < self.wheel.now() {
            // It came due while it was written, or before it was found.
            self.due.push_back(turn);
            return;
        }
        self.wheel.insert(turn.due, turn.place);
        if self.wheel.len() > self.capacity * 2 {
            self.forget_the_latest();
        }
    }

    /// Half of what is in memory goes back behind the horizon.
    fn forget_the_latest(&mut self) {
        let mut all = Vec::with_capacity(self.wheel.len());
        self.wheel
            .each(|due, place| all.push(Turn { due, place: *place }));
        let middle = all.len() / 2;
        let (_, horizon, _) = all.select_nth_unstable(middle);
        let horizon = *horizon;
        self.horizon = Some(self.horizon.map_or(horizon, |old| old.min(horizon)));
        self.send_beyond();
    }

    /// Forgets what lies beyond the horizon: the log has it.
    fn send_beyond(&mut self) {
        let Some(horizon) = self.horizon else { return };
        let before = self.wheel.len();
        self.wheel
            .retain(|due, place| Turn { due, place: *place } < horizon);
        let sent = u64::try_from(before - self.wheel.len()).unwrap_or(u64::MAX);
        self.beyond = self.beyond.map(|beyond| beyond.saturating_add(sent));
    }

    /// Up to `limit` records that are due, each with a ticket: tickets grow by one.
    pub fn take(&mut self, now: u64, limit: usize) -> Vec<(Position, Turn)> {
        let due = &mut self.due;
        // What may be moving in the log is not taken before it has its place.
        let until = self
            .carrying
            .map_or(now, |from| now.min(from.saturating_sub(1)));
        if until >= self.wheel.now() {
            self.wheel.advance(until, |due_at, place| {
                due.push_back(Turn { due: due_at, place });
            });
        }
        let count = limit.min(due.len());
        let mut taken = Vec::with_capacity(count);
        for turn in self.due.drain(..count) {
            let ticket = Position::from_bits(self.tickets);
            self.tickets += 1;
            self.under_way.push_back((ticket, turn));
            taken.push((ticket, turn));
        }
        taken
    }

    /// The ticket the next record taken gets.
    pub fn next_ticket(&self) -> Position {
        Position::from_bits(self.tickets)
    }

    /// Every record with a ticket before `ticket` is finished.
    pub fn finished(&mut self, ticket: Position) {
        while self
            .under_way
            .front()
            .is_some_and(|(first, _)| *first < ticket)
        {
            self.under_way.pop_front();
        }
    }

    /// What to commit at `now`: every turn before it is done.
    pub fn threshold(&mut self, now: u64) -> Turn {
        let bounds = [
            self.asides.keys().next().copied().map(Turn::at),
            self.due.iter().min().copied(),
            self.under_way.iter().map(|(_, turn)| *turn).min(),
            self.during.iter().min().copied(),
            self.wheel.next_tick().map(Turn::at),
            self.horizon,
        ];
        let now = Turn::at(now);
        let threshold = bounds.into_iter().flatten().min().unwrap_or(now).min(now);
        self.threshold = self.threshold.max(threshold);
        self.threshold
    }

    /// How the front of a log of `length` records should be carried now, if it should: when more of it is done than waits, by
    /// `slack` records. Must be answered by [`Self::carried`]; nothing due then is delivered meanwhile.
    pub fn carry(&mut self, now: u64, length: u64, slack: u64) -> Option<Carry> {
        let done = length.saturating_sub(self.waiting()?);
        let wanted = done > self.waiting()?.saturating_add(slack);
        if !wanted || self.scanning.is_some() || self.carrying.is_some() {
            return None;
        }
        let due_from = now.max(self.wheel.now()).saturating_add(QUIET_MILLIS);
        self.carrying = Some(due_from);
        Some(Carry {
            done_before: self.threshold(now),
            due_from,
        })
    }

    /// These were carried: their turns, and where they are now.
    pub fn carried(&mut self, moved: &[(Turn, Position)]) {
        self.carrying = None;
        let places: HashMap<Position, Position> = moved
            .iter()
            .map(|(turn, place)| (turn.place, *place))
            .collect();
        if !places.is_empty() {
            self.wheel.retain(|_, place| {
                *place = places.get(place).copied().unwrap_or(*place);
                true
            });
            // One that is due at the horizon itself may have come behind it.
            self.send_beyond();
        }
    }

    /// When the next record is due, or earlier. `None`: nothing waits in memory.
    pub fn next_due(&self) -> Option<u64> {
        let due = self.due.front().map(|turn| turn.due);
        let next = self.wheel.next_tick();
        due.or_else(|| next.filter(|due| self.carrying.is_none_or(|from| *due < from)))
    }

    /// Records in memory.
    pub fn len(&self) -> usize {
        self.wheel.len() + self.due.len() + self.under_way.len()
    }

    /// Records that are not finished, those in the log only, too. `None`: not known before the first scan.
    pub fn waiting(&self) -> Option<u64> {
        let writing: usize = self.asides.values().sum();
        let memory = self.len() + self.during.len() + writing;
        Some(self.beyond? + u64::try_from(memory).unwrap_or(u64::MAX))
    }

    /// Nothing waits, as far as is known in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
            && self.horizon.is_none()
            && self.asides.is_empty()
            && self.carrying.is_none()
    }
}
