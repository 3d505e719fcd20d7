//! Opening bytes as if they were a log, or a file of a journal: for fuzzing, and for looking at a segment out of its place.

use std::path::Path;

use env::{Disk, Open, SimDisk};
use model::{Offset, Timestamp};

use crate::names::SegmentName;
use crate::{Error, JOURNAL_FILE_BYTES_MIN, Journal, JournalError, JournalFound};
use crate::{Log, Options, RecoveryReport};

/// Opens a journal whose only file has these bytes, in memory, and begins it anew with everything it
/// found kept. Never panics, and allocates in proportion to `file`.
///
/// # Errors
/// As [`Journal::open`] and [`Journal::begin`].
pub fn open_journal_bytes(file: &[u8]) -> Result<JournalFound, JournalError> {
    let dir = Path::new("/journal");
    let path = dir.join("0000.journal");
    let disk = SimDisk::new(0);
    let failed = |source| JournalError::Storage {
        action: "write",
        path: path.clone(),
        source,
    };
    disk.create_dir_all(dir).map_err(failed)?;
    let handle = disk.open(&path, Open::CreateNew).map_err(failed)?;
    handle.write_all_at(file, 0).map_err(failed)?;
    let (mut journal, found) = Journal::open(disk.shared(), dir, JOURNAL_FILE_BYTES_MIN, 2)?;
    journal.begin(&found.writes)?;
    let (_, again) = Journal::open(disk.shared(), dir, JOURNAL_FILE_BYTES_MIN, 2)?;
    debug_assert_eq!(again.writes, found.writes, "what is kept is found again");
    Ok(found)
}

/// Opens a log whose only file is a first segment with these bytes, in memory, and reads all of it,
/// by offset and by time. Never panics, and allocates in proportion to `segment` and what its batches
/// inflate to.
///
/// # Errors
/// As [`Log::open`] and [`crate::LogReader::read`].
pub fn open_bytes(segment: &[u8]) -> Result<RecoveryReport, Error> {
    let dir = Path::new("/log");
    let path = SegmentName::appended(Offset::ZERO).log_path(dir);
    let disk = SimDisk::new(0);
    let failed = |source| Error::Io {
        action: "write",
        path: path.clone(),
        source,
    };
    disk.create_dir_all(dir).map_err(failed)?;
    let file = disk.open(&path, Open::CreateNew).map_err(failed)?;
    file.write_all_at(segment, 0).map_err(failed)?;
    let now = Timestamp::from_millis(0);
    let (log, report) = Log::open(disk.shared(), dir, Options::default(), now)?;
    let reader = log.reader();
    let mut at = report.log_start;
    while at < report.log_end {
        match reader.read(at, 1 << 20, true, report.log_end) {
            Ok(bytes) => {
                let last = record::Batches::new(bytes).flatten().last();
                match last {
                    Some(batch) => at = batch.next_offset().max(at.next()),
                    None => break,
                }
            }
            Err(Error::Corrupt { until, .. }) => at = until.max(at.next()),
            Err(error) => return Err(error),
        }
    }
    if let Some(newest) = reader.max_timestamp()? {
        reader.find_time(newest.timestamp)?;
    }
    Ok(report)
}
