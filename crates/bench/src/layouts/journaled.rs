//! Segments in the page cache and a frame of the journal: `commitlog`'s own journal, used as the broker uses it.
//!
//! The journal's files had their first turns before, as after some time of a broker's life. A turn that ended is settled by a thread
//! beside the writer; where no file is free the segments are synced directly. Unlike in Lantern everything goes to the journal,
//! also appends that are too large for it to pay: the table shows from where on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Result, bail};
use bytes::Bytes;
use commitlog::{Journal, JournalError, LogId, Write};
use env::RealDisk;
use model::Offset;
use stdx::ByteSize;

use super::Case;
use super::files::noise;
use super::write::{Layout, sync_each};

/// As by default in Lantern.
const FILE_BYTES: ByteSize = ByteSize::from_mib(16);

/// More than the journal has files.
const TURNS_MAX: usize = 16;

pub(super) struct Journaled {
    files: Arc<Vec<File>>,
    batch: Bytes,
    position: u64,
    offset: u64,
    journal: Journal,
    /// Turns that ended, for the thread that settles them.
    ended: Option<SyncSender<u64>>,
    settled: Receiver<u64>,
    settler: Option<JoinHandle<Result<()>>>,
    /// Files synced directly.
    direct: u64,
}

impl Journaled {
    pub(super) fn new(dir: &Path, files: Vec<File>, case: Case) -> Result<Self> {
        let dir = dir.join("journal");
        let (mut journal, _) = Journal::open(RealDisk::shared(), &dir, FILE_BYTES, 1)?;
        journal.begin(&[])?;
        first_turns(&mut journal)?;
        let files = Arc::new(files);
        let (ended, turns) = sync_channel(TURNS_MAX);
        let (done, settled) = sync_channel(TURNS_MAX);
        let settler = std::thread::spawn({
            let files = Arc::clone(&files);
            move || settle(&files, &turns, &done)
        });
        Ok(Self {
            files,
            batch: noise(case.append as usize, 2).into(),
            position: 0,
            offset: 0,
            journal,
            ended: Some(ended),
            settled,
            settler: Some(settler),
            direct: 0,
        })
    }

    /// Commits the frame, which is of these files, or syncs them.
    fn commit(&mut self, from: usize, until: usize) -> Result<()> {
        let committed = self.journal.commit();
        if let (Some(epoch), Some(ended)) = (self.journal.take_full(), &self.ended) {
            ended.try_send(epoch)?;
        }
        match committed {
            Ok(_) => Ok(()),
            Err(JournalError::NoRoom | JournalError::TooLarge { .. }) => {
                self.direct += (until - from) as u64;
                sync_each(self.files.get(from..until).unwrap_or_default())
            }
            Err(error) => bail!(error),
        }
    }
}

impl Layout for Journaled {
    fn round(&mut self) -> Result<()> {
        while let Ok(epoch) = self.settled.try_recv() {
            self.journal.release(epoch);
        }
        for file in self.files.iter() {
            file.write_all_at(&self.batch, self.position)?;
        }
        let count = self.files.len();
        let mut begin = 0;
        for at in 0..count {
            let log = LogId {
                topic: [7; 16],
                partition: at as u32,
            };
            let write = Write {
                segment: Offset::ZERO,
                position: self.position,
                next: Offset::new(self.offset + 1),
                bytes: self.batch.clone(),
            };
            self.journal.push(log, &write);
            if at + 1 == count || self.journal.is_frame_full() {
                self.commit(begin, at + 1)?;
                begin = at + 1;
            }
        }
        self.position += self.batch.len() as u64;
        self.offset += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<u64> {
        self.ended = None;
        if let Some(settler) = self.settler.take() {
            match settler.join() {
                Ok(settled) => settled?,
                Err(_) => bail!("the thread that settles panicked"),
            }
        }
        sync_each(&self.files)?;
        Ok(self.direct)
    }
}

/// Overwrites two files once: from then on their blocks are there.
fn first_turns(journal: &mut Journal) -> Result<()> {
    let filler = Write {
        segment: Offset::ZERO,
        position: 0,
        next: Offset::new(1),
        bytes: noise(1 << 20, 3).into(),
    };
    let log = LogId {
        topic: [0; 16],
        partition: 0,
    };
    let mut ended = 0;
    while ended < 2 {
        journal.push(log, &filler);
        journal.commit()?;
        // Released at once, but behind the file that was begun meanwhile.
        if let Some(epoch) = journal.take_full() {
            ended += 1;
            journal.release(epoch);
        }
    }
    Ok(())
}

fn settle(files: &[File], turns: &Receiver<u64>, done: &SyncSender<u64>) -> Result<()> {
    for epoch in turns {
        sync_each(files)?;
        // Nobody listens any more when the run is over.
        let _heard = done.try_send(epoch);
    }
    Ok(())
}
