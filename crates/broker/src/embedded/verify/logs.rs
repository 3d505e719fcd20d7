//! The logs themselves: what recovery would do to each, and what is in every byte of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use commitlog::{
    CheckpointState, Damage, IndexState, RecoveryReport, SegmentFile, SegmentFinding,
    SegmentVerified,
};
use env::{Disk, Overlay};
use model::Offset;
use model::limits::GROUPS_TOPIC;
use parking_lot::Mutex;

use super::report::{Finding, PartitionVerified, StartAction, Verified};
use super::{VerifyError, VerifyOptions, VerifyProgress, errors};
use crate::embedded::open::OpenedLog;

/// A segment to be looked at.
struct Work<'a> {
    /// Its log's place among the logs.
    log: usize,
    segment: SegmentFile,
    newest: bool,
    known: &'a [Damage],
}

type Walked = Result<SegmentVerified, commitlog::Error>;

/// One log's findings and numbers, as they come together.
struct Log<'a> {
    opened: &'a OpenedLog,
    numbers: PartitionVerified,
    findings: Vec<Finding>,
    known: Vec<Damage>,
}

/// Looks at all logs, and notes partition by partition what is found.
pub(super) fn check(
    options: &VerifyOptions,
    dry: &Overlay,
    opened: &[OpenedLog],
    groups_end: Option<Offset>,
    progress: &VerifyProgress,
    into: &mut Verified,
) -> Result<(), VerifyError> {
    let mut logs: Vec<Log<'_>> = opened.iter().map(Log::new).collect();
    let mut segments = Vec::new();
    for (at, log) in logs.iter_mut().enumerate() {
        log.say_recovery(&*options.disk);
        if let (true, Some(end)) = (log.numbers.id.topic.as_str() == GROUPS_TOPIC, groups_end) {
            log.numbers.log_end = log.numbers.log_end.max(end);
        }
        match commitlog::segment_files(dry, &log.opened.dir, log.end()) {
            Ok(files) => segments.extend(files.into_iter().map(|file| (at, file))),
            Err(error) => log.unreadable(&error),
        }
    }
    let total = segments.iter().map(|(_, file)| file.bytes).sum();
    progress.read_all(total);
    let newest = |at: usize| segments.get(at + 1).map(|(log, _)| *log);
    let work: Vec<Work<'_>> = segments
        .iter()
        .enumerate()
        .map(|(at, (log, file))| Work {
            log: *log,
            segment: file.clone(),
            newest: newest(at) != Some(*log),
            known: &logs[*log].known,
        })
        .collect();
    let walked = walk_all(options, dry, &work, progress)?;
    let places: Vec<(usize, bool)> = work.iter().map(|work| (work.log, work.newest)).collect();
    for (((log, newest), (_, segment)), walked) in places.into_iter().zip(&segments).zip(walked) {
        logs[log].take(segment, newest, walked);
    }
    for mut log in logs {
        log.numbers.lost = log.lost();
        into.partitions.push(log.numbers);
        log.findings
            .into_iter()
            .for_each(|finding| into.note(finding));
    }
    Ok(())
}

/// Walks all segments, several at a time; answers in their order.
fn walk_all(
    options: &VerifyOptions,
    dry: &Overlay,
    work: &[Work<'_>],
    progress: &VerifyProgress,
) -> Result<Vec<Walked>, VerifyError> {
    let walk = |item: &Work<'_>| {
        progress.begin(&item.segment.path);
        let mut passed = |bytes| progress.add(bytes);
        let below = &*options.disk;
        commitlog::verify_segment(dry, below, &item.segment, item.known, &mut passed)
    };
    let threads = options.threads.min(work.len());
    if threads <= 1 {
        return Ok(work.iter().map(walk).collect());
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(work.len()));
    std::thread::scope(|scope| -> Result<(), VerifyError> {
        for _ in 0..threads {
            std::thread::Builder::new()
                .name("lantern-verify".to_owned())
                .spawn_scoped(scope, || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = work.get(index) else { break };
                        let walked = walk(item);
                        done.lock().push((index, walked));
                    }
                })
                .map_err(|source| VerifyError::Thread { source })?;
        }
        Ok(())
    })?;
    let mut done = done.into_inner();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, walked)| walked).collect())
}

impl<'a> Log<'a> {
    fn new(opened: &'a OpenedLog) -> Self {
        let report = opened.recovery.as_ref().ok();
        let known = report.map(|report| [&report.known_damage[..], &report.damage[..]].concat());
        Self {
            opened,
            numbers: PartitionVerified {
                id: opened.id.clone(),
                topic: opened.topic,
                dir: opened.dir.clone(),
                opens: report.is_some(),
                log_start: report.map_or(Offset::ZERO, |report| report.log_start),
                log_end: report.map_or(Offset::ZERO, |report| report.log_end),
                segments: 0,
                bytes: 0,
                batches: 0,
                records: 0,
                cut_bytes: report
                    .and_then(|report| report.cut.as_ref())
                    .map_or(0, |cut| cut.bytes),
                journal_bytes: opened.journal_bytes,
                rewritten_bytes: report.map_or(0, |report| report.rewritten_bytes),
                scanned_bytes: report.map_or(0, |report| report.scanned_bytes),
                lost: 0,
            },
            findings: Vec::new(),
            known: known.unwrap_or_default(),
        }
    }

    /// Where the last segment should end; nobody knows that of a log that does not open.
    fn end(&self) -> Option<Offset> {
        self.numbers.opens.then_some(self.numbers.log_end)
    }

    fn note(&mut self, path: PathBuf, place: Option<(u64, u64)>, what: String, start: StartAction) {
        self.findings.push(Finding {
            partition: Some(self.numbers.id.clone()),
            path,
            position: place.map(|(position, _)| position),
            bytes: place.map(|(_, bytes)| bytes),
            what,
            start,
        });
    }

    fn unreadable(&mut self, error: &commitlog::Error) {
        let path = match error {
            commitlog::Error::Io { path, .. } => path.clone(),
            _ => self.numbers.dir.clone(),
        };
        self.note(path, None, errors::chain(error), StartAction::Overlook);
    }

    /// What recovery would do, and the reasons as they stand on the disk.
    fn say_recovery(&mut self, disk: &dyn Disk) {
        match &self.opened.recovery {
            Ok(report) => self.say_report(disk, report),
            Err(reason) => {
                let dir = self.numbers.dir.clone();
                self.note(dir, None, reason.to_string(), StartAction::Unusable);
            }
        }
    }

    fn say_report(&mut self, disk: &dyn Disk, report: &RecoveryReport) {
        let dir = self.numbers.dir.clone();
        if report.checkpoint == CheckpointState::Doubtful {
            self.note(
                dir.join("checkpoint"),
                None,
                format!(
                    "it is missing or not legible: a start reads all {} bytes of the log",
                    report.scanned_bytes
                ),
                StartAction::Rebuild,
            );
        }
        if let Some(cut) = &report.cut {
            let path = commitlog::segment_path(disk, &dir, cut.segment);
            let why = why(disk, &path, cut.position, cut.at);
            self.note(
                path,
                Some((cut.position, cut.bytes)),
                format!("{why}; the log ends before it, at offset {}", cut.at),
                StartAction::Cut {
                    kept: cut.kept.clone(),
                },
            );
        }
        for damage in &report.damage {
            let path = commitlog::segment_path(disk, &dir, damage.segment);
            let why = why(disk, &path, damage.position, damage.from);
            let missing = damage.position == damage.position_end;
            let start = if missing {
                StartAction::Lose
            } else {
                StartAction::Quarantine
            };
            self.say_damage(path, damage, (!missing).then_some(why), start);
        }
        for damage in &report.known_damage {
            let path = commitlog::segment_path(disk, &dir, damage.segment);
            self.say_damage(path, damage, None, StartAction::Known);
        }
    }

    fn say_damage(
        &mut self,
        path: PathBuf,
        damage: &Damage,
        why: Option<String>,
        start: StartAction,
    ) {
        let lost = match damage.until.since(damage.from) {
            0 => "no offset is lost".to_owned(),
            1 => format!("offset {} is lost", damage.from),
            _ => format!("offsets {}..{} are lost", damage.from, damage.until),
        };
        let what = match why {
            Some(why) => format!("{why}; {lost}"),
            None => lost,
        };
        let place = (damage.position, damage.position_end - damage.position);
        self.note(path, Some(place), what, start);
    }

    /// Takes in what walking a segment found.
    fn take(&mut self, segment: &SegmentFile, newest: bool, walked: Walked) {
        self.numbers.segments += 1;
        self.numbers.bytes += segment.bytes;
        let found = match walked {
            Ok(found) => found,
            Err(error) => return self.unreadable(&error),
        };
        self.numbers.batches += found.batches;
        self.numbers.records += found.records;
        let more = found.more;
        for finding in found.findings {
            match finding {
                SegmentFinding::Damage { damage, why } => {
                    let why = why.map(|why| errors::chain(&why));
                    self.say_damage(segment.path.clone(), &damage, why, StartAction::Overlook);
                    self.known.push(damage);
                }
                SegmentFinding::Records {
                    position,
                    bytes,
                    offset,
                    source,
                } => {
                    let why = errors::chain(&source);
                    self.note(
                        segment.path.clone(),
                        Some((position, bytes)),
                        format!("the batch at offset {offset} cannot be taken apart: {why}"),
                        StartAction::Serve,
                    );
                }
            }
        }
        if more > 0 {
            self.note(
                segment.path.clone(),
                None,
                format!("{more} more findings in this segment"),
                StartAction::Overlook,
            );
        }
        self.say_index(segment, newest, found.index);
    }

    fn say_index(&mut self, segment: &SegmentFile, newest: bool, index: IndexState) {
        let what = match (index, newest) {
            // The newest segment's index is in memory, and kept now and then.
            (IndexState::Good, _) | (IndexState::Missing | IndexState::Other(_), true) => return,
            (IndexState::Missing, false) => "the index is missing".to_owned(),
            (IndexState::Other(covered), false) => format!(
                "the index covers {covered} bytes of a segment of {}",
                segment.bytes
            ),
            (IndexState::Broken, _) => "the index is not legible".to_owned(),
            (IndexState::Wrong, _) => {
                "the index says something else than the log: remove it".to_owned()
            }
        };
        let path = segment.path.with_extension("index");
        self.note(path, None, what, StartAction::Rebuild);
    }

    /// Offsets between the log's ends that no reader gets.
    fn lost(&self) -> u64 {
        let (start, end) = (self.numbers.log_start, self.numbers.log_end);
        let mut ranges: Vec<(Offset, Offset)> = self
            .known
            .iter()
            .map(|damage| (damage.from.max(start), damage.until.min(end)))
            .collect();
        ranges.sort_unstable();
        let (mut lost, mut at) = (0, start);
        for (from, until) in ranges {
            let from = from.max(at);
            lost += until.since(from);
            at = at.max(until);
        }
        lost
    }
}

/// Why there is no batch at a place, by the bytes that are there now.
fn why(disk: &dyn Disk, path: &std::path::Path, position: u64, expected: Offset) -> String {
    match commitlog::why_bad(disk, path, position, expected) {
        Ok(Some(why)) => errors::chain(&why),
        Ok(None) => "what is there is no part of the log".to_owned(),
        Err(error) => errors::chain(&error),
    }
}
