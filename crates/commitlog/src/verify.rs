//! Looking at a log's directory without changing it: every byte read, every checksum computed.
//!
//! Not here: deciding what a bad end is. Without a writer's marks an end that is not whole is only
//! reported as such; opening the log decides.

use std::path::{Path, PathBuf};

use env::{Disk, Open};
use model::Offset;

use crate::scan::{self, Step, Window};
use crate::segment::{log_path, parse_name};
use crate::{Damage, Error};

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Segments.
    pub segments: usize,
    /// Good batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bad bytes with good batches after them, missing segments, and bad ends of segments that are
    /// not the last.
    pub damage: Vec<Damage>,
    /// Bytes at the end of the last segment that are no whole batch.
    pub torn_bytes: u64,
    /// The first offset there is.
    pub first: Offset,
    /// The offset after the last good record.
    pub end: Offset,
}

impl Verified {
    /// Whether every byte is part of a good batch.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty() && self.torn_bytes == 0
    }
}

/// Walks every segment in `dir`, calling `progress` with the bytes read so far and in total.
///
/// # Errors
/// [`Error::Io`].
pub fn verify(
    disk: &dyn Disk,
    dir: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, Error> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    };
    let mut files: Vec<(Offset, PathBuf, env::DynFile, u64)> = Vec::new();
    for entry in disk.read_dir(dir).map_err(io("list", dir))? {
        if let Some(base) = parse_name(&entry.name, ".log") {
            let path = log_path(dir, base);
            let file = disk.open(&path, Open::Read).map_err(io("open", &path))?;
            let length = file.length().map_err(io("read", &path))?;
            files.push((base, path, file, length));
        }
    }
    let total: u64 = files.iter().map(|(_, _, _, length)| length).sum();
    let mut found = Verified {
        segments: files.len(),
        bytes: total,
        first: files.first().map_or(Offset::ZERO, |(base, ..)| *base),
        end: files.first().map_or(Offset::ZERO, |(base, ..)| *base),
        ..Verified::default()
    };
    let mut done = 0;
    for (number, (base, path, file, length)) in files.iter().enumerate() {
        if *base != found.end {
            found.damage.push(Damage {
                segment: *base,
                position: 0,
                position_end: 0,
                from: found.end,
                until: *base,
            });
        }
        let next_base = files.get(number + 1).map(|(base, ..)| *base);
        let mut window = Window::new(&**file, *length);
        let (mut position, mut expected) = (0, *base);
        loop {
            progress(done + position, total);
            let step = scan::step(&mut window, position, expected);
            match step.map_err(io("read", path))? {
                Step::End => break,
                Step::Batch(batch) => {
                    found.batches += 1;
                    found.records += batch.next().since(batch.base());
                    (position, expected) = (batch.position_end(), batch.next());
                }
                Step::Bad => {
                    let next = scan::resync(&mut window, position + 1, expected);
                    let next = next.map_err(io("read", path))?;
                    let (position_end, until) = match (&next, next_base) {
                        (Some(batch), _) => (batch.position, batch.base()),
                        (None, Some(base)) => (*length, base.max(expected)),
                        (None, None) => {
                            found.torn_bytes = length - position;
                            break;
                        }
                    };
                    found.damage.push(Damage {
                        segment: *base,
                        position,
                        position_end,
                        from: expected,
                        until,
                    });
                    (position, expected) = (position_end, until);
                }
            }
        }
        found.end = expected;
        done += length;
    }
    progress(total, total);
    Ok(found)
}
