//! What was found, for people: a table of partitions, then what is wrong, then what is worth knowing.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use broker::{Finding, PartitionVerified, Verified};
use stdx::Counted;

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A number of bytes to one decimal.
pub(super) fn bytes(number: u64) -> String {
    if number < 1_024 {
        return format!("{number} B");
    }
    let (mut value, mut unit) = (number as f64, 0);
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Bytes a second.
pub(super) fn rate(bytes: u64, took: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000 / took.as_millis().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The whole report.
pub(super) fn report(data_dir: &Path, found: &Verified) -> String {
    let mut out = String::new();
    table(&mut out, found);
    let (problems, notes): (Vec<_>, Vec<_>) = found
        .findings
        .iter()
        .partition(|finding| finding.is_problem());
    findings(&mut out, "Wrong:", &problems);
    findings(&mut out, "Worth knowing:", &notes);
    if found.more > 0 {
        let _ = writeln!(out, "\nand {} more things that are wrong", found.more);
    }
    let _ = writeln!(out, "\n{}", groups(found));
    let _ = writeln!(out, "{}", how_it_ended(found));
    let _ = writeln!(
        out,
        "{} in {:.1} s ({}/s)",
        bytes(found.bytes()),
        found.took.as_secs_f64(),
        bytes(rate(found.bytes(), found.took))
    );
    let verdict = match (found.is_sound(), found.opens) {
        (true, _) => "sound".to_owned(),
        (false, true) => format!("not sound: {}", Counted(problems.len(), "problem")),
        (false, false) => format!(
            "not sound, and Lantern would not start: {}",
            Counted(problems.len(), "problem")
        ),
    };
    let _ = writeln!(out, "{} is {verdict}", data_dir.display());
    out
}

fn table(out: &mut String, found: &Verified) {
    let head = [
        "partition",
        "segments",
        "records",
        "bytes",
        "offsets",
        "state",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(found.partitions.iter().map(|log| {
        [
            format!("{}-{}", log.id.topic, log.id.partition),
            log.segments.to_string(),
            log.records.to_string(),
            bytes(log.bytes),
            format!("{}..{}", log.log_start, log.log_end),
            state(log, found),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for column in 1..5 {
            let _ = write!(line, "  {:>1$}", row[column], widths[column]);
        }
        let _ = write!(line, "  {}", row[5]);
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A partition in a few words.
fn state(log: &PartitionVerified, found: &Verified) -> String {
    let mut parts = Vec::new();
    let of_it =
        |finding: &&Finding| finding.is_problem() && finding.partition.as_ref() == Some(&log.id);
    match found.findings.iter().filter(of_it).count() {
        0 => parts.push("good".to_owned()),
        count => parts.push(Counted(count, "problem").to_string()),
    }
    if !log.opens {
        parts.push("out of service".to_owned());
    }
    if log.lost > 0 {
        let count = usize::try_from(log.lost).unwrap_or(usize::MAX);
        parts.push(format!("{} lost", Counted(count, "offset")));
    }
    for (bytes_of, what) in [
        (log.cut_bytes, "to cut"),
        (log.journal_bytes, "to redo from the journal"),
    ] {
        if bytes_of > 0 {
            parts.push(format!("{} {what}", bytes(bytes_of)));
        }
    }
    parts.join(", ")
}

fn findings(out: &mut String, title: &str, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for finding in findings {
        let _ = write!(out, "  {}", finding.path.display());
        if let Some(position) = finding.position {
            let _ = write!(out, " at byte {position}");
        }
        if let Some(count) = finding.bytes {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let _ = write!(out, ", {}", Counted(count, "byte"));
        }
        let _ = writeln!(
            out,
            "\n    {}\n    A start {}.",
            finding.what, finding.start
        );
    }
}

fn groups(found: &Verified) -> String {
    let groups = found.groups;
    let count = |number: u64, what| {
        Counted(usize::try_from(number).unwrap_or(usize::MAX), what).to_string()
    };
    format!(
        "{} with {}; {} before the log's start, {} behind its end, {} unreadable",
        count(groups.groups, "consumer group"),
        count(groups.commits, "committed offset"),
        groups.before_start,
        groups.beyond_end,
        count(groups.unreadable, "record"),
    )
}

fn how_it_ended(found: &Verified) -> &'static str {
    match (found.opens, found.clean) {
        (false, _) => "How the last run ended is not known.",
        (true, true) => "The last run ended in order.",
        (true, false) => "The last run was killed or the power failed; a start recovers.",
    }
}

#[cfg(test)]
mod tests {
    use broker::StartAction;
    use model::{Offset, PartitionId, TopicId, TopicPartition};

    use super::*;

    #[test]
    fn a_report_reads_from_the_table_to_the_verdict() {
        let id = TopicPartition::new("orders".parse().unwrap(), PartitionId::new(2));
        let mut found = Verified {
            opens: true,
            took: Duration::from_secs(2),
            ..Verified::default()
        };
        found.partitions.push(PartitionVerified {
            id: id.clone(),
            topic: TopicId::from_bytes([1; 16]),
            dir: "d/0".into(),
            opens: true,
            log_start: Offset::new(5),
            log_end: Offset::new(90),
            segments: 1,
            bytes: 5 << 20,
            batches: 9,
            records: 83,
            cut_bytes: 100,
            journal_bytes: 0,
            rewritten_bytes: 0,
            scanned_bytes: 0,
            lost: 2,
        });
        found.note(Finding {
            partition: Some(id),
            path: "d/0/00.log".into(),
            position: Some(700),
            bytes: Some(100),
            what: "there are zeros where a batch should be".to_owned(),
            start: StartAction::Cut { kept: None },
        });
        found.note(Finding {
            partition: None,
            path: "d/notes".into(),
            position: None,
            bytes: None,
            what: "nothing of Lantern's".to_owned(),
            start: StartAction::Leave,
        });
        assert_eq!(
            report(Path::new("d"), &found),
            "\
partition  segments  records    bytes  offsets  state
orders-2          1       83  5.0 MiB    5..90  1 problem, 2 offsets lost, 100 B to cut

Wrong:
  d/0/00.log at byte 700, 100 bytes
    there are zeros where a batch should be
    A start cuts it: nobody was promised these bytes.

Worth knowing:
  d/notes
    nothing of Lantern's
    A start leaves it alone.

0 consumer groups with 0 committed offsets; 0 before the log's start, 0 behind its end, 0 records unreadable
The last run was killed or the power failed; a start recovers.
5.0 MiB in 2.0 s (2.5 MiB/s)
d is not sound: 1 problem
"
        );
    }

    #[test]
    fn bytes_are_shown_to_one_decimal() {
        let shown = [0, 1_023, 1_024, 1_048_575, 10 << 30]
            .map(bytes)
            .join(" | ");
        assert_eq!(shown, "0 B | 1023 B | 1.0 KiB | 1.0 MiB | 10.0 GiB");
    }
}
