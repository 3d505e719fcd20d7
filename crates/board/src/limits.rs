//! What one board may ask for, each limit with its reason.

use std::time::Duration;

/// Most lanes: more do not fit any screen.
pub const LANES_MAX: usize = 32;

/// Most items, stats or charts of one lane.
pub const LANE_ITEMS_MAX: usize = 64;

/// Most different queries of one board: at 50 µs each they cost 2 % of a core at four a second.
pub const QUERIES_MAX: usize = 256;

/// Most series of one chart: more lines than these nobody tells apart.
pub const SERIES_MAX: u32 = 64;

/// Series of a chart unless it says otherwise.
pub const SERIES_DEFAULT: u32 = 16;

/// Most rows of a ticker; the page keeps no more.
pub const TICKER_ROWS_MAX: u32 = 200;

/// Longest name of a board: it is part of an address.
pub const NAME_BYTES_MAX: usize = 63;

/// Shortest and longest turn of a marquee item.
pub const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// Shortest and longest window of a chart; the series store keeps no more than hours.
pub const WINDOW: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));

/// Shortest time between two points of a chart: more often nobody sees them move.
pub const STEP_MIN: Duration = Duration::from_millis(50);

/// Points a chart aims for across its window.
pub const CHART_POINTS: u32 = 300;

/// Columns a heat map aims for across its window: wide enough to be told apart on a phone.
pub const HEATMAP_COLUMNS: u32 = 30;

/// Values at which the colour of a heat map changes, at most: more shades nobody tells apart.
pub const HEATMAP_STEPS_MAX: usize = 7;

/// Rows of a table, at most and unless it says otherwise.
pub const TABLE_ROWS: (u32, u32) = (100, 20);

/// Shortest and longest window of a rate that is counted from events.
pub const RATE_WINDOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Most points a series keeps, whatever its window: as many as an 8K screen has pixels, halved.
pub const POINTS_MAX: usize = 4_096;

/// Most points of all charts of one board: 16 MiB of a keyframe, half of what a reader takes.
pub const BOARD_POINTS_MAX: usize = 1 << 20;

const _: () = assert!(
    BOARD_POINTS_MAX * 16 <= frame::limits::FRAME_BYTES_MAX / 2,
    "the keyframe of a board full of points must be readable"
);
