//! Writing a cleaned segment.
//!
//! Invariant: what is written covers every offset from the first segment's base to the last one's end. As
//! long as all of it is what the one segment it is made from has, at the same places, nothing is written
//! at all.

use std::path::{Path, PathBuf};

use env::{Disk, DynFile, Open, is_full};
use model::{Offset, Timestamp};
use record::{Header, OFFSETS_MAX, gap};

use crate::Error;
use crate::index::Index;
use crate::names::SegmentName;
use crate::segment::Summary;
use crate::wire::{to_u64, to_usize};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

pub(super) struct Output<'a> {
    disk: &'a dyn Disk,
    /// Where the segment is written, aside.
    pub(super) temporary: PathBuf,
    base: Offset,
    /// The segment it is made from, if there is only one.
    source: Option<DynFile>,
    file: Option<DynFile>,
    /// Bytes in the file, or that would be.
    written: u64,
    buffer: Vec<u8>,
    index: Index,
    summary: Summary,
    gap: Option<Gap>,
}

/// Offsets of which nothing stays.
struct Gap {
    from: Offset,
    until: Offset,
    leader_epoch: i32,
    /// The one empty batch that stands for all of it already.
    as_it_is: Option<(Header, Vec<u8>)>,
}

impl<'a> Output<'a> {
    /// A segment from `name.base` on; `source` if it is made from one, whose bytes may do.
    pub(super) fn new(
        disk: &'a dyn Disk,
        dir: &Path,
        name: SegmentName,
        source: Option<DynFile>,
    ) -> Self {
        let mut temporary = name.log_path(dir).into_os_string();
        temporary.push(env::TEMPORARY_SUFFIX);
        Self {
            disk,
            temporary: temporary.into(),
            base: name.base,
            source,
            file: None,
            written: 0,
            buffer: Vec::new(),
            index: Index::default(),
            summary: Summary::empty(name.base, Timestamp::MIN),
            gap: None,
        }
    }

    /// A batch of the source goes.
    pub(super) fn drop_batch(&mut self, header: &Header, bytes: &[u8]) {
        let from = Offset::from_i64(header.base_offset).unwrap_or_default();
        let until = from.plus(header.offsets());
        if let Some(gap) = &mut self.gap {
            gap.until = until;
            gap.as_it_is = None;
            return;
        }
        let is_gap = header.record_count == 0 && header.producer_id < 0;
        self.gap = Some(Gap {
            from,
            until,
            leader_epoch: header.leader_epoch,
            as_it_is: is_gap.then(|| (*header, bytes.to_vec())),
        });
    }

    /// A batch stays as it is in the source.
    pub(super) fn keep(&mut self, header: &Header, bytes: &[u8]) -> Result<(), Error> {
        self.close_gap()?;
        self.put(header, bytes, true)
    }

    /// A batch takes the place of one of the source.
    pub(super) fn replace(&mut self, header: &Header, bytes: &[u8]) -> Result<(), Error> {
        self.close_gap()?;
        self.put(header, bytes, false)
    }

    /// Makes all of it durable, aside; answers how much was written, and `None` if nothing was because
    /// nothing changes.
    pub(super) fn finish(
        mut self,
        last_append: Timestamp,
    ) -> Result<Option<(Summary, Index)>, Error> {
        self.close_gap()?;
        let Some(file) = self.file.clone() else {
            return Ok(None);
        };
        self.write_out()?;
        let synced = file.sync_data();
        synced.map_err(|source| self.failed("sync", source))?;
        self.summary.last_append = last_append;
        Ok(Some((self.summary, self.index)))
    }

    fn close_gap(&mut self) -> Result<(), Error> {
        let Some(found) = self.gap.take() else {
            return Ok(());
        };
        if let Some((header, bytes)) = found.as_it_is {
            return self.put(&header, &bytes, true);
        }
        let mut from = found.from;
        while from < found.until {
            let offsets = found.until.since(from).min(OFFSETS_MAX);
            let batch = gap(from, offsets, found.leader_epoch);
            self.put(batch.header(), batch.as_bytes(), false)?;
            from = from.plus(offsets);
        }
        Ok(())
    }

    fn put(&mut self, header: &Header, bytes: &[u8], as_it_was: bool) -> Result<(), Error> {
        if self.file.is_none() && !(as_it_was && self.source.is_some()) {
            self.begin()?;
        }
        let position = self.summary.size;
        let base = Offset::from_i64(header.base_offset).unwrap_or_default();
        let max = Timestamp::from_millis(header.max_timestamp);
        self.index.push(self.base, base, position, max);
        self.summary.push(header, position + to_u64(bytes.len()));
        if self.file.is_some() {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= WRITE_BYTES {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Makes the file, with everything that was the same so far.
    fn begin(&mut self) -> Result<(), Error> {
        let file = self.disk.open(&self.temporary, Open::Create);
        let file = file.map_err(|source| self.failed("create", source))?;
        file.set_len(0)
            .map_err(|source| self.failed("create", source))?;
        self.file = Some(file);
        let same = self.summary.size;
        let source = self.source.clone();
        while let Some(source) = source.as_ref().filter(|_| self.written < same) {
            let length = to_u64(WRITE_BYTES).min(same - self.written);
            self.buffer.resize(to_usize(length), 0);
            let read = source.read_exact_at(&mut self.buffer, self.written);
            read.map_err(|source| self.failed("read the old bytes of", source))?;
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            let wrote = file.write_all_at(&self.buffer, self.written);
            wrote.map_err(|source| self.failed("write", source))?;
        }
        self.written += to_u64(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        if self.file.is_some() {
            self.summary.size
        } else {
            0
        }
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> Error {
        let path = self.temporary.clone();
        if is_full(&source) {
            Error::Full { path, source }
        } else {
            Error::Io {
                action,
                path,
                source,
            }
        }
    }
}
