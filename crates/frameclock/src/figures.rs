//! How well beats came: spread, mean and slope of their lateness.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Largest lateness told apart, in nanoseconds: a minute.
const LATE_NANOS_MAX: u64 = 60_000_000_000;

/// How beats came over one window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Beats played.
    pub beats: u64,
    /// Beats that were due and not played.
    pub missed: u64,
    /// Half of the beats came at most this late.
    pub late_p50: Duration,
    /// 99 of 100 beats came at most this late.
    pub late_p99: Duration,
    /// 999 of 1,000 beats came at most this late.
    pub late_p999: Duration,
    /// The latest beat.
    pub late_max: Duration,
    /// Standard deviation of the lateness.
    pub jitter: Duration,
    /// Mean of the lateness.
    pub phase: Duration,
    /// Slope of the lateness in parts per million: how fast the beats run away from the grid.
    pub drift_ppm: f64,
}

/// Collects lateness. Fixed memory: a histogram of about 30 KiB and five sums.
#[derive(Debug)]
pub(crate) struct Recorder {
    late: Histogram<u32>,
    missed: u64,
    origin: Option<Duration>,
    sums: Sums,
}

/// Sums of a straight line through (time, lateness), both in seconds.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    n: f64,
    t: f64,
    e: f64,
    tt: f64,
    te: f64,
    ee: f64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let late = Histogram::new_with_bounds(1, LATE_NANOS_MAX, 2)
            .expect("the bounds are constants in the range hdrhistogram takes");
        Self {
            late,
            missed: 0,
            origin: None,
            sums: Sums::default(),
        }
    }

    pub(crate) fn beat(&mut self, now: Duration, late: Duration, missed: u64) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(LATE_NANOS_MAX);
        self.late.saturating_record(nanos.min(LATE_NANOS_MAX));
        self.missed += missed;
        let origin = *self.origin.get_or_insert(now);
        let (t, e) = (now.saturating_sub(origin).as_secs_f64(), late.as_secs_f64());
        let sums = &mut self.sums;
        sums.n += 1.0;
        sums.t += t;
        sums.e += e;
        sums.tt += t * t;
        sums.te += t * e;
        sums.ee += e * e;
    }

    pub(crate) fn take(&mut self) -> Figures {
        let quantile = |q| Duration::from_nanos(self.late.value_at_quantile(q));
        let figures = Figures {
            beats: self.late.len(),
            missed: self.missed,
            late_p50: quantile(0.5),
            late_p99: quantile(0.99),
            late_p999: quantile(0.999),
            late_max: Duration::from_nanos(self.late.max()),
            jitter: self.sums.deviation(),
            phase: self.sums.mean(),
            drift_ppm: self.sums.slope() * 1e6,
        };
        self.late.reset();
        self.missed = 0;
        self.origin = None;
        self.sums = Sums::default();
        figures
    }
}

impl Sums {
    fn mean(&self) -> Duration {
        Duration::from_secs_f64(if self.n > 0.0 {
            round_nanos(self.e / self.n)
        } else {
            0.0
        })
    }

    fn deviation(&self) -> Duration {
        if self.n < 2.0 {
            return Duration::ZERO;
        }
        let mean = self.e / self.n;
        let variance = (self.ee / self.n - mean * mean).max(0.0);
        // What the subtraction of two near equal sums leaves of equal values is not jitter.
        let noise = self.ee / self.n * f64::EPSILON * self.n;
        Duration::from_secs_f64(if variance <= noise {
            0.0
        } else {
            variance.sqrt()
        })
    }

    fn slope(&self) -> f64 {
        let spread = self.n * self.tt - self.t * self.t;
        if self.n < 2.0 || spread <= 0.0 {
            return 0.0;
        }
        (self.n * self.te - self.t * self.e) / spread
    }
}

fn round_nanos(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_nothing_are_zero() {
        assert_eq!(Recorder::new().take(), Figures::default());
    }

    #[test]
    fn a_steady_slope_is_drift_and_two_values_are_jitter() {
        let mut recorder = Recorder::new();
        for second in 0..100_u32 {
            let late = Duration::from_micros(u64::from(second) * 50);
            recorder.beat(Duration::from_secs(u64::from(second)), late, 0);
        }
        let drift = recorder.take().drift_ppm;
        assert!((drift - 50.0).abs() < 1e-3, "{drift}");
        for second in 0..100_u32 {
            let late = Duration::from_millis(if second % 2 == 0 { 1 } else { 3 });
            recorder.beat(Duration::from_secs(u64::from(second)), late, 1);
        }
        let figures = recorder.take();
        assert_eq!(figures.phase, Duration::from_millis(2));
        assert!((figures.jitter.as_secs_f64() - 0.001).abs() < 1e-9);
        assert_eq!((figures.beats, figures.missed), (100, 100));
        assert!(figures.late_p99 >= Duration::from_millis(3));
        assert_eq!(recorder.take(), Figures::default(), "a window starts anew");
    }

    #[test]
    fn the_latest_beat_beyond_all_bounds_is_kept_as_the_bound() {
        let mut recorder = Recorder::new();
        recorder.beat(Duration::from_mins(150), Duration::from_mins(150), 0);
        assert!(recorder.take().late_max >= Duration::from_secs(59));
    }
}
