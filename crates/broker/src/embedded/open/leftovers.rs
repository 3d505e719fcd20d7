//! What earlier runs left behind: deletions that were interrupted, directories that the catalog does not name.

use std::path::Path;
use std::sync::Arc;

use model::{Offset, PartitionId, TopicName, TopicPartition};

use crate::TopicConfig;
use crate::embedded::catalog::{DATA_DIR, parse_id};
use crate::embedded::errors::OpenError;
use crate::embedded::log_dirs::LogDir;
use crate::embedded::partition::Partition;
use crate::embedded::report::RecoveryReport;
use crate::embedded::topics::finish_deletion;
use crate::embedded::{Shared, events, store};

pub(super) fn finish_deletions(shared: &Shared, report: &mut RecoveryReport) {
    let mut catalog = shared.catalog.lock();
    for deletion in catalog.deleting.clone() {
        if finish_deletion(shared, &mut catalog, &deletion) {
            events::deletion_finished(&deletion.name, deletion.id);
            report.deletions_finished.push(deletion.name);
        }
    }
}

/// Directories of topics the catalog does not name: creations that never finished go, what holds
/// records stays and is reported.
pub(super) fn look_at_unknown(
    shared: &Shared,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let options = &shared.options;
    let catalog = shared.catalog.lock();
    let mut dirs = Vec::new();
    for log_dir in shared.log_dirs.in_use() {
        let there = match store::topic_dirs(options, &log_dir.root) {
            Ok(there) => there.into_iter(),
            Err(error) if log_dir.number != DATA_DIR => {
                events::not_listed(&log_dir.root, &error);
                continue;
            }
            Err(error) => return Err(error),
        };
        dirs.extend(there.map(|(name, id, path)| (log_dir, name, id, path)));
    }
    for (log_dir, name, id, path) in dirs {
        let known = parse_id(&id).is_some_and(|id| {
            let topic = catalog
                .topics
                .iter()
                .any(|(topic, entry)| topic.as_str() == name && entry.id == id);
            topic || catalog.deleting.iter().any(|deleted| deleted.id == id)
        });
        if known {
            continue;
        }
        if holds_records(shared, log_dir, &name, &id, &path)? {
            events::directory_unknown(&path);
            report.unknown_directories.push(path);
        } else if let Err(error) = store::remove_topic_dir(options, &path) {
            events::files_left(&path, "remove", &error);
        }
    }
    Ok(())
}

/// Whether any partition in a directory nobody knows has records; when in doubt it has.
fn holds_records(
    shared: &Shared,
    log_dir: &Arc<LogDir>,
    name: &str,
    id: &str,
    dir: &Path,
) -> Result<bool, OpenError> {
    let options = &shared.options;
    let (Ok(name), Some(topic)) = (TopicName::new(name), parse_id(id)) else {
        return Ok(true);
    };
    for number in store::names(options, dir)? {
        let Ok(number) = number.parse() else {
            return Ok(true);
        };
        let id = TopicPartition::new(name.clone(), PartitionId::new(number));
        let config = TopicConfig::default();
        match Partition::open(options, &shared.memory, log_dir, id, topic, &config) {
            Ok(opened) if opened.partition.end() == Offset::ZERO => (),
            Ok(_) | Err(_) => return Ok(true),
        }
    }
    Ok(false)
}
