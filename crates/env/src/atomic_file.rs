//! Small files that are replaced whole: after a crash either the old content is there or the new.
//!
//! The order is what makes it so: write a temporary, sync it, rename it over, sync the directory.

use std::io;
use std::path::Path;

use crate::{Disk, DiskFile, Open};

/// What the temporary's name adds. One that is found after a crash may be removed.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Replaces `path` by `bytes`, durable when this returns. After an error either content may be
/// there after a crash, never a mixture.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_with(disk, path, |file| file.write_all_at(bytes, 0))
}

/// As [`write_atomic`], with the content written by `write` into an empty file: for content that need
/// not fit into memory.
pub fn write_atomic_with(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = Path::new(&temporary);
    let file = disk.open(temporary, Open::Create)?;
    let written = file
        .set_len(0)
        .and_then(|()| write(&*file))
        .and_then(|()| file.sync_data());
    drop(file);
    if let Err(error) = written {
        // What matters is the error above; a temporary that stays behind is harmless.
        drop(disk.remove_file(temporary));
        return Err(error);
    }
    disk.rename(temporary, path)?;
    disk.sync_dir(directory)
}

/// The whole content of a small file; `None` if it is missing.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] above `limit` bytes.
pub fn read_all(disk: &dyn Disk, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}
