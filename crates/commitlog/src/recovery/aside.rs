//! Bytes that are kept aside, and bytes that are written over themselves.

use std::io;
use std::path::PathBuf;

use env::DiskFile;
use model::Offset;

use super::Recoverer;
use crate::wire::to_usize;
use crate::{Damage, RecoveryReport};

/// The directory beside the segments where damaged bytes are kept.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Bytes rewritten or copied at once.
const COPY_BYTES: u64 = 1 << 20;

impl Recoverer<'_> {
    /// Copies damaged bytes aside. They stay in the segment too, so a full disk does no harm here.
    pub(super) fn quarantine(
        &self,
        file: &dyn DiskFile,
        damage: &Damage,
        report: &mut RecoveryReport,
    ) {
        if damage.position < damage.position_end
            && let Ok(path) =
                self.keep_aside(file, damage.segment, damage.position, damage.position_end)
        {
            report.kept.push(path);
        }
    }

    pub(super) fn keep_aside(
        &self,
        file: &dyn DiskFile,
        base: Offset,
        from: u64,
        to: u64,
    ) -> io::Result<PathBuf> {
        let dir = self.dir.join(QUARANTINE);
        self.disk.create_dir_all(&dir)?;
        // A name of its own for every content: an earlier run may have kept another end from here.
        let mut crc = 0;
        read_in_parts(file, from, to, |part, _| {
            crc = crc32c::crc32c_append(crc, part);
            Ok(())
        })?;
        let path = dir.join(format!("{:020}-{from}-{crc:08x}.bytes", base.get()));
        if !self.disk.exists(&path)? {
            env::write_atomic_with(&**self.disk, &path, |copy| {
                read_in_parts(file, from, to, |part, at| {
                    copy.write_all_at(part, at - from)
                })
            })?;
        }
        Ok(path)
    }
}

/// Writes `[from, to)` of a file over itself.
pub(super) fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    read_in_parts(file, from, to, |part, at| file.write_all_at(part, at))
}

/// Reads `[from, to)` of a file in parts, each given to `take` with its position.
fn read_in_parts(
    file: &dyn DiskFile,
    mut from: u64,
    to: u64,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    while from < to {
        let length = COPY_BYTES.min(to - from);
        bytes.resize(to_usize(length), 0);
        file.read_exact_at(&mut bytes, from)?;
        take(&bytes, from)?;
        from += length;
    }
    Ok(())
}
