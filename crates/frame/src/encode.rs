//! Writing frames: once, in one buffer, without allocation per cell.
//!
//! The buffer is split off as [`Bytes`] at the end and taken back by the next frame when no viewer
//! holds it any more, so a board in steady state allocates nothing for its frames.

use bytes::{BufMut, Bytes, BytesMut};

use crate::block::{ChartSeries, LaneHead, Points, Row, Scalar, Text, kind};
use crate::head::{FLAG_KEYFRAME, Head, at};
use crate::limits::{ALIGN, BLOCK_HEAD_BYTES, HEAD_BYTES, MAGIC, VERSION};

/// Room taken at once when the buffer must grow: most deltas fit several times.
const ROOM: usize = 16 << 10;

/// Writes frames, one after another, in reused memory.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// An encoder without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a frame; what an unfinished one before it wrote is dropped.
    pub fn begin(&mut self, head: &Head) -> FrameWriter<'_> {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.reserve(ROOM);
        buffer.put_u32_le(MAGIC);
        buffer.put_u8(VERSION);
        buffer.put_u8(if head.keyframe { FLAG_KEYFRAME } else { 0 });
        buffer.put_u16_le(0);
        buffer.put_u32_le(0);
        buffer.put_u32_le(head.generation);
        buffer.put_u64_le(head.seq);
        buffer.put_u64_le(head.base_seq);
        buffer.put_u64_le(head.sent_ns);
        buffer.put_u64_le(head.stamp_ns);
        buffer.put_u64_le(head.stamp_newest_ns);
        buffer.put_u32_le(head.events);
        buffer.put_u32_le(0);
        debug_assert_eq!(buffer.len(), HEAD_BYTES);
        FrameWriter { buffer, blocks: 0 }
    }
}

/// A frame being written. Blocks apply in the order they are written; empty ones are left out.
///
/// The iterators are walked once per column, so they must be cheap to clone and repeat themselves.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    buffer: &'a mut BytesMut,
    blocks: u16,
}

impl FrameWriter<'_> {
    /// Newest values.
    pub fn scalars<I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = Scalar, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let Some(body) = self.counted(kind::SCALARS, rows.clone().count(), 0) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.cell));
        self.f64s(rows.clone().map(|row| row.value));
        self.u8s(rows.map(|row| row.level.code()));
        self.close(body);
    }

    /// Newest texts.
    pub fn texts<'t, I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = Text<'t>, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let blob = rows.clone().map(|row| row.text.len()).sum();
        let Some(body) = self.counted(kind::TEXTS, rows.clone().count(), blob) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.cell));
        self.ends(rows.clone().map(|row| row.text.len()));
        self.u8s(rows.clone().map(|row| row.level.code()));
        self.blob(rows.map(|row| row.text));
        self.close(body);
    }

    /// Points: to append in a delta, the whole window in a keyframe.
    pub fn points<'t, I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = Points<'t>, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let length = |row: &Points<'_>| row.parts.iter().map(|part| part.len()).sum::<usize>();
        let total = rows.clone().map(|row| length(&row)).sum();
        let Some(body) = self.counted(kind::POINTS, rows.clone().count(), total) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.cell));
        self.ends(rows.clone().map(|row| length(&row)));
        let points = rows.flat_map(|row| row.parts.into_iter().flatten());
        self.f64s(points.clone().map(|point| point.t_ms));
        self.f64s(points.map(|point| point.v));
        self.close(body);
    }

    /// Heads of lanes.
    pub fn lanes<I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = LaneHead, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let Some(body) = self.counted(kind::LANES, rows.clone().count(), 0) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.lane));
        self.u32s(rows.clone().map(|row| row.item));
        self.f64s(rows.clone().map(|row| row.since_ms));
        self.f64s(rows.map(|row| row.until_ms));
        self.close(body);
    }

    /// Series of charts: the complete set of every chart named.
    pub fn series<'t, I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = ChartSeries<'t>, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let blob = rows.clone().map(|row| row.label.len()).sum();
        let Some(body) = self.counted(kind::SERIES, rows.clone().count(), blob) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.chart));
        self.u32s(rows.clone().map(|row| row.cell));
        self.ends(rows.clone().map(|row| row.label.len()));
        self.blob(rows.map(|row| row.label));
        self.close(body);
    }

    /// Rows of tickers (to append) and of alert lanes (complete).
    pub fn rows<'t, I>(&mut self, rows: I)
    where
        I: IntoIterator<Item = Row<'t>, IntoIter: Clone>,
    {
        let rows = rows.into_iter();
        let blob = rows.clone().map(|row| row.text.len()).sum();
        let Some(body) = self.counted(kind::ROWS, rows.clone().count(), blob) else {
            return;
        };
        self.u32s(rows.clone().map(|row| row.cell));
        self.u32s(rows.clone().map(|row| u32::from(row.level.code())));
        self.f64s(rows.clone().map(|row| row.row_id));
        self.f64s(rows.clone().map(|row| row.t_ms));
        self.ends(rows.clone().map(|row| row.text.len()));
        self.blob(rows.map(|row| row.text));
        self.close(body);
    }

    /// Cells whose rows and points are dropped.
    pub fn clear<I>(&mut self, cells: I)
    where
        I: IntoIterator<Item = u32, IntoIter: Clone>,
    {
        let cells = cells.into_iter();
        let Some(body) = self.counted(kind::CLEAR, cells.clone().count(), 0) else {
            return;
        };
        self.u32s(cells);
        self.close(body);
    }

    /// Blocks written so far.
    pub const fn blocks(&self) -> u16 {
        self.blocks
    }

    /// Ends the frame and hands it out, checksum and all.
    pub fn finish(self) -> Bytes {
        let blocks = self.blocks.to_le_bytes();
        patch(self.buffer, at::BLOCKS, &blocks);
        let crc = crc32c::crc32c(self.buffer.get(at::GENERATION..).unwrap_or_default());
        patch(self.buffer, at::CRC, &crc.to_le_bytes());
        self.buffer.split().freeze()
    }

    /// Opens a block of `n` rows with `total` bytes or points; `None` when it has no rows.
    fn counted(&mut self, kind: u32, n: usize, total: usize) -> Option<usize> {
        if n == 0 {
            return None;
        }
        self.blocks += 1;
        self.buffer.put_u32_le(kind);
        self.buffer.put_u32_le(0);
        let body = self.buffer.len();
        self.buffer.put_u32_le(count(n));
        self.buffer.put_u32_le(count(total));
        Some(body)
    }

    /// Closes the block whose body started at `body`: its length, then padding.
    fn close(&mut self, body: usize) {
        let length = count(self.buffer.len() - body);
        patch(
            self.buffer,
            body - BLOCK_HEAD_BYTES + 4,
            &length.to_le_bytes(),
        );
        self.pad();
    }

    fn pad(&mut self) {
        let past = self.buffer.len() % ALIGN;
        if past != 0 {
            self.buffer.put_bytes(0, ALIGN - past);
        }
    }

    fn u32s(&mut self, column: impl Iterator<Item = u32>) {
        self.pad();
        column.for_each(|value| self.buffer.put_u32_le(value));
    }

    /// Lengths, written as the ends they lead to.
    fn ends(&mut self, lengths: impl Iterator<Item = usize>) {
        let mut end = 0;
        self.u32s(lengths.map(|length| {
            end += length;
            count(end)
        }));
    }

    fn f64s(&mut self, column: impl Iterator<Item = f64>) {
        self.pad();
        column.for_each(|value| self.buffer.put_f64_le(value));
    }

    fn u8s(&mut self, column: impl Iterator<Item = u8>) {
        self.pad();
        column.for_each(|value| self.buffer.put_u8(value));
    }

    fn blob<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        self.pad();
        texts.for_each(|text| self.buffer.put_slice(text.as_bytes()));
    }
}

/// A count on the wire. Board limits keep every count far below.
fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a frame is smaller than 4 GiB")
}

fn patch(buffer: &mut BytesMut, place: usize, bytes: &[u8]) {
    if let Some(target) = buffer.get_mut(place..place + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}
