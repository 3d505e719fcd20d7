//! What consumer groups left: every record of `lantern.groups`, and whether committed offsets lie inside
//! their partitions.

use record::Batches;

use super::about;
use super::report::{Finding, StartAction, Verified};
use crate::coordinator::is_readable;
use crate::embedded::group_records::{KIND_COMMIT, parse_commit_key, parse_commit_value};
use crate::embedded::{Shared, errors, store};
use crate::{Error, ReadLimit};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Checks what a start read into memory, and the records themselves.
pub(super) fn check(shared: &Shared, into: &mut Verified) {
    if shared.groups.check_readable().is_err() {
        // Said already: the partition is out of service.
        return;
    }
    check_commits(shared, into);
    if let Err(error) = check_records(shared, into) {
        let dir = shared.options.data_dir.join(store::TOPICS_DIR);
        let what = errors::chain(&error);
        into.note(about(dir, what, StartAction::Overlook));
    }
}

fn check_commits(shared: &Shared, into: &mut Verified) {
    let progress = shared.progress.lock();
    for group in progress.groups() {
        into.groups.groups += 1;
        for (of, commit) in progress.group(&group).into_iter().flatten() {
            into.groups.commits += 1;
            let Ok(partition) = shared.partition(of) else {
                continue;
            };
            if partition.check_readable().is_err() {
                continue;
            }
            let marks = partition.marks();
            into.groups.before_start += u64::from(commit.position < marks.log_start);
            if commit.position <= marks.log_end {
                continue;
            }
            into.groups.beyond_end += 1;
            into.note(Finding {
                partition: Some(of.clone()),
                ..about(
                    partition
                        .log_dir()
                        .root
                        .join(store::TOPICS_DIR)
                        .join(of.topic.as_str()),
                    format!(
                        "group '{group}' has committed offset {}, and the log ends at {}",
                        commit.position.bits(),
                        marks.log_end.bits()
                    ),
                    StartAction::Leave,
                )
            });
        }
    }
}

fn check_records(shared: &Shared, into: &mut Verified) -> Result<(), Error> {
    let groups = &shared.groups;
    let limit = ReadLimit {
        bytes: READ_BYTES,
        at_least_one: true,
    };
    let (mut from, end) = (groups.log_start(), groups.readable());
    while from < end {
        let before = from;
        for batch in Batches::new(groups.read(from, limit, end)?) {
            let batch = batch.map_err(|error| groups.corrupt(&error))?;
            from = batch.last_offset().next();
            let records = batch.records().map_err(|error| groups.corrupt(&error))?;
            for record in &records {
                let record = record.map_err(|error| groups.corrupt(&error))?;
                let key = record.key.unwrap_or_default();
                let readable = match key.first() {
                    Some(&KIND_COMMIT) => {
                        let value = record.value.map(parse_commit_value);
                        parse_commit_key(key).is_some() && value.is_none_or(|it| it.is_some())
                    }
                    _ => is_readable(key, record.value),
                };
                if readable {
                    continue;
                }
                into.groups.unreadable += 1;
                into.note(Finding {
                    partition: Some(groups.id().clone()),
                    ..about(
                        shared.options.data_dir.join(store::TOPICS_DIR),
                        format!(
                            "the record of a group at offset {} cannot be read",
                            record.offset
                        ),
                        StartAction::PassOver,
                    )
                });
            }
        }
        if from == before {
            break;
        }
    }
    Ok(())
}
