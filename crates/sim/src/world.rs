//! What outlives every life of the broker: the disk, the choices, what clients know, the history.

use std::cell::{Cell, RefCell};
use std::fmt::{Arguments, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use env::{Disk, DynDisk, SimDisk};
use model::Timestamp;

use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::sabotage::{Sabotage, sabotaged};

/// Where the broker keeps its data.
pub(crate) const DATA: &str = "/data";

/// A directory for logs on a second disk.
pub(crate) const SECOND: &str = "/second";

/// Which misfortunes a run may meet. Power cuts and kills are in every run.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be there without the others"
)]
pub(crate) struct Mood {
    /// Reads, writes and syncs fail.
    pub(crate) failing: bool,
    /// The disk fills up.
    pub(crate) full: bool,
    /// The disk takes its time.
    pub(crate) slow: bool,
    /// Bits flip.
    pub(crate) rot: bool,
    /// Tombstones of compacted topics stay so long.
    pub(crate) tombstones: Duration,
    /// The share of a log that waits for compaction before it begins.
    pub(crate) dirty: &'static str,
}

/// Everything beside the broker.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) dice: Dice,
    pub(crate) mood: Mood,
    /// The disk lies to the broker in this way.
    sabotage: Option<Sabotage>,
    pub(crate) oracle: RefCell<Oracle>,
    /// Bits flipped since the last start.
    pub(crate) flips: RefCell<Vec<(PathBuf, u64)>>,
    /// What the wall clock shows when the next life begins.
    pub(crate) wall: Cell<Timestamp>,
    /// Time of all lives that have ended.
    pub(crate) lived: Cell<Duration>,
    pub(crate) lives: Cell<u32>,
    /// Time between lives.
    pub(crate) away: Cell<Duration>,
    trace: RefCell<String>,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let dice = Dice::new(seed ^ 0x7061_6765);
        let mood = Mood {
            failing: dice.chance(45),
            full: dice.chance(30),
            slow: dice.chance(40),
            rot: dice.chance(20),
            tombstones: Duration::from_millis(*dice.of(&[0, 400, 3_000])),
            dirty: dice.of::<&str>(&["0.01", "0.3", "0.6"]),
        };
        let world = Self {
            disk: SimDisk::new(seed),
            dice,
            mood,
            sabotage,
            oracle: RefCell::default(),
            flips: RefCell::default(),
            wall: Cell::new(Timestamp::from_millis(1_700_000_000_000)),
            lived: Cell::default(),
            lives: Cell::default(),
            away: Cell::default(),
            trace: RefCell::default(),
        };
        world.note(
            Duration::ZERO,
            "world",
            format_args!("seed {seed}, {mood:?}"),
        );
        world
    }

    /// Writes a line of the history: `at` is the time within this life.
    pub(crate) fn note(&self, at: Duration, who: &str, what: Arguments<'_>) {
        let millis = (self.lived.get() + at).as_millis();
        let life = self.lives.get();
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.trace.borrow_mut(),
            "{millis:>7} life {life} {who:<12} {what}"
        );
    }

    /// The history so far.
    pub(crate) fn trace(&self) -> String {
        self.trace.borrow().clone()
    }

    /// The disk as the broker sees it.
    pub(crate) fn broker_disk(&self) -> DynDisk {
        match self.sabotage {
            Some(how) => sabotaged(&self.disk, how),
            None => self.disk.shared(),
        }
    }

    /// Whether the power is off.
    pub(crate) fn is_dark(&self) -> bool {
        self.disk.exists(Path::new(DATA)).is_err()
    }

    /// A checksum of all files.
    pub(crate) fn disk_digest(&self) -> u32 {
        let mut digest = 0;
        for (path, content) in self.disk.content() {
            digest = crc32c::crc32c_append(digest, path.as_os_str().as_encoded_bytes());
            digest = crc32c::crc32c_append(digest, &content);
        }
        digest
    }
}
