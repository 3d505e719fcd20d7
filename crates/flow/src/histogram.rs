//! Counts of durations in fixed bins, for percentiles within an eighth.
//!
//! Eight bins for each doubling from a microsecond to 67 s: 192 counters and no allocation.

use std::time::Duration;

/// Bins for each doubling, a power of two.
const FINE: u32 = 8;
const FINE_BITS: u32 = FINE.trailing_zeros();
/// Doublings from `FINE` microseconds up.
const DOUBLINGS: u32 = 23;
const BINS: usize = (FINE * (DOUBLINGS + 1)) as usize;

/// Counts of durations.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bins: [u32; BINS],
    count: u32,
}

impl Histogram {
    pub(crate) const EMPTY: Self = Self {
        bins: [0; BINS],
        count: 0,
    };

    pub(crate) fn add(&mut self, time: Duration) {
        self.count = self.count.saturating_add(1);
        if let Some(bin) = self.bins.get_mut(bin_of(time)) {
            *bin = bin.saturating_add(1);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin = bin.saturating_add(*more);
        }
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// The upper edge of the bin that holds the given percentile; `None` of nothing.
    pub(crate) fn percentile(&self, percent: u32) -> Option<Duration> {
        let wanted = (u64::from(self.count) * u64::from(percent))
            .div_ceil(100)
            .max(1);
        let mut seen = 0;
        for (index, bin) in self.bins.iter().enumerate() {
            seen += u64::from(*bin);
            if seen >= wanted {
                return Some(upper_edge(index));
            }
        }
        None
    }
}

/// Below `FINE` microseconds one bin for each, then `FINE` for each doubling.
fn bin_of(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if micros < u64::from(FINE) {
        return usize::try_from(micros).unwrap_or(0);
    }
    let doubling = micros.ilog2() - FINE_BITS;
    // The highest bits after the first: 0 to `FINE` - 1.
    let within = (micros >> doubling) - u64::from(FINE);
    let index = u64::from((doubling + 1) * FINE) + within;
    usize::try_from(index).unwrap_or(BINS).min(BINS - 1)
}

fn upper_edge(index: usize) -> Duration {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    let fine = u64::from(FINE);
    let micros = if index < fine {
        index + 1
    } else {
        (index % fine + fine + 1) << (index / fine - 1)
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_below_its_bins_edge_and_within_an_eighth() {
        let mut micros = 0_u64;
        while micros < 60_000_000 {
            let edge = upper_edge(bin_of(Duration::from_micros(micros)));
            let edge = u64::try_from(edge.as_micros()).unwrap();
            assert!(
                micros < edge && edge <= micros + micros / 8 + 1,
                "{micros}: {edge}"
            );
            micros += 1 + micros / 50;
        }
        assert_eq!(bin_of(Duration::MAX), BINS - 1);
    }

    #[test]
    fn percentiles_are_of_all_that_was_merged() {
        let mut all = Histogram::EMPTY;
        assert_eq!(all.percentile(95), None);
        for (count, millis) in [(90, 1), (10, 100)] {
            let mut part = Histogram::EMPTY;
            for _ in 0..count {
                part.add(Duration::from_millis(millis));
            }
            all.merge(&part);
        }
        assert_eq!(all.count(), 100);
        assert!(all.percentile(50).unwrap() < Duration::from_micros(1_126));
        assert!(all.percentile(90).unwrap() < Duration::from_micros(1_126));
        assert!(all.percentile(91).unwrap() > Duration::from_millis(99));
    }
}
