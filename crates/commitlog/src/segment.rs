//! One file of the log and what is known of it.
//!
//! The file (`names`) has batches one after another, from byte 0, nothing else. The index is loaded when it is first needed.
//!
//! Lock order: a segment's state is the innermost lock.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Disk, DynDisk, DynFile, Open};
use model::{Offset, Timestamp};
use parking_lot::{Mutex, RwLock};
use record::{HEADER_BYTES, Header};

use crate::index::Index;
use crate::names::SegmentName;
use crate::scan::{self, Step, Window};
use crate::wire::to_u64;
use crate::{Damage, Error};

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The offset after its last record.
    pub(crate) next: Offset,
    /// Bytes of batches (and of damage among them).
    pub(crate) size: u64,
    /// The largest timestamp; [`Timestamp::MIN`] without records.
    pub(crate) max_timestamp: Timestamp,
    /// Base offset of the first batch that has it.
    pub(crate) max_batch: Offset,
    /// The log's clock at the last append.
    pub(crate) last_append: Timestamp,
}

impl Summary {
    pub(crate) fn empty(base: Offset, now: Timestamp) -> Self {
        Self {
            next: base,
            size: 0,
            max_timestamp: Timestamp::MIN,
            max_batch: base,
            last_append: now,
        }
    }

    /// Notes a batch at the end.
    pub(crate) fn push(&mut self, header: &Header, position_end: u64) {
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let max = Timestamp::from_millis(header.max_timestamp);
        if max > self.max_timestamp {
            self.max_timestamp = max;
            self.max_batch = base;
        }
        self.next = base.plus(header.offsets());
        self.size = position_end;
    }

    /// The time retention counts from: the newest record's, or the last append's where producers
    /// gave none.
    pub(crate) fn newest(&self) -> Timestamp {
        if self.max_timestamp.millis() >= 0 {
            self.max_timestamp
        } else {
            self.last_append
        }
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    name: SegmentName,
    path: PathBuf,
    disk: DynDisk,
    file: Mutex<Option<DynFile>>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    summary: Summary,
    index: Option<Index>,
}

impl Segment {
    pub(crate) fn new(
        disk: &DynDisk,
        dir: &Path,
        name: SegmentName,
        summary: Summary,
        index: Option<Index>,
    ) -> Self {
        Self {
            name,
            path: name.log_path(dir),
            disk: DynDisk::clone(disk),
            file: Mutex::new(None),
            state: RwLock::new(State { summary, index }),
        }
    }

    pub(crate) fn with_file(self, file: DynFile) -> Self {
        *self.file.lock() = Some(file);
        self
    }

    pub(crate) fn base(&self) -> Offset {
        self.name.base
    }

    pub(crate) fn name(&self) -> SegmentName {
        self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn summary(&self) -> Summary {
        self.state.read().summary
    }

    /// The file, opened when it is first needed.
    pub(crate) fn file(&self) -> Result<DynFile, Error> {
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(DynFile::clone(file));
        }
        let opened = self
            .disk
            .open(&self.path, Open::Read)
            .map_err(|source| self.io("open", source))?;
        *file = Some(DynFile::clone(&opened));
        Ok(opened)
    }

    /// Gives the page cache of these bytes back, if the file is open: nobody has written or read it lately otherwise.
    pub(crate) fn uncache(&self, bytes: Range<u64>) {
        let file = self.file.lock().clone();
        if let Some(file) = file {
            file.uncache(bytes);
        }
    }

    /// Whether nobody but the caller has this segment, or its file: with it out of the log's list, nobody will.
    pub(crate) fn is_alone(self: &Arc<Self>) -> bool {
        let unread = |file: &DynFile| Arc::strong_count(file) == 1;
        Arc::strong_count(self) == 1 && self.file.lock().as_ref().is_none_or(unread)
    }

    /// The file for one walk: thousands of segments that are only walked do not stay open. `None` if it was
    /// removed and nobody has it open.
    pub(crate) fn file_for_a_walk(&self) -> Result<Option<DynFile>, Error> {
        if let Some(file) = &*self.file.lock() {
            return Ok(Some(DynFile::clone(file)));
        }
        match self.disk.open(&self.path, Open::Read) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.io("open", source)),
        }
    }

    pub(crate) fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }

    /// Notes batches written at the end.
    pub(crate) fn push(&self, batches: &[(Header, u64)], now: Timestamp) {
        let mut state = self.state.write();
        let state = &mut *state;
        for (header, size) in batches {
            let position = state.summary.size;
            let base = Offset::from_i64(header.base_offset).unwrap_or_default();
            if let Some(index) = &mut state.index {
                let max = Timestamp::from_millis(header.max_timestamp);
                index.push(self.base(), base, position, max);
            }
            state.summary.push(header, position + size);
        }
        state.summary.last_append = now;
    }

    /// A place to begin looking for `offset`: a batch's base offset and position.
    pub(crate) fn by_offset(
        &self,
        offset: Offset,
        damage: &[Damage],
    ) -> Result<(Offset, u64), Error> {
        self.place(damage, |index| index.by_offset(self.base(), offset))
    }

    /// A place before which every timestamp is smaller than `time`.
    pub(crate) fn by_time(
        &self,
        time: Timestamp,
        damage: &[Damage],
    ) -> Result<(Offset, u64), Error> {
        self.place(damage, |index| index.by_time(self.base(), time))
    }

    /// A place that the index knows and that has a batch's header. An index that leads somewhere else is rebuilt.
    fn place(
        &self,
        damage: &[Damage],
        look: impl Fn(&Index) -> (Offset, u64),
    ) -> Result<(Offset, u64), Error> {
        let known = self.state.read().index.as_ref().map(&look);
        // Later than the place: else what the writer has just added seems to be outside.
        let summary = self.summary();
        if let Some(place) = known {
            if self.has_batch(place, &summary)? {
                return Ok(place);
            }
        } else if let Some(index) = self.load_index(&summary) {
            let place = look(&index);
            if self.has_batch(place, &summary)? {
                self.hold(index);
                return Ok(place);
            }
        }
        let index = self.rebuild_index(&summary, damage)?;
        let place = look(&index);
        self.hold(index);
        Ok(place)
    }

    /// Whether the header of a batch with this base offset is at this position. Nobody needs the index for the beginning.
    fn has_batch(&self, (base, position): (Offset, u64), summary: &Summary) -> Result<bool, Error> {
        if position == 0 {
            return Ok(base == self.base());
        }
        if position.saturating_add(to_u64(HEADER_BYTES)) > summary.size {
            return Ok(false);
        }
        let mut head = [0; HEADER_BYTES];
        self.file()?
            .read_exact_at(&mut head, position)
            .map_err(|source| self.io("read", source))?;
        let header = Header::read(&head).ok();
        Ok(header.is_some_and(|header| Offset::from_i64(header.base_offset) == Some(base)))
    }

    /// Keeps an index in memory. What the writer has appended since it was made is not in it.
    fn hold(&self, mut index: Index) {
        let mut state = self.state.write();
        index.reach(state.summary.max_timestamp);
        state.index = Some(index);
    }

    /// The index kept beside the segment, if it is whole and fits.
    fn load_index(&self, summary: &Summary) -> Option<Index> {
        load_index(&*self.disk, self.path.parent()?, self.name, summary.size)
    }

    /// Walks the batches. What is bad among them has no entry: reading from the last one before it finds the damage and
    /// reports it.
    fn rebuild_index(&self, summary: &Summary, damage: &[Damage]) -> Result<Index, Error> {
        let file = self.file()?;
        let mut window = Window::new(&*file, summary.size);
        let mut index = Index::default();
        let (mut position, mut expected) = (0, self.base());
        loop {
            if let Some(known) = damage
                .iter()
                .find(|damage| damage.covers_position(self.base(), position))
            {
                (position, expected) = (known.position_end, known.until);
                continue;
            }
            let step = scan::step(&mut window, position, expected);
            match step.map_err(|source| self.io("read", source))? {
                Step::Batch(batch) => {
                    let max = Timestamp::from_millis(batch.header.max_timestamp);
                    index.push(self.base(), batch.base(), position, max);
                    (position, expected) = (batch.position_end(), batch.next());
                }
                Step::Bad => {
                    let next = scan::resync(&mut window, position + 1, expected);
                    match next.map_err(|source| self.io("read", source))? {
                        Some(batch) => (position, expected) = (batch.position, batch.base()),
                        None => return Ok(index),
                    }
                }
                Step::End => return Ok(index),
            }
        }
    }

    /// Forgets the index; it is loaded or rebuilt when it is needed again.
    pub(crate) fn drop_index(&self) {
        self.state.write().index = None;
    }

    /// Keeps the index beside the segment. A cache: failing to is of no consequence.
    pub(crate) fn keep_index(&self, dir: &Path) {
        let summary = self.summary();
        self.keep_index_of(dir, &summary);
    }

    /// As [`Segment::keep_index`], of the segment as `summary` knew it, whatever was appended since.
    pub(crate) fn keep_index_of(&self, dir: &Path, summary: &Summary) {
        let index = match &self.state.read().index {
            Some(index) => index.until(summary.size, summary.max_timestamp),
            None => return,
        };
        let bytes = index.encode(self.base(), summary.size);
        let path = self.name.index_path(dir);
        let kept = self.disk.open(&path, Open::Create).and_then(|file| {
            file.set_len(0)?;
            file.write_all_at(&bytes, 0)
        });
        if kept.is_err() {
            // Half an index fails its checksum; still, do not leave it lying about on a full disk.
            drop(self.disk.remove_file(&path));
        }
    }
}

/// Larger than the index of any segment; a file beyond it is not read.
pub(crate) const INDEX_BYTES_MAX: usize = 64 << 20;

/// The index file of a segment, if it covers exactly `covered` bytes of it.
pub(crate) fn load_index(
    disk: &dyn Disk,
    dir: &Path,
    name: SegmentName,
    covered: u64,
) -> Option<Index> {
    let bytes = env::read_all(disk, &name.index_path(dir), INDEX_BYTES_MAX).ok()??;
    Index::decode(&bytes, name.base, covered)
}
