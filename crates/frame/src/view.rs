//! Views of blocks whose columns have been checked.

use crate::block::{ChartSeries, LaneHead, Level, Point, Row, Scalar, Text, kind};
use crate::columns::{Cursor, F64s, Texts, U32s, spans};

/// One block of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Block<'a> {
    /// Newest values.
    Scalars(ScalarsView<'a>),
    /// Newest texts.
    Texts(TextsView<'a>),
    /// Points of charts.
    Points(PointsView<'a>),
    /// Heads of lanes.
    Lanes(LanesView<'a>),
    /// Series of charts.
    Series(SeriesView<'a>),
    /// Rows of tickers and alert lanes.
    Rows(RowsView<'a>),
    /// Cells to empty.
    Clear(ClearView<'a>),
    /// A kind this version does not know; readers skip it.
    Unknown {
        /// The kind.
        kind: u32,
        /// Bytes of its body.
        bytes: usize,
    },
}

impl<'a> Block<'a> {
    /// Checks the columns of a body of `kind`.
    pub(crate) fn parse(kind: u32, body: &'a [u8]) -> Result<Self, &'static str> {
        let mut cursor = Cursor::new(body);
        let block = match kind {
            kind::SCALARS => ScalarsView::parse(&mut cursor).map(Self::Scalars),
            kind::TEXTS => TextsView::parse(&mut cursor).map(Self::Texts),
            kind::POINTS => PointsView::parse(&mut cursor).map(Self::Points),
            kind::LANES => LanesView::parse(&mut cursor).map(Self::Lanes),
            kind::SERIES => SeriesView::parse(&mut cursor).map(Self::Series),
            kind::ROWS => RowsView::parse(&mut cursor).map(Self::Rows),
            kind::CLEAR => ClearView::parse(&mut cursor).map(Self::Clear),
            kind => {
                let bytes = body.len();
                return Ok(Self::Unknown { kind, bytes });
            }
        }?;
        cursor.end()?;
        Ok(block)
    }
}

/// Kind 1.
#[derive(Debug, Clone, Copy)]
pub struct ScalarsView<'a> {
    cells: U32s<'a>,
    values: F64s<'a>,
    levels: &'a [u8],
}

impl<'a> ScalarsView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        cursor.u32()?;
        Ok(Self {
            cells: cursor.u32s(n)?,
            values: cursor.f64s(n)?,
            levels: cursor.u8s(n)?,
        })
    }

    /// Its rows in order.
    pub fn iter(self) -> impl Iterator<Item = Scalar> + Clone + use<'a> {
        self.cells
            .iter()
            .zip(self.values.iter())
            .zip(self.levels)
            .map(|((cell, value), level)| Scalar {
                cell,
                value,
                level: Level::from_code(*level),
            })
    }
}

/// Kind 2.
#[derive(Debug, Clone, Copy)]
pub struct TextsView<'a> {
    cells: U32s<'a>,
    levels: &'a [u8],
    texts: Texts<'a>,
}

impl<'a> TextsView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        let total = cursor.size()?;
        let cells = cursor.u32s(n)?;
        let ends = cursor.ends(n, total)?;
        let levels = cursor.u8s(n)?;
        let texts = cursor.texts(ends, total)?;
        Ok(Self {
            cells,
            levels,
            texts,
        })
    }

    /// Its rows in order.
    pub fn iter(self) -> impl Iterator<Item = Text<'a>> + Clone + use<'a> {
        self.cells
            .iter()
            .zip(self.levels)
            .zip(self.texts.iter())
            .map(|((cell, level), text)| Text {
                cell,
                level: Level::from_code(*level),
                text,
            })
    }
}

/// Kind 3.
#[derive(Debug, Clone, Copy)]
pub struct PointsView<'a> {
    cells: U32s<'a>,
    ends: U32s<'a>,
    times: F64s<'a>,
    values: F64s<'a>,
}

impl<'a> PointsView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        let total = cursor.size()?;
        Ok(Self {
            cells: cursor.u32s(n)?,
            ends: cursor.ends(n, total)?,
            times: cursor.f64s(total)?,
            values: cursor.f64s(total)?,
        })
    }

    /// Its series in order.
    pub fn iter(self) -> impl Iterator<Item = SeriesPoints<'a>> + Clone + use<'a> {
        let (times, values) = (self.times.0, self.values.0);
        self.cells
            .iter()
            .zip(spans(self.ends))
            .map(move |(cell, (from, to))| SeriesPoints {
                cell,
                times: F64s(times.get(from..to).unwrap_or_default()),
                values: F64s(values.get(from..to).unwrap_or_default()),
            })
    }
}

/// Points of one series in a frame.
#[derive(Debug, Clone, Copy)]
pub struct SeriesPoints<'a> {
    /// Which cell.
    pub cell: u32,
    /// Milliseconds since 1970.
    pub times: F64s<'a>,
    /// As many values.
    pub values: F64s<'a>,
}

impl<'a> SeriesPoints<'a> {
    /// The points in order.
    pub fn iter(self) -> impl Iterator<Item = Point> + Clone + use<'a> {
        self.times
            .iter()
            .zip(self.values.iter())
            .map(|(t_ms, v)| Point { t_ms, v })
    }
}

/// Kind 4.
#[derive(Debug, Clone, Copy)]
pub struct LanesView<'a> {
    lanes: U32s<'a>,
    items: U32s<'a>,
    since: F64s<'a>,
    until: F64s<'a>,
}

impl<'a> LanesView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        cursor.u32()?;
        Ok(Self {
            lanes: cursor.u32s(n)?,
            items: cursor.u32s(n)?,
            since: cursor.f64s(n)?,
            until: cursor.f64s(n)?,
        })
    }

    /// Its rows in order.
    pub fn iter(self) -> impl Iterator<Item = LaneHead> + Clone + use<'a> {
        let heads = self.lanes.iter().zip(self.items.iter());
        heads.zip(self.since.iter().zip(self.until.iter())).map(
            |((lane, item), (since_ms, until_ms))| LaneHead {
                lane,
                item,
                since_ms,
                until_ms,
            },
        )
    }
}

/// Kind 5.
#[derive(Debug, Clone, Copy)]
pub struct SeriesView<'a> {
    charts: U32s<'a>,
    cells: U32s<'a>,
    labels: Texts<'a>,
}

impl<'a> SeriesView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        let total = cursor.size()?;
        let charts = cursor.u32s(n)?;
        let cells = cursor.u32s(n)?;
        let ends = cursor.ends(n, total)?;
        let labels = cursor.texts(ends, total)?;
        Ok(Self {
            charts,
            cells,
            labels,
        })
    }

    /// Its rows in order.
    pub fn iter(self) -> impl Iterator<Item = ChartSeries<'a>> + Clone + use<'a> {
        self.charts
            .iter()
            .zip(self.cells.iter())
            .zip(self.labels.iter())
            .map(|((chart, cell), label)| ChartSeries { chart, cell, label })
    }
}

/// Kind 6.
#[derive(Debug, Clone, Copy)]
pub struct RowsView<'a> {
    cells: U32s<'a>,
    levels: U32s<'a>,
    ids: F64s<'a>,
    times: F64s<'a>,
    texts: Texts<'a>,
}

impl<'a> RowsView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        let total = cursor.size()?;
        let cells = cursor.u32s(n)?;
        let levels = cursor.u32s(n)?;
        let ids = cursor.f64s(n)?;
        let times = cursor.f64s(n)?;
        let ends = cursor.ends(n, total)?;
        let texts = cursor.texts(ends, total)?;
        Ok(Self {
            cells,
            levels,
            ids,
            times,
            texts,
        })
    }

    /// Its rows in order.
    pub fn iter(self) -> impl Iterator<Item = Row<'a>> + Clone + use<'a> {
        let keys = self.cells.iter().zip(self.levels.iter());
        let numbers = self.ids.iter().zip(self.times.iter());
        keys.zip(numbers)
            .zip(self.texts.iter())
            .map(|(((cell, level), (row_id, t_ms)), text)| {
                let level = Level::from_code(u8::try_from(level).unwrap_or(0));
                Row {
                    cell,
                    level,
                    row_id,
                    t_ms,
                    text,
                }
            })
    }
}

/// Kind 7.
#[derive(Debug, Clone, Copy)]
pub struct ClearView<'a> {
    cells: U32s<'a>,
}

impl<'a> ClearView<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, &'static str> {
        let n = cursor.size()?;
        cursor.u32()?;
        Ok(Self {
            cells: cursor.u32s(n)?,
        })
    }

    /// The cells in order.
    pub fn iter(self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.cells.iter()
    }
}
