//! How many slots a ring should have: a decision over windows of time, told the time.
//!
//! A ring is too small when its slowest reader has it nearly full all the time, and items also wait long: then the
//! reader is about to be lapped, and does keep up on average, or the wait would not be measured. One alone is no
//! reason: a full ring that is read within a millisecond is a burst, and a long wait in an empty ring is a slow
//! reader that more slots do not make faster.
//!
//! ```text
//!   three windows in a row: occupancy never below 85 %, and p99 of the wait above 12 ms   ->  x 1.5, up to the bound
//!   three windows in a row: occupancy never above 20 %                                    ->  / 1.5, down to the least
//! ```

use std::time::Duration;

use crate::quarters;
use crate::sync::{AtomicU64, Ordering};

/// What was seen in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// The least of the ring's slots that were unread, 0 to 1.
    pub lowest: f64,
    /// The most of the ring's slots that were unread, 0 to 1.
    pub highest: f64,
    /// 99 of 100 items waited at most so long for a reader; zero if none was taken.
    pub wait_p99: Duration,
}

impl Window {
    const NONE: Self = Self {
        lowest: f64::INFINITY,
        highest: 0.0,
        wait_p99: Duration::ZERO,
    };
}

/// Decides how many slots a ring has.
#[derive(Debug, Clone)]
pub struct Sizing {
    least: usize,
    most: usize,
    /// When the present window began.
    since: Duration,
    window: Window,
    /// Windows in a row that asked for more, or for less.
    full: u32,
    idle: u32,
}

impl Sizing {
    /// Length of a window.
    pub const WINDOW: Duration = Duration::from_secs(5);
    /// Windows in a row that must agree.
    pub const WINDOWS: u32 = 3;
    /// Unread slots above which a ring is too full, of 1.
    pub const FULL: f64 = 0.85;
    /// Unread slots up to which a ring is larger than it need be, of 1.
    pub const IDLE: f64 = 0.2;
    /// The wait above which a full ring is too small.
    pub const WAIT: Duration = Duration::from_millis(12);

    /// For a ring of `least` to `most` slots, made at `now`.
    pub fn new(least: usize, most: usize, now: Duration) -> Self {
        Self {
            least: least.max(1),
            most: most.max(least).max(1),
            since: now,
            window: Window::NONE,
            full: 0,
            idle: 0,
        }
    }

    /// Notes that `unread` of `capacity` slots were unread at one moment.
    pub fn note(&mut self, unread: usize, capacity: usize) {
        let part = unread as f64 / capacity.max(1) as f64;
        self.window.lowest = self.window.lowest.min(part);
        self.window.highest = self.window.highest.max(part);
    }

    /// Whether the present window has ended at `now`.
    pub fn is_due(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= Self::WINDOW
    }

    /// Ends the window at `now` and answers how many slots a ring of `capacity` should have from here on. Windows in
    /// which nobody noted anything passed idle.
    pub fn end_window(&mut self, now: Duration, wait_p99: Duration, capacity: usize) -> usize {
        let passed = now.saturating_sub(self.since).as_secs() / Self::WINDOW.as_secs();
        self.since = now;
        let window = Window {
            wait_p99,
            ..std::mem::replace(&mut self.window, Window::NONE)
        };
        let mut next = self.judge(window, capacity);
        let unnoted = u32::try_from(passed.saturating_sub(1)).unwrap_or(u32::MAX);
        for _ in 0..unnoted.min(64) {
            next = self.judge(Window::NONE, next);
        }
        next
    }

    /// What one more window makes of a ring of `capacity` slots.
    fn judge(&mut self, window: Window, capacity: usize) -> usize {
        let noted = window.lowest.is_finite();
        let full = noted && window.lowest > Self::FULL && window.wait_p99 > Self::WAIT;
        let idle = window.highest <= Self::IDLE;
        self.full = if full { self.full + 1 } else { 0 };
        self.idle = if idle { self.idle + 1 } else { 0 };
        if self.full >= Self::WINDOWS {
            self.full = 0;
            return capacity.saturating_add(capacity.div_ceil(2)).min(self.most);
        }
        if self.idle >= Self::WINDOWS {
            self.idle = 0;
            return (capacity.saturating_mul(2) / 3).max(self.least);
        }
        capacity
    }
}

/// How long items waited for readers, counted by many at once, within a quarter.
#[derive(Debug)]
pub struct Waits {
    buckets: Box<[AtomicU64]>,
}

/// Buckets of microseconds up to more than an hour.
const BUCKETS: usize = 128;

impl Default for Waits {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Waits {
    /// Counts `items` that waited so long.
    pub fn note(&self, wait: Duration, items: usize) {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let index = quarters::index_of(micros).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(items as u64, Ordering::Relaxed);
        }
    }

    /// What 99 of 100 waited at most, rounded up by at most a quarter; begins anew. Zero if none was counted.
    pub fn take_p99(&self) -> Duration {
        let counts = self.buckets.iter();
        let counts: Vec<u64> = counts.map(|one| one.swap(0, Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let beyond = total / 100;
        let mut above = 0;
        for (index, count) in counts.iter().enumerate().rev() {
            above += count;
            if above > beyond {
                return Duration::from_micros(quarters::size_of(index));
            }
        }
        Duration::ZERO
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(3);
    const SLOW: Duration = Duration::from_millis(20);

    /// Runs windows of (lowest, highest unread of 100, wait) over a ring of 64 to 256; answers the capacities.
    fn run(windows: &[(usize, usize, Duration)]) -> Vec<usize> {
        let mut now = Duration::from_secs(100);
        let mut sizing = Sizing::new(64, 256, now);
        let mut capacity = 64;
        let step = |(lowest, highest, wait): &(usize, usize, Duration)| {
            sizing.note(*lowest, 100);
            sizing.note(*highest, 100);
            assert!(!sizing.is_due(now + Duration::from_millis(4_999)));
            now += Sizing::WINDOW;
            assert!(sizing.is_due(now));
            capacity = sizing.end_window(now, *wait, capacity);
            capacity
        };
        windows.iter().map(step).collect()
    }

    #[test]
    fn a_ring_grows_after_three_full_windows_up_to_its_bound_and_shrinks_when_idle() {
        let full = (86, 100, SLOW);
        assert_eq!(
            run(&[full; 12]),
            [64, 64, 96, 96, 96, 144, 144, 144, 216, 216, 216, 256]
        );
        let idle = (0, 20, SLOW);
        assert_eq!(
            run(&[full, full, full, idle, idle, idle, idle]),
            [64, 64, 96, 96, 96, 64, 64]
        );
    }

    #[test]
    fn full_or_slow_alone_is_no_reason_and_one_better_window_begins_the_count_anew() {
        let full = (86, 100, SLOW);
        assert_eq!(run(&[(86, 100, FAST); 4]), [64; 4]);
        assert_eq!(run(&[(85, 100, SLOW); 4]), [64; 4]);
        assert_eq!(run(&[(30, 60, SLOW); 4]), [64; 4]);
        assert_eq!(
            run(&[full, full, (10, 100, SLOW), full, full, full]),
            [64, 64, 64, 64, 64, 96]
        );
    }

    #[test]
    fn windows_in_which_nothing_happened_count_as_idle() {
        let now = Duration::from_secs(1);
        let mut sizing = Sizing::new(10, 100, now);
        let later = now + Sizing::WINDOW * 9;
        assert_eq!(sizing.end_window(later, Duration::ZERO, 100), 29);
    }

    #[test]
    fn the_99th_of_100_waits_is_told_within_a_quarter() {
        let waits = Waits::default();
        assert_eq!(waits.take_p99(), Duration::ZERO);
        waits.note(Duration::from_millis(1), 985);
        waits.note(Duration::from_millis(13), 15);
        let p99 = waits.take_p99();
        assert!(
            p99 >= Duration::from_millis(13) && p99 <= Duration::from_micros(16_250),
            "{p99:?}"
        );
        waits.note(Duration::from_millis(1), 995);
        waits.note(Duration::from_hours(30), 5);
        assert!(waits.take_p99() < Duration::from_millis(2), "it began anew");
    }
}
