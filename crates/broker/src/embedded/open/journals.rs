//! What the journals have for logs that are opened: read before, redone by them, begun anew after.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ahash::AHashMap;
use commitlog::{Journal, LogId, Write};
use model::TopicId;
use stdx::ByteSize;

use crate::embedded::catalog::{Catalog, DATA_DIR, parse_id};
use crate::embedded::errors::OpenError;
use crate::embedded::log_dirs::LogDir;
use crate::embedded::report::RecoveryReport;
use crate::embedded::{Options, events, store};

/// A journal, and what it has for the logs of its directory.
pub(super) struct Found {
    pub(super) log_dir: Arc<LogDir>,
    journal: Journal,
    /// Bytes it holds altogether.
    pub(super) file_bytes: ByteSize,
    pub(super) writes: Vec<(LogId, Write)>,
    /// The same by log, while logs are opened.
    pub(super) redo: AHashMap<LogId, Vec<Write>>,
    /// Writes that were not redone.
    pub(super) passed_over: AtomicUsize,
}

impl Found {
    pub(super) fn read(
        options: &Options,
        log_dir: &Arc<LogDir>,
        catalog: &Catalog,
        report: &mut RecoveryReport,
    ) -> Result<Self, OpenError> {
        let dir = log_dir.root.join(store::JOURNAL_DIR);
        let mut secret = [0; 8];
        options.entropy.fill(&mut secret);
        let opened = Journal::open(
            Arc::clone(&options.disk),
            &dir,
            options.journal_bytes,
            u64::from_le_bytes(secret),
        );
        let (journal, found) = opened.map_err(|source| OpenError::Journal { source })?;
        for path in &found.damaged {
            events::journal_damaged(path);
        }
        report.journal_damaged.extend(found.damaged);
        let unknown = unknown_logs(options, &log_dir.root, catalog, &found.writes)?;
        let mut read = Self {
            log_dir: Arc::clone(log_dir),
            journal,
            file_bytes: found.file_bytes,
            writes: Vec::new(),
            redo: AHashMap::new(),
            passed_over: AtomicUsize::new(0),
        };
        for (log, write) in found.writes {
            if unknown.contains(&log.topic) {
                // Somebody may put the right catalog back.
                read.writes.push((log, write));
            } else {
                read.redo.entry(log).or_default().push(write);
            }
        }
        Ok(read)
    }

    /// Begins the journal anew with what is left in it; answers how much that is.
    pub(super) fn begin(
        mut self,
        options: &Options,
        report: &mut RecoveryReport,
    ) -> Result<Option<(PathBuf, usize)>, OpenError> {
        let passed_over = self.passed_over.into_inner();
        if passed_over > 0 {
            keep_journal(&mut self.journal, passed_over, report);
        }
        let dir = self.log_dir.root.join(store::JOURNAL_DIR);
        let kept = (!self.writes.is_empty()).then_some((dir, self.writes.len()));
        if let Err(source) = self.journal.begin(&self.writes) {
            if self.log_dir.number == DATA_DIR {
                return Err(OpenError::Journal { source });
            }
            // The others do not wait for it. Redoing what stays once more at the next start changes nothing.
            events::journal_not_begun(&self.log_dir.root, &source);
            return Ok(kept);
        }
        *self.log_dir.journal.lock() = (options.journal_bytes.bytes() > 0).then_some(self.journal);
        Ok(kept)
    }
}

/// Keeps the journal's files aside: there are no other copies of what was passed over.
fn keep_journal(journal: &mut Journal, passed_over: usize, report: &mut RecoveryReport) {
    events::journal_passed_over(passed_over);
    for path in journal.keep_aside() {
        if !report.journal_damaged.contains(&path) {
            events::journal_damaged(&path);
            report.journal_damaged.push(path);
        }
    }
}

/// Bytes in entries of the journal.
pub(crate) fn length(writes: &[Write]) -> u64 {
    let bytes = writes.iter().map(|write| write.bytes.len() as u64);
    bytes.sum()
}

/// Topics that the journal names and the catalog does not, though they have a directory.
fn unknown_logs(
    options: &Options,
    root: &Path,
    catalog: &Catalog,
    promised: &[(LogId, Write)],
) -> Result<Vec<[u8; 16]>, OpenError> {
    let known = |topic: [u8; 16]| {
        let id = TopicId::from_bytes(topic);
        let deleting = catalog.deleting.iter().any(|deleted| deleted.id == id);
        deleting || catalog.topics.values().any(|entry| entry.id == id)
    };
    let mut unknown: Vec<[u8; 16]> = promised.iter().map(|(log, _)| log.topic).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown.retain(|topic| !known(*topic));
    if !unknown.is_empty() {
        let there = store::topic_dirs(options, root)?;
        let there: Vec<TopicId> = there.iter().filter_map(|(_, id, _)| parse_id(id)).collect();
        unknown.retain(|topic| there.contains(&TopicId::from_bytes(*topic)));
    }
    for topic in &unknown {
        events::journal_of_unknown(TopicId::from_bytes(*topic));
    }
    Ok(unknown)
}
