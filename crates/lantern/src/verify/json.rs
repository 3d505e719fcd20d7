//! What was found, for programs. Fields are added, never renamed; `docs/operate/verify.md` has the list.

use std::path::Path;

use anyhow::Result;
use broker::{Finding, PartitionVerified, Verified};
use serde_json::{Value, json};

/// The whole report, one object.
pub(super) fn report(data_dir: &Path, found: &Verified) -> Result<String> {
    let groups = found.groups;
    let report = json!({
        "data_dir": data_dir,
        "sound": found.is_sound(),
        "opens": found.opens,
        "clean": found.clean,
        "problems": found.problems() as u64 + found.more,
        "not_listed": found.more,
        "bytes": found.bytes(),
        "seconds": found.took.as_secs_f64(),
        "journal_bytes": found.journal_bytes,
        "partitions": found.partitions.iter().map(partition).collect::<Vec<_>>(),
        "groups": {
            "groups": groups.groups,
            "commits": groups.commits,
            "before_start": groups.before_start,
            "beyond_end": groups.beyond_end,
            "unreadable": groups.unreadable,
        },
        "findings": found.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn partition(log: &PartitionVerified) -> Value {
    json!({
        "topic": log.id.topic.as_str(),
        "partition": log.id.partition.get(),
        "directory": log.dir,
        "opens": log.opens,
        "log_start": log.log_start.get(),
        "log_end": log.log_end.get(),
        "segments": log.segments,
        "bytes": log.bytes,
        "batches": log.batches,
        "records": log.records,
        "lost_offsets": log.lost,
        "cut_bytes": log.cut_bytes,
        "journal_bytes": log.journal_bytes,
        "rewritten_bytes": log.rewritten_bytes,
        "scanned_bytes": log.scanned_bytes,
    })
}

fn finding(finding: &Finding) -> Value {
    let of = finding.partition.as_ref();
    json!({
        "problem": finding.is_problem(),
        "topic": of.map(|of| of.topic.as_str()),
        "partition": of.map(|of| of.partition.get()),
        "file": finding.path,
        "position": finding.position,
        "bytes": finding.bytes,
        "what": finding.what,
        "start": finding.start.word(),
        "start_text": finding.start.to_string(),
    })
}
