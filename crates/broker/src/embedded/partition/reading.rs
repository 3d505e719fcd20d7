//! Reading one partition: from memory, from the disk, by time.

use bytes::Bytes;
use commitlog::LogReader;
use model::{Offset, Position};

use super::Partition;
use crate::embedded::errors;
use crate::embedded::reads::offset_of;
use crate::{Error, Found, Marks, Place, ReadLimit};

impl Partition {
    /// The error every call on an unusable partition gets.
    pub(crate) fn check_readable(&self) -> Result<(), Error> {
        if self.reader.is_some() {
            return Ok(());
        }
        let state = self.inside.lock().state.clone();
        Err(self.refusal(&state))
    }

    /// The offset of a position to read from.
    pub(crate) fn offset_to_read(&self, from: Position, marks: Marks) -> Result<Offset, Error> {
        self.check_readable()?;
        match offset_of(from) {
            Some(offset) if (marks.log_start..=marks.log_end).contains(&from) => Ok(offset),
            _ => Err(self.out_of_range(from, marks)),
        }
    }

    /// The offset of a position to delete records before.
    pub(crate) fn offset_to_delete_before(&self, until: Position) -> Result<Offset, Error> {
        self.check_readable()?;
        let marks = self.marks();
        match offset_of(until) {
            Some(offset) if until <= marks.high_watermark => Ok(offset),
            _ => Err(self.out_of_range(until, marks)),
        }
    }

    fn out_of_range(&self, asked: Position, marks: Marks) -> Error {
        Error::OutOfRange {
            partition: self.id.clone(),
            asked,
            log_start: marks.log_start,
            log_end: marks.log_end,
        }
    }

    /// The error for bytes that were read and are no batch.
    pub(crate) fn corrupt(&self, error: &record::Error) -> Error {
        Error::Corrupt {
            partition: self.id.clone(),
            reason: error.to_string().into(),
            until: None,
        }
    }

    pub(super) fn reader(&self) -> Result<&LogReader, Error> {
        match &self.reader {
            Some(reader) => Ok(reader),
            None => Err(self.refusal(&self.inside.lock().state)),
        }
    }

    /// Reads from memory; `None` when the disk is needed.
    pub(crate) fn read_memory(
        &self,
        from: Offset,
        limit: ReadLimit,
        until: Offset,
    ) -> Result<Option<Bytes>, Error> {
        let reader = self.reader()?;
        Ok(reader.read_memory(from, limit.bytes, limit.at_least_one, until))
    }

    /// Reads from wherever the batches are; blocks on the disk.
    pub(crate) fn read(
        &self,
        from: Offset,
        limit: ReadLimit,
        until: Offset,
    ) -> Result<Bytes, Error> {
        self.reader()?
            .read(from, limit.bytes, limit.at_least_one, until)
            .map_err(|error| errors::of_log(&self.id, error))
    }

    /// Finds a place by time; blocks on the disk.
    pub(crate) fn find(&self, place: Place) -> Result<Option<Found>, Error> {
        let reader = self.reader()?;
        let found = match place {
            Place::Earliest | Place::Latest => return Ok(None),
            Place::Time(time) => reader.find_time(time),
            Place::MaxTimestamp => reader.max_timestamp(),
        };
        let found = found.map_err(|error| errors::of_log(&self.id, error))?;
        let readable = self.readable();
        Ok(found
            .filter(|found| found.offset < readable)
            .map(|found| Found {
                position: found.offset.into(),
                timestamp: Some(found.timestamp),
            }))
    }
}
