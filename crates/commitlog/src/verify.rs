//! Looking at a log's directory without changing it: every byte read, every checksum computed, every
//! record taken apart, and what opening the log would cut, keep aside or give up.
//!
//! **Problem.** What a bad place is (a torn end that goes, or damage that is kept aside) is decided by
//! recovery from what checkpoint, flush mark and journal say. A second copy of these decisions would agree
//! with the first until one of them is changed.
//!
//! **Answer.** The first copy is run: [`Log::open`] over an [`Overlay`], which keeps its changes in
//! memory ([`dry_disk`]). Its report is what a start would do. Recovery believes what the checkpoint
//! describes, so then all segments are walked as the start would leave them, with the step
//! ([`scan`]) that recovery and readers take too; what is bad there readers would meet.
//!
//! Not here: the journal (the caller redoes its entries on the same overlay first), threads, text.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use env::{Disk, DynDisk, Open, Overlay};
use model::{Offset, Timestamp};
use record::CheckedBatch;

use crate::index::Index;
use crate::names;
use crate::recovery::QUARANTINE;
use crate::scan::{self, Bad, Located, Step, Window};
use crate::wire::to_usize;
use crate::{Damage, Error, Log, Options, RecoveryReport};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Findings of one segment that are listed; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// What [`verify`] found.
#[derive(Debug)]
pub struct Verified {
    /// What opening the log would do.
    pub opening: RecoveryReport,
    /// The segments as that would leave them, in order.
    pub segments: Vec<(SegmentFile, SegmentVerified)>,
}

impl Verified {
    /// Whether nothing would be cut and nothing is damaged.
    pub fn is_good(&self) -> bool {
        self.opening.changed().is_none()
            && self.opening.known_damage.is_empty()
            && self.segments.iter().all(|(_, found)| found.is_good())
    }

    /// Records in good batches.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|(_, found)| found.records).sum()
    }
}

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// The offset of its first record.
    pub base: Offset,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The offset after its last record: where its successor begins, or the log's end if that is known.
    pub end: Option<Offset>,
}

/// What [`verify_segment`] found.
#[derive(Debug, Default)]
pub struct SegmentVerified {
    /// Good batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// What is wrong and was not known, in order of place; so many at most.
    pub findings: Vec<SegmentFinding>,
    /// Findings beyond those.
    pub more: u64,
    /// What the index beside it is worth.
    pub index: IndexState,
}

impl SegmentVerified {
    /// Whether every byte is part of a good batch, or of damage that was known.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    fn note(&mut self, finding: SegmentFinding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Something wrong in a segment that opening the log would not notice.
#[derive(Debug)]
pub enum SegmentFinding {
    /// Bytes that are not the batch that should be there. Readers get [`Error::Corrupt`] and go on after it.
    Damage {
        /// Where, and which offsets are lost.
        damage: Damage,
        /// What is wrong with the first of the bytes; `None` where they are missing.
        why: Option<Bad>,
    },
    /// A batch whose checksum is right and whose records cannot be taken apart: it was never validated.
    Records {
        /// Where it begins.
        position: u64,
        /// Its bytes.
        bytes: u64,
        /// Its first offset.
        offset: Offset,
        /// What is wrong with it.
        source: record::Error,
    },
}

/// What the index beside a segment is worth. It is a cache: none of this loses anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexState {
    /// It says what the log says.
    Good,
    /// There is none: it is made when somebody reads.
    #[default]
    Missing,
    /// It covers so many bytes, not those that are there: it is made anew.
    Other(u64),
    /// It is not legible: it is made anew.
    Broken,
    /// It is whole and says something else than the log.
    Wrong,
}

/// A disk for trying what opening logs of `disk` would do: nothing reaches it, and copies of damage and
/// indexes take no memory.
pub fn dry_disk(disk: DynDisk) -> Overlay {
    Overlay::forgetting(disk, |path| {
        let index = path.extension().is_some_and(|end| end == "index");
        index || path.parent().is_some_and(|dir| dir.ends_with(QUARANTINE))
    })
}

/// Says what opening the log in `dir` would do, and looks at every byte of it; `progress` is called with the
/// bytes looked at since it was called last.
///
/// # Errors
/// As [`Log::open`].
pub fn verify(
    disk: &DynDisk,
    dir: &Path,
    options: Options,
    now: Timestamp,
    mut progress: impl FnMut(u64),
) -> Result<Verified, Error> {
    let dry = dry_disk(DynDisk::clone(disk));
    let (log, opening) = Log::open(dry.shared(), dir, options, now)?;
    drop(log);
    let known = [&opening.known_damage[..], &opening.damage[..]].concat();
    let mut segments = Vec::new();
    for segment in segment_files(&dry, dir, Some(opening.log_end))? {
        let found = verify_segment(&dry, &**disk, &segment, &known, &mut progress)?;
        segments.push((segment, found));
    }
    Ok(Verified { opening, segments })
}

/// Whether there is a log in `dir`: a segment, or what is known of one.
///
/// # Errors
/// [`Error::Io`].
pub fn is_there(disk: &dyn Disk, dir: &Path) -> Result<bool, Error> {
    match names::list(disk, dir) {
        Ok(listing) if !listing.in_force.is_empty() => Ok(true),
        Ok(_) => disk
            .exists(&crate::checkpoint::path(dir))
            .map_err(failed("list", dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("list", dir)(source)),
    }
}

/// The segments in `dir`, in order, of a log that ends at `log_end`; none when it is missing.
///
/// # Errors
/// [`Error::Io`].
pub fn segment_files(
    disk: &dyn Disk,
    dir: &Path,
    log_end: Option<Offset>,
) -> Result<Vec<SegmentFile>, Error> {
    let names = match names::list(disk, dir) {
        Ok(listing) => listing.in_force,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("list", dir)(source)),
    };
    let mut files = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        let path = name.log_path(dir);
        let length = disk
            .open(&path, Open::Read)
            .and_then(|file| file.length())
            .map_err(failed("open", &path))?;
        files.push(SegmentFile {
            base: name.base,
            path,
            bytes: length,
            end: names.get(number + 1).map(|next| next.base).or(log_end),
        });
    }
    Ok(files)
}

/// Walks a segment on `disk`, stepping over `known` damage, and compares the index that `indexes` has
/// beside it. `progress` is called with the bytes passed since it was called last.
///
/// # Errors
/// [`Error::Io`].
pub fn verify_segment(
    disk: &dyn Disk,
    indexes: &dyn Disk,
    segment: &SegmentFile,
    known: &[Damage],
    progress: &mut dyn FnMut(u64),
) -> Result<SegmentVerified, Error> {
    let path = &segment.path;
    let read = failed("read", path);
    let file = disk.open(path, Open::Read).map_err(failed("open", path))?;
    let mut window = Window::reading(&*file, segment.bytes, READ_BYTES);
    let mut found = SegmentVerified::default();
    let mut index = Index::default();
    let mut whole = true;
    let (mut position, mut expected) = (0, segment.base);
    loop {
        let before = position;
        let known_here = known
            .iter()
            .find(|damage| damage.covers_position(segment.base, position));
        if let Some(damage) = known_here {
            whole = false;
            (position, expected) = (damage.position_end, damage.until);
            progress(position - before);
            continue;
        }
        match scan::step(&mut window, position, expected).map_err(&read)? {
            Step::End => break,
            Step::Batch(batch) => {
                found.batches += 1;
                found.records += u64::try_from(batch.header.record_count).unwrap_or_default();
                let max = Timestamp::from_millis(batch.header.max_timestamp);
                index.push(segment.base, batch.base(), position, max);
                if let Some(finding) = look_inside(&mut window, &batch).map_err(&read)? {
                    found.note(finding);
                }
                (position, expected) = (batch.position_end(), batch.next());
            }
            Step::Bad => {
                whole = false;
                let why = scan::why_bad(&mut window, position, expected).map_err(&read)?;
                let after = scan::resync(&mut window, position + 1, expected).map_err(&read)?;
                let (position_end, until) = match after {
                    Some(batch) => (batch.position, batch.base()),
                    None => (segment.bytes, expected.max(segment.end.unwrap_or(expected))),
                };
                let damage = Damage {
                    segment: segment.base,
                    position,
                    position_end,
                    from: expected,
                    until,
                };
                found.note(SegmentFinding::Damage { damage, why });
                (position, expected) = (position_end, until);
            }
        }
        progress(position - before);
    }
    if let Some(end) = segment.end
        && end != expected
        && !known
            .iter()
            .any(|damage| damage.from <= expected && damage.until >= end)
    {
        let damage = Damage {
            segment: segment.base,
            position,
            position_end: position,
            from: expected,
            until: end,
        };
        found.note(SegmentFinding::Damage { damage, why: None });
    }
    found.index = index_state(indexes, segment, whole.then_some(&index));
    Ok(found)
}

/// Takes all records of a good batch apart.
fn look_inside(
    window: &mut Window<'_>,
    batch: &Located,
) -> std::io::Result<Option<SegmentFinding>> {
    let bytes = window.get(batch.position, to_usize(batch.size))?;
    let bytes = Bytes::copy_from_slice(bytes.unwrap_or_default());
    let checked = CheckedBatch::parse(bytes)
        .and_then(|(batch, _)| record::validate_records(&batch).map(drop));
    Ok(checked.err().map(|source| SegmentFinding::Records {
        position: batch.position,
        bytes: batch.size,
        offset: batch.base(),
        source,
    }))
}

/// What the index kept beside a segment is worth; `walked` is what it should say, if that is known.
fn index_state(disk: &dyn Disk, segment: &SegmentFile, walked: Option<&Index>) -> IndexState {
    // A segment's index has its name.
    let path = segment.path.with_extension("index");
    let kept = env::read_all(disk, &path, crate::segment::INDEX_BYTES_MAX);
    let bytes = match kept {
        Ok(None) => return IndexState::Missing,
        Ok(Some(bytes)) => bytes,
        Err(_) => return IndexState::Broken,
    };
    match Index::covers(&bytes, segment.base) {
        None => IndexState::Broken,
        Some(covered) if covered != segment.bytes => IndexState::Other(covered),
        Some(covered) => match (Index::decode(&bytes, segment.base, covered), walked) {
            (Some(kept), Some(walked)) if kept != *walked => IndexState::Wrong,
            _ => IndexState::Good,
        },
    }
}

/// Why the bytes at `position` of a segment are not the batch with base offset `expected`; `None` if they
/// are, or are not there.
///
/// # Errors
/// [`Error::Io`].
pub fn why_bad(
    disk: &dyn Disk,
    path: &Path,
    position: u64,
    expected: Offset,
) -> Result<Option<Bad>, Error> {
    let file = disk.open(path, Open::Read).map_err(failed("open", path))?;
    let read = failed("read", path);
    let length = file.length().map_err(&read)?;
    let mut window = Window::new(&*file, length);
    scan::why_bad(&mut window, position, expected).map_err(read)
}

fn failed(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path: path.clone(),
        source,
    }
}
