//! What the embedded broker says: each event writes its log line and bumps its counter together.
//!
//! Invariant: nothing is logged per record or per append, except when one fails in a way a person
//! must look at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use commitlog::{CleanReport, JournalError};
use model::{TopicId, TopicName, TopicPartition};
use tracing::{error, info, warn};

use super::OpenError;
use super::metrics::Metrics;
use crate::Error;

pub(crate) fn opened(
    data_dir: &Path,
    topics: usize,
    partitions: usize,
    clean: bool,
    took: Duration,
) {
    info!(
        data_dir = %data_dir.display(), topics, partitions, clean, ?took,
        "The data directory is open."
    );
}

pub(crate) fn closed(data_dir: &Path) {
    info!(data_dir = %data_dir.display(), "The data directory is closed.");
}

pub(crate) fn closed_without_room(data_dir: &Path, error: &Error) {
    warn!(
        data_dir = %data_dir.display(),
        %error,
        "The data directory is closed, but there was no room to say so: nothing is lost, and the next start takes longer."
    );
}

pub(crate) fn log_dir_not_marked(dir: &Path, error: &OpenError) {
    warn!(log_dir = %dir.display(), %error, "The damaged mark of a log directory could not be replaced.");
}

pub(crate) fn not_listed(dir: &Path, error: &OpenError) {
    warn!(log_dir = %dir.display(), %error, "A log directory could not be looked through for what belongs to no topic.");
}

pub(crate) fn not_placed(topic: &TopicName, dir: &Path, error: &Error) {
    warn!(%topic, log_dir = %dir.display(), %error, "A log directory takes no new partition: another one does.");
}

pub(crate) fn log_dir_not_taken_in(dir: &Path, missing: &str) {
    error!(
        log_dir = %dir.display(), missing,
        "A new log directory is not taken in while another one is missing: it may be where that one was."
    );
}

pub(crate) fn log_dir_missing(dir: &Path, partitions: usize, reason: &str) {
    error!(
        log_dir = %dir.display(), partitions, reason,
        "A log directory is missing: its partitions are out of service until a start finds it, everything else goes on."
    );
}

pub(crate) fn topic_created(topic: &TopicName, id: TopicId, partitions: u32) {
    info!(%topic, %id, partitions, "Topic created.");
}

pub(crate) fn topic_grown(topic: &TopicName, partitions: u32) {
    info!(%topic, partitions, "Topic got more partitions.");
}

pub(crate) fn topic_configured(topic: &TopicName) {
    info!(%topic, "Topic configured.");
}

pub(crate) fn topic_deleted(topic: &TopicName, id: TopicId) {
    info!(%topic, %id, "Topic deleted.");
}

pub(crate) fn deletion_finished(topic: &TopicName, id: TopicId) {
    info!(%topic, %id, "A deletion that was interrupted is finished.");
}

pub(crate) fn files_left(path: &Path, action: &'static str, reason: &dyn std::fmt::Display) {
    warn!(path = %path.display(), action, %reason, "Files could not be removed; the next start tries again.");
}

pub(crate) fn directory_unknown(path: &Path) {
    warn!(path = %path.display(), "A directory with records belongs to no topic; it is left alone.");
}

pub(crate) fn log_repaired(partition: &TopicPartition, what: &dyn std::fmt::Display) {
    warn!(%partition, %what, "Recovery changed a log.");
}

pub(crate) fn partition_unusable(metrics: &Metrics, partition: &TopicPartition, reason: &str) {
    metrics.frozen.inc();
    error!(%partition, reason, "A partition could not be opened; the others go on.");
}

pub(crate) fn frozen(metrics: &Metrics, partition: &TopicPartition, reason: &Arc<str>) {
    metrics.frozen.inc();
    error!(%partition, %reason, "A partition is frozen until Lantern restarts.");
}

pub(crate) fn disk_full(metrics: &Metrics, partition: &TopicPartition, first: bool) {
    metrics.disk_full.inc();
    if first {
        error!(%partition, "The disk is full; appends are refused until there is room.");
    }
}

pub(crate) fn disk_has_room(partition: &TopicPartition) {
    info!(%partition, "The disk has room again.");
}

pub(crate) fn panicked(metrics: &Metrics, partition: &TopicPartition, what: &'static str) {
    metrics.panics.inc();
    error!(%partition, what, "A panic was fenced.");
}

pub(crate) fn journal_broken(metrics: &Metrics, error: &JournalError) {
    metrics.journal_refusals.inc();
    let reason = super::errors::chain(error);
    error!(%reason, "The journal broke; every partition is flushed by itself until Lantern restarts.");
}

pub(crate) fn journal_not_begun(log_dir: &Path, error: &JournalError) {
    let reason = super::errors::chain(error);
    error!(
        log_dir = %log_dir.display(), %reason,
        "The journal of a log directory cannot be begun; each of its partitions is flushed by itself until Lantern restarts."
    );
}

pub(crate) fn journal_damaged(path: &Path) {
    error!(path = %path.display(), "A file of the journal lost entries; it is kept aside, named .damaged.");
}

pub(crate) fn journal_passed_over(writes: usize) {
    error!(
        writes,
        "The journal has records whose place in their segment is too far behind its end; they are not brought back."
    );
}

pub(crate) fn journal_of_unknown(id: TopicId) {
    warn!(%id, "The journal has records of a topic that the catalog does not name; they are kept there.");
}

pub(crate) fn journal_redone(partitions: usize, bytes: u64) {
    info!(partitions, bytes, "The journal was redone.");
}

pub(crate) fn journal_kept(error: &JournalError) {
    warn!(%error, "The journal could not be emptied; the next start redoes it in vain.");
}

pub(crate) fn helper_refused(error: &std::io::Error) {
    warn!(%error, "The system gives no thread for flushing; the others do without.");
}

pub(crate) fn retained(metrics: &Metrics, partition: &TopicPartition, bytes: u64) {
    metrics.retained_bytes.inc_by(bytes);
    info!(%partition, bytes, "Retention removed old segments.");
}

pub(crate) fn retention_failed(partition: &TopicPartition, error: &Error) {
    warn!(%partition, %error, "Retention failed; it tries again at its next turn.");
}

pub(crate) fn cleaned(
    metrics: &Metrics,
    partition: &TopicPartition,
    report: &CleanReport,
    took: Duration,
) {
    metrics.clean_runs.inc();
    metrics.clean_read_bytes.inc_by(report.read_bytes);
    metrics.clean_written_bytes.inc_by(report.written_bytes);
    metrics.clean_removed_records.inc_by(report.removed_records);
    info!(
        %partition, passes = report.passes, removed_records = report.removed_records,
        segments_before = report.segments_before, segments_after = report.segments_after,
        bytes_before = report.bytes_before, bytes_after = report.bytes_after,
        read_bytes = report.read_bytes, until = %report.until, stopped = report.stopped, ?took,
        "A partition was compacted."
    );
}

pub(crate) fn clean_failed(
    metrics: &Metrics,
    partition: &TopicPartition,
    reason: &str,
    given_up: bool,
) {
    metrics.clean_failures.inc();
    if given_up {
        error!(%partition, reason, "A partition cannot be compacted; it stays as it is until Lantern restarts.");
    } else {
        warn!(%partition, reason, "Compaction failed; it tries again at its next turn.");
    }
}

pub(crate) fn groups_compacted(metrics: &Metrics, before: u64, after: u64) {
    metrics.compactions.inc();
    info!(
        records_before = before,
        records_after = after,
        "Group progress was compacted."
    );
}

pub(crate) fn groups_compaction_failed(error: &Error) {
    warn!(%error, "Group progress could not be compacted; it tries again as more is committed.");
}

pub(crate) fn groups_damaged(error: &Error) {
    error!(
        %error,
        "The topic of the groups is damaged; what was stored there is passed over, and its groups go on from older progress."
    );
}

pub(crate) fn group_record_unreadable(count: u64) {
    warn!(
        count,
        "Records of group progress could not be read and were passed over."
    );
}

pub(crate) fn stale_progress_kept(topic: &TopicName, error: &Error) {
    warn!(%topic, %error, "Progress in a deleted topic could not be forgotten; the next start tries again.");
}
