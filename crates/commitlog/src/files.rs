//! What the names in a log's directory, and in a journal's, mean. For those who look for strangers.

use crate::names::SegmentName;
use crate::recovery::QUARANTINE;
use crate::{checkpoint, clean, flush_mark, journal, spare};
use std::path::Path;

/// What a file beside a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// The log itself, or a file of the journal.
    Log,
    /// A cache or a mark: lost without harm, or nearly.
    Beside,
    /// What an interrupted replacement left; the next one writes over it.
    Temporary,
    /// The directory of bytes that recovery kept aside.
    Quarantine,
    /// A journal's file that lost something and was kept aside.
    Damaged,
    /// Nothing of ours.
    Unknown,
}

/// What `name` in a log's directory is.
pub fn log_file(name: &str) -> FileKind {
    let at = |path: std::path::PathBuf| path.as_os_str() == name;
    let here = Path::new("");
    if SegmentName::parse(name).is_some() {
        FileKind::Log
    } else if SegmentName::parse_index(name).is_some()
        || at(checkpoint::path(here))
        || at(flush_mark::path(here))
        || at(clean::mark::path(here))
        || at(spare::path(here))
    {
        FileKind::Beside
    } else if name
        .strip_suffix(env::TEMPORARY_SUFFIX)
        .is_some_and(|replaced| {
            let cleaned = SegmentName::parse(replaced).is_some_and(|name| name.cleaned.is_some());
            cleaned || log_file(replaced) == FileKind::Beside
        })
    {
        FileKind::Temporary
    } else if name == QUARANTINE {
        FileKind::Quarantine
    } else {
        FileKind::Unknown
    }
}

/// What `name` in a journal's directory is.
pub fn journal_file(name: &str) -> FileKind {
    if journal::parse_name(name).is_some() {
        return FileKind::Log;
    }
    let damaged = name.strip_suffix(".damaged").and_then(|name| {
        let (number, epoch) = name.split_once('.')?;
        let right = number.len() == 4 && epoch.len() == 16;
        right.then_some(())
    });
    damaged.map_or(FileKind::Unknown, |()| FileKind::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_what_makes_them() {
        let log = |name: &str| log_file(name);
        assert_eq!(log("00000000000000000000.log"), FileKind::Log);
        assert_eq!(log("00000000000000000000.index"), FileKind::Beside);
        assert_eq!(log("checkpoint"), FileKind::Beside);
        assert_eq!(log("flushed"), FileKind::Beside);
        assert_eq!(log("cleaned"), FileKind::Beside);
        assert_eq!(log("spare"), FileKind::Beside);
        assert_eq!(log("checkpoint.tmp"), FileKind::Temporary);
        let cleaned = "00000000000000000000-00000000000000000300-0000000002";
        assert_eq!(log(&format!("{cleaned}.log")), FileKind::Log);
        assert_eq!(log(&format!("{cleaned}.index")), FileKind::Beside);
        assert_eq!(log(&format!("{cleaned}.log.tmp")), FileKind::Temporary);
        assert_eq!(log("quarantine"), FileKind::Quarantine);
        for strange in ["", "0.log", "00000000000000000000.log.tmp", "notes.txt"] {
            assert_eq!(log(strange), FileKind::Unknown, "{strange}");
        }
        assert_eq!(journal_file("0003.journal"), FileKind::Log);
        assert_eq!(
            journal_file("0003.00000000000000ff.damaged"),
            FileKind::Damaged
        );
        assert_eq!(journal_file("3.journal"), FileKind::Unknown);
    }
}
