//! What a flipped bit in the journal may take away without a word.
//!
//! A frame that is broken and has none behind it looks like one that was being written when the power went, so nobody can
//! say that it was promised. What stood in that last frame may be gone; anything else the journal says or the broker reports.

use std::path::Path;

use commitlog::{Journal, LogId, Write};
use env::{Disk, Open, SimDisk};
use stdx::ByteSize;

use crate::world::World;

const DIR: &str = "/data/journal";

/// Notes the partitions whose records were in a last frame that a bit was flipped in, before the next start.
pub(crate) fn excuse_the_last_frame(world: &World) {
    let flips = world.flips.borrow();
    let flips: Vec<_> = flips
        .iter()
        .filter(|(path, _)| path.starts_with(DIR))
        .collect();
    if flips.is_empty() {
        return;
    }
    let copy = SimDisk::new(0);
    copy.create_dir_all(Path::new(DIR)).expect("memory");
    let content = world.disk.content().into_iter();
    for (path, bytes) in content.filter(|(path, _)| path.starts_with(DIR)) {
        let file = copy.open(&path, Open::Create).expect("memory");
        file.write_all_at(&bytes, 0).expect("memory");
    }
    let now = read(&copy);
    copy.write_back();
    for (path, bit) in flips {
        // It may be gone, or shorter by now.
        let _ = copy.flip_bit(path, *bit);
    }
    let was = read(&copy);
    // Shorter, and nothing else: had it lost anything before its end, it would go on behind that.
    if was.starts_with(&now) {
        let mut oracle = world.oracle.borrow_mut();
        for (log, _) in was.iter().skip(now.len()) {
            oracle.excuse(log);
        }
    }
}

/// What the journal promises. One that says it is damaged gives no excuse here: the broker is to say so.
fn read(disk: &SimDisk) -> Vec<(LogId, Write)> {
    let file_bytes = ByteSize::from_kib(4);
    let opened = Journal::open(disk.shared(), Path::new(DIR), file_bytes, 0);
    let (_, found) = opened.expect("memory is read");
    found.writes
}
