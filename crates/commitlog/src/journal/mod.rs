//! One disk's journal: makes small appends to many logs durable with one sync.
//!
//! **Problem.** A round of writes that touched a hundred logs costs a hundred syncs, one a file, however
//! few bytes there are.
//!
//! **Answer.** What a round wrote is also put into one frame here, and this file is synced alone. The
//! segments are synced later, by somebody who is in no hurry ([`Log::unsettled`](crate::Log::unsettled)).
//! After a crash the frames are done again over the segments ([`redo`](crate::redo)).
//!
//! ```text
//! file:  Free ──first frame of its turn──> Active ──no room for the next frame──> Full
//!          ^                                                                        │
//!          └── release: every log with entries in it was synced since ──────────────┘
//! ```
//! Invariants: a frame is promised when [`Journal::commit`] answered `Ok`; a file is overwritten only
//! after its release; frames of an earlier turn are never taken for frames of this one (each turn has
//! its own epoch). After a failed sync the journal is broken until it is opened anew; everything
//! promised before stays promised.
//!
//! Obstacles met on the way: a log that could not be opened must not lose its entries when the journal
//! begins anew, so they are written again first; a turn's end must be heard of also when the
//! commit that ended it failed, or its file would never be free again.
//!
//! Not here: which logs a file names (the broker's note of it decides about the release), threads,
//! clocks. Bytes: `docs/format/journal.md`; why: `docs/decisions/0010-journal.md`.

mod frame;
mod read;

use std::io;
use std::path::{Path, PathBuf};

use env::{DynDisk, DynFile, Open, is_full};
use stdx::ByteSize;

use self::frame::{Draft, FRAMES_AT, SECTOR, Turn};
pub use self::read::Found;
use crate::Write;

/// Files of a journal, at most. Two take turns; more are used while logs are slow to settle.
const FILES_MAX: usize = 4;

/// Largest number in a file's name.
const NUMBER_MAX: u32 = 9_999;

/// Smallest file: a header and a frame.
pub const JOURNAL_FILE_BYTES_MIN: ByteSize = ByteSize::from_kib(4);

/// A frame is to be committed when it is so large.
const FRAME_BYTES: u64 = 4 << 20;

/// A frame buffer larger than this is not kept from commit to commit.
const DRAFT_BYTES_KEPT: u64 = 1 << 20;

/// Which log an entry is of. The journal only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The topic's identity.
    pub topic: [u8; 16],
    /// The partition's number.
    pub partition: u32,
}

/// Where a commit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The turn that has the entries now.
    pub epoch: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Why a commit promised nothing.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The entries do not fit into a file.
    #[error("{bytes} bytes do not fit into a journal file")]
    TooLarge {
        /// What they would take.
        bytes: u64,
    },
    /// Every file waits for its release.
    #[error("all files of the journal are in use")]
    NoRoom,
    /// The disk is full; later commits may succeed.
    #[error("no room on the disk for {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A write or sync failed just now: the journal is broken from here on.
    #[error("cannot {action} {}", path.display())]
    Storage {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It broke earlier.
    #[error("the journal is broken until it is opened anew")]
    Broken,
}

/// A disk's journal, as its only writer holds it.
#[derive(Debug)]
pub struct Journal {
    disk: DynDisk,
    dir: PathBuf,
    file_bytes: u64,
    files: Vec<File>,
    active: Option<usize>,
    next_epoch: u64,
    next_sequence: u64,
    draft: Draft,
    /// A turn that ended and was not told yet.
    ended: Option<u64>,
    /// Files of the last run that lost something.
    damaged: Vec<u32>,
    broken: bool,
}

#[derive(Debug)]
struct File {
    number: u32,
    handle: DynFile,
    /// Which of the two header slots the next turn takes.
    slot: u64,
    /// The first turn takes both.
    slots_written: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Active {
        epoch: u64,
        position: u64,
    },
    Full {
        epoch: u64,
    },
    /// Has what an earlier run left; nothing is written to it.
    Kept,
}

impl Journal {
    /// Opens the journal in `dir` and reads what it promised; a missing one is made by the first
    /// commit. Nothing may be committed before [`Journal::begin`].
    ///
    /// `secret` is random: epochs begin there, so that nobody who may write records can make bytes that
    /// pass for a frame.
    ///
    /// # Errors
    /// [`JournalError::Storage`] when the directory or a file cannot be read.
    pub fn open(
        disk: DynDisk,
        dir: &Path,
        file_bytes: ByteSize,
        secret: u64,
    ) -> Result<(Self, Found), JournalError> {
        let mut journal = Self {
            disk,
            dir: dir.to_owned(),
            file_bytes: file_bytes.max(JOURNAL_FILE_BYTES_MIN).bytes(),
            files: Vec::new(),
            active: None,
            // Room for all epochs to come.
            next_epoch: secret >> 1,
            next_sequence: 0,
            draft: Draft::new(),
            ended: None,
            damaged: Vec::new(),
            broken: false,
        };
        let found = journal.read()?;
        Ok((journal, found))
    }

    /// Forgets everything an earlier run promised, except `kept`, which is promised anew: the logs of
    /// the rest are open and synced. Files that lost something are kept aside, named `.damaged`.
    ///
    /// # Errors
    /// As [`Journal::commit`]; what was promised before may still be promised then.
    pub fn begin(&mut self, kept: &[(LogId, Write)]) -> Result<(), JournalError> {
        let old = std::mem::take(&mut self.files);
        if !kept.is_empty()
            && let Err(error) = self.keep(&old, kept)
        {
            // Without room for a copy the files themselves stay. Redoing all of them once more at the
            // next start changes nothing.
            self.files.extend(old);
            return match error {
                JournalError::Full { .. } => Ok(()),
                other => Err(other),
            };
        }
        self.remove(&old)
    }

    /// Has [`Journal::begin`] keep aside what an earlier run left, as if it had lost something; answers the files.
    pub fn keep_aside(&mut self) -> Vec<PathBuf> {
        let kept = self.files.iter().filter(|file| file.state == State::Kept);
        self.damaged = kept.map(|file| file.number).collect();
        let numbers = self.damaged.iter();
        numbers.map(|number| path(&self.dir, *number)).collect()
    }

    /// Forgets everything this run promised: all logs are synced. What an earlier run promised and
    /// [`Journal::begin`] kept stays.
    ///
    /// # Errors
    /// [`JournalError::Storage`]; what was promised may still be promised then.
    pub fn close(mut self) -> Result<(), JournalError> {
        let mut old = std::mem::take(&mut self.files);
        old.retain(|file| file.state != State::Kept);
        self.remove(&old)
    }

    fn remove(&mut self, old: &[File]) -> Result<(), JournalError> {
        for file in old {
            let path = path(&self.dir, file.number);
            let gone = if self.damaged.contains(&file.number) {
                let aside = path.with_extension(format!("{:016x}.damaged", self.next_epoch));
                self.disk.rename(&path, &aside)
            } else {
                self.disk.remove_file(&path)
            };
            gone.map_err(|source| self.failed("remove", path, source))?;
        }
        self.damaged.clear();
        if old.is_empty() {
            return Ok(());
        }
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(|source| self.failed("sync", self.dir.clone(), source))
    }

    /// Writes what is kept into a file of its own, which is never released in this run.
    fn keep(&mut self, old: &[File], kept: &[(LogId, Write)]) -> Result<(), JournalError> {
        let taken: Vec<u32> = old.iter().map(|file| file.number).collect();
        let at = self.create(&taken)?;
        self.begin_turn(at)?;
        let limit = std::mem::replace(&mut self.file_bytes, u64::MAX);
        let mut kept = kept.iter().peekable();
        let mut done = Ok(());
        while let Some((log, write)) = kept.next() {
            self.draft.push(*log, write);
            if self.draft.size() >= DRAFT_BYTES_KEPT || kept.peek().is_none() {
                done = done.and(self.commit().map(|_| ()));
            }
        }
        self.file_bytes = limit;
        self.active = None;
        if let Some(file) = self.files.get_mut(at) {
            file.state = State::Kept;
        }
        done
    }

    /// Takes a write into the frame of the next commit.
    pub fn push(&mut self, log: LogId, write: &Write) {
        self.draft.push(log, write);
    }

    /// Whether it is time to commit: a frame is at most a quarter of a file, or 4 MiB.
    pub fn is_frame_full(&self) -> bool {
        self.draft.size() >= FRAME_BYTES.min(self.file_bytes / 4)
    }

    /// Promises what was pushed since the last commit: one write, one sync. After an error none of
    /// it is promised, and it must be made durable otherwise.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        let committed = self.write_frame();
        if self.draft.size() > DRAFT_BYTES_KEPT {
            self.draft = Draft::new();
        } else {
            self.draft.clear();
        }
        committed
    }

    /// The logs with entries in this turn were synced since it ended: its file is used again.
    pub fn release(&mut self, epoch: u64) {
        for file in &mut self.files {
            if file.state == (State::Full { epoch }) {
                file.state = State::Free;
            }
        }
    }

    /// Forgets what was pushed since the last commit.
    pub fn discard(&mut self) {
        self.draft.clear();
    }

    /// A turn that ended since this was last asked: when its logs are settled it is to be released.
    pub fn take_full(&mut self) -> Option<u64> {
        self.ended.take()
    }

    fn write_frame(&mut self) -> Result<Committed, JournalError> {
        if self.broken {
            return Err(JournalError::Broken);
        }
        let bytes = self.draft.size();
        if bytes > self.file_bytes - FRAMES_AT {
            return Err(JournalError::TooLarge { bytes });
        }
        let at = self.file_for(bytes)?;
        let sequence = self.next_sequence;
        let Some(file) = self.files.get_mut(at) else {
            return Err(JournalError::NoRoom);
        };
        let State::Active { epoch, position } = file.state else {
            return Err(JournalError::NoRoom);
        };
        let handle = DynFile::clone(&file.handle);
        let path = path(&self.dir, file.number);
        handle
            .write_all_at(self.draft.seal(epoch, sequence), position)
            .map_err(|source| self.failed("write", path.clone(), source))?;
        if let Err(source) = handle.sync_data() {
            // Full or not: after a failed sync nobody knows what is on the disk.
            self.broken = true;
            return Err(JournalError::Storage {
                action: "sync",
                path,
                source,
            });
        }
        if let Some(file) = self.files.get_mut(at) {
            let position = position + bytes;
            file.state = State::Active { epoch, position };
        }
        self.next_sequence += 1;
        Ok(Committed { epoch, bytes })
    }

    /// The file with room for a frame; begins a turn if need be.
    fn file_for(&mut self, bytes: u64) -> Result<usize, JournalError> {
        if let Some(at) = self.active
            && let Some(file) = self.files.get(at)
            && let State::Active { position, .. } = file.state
        {
            // Without a limit while entries are kept.
            if position.saturating_add(bytes) <= self.file_bytes {
                return Ok(at);
            }
            self.end_turn();
        }
        let free = |file: &File| file.state == State::Free;
        let at = match self.files.iter().position(free) {
            Some(at) => at,
            None if self.own_files() < FILES_MAX => self.create(&[])?,
            None => return Err(JournalError::NoRoom),
        };
        self.begin_turn(at)?;
        Ok(at)
    }

    fn own_files(&self) -> usize {
        let own = |file: &&File| file.state != State::Kept;
        self.files.iter().filter(own).count()
    }

    fn end_turn(&mut self) {
        if let Some(file) = self.active.take().and_then(|at| self.files.get_mut(at))
            && let State::Active { epoch, .. } = file.state
        {
            file.state = State::Full { epoch };
            self.ended = Some(epoch);
        }
    }

    /// Creates a file with the first number that is not taken.
    fn create(&mut self, taken: &[u32]) -> Result<usize, JournalError> {
        let used = |number: &u32| {
            taken.contains(number) || self.files.iter().any(|file| file.number == *number)
        };
        let number = (0..=NUMBER_MAX).find(|number| !used(number));
        let number = number.ok_or(JournalError::NoRoom)?;
        let path = path(&self.dir, number);
        // Until its name is durable nothing in it can be. One that is there is left over from a
        // creation that failed half-way.
        let created = self.disk.create_dir_all(&self.dir).and_then(|()| {
            let handle = self.disk.open(&path, Open::Create)?;
            handle.set_len(0)?;
            self.disk.sync_dir(&self.dir)?;
            Ok(handle)
        });
        let handle = created.map_err(|source| self.failed("create", path, source))?;
        self.files.push(File {
            number,
            handle,
            slot: 0,
            slots_written: false,
            state: State::Free,
        });
        Ok(self.files.len() - 1)
    }

    /// Begins a turn. Its header is durable before there is a frame, so that frames without a
    /// legible header are known to be damage; the header of the turn before stays until then. The
    /// first one is written twice.
    fn begin_turn(&mut self, at: usize) -> Result<(), JournalError> {
        let epoch = self.next_epoch;
        let first = self.next_sequence;
        // Also if it fails: this epoch may be in the file.
        self.next_epoch = self.next_epoch.saturating_add(1);
        let file = self.files.get_mut(at).ok_or(JournalError::NoRoom)?;
        let slot = Turn { epoch, first }.encode();
        let written = if file.slots_written {
            file.handle.write_all_at(&slot, file.slot * SECTOR)
        } else {
            file.handle.write_all_at(&slot.repeat(2), 0)
        };
        let written = written.and_then(|()| file.handle.sync_data());
        if let Err(source) = written {
            let path = path(&self.dir, file.number);
            return Err(self.failed("begin a turn of", path, source));
        }
        file.slots_written = true;
        file.slot = 1 - file.slot;
        file.state = State::Active {
            epoch,
            position: FRAMES_AT,
        };
        self.active = Some(at);
        Ok(())
    }

    /// What a failure other than a full disk leaves is not known: the journal is broken.
    fn failed(&mut self, action: &'static str, path: PathBuf, source: io::Error) -> JournalError {
        if is_full(&source) {
            return JournalError::Full { path, source };
        }
        self.broken = true;
        JournalError::Storage {
            action,
            path,
            source,
        }
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:04}.journal"))
}

/// The number in a journal file's name.
pub(crate) fn parse_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".journal")?;
    let right = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| digits.parse().ok())?
}
