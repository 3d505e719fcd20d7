//! What lies in a data directory beside the logs: copies that earlier starts kept aside, leftovers of
//! interrupted writes, and files nobody knows. None of it is read by a start; all of it is named.

use std::io;
use std::path::{Path, PathBuf};

use commitlog::FileKind;
use env::{Disk, Entry, Open, TEMPORARY_SUFFIX};

use super::report::{Finding, StartAction, Verified};
use crate::embedded::store::{
    CATALOG_FILE, CLEAN_FILE, JOURNAL_DIR, LOCK_FILE, MARK_FILE, RESERVE_FILE, TOPICS_DIR,
};

/// Files of a data directory.
pub(super) const IN_DATA_DIR: &[&str] = &[LOCK_FILE, CATALOG_FILE, CLEAN_FILE, RESERVE_FILE];

/// Files of another log directory.
pub(super) const IN_LOG_DIR: &[&str] = &[LOCK_FILE, MARK_FILE, RESERVE_FILE];

/// Looks at every name in a log directory; `ours` are the broker's files, `others` those that somebody above the broker keeps
/// there.
pub(super) fn look(
    disk: &dyn Disk,
    root: &Path,
    ours: &[&str],
    others: &[&str],
    into: &mut Verified,
) {
    let mut looker = Looker { disk, into };
    looker.each(root, |looker, path, entry| {
        let name = entry.name.as_str();
        let file = ours.contains(&name) || others.contains(&name);
        match (file, entry.is_dir) {
            (true, false) => {}
            (false, true) if name == JOURNAL_DIR => looker.journal(path),
            (false, true) if name == TOPICS_DIR => looker.topics(path),
            _ => {
                let replaced = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or_default();
                let replaced_whole = [CATALOG_FILE, CLEAN_FILE, MARK_FILE];
                let ours = ours.contains(&replaced) && replaced_whole.contains(&replaced);
                if ours || others.contains(&replaced) {
                    looker.temporary(path);
                } else {
                    looker.unknown(path);
                }
            }
        }
    });
}

struct Looker<'a> {
    disk: &'a dyn Disk,
    into: &'a mut Verified,
}

impl Looker<'_> {
    /// Every name in a directory; none if it is missing.
    fn each(&mut self, dir: &Path, mut visit: impl FnMut(&mut Self, &Path, &Entry)) {
        match self.disk.read_dir(dir) {
            Ok(entries) => {
                for entry in &entries {
                    visit(self, &dir.join(&entry.name), entry);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.into.note(Finding {
                partition: None,
                path: dir.to_owned(),
                position: None,
                bytes: None,
                what: format!("it cannot be listed: {error}"),
                start: StartAction::Unusable,
            }),
        }
    }

    fn journal(&mut self, dir: &Path) {
        self.each(dir, |looker, path, entry| {
            match commitlog::journal_file(&entry.name) {
                FileKind::Log if !entry.is_dir => {}
                FileKind::Damaged if !entry.is_dir => {
                    looker.kept(path, "a journal file that lost entries");
                }
                _ => looker.unknown(path),
            }
        });
    }

    fn topics(&mut self, dir: &Path) {
        self.directories(dir, |looker, topic| {
            looker.directories(topic, |looker, id| {
                looker.directories(id, Self::partition);
            });
        });
    }

    /// Visits the directories in a directory; files have no place there.
    fn directories(&mut self, dir: &Path, visit: impl Fn(&mut Self, &Path)) {
        self.each(dir, |looker, path, entry| {
            if entry.is_dir {
                visit(looker, path);
            } else {
                looker.unknown(path);
            }
        });
    }

    fn partition(&mut self, dir: &Path) {
        self.each(dir, |looker, path, entry| {
            match (commitlog::log_file(&entry.name), entry.is_dir) {
                (FileKind::Log | FileKind::Beside, false) => {}
                (FileKind::Temporary, false) => looker.temporary(path),
                (FileKind::Quarantine, true) => looker.each(path, |looker, path, _| {
                    looker.kept(path, "bytes of a log");
                }),
                _ => looker.unknown(path),
            }
        });
    }

    fn kept(&mut self, path: &Path, what: &str) {
        let bytes = self.length(path);
        self.harmless(
            path,
            bytes,
            format!("{what}, kept aside by an earlier start: may be removed when nobody needs it"),
        );
    }

    fn temporary(&mut self, path: &Path) {
        let what = "left by an interrupted write; the next one writes over it";
        self.harmless(path, self.length(path), what.to_owned());
    }

    fn unknown(&mut self, path: &Path) {
        let what = "nothing of Lantern's";
        self.harmless(path, self.length(path), what.to_owned());
    }

    fn harmless(&mut self, path: &Path, bytes: Option<u64>, what: String) {
        self.into.note(Finding {
            partition: None,
            path: PathBuf::from(path),
            position: None,
            bytes,
            what,
            start: StartAction::Leave,
        });
    }

    fn length(&self, path: &Path) -> Option<u64> {
        if self.disk.read_dir(path).is_ok() {
            return None;
        }
        let file = self.disk.open(path, Open::Read).ok()?;
        file.length().ok()
    }
}
