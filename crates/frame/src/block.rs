//! The rows a writer gives and a reader gets back, by kind of block.

/// Block kinds, as on the wire.
pub(crate) mod kind {
    pub(crate) const SCALARS: u32 = 1;
    pub(crate) const TEXTS: u32 = 2;
    pub(crate) const POINTS: u32 = 3;
    pub(crate) const LANES: u32 = 4;
    pub(crate) const SERIES: u32 = 5;
    pub(crate) const ROWS: u32 = 6;
    pub(crate) const CLEAR: u32 = 7;
}

/// How a value is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing is said about it.
    #[default]
    None,
    /// As it should be.
    Healthy,
    /// Worth knowing.
    Info,
    /// Worth acting on.
    Warning,
    /// Act now.
    Critical,
}

impl Level {
    /// The level as on the wire: 0 to 4.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Healthy => 1,
            Self::Info => 2,
            Self::Warning => 3,
            Self::Critical => 4,
        }
    }

    /// The level of a code, `None` (the level) for one this version does not know.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Healthy,
            2 => Self::Info,
            3 => Self::Warning,
            4 => Self::Critical,
            _ => Self::None,
        }
    }
}

/// The newest value of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalar {
    /// Which cell.
    pub cell: u32,
    /// Its value; NaN for no data.
    pub value: f64,
    /// How it is doing.
    pub level: Level,
}

/// The newest text of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// Which cell.
    pub cell: u32,
    /// How it is doing.
    pub level: Level,
    /// The text.
    pub text: &'a str,
}

/// One point of a chart series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, milliseconds since 1970.
    pub t_ms: f64,
    /// The value; NaN breaks the line.
    pub v: f64,
}

/// Points of one series, oldest first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Points<'a> {
    /// Which cell.
    pub cell: u32,
    /// The points: the two halves of a ring, in order; either may be empty.
    pub parts: [&'a [Point]; 2],
}

/// Which item is at the head of a lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneHead {
    /// Which lane.
    pub lane: u32,
    /// The item.
    pub item: u32,
    /// Since when, milliseconds since 1970.
    pub since_ms: f64,
    /// Until when, as planned now.
    pub until_ms: f64,
}

/// One series of a chart whose series come from labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChartSeries<'a> {
    /// Which chart.
    pub chart: u32,
    /// The cell of its points; 0 says that the chart has no series at all.
    pub cell: u32,
    /// Its name.
    pub label: &'a str,
}

/// One row of a ticker or an alert lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The cell of the lane.
    pub cell: u32,
    /// How it is doing.
    pub level: Level,
    /// What it is: growing for a ticker, stable per alert for an alert lane. Whole numbers below 2^53.
    pub row_id: f64,
    /// When, milliseconds since 1970.
    pub t_ms: f64,
    /// A JSON object, ready to print.
    pub text: &'a str,
}
