//! Looking through the log for what is due next, record by record, in memory for a capacity.

use std::collections::BinaryHeap;

use model::Position;

use super::Turn;

/// What a scan of the log is to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// This turn and later ones.
    pub from: Turn,
    /// Up to this position.
    pub end: Position,
    /// The earliest so many of them.
    pub capacity: usize,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The earliest, in any order.
    pub records: Vec<Turn>,
    /// Later ones begin here.
    pub horizon: Option<Turn>,
    /// How many those are.
    pub beyond: u64,
}

/// Collects what a scan finds.
#[derive(Debug)]
pub struct Scanner {
    scan: Scan,
    /// The latest is on top.
    earliest: BinaryHeap<Turn>,
    horizon: Option<Turn>,
    beyond: u64,
}

impl Scanner {
    /// Nothing looked at yet.
    pub fn new(scan: Scan) -> Self {
        Self {
            scan,
            earliest: BinaryHeap::new(),
            horizon: None,
            beyond: 0,
        }
    }

    /// Looks at one record of the log.
    pub fn look(&mut self, turn: Turn) {
        if turn < self.scan.from || turn.place >= self.scan.end {
            return;
        }
        if self.horizon.is_some_and(|horizon| turn >= horizon) {
            self.beyond += 1;
            return;
        }
        self.earliest.push(turn);
        if self.earliest.len() > self.scan.capacity {
            self.horizon = self.earliest.pop();
            self.beyond += 1;
        }
    }

    /// What was found.
    pub fn found(self) -> Found {
        Found {
            records: self.earliest.into_vec(),
            horizon: self.horizon,
            beyond: self.beyond,
        }
    }
}
