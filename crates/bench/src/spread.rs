//! Percentiles of times.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Ten minutes.
const MICROS_MAX: u64 = 600_000_000;

/// Times from a microsecond to ten minutes, three digits.
#[derive(Debug)]
pub(crate) struct Spread(Histogram<u64>);

impl Spread {
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, MICROS_MAX, 3)
                .expect("bounds and digits are within the histogram's"),
        )
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// The same time of `count` things.
    pub(crate) fn add_many(&mut self, time: Duration, count: u64) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.saturating_record_n(micros, count);
    }

    /// The value that a share of `q` percent does not exceed, in milliseconds.
    pub(crate) fn at(&self, q: f64) -> f64 {
        self.0.value_at_percentile(q) as f64 / 1_000.0
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// `p50 / p99 / worst` in milliseconds, where there are too few for more.
    pub(crate) fn with_worst(&self) -> String {
        let [p50, p99, worst] = [50.0, 99.0, 100.0].map(|q| short(self.at(q)));
        format!("{p50} / {p99} / {worst} ms")
    }

    /// `p50 / p99 / p99.9` in milliseconds.
    pub(crate) fn three(&self) -> String {
        format!(
            "{} / {} / {} ms",
            short(self.at(50.0)),
            short(self.at(99.0)),
            short(self.at(99.9))
        )
    }
}

/// Three significant digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_size_are_kept() {
        let mut spread = Spread::new();
        for millis in [1, 20, 30_000] {
            spread.add(Duration::from_millis(millis));
        }
        assert_eq!(
            (short(spread.at(50.0)), short(spread.at(1.0))),
            ("20.0".into(), "1.00".into())
        );
        assert!((spread.at(100.0) - 30_000.0).abs() < 30.0);
        assert_eq!(short(spread.at(100.0)).len(), 5);
    }
}
