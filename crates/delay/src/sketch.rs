//! Weighted delays in bins that grow with the delay, for quantiles within a sixteenth.
//!
//! Sixteen bins for each doubling from 16 ms up, one for each millisecond below. Only bins that hold
//! something are kept, at most [`BINS_MAX`]: past that the two lowest become one, since it is the high
//! quantiles somebody is waiting for.
//!
//! Error: a quantile is never smaller than the exact one (nearest rank), and larger by at most a
//! sixteenth of it; where bins had to be joined, that holds for all but the lowest bin left.
//! Source: the collapsing of low bins is that of `DDSketch` (Masson et al., VLDB 2019).

/// Bins one sketch keeps at most. 64 of them span four doublings without a gap, and the delays of ten
/// seconds in one partition seldom span more.
pub const BINS_MAX: usize = 64;

/// Bins for each doubling, a power of two.
const FINE: u64 = 16;
const FINE_BITS: u32 = FINE.trailing_zeros();

/// Weights of delays, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Bin and weight, ascending.
    bins: Vec<(u16, u32)>,
}

/// What a sketch, or several together, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// Records counted.
    pub records: u64,
    /// Half of them waited no longer, in milliseconds.
    pub p50: u64,
    /// Nine of ten waited no longer.
    pub p90: u64,
    /// 99 of a hundred waited no longer.
    pub p99: u64,
}

impl Sketch {
    /// Counts `weight` records that waited `millis`.
    pub fn add(&mut self, millis: u64, weight: u64) {
        if weight == 0 {
            return;
        }
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let bin = bin_of(millis);
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(weight),
            Err(at) => self.bins.insert(at, (bin, weight)),
        }
        if self.bins.len() > BINS_MAX {
            let (_, lowest) = self.bins.remove(0);
            self.bins[0].1 = self.bins[0].1.saturating_add(lowest);
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// What it says; `None` of nothing.
    pub fn quantiles(&self) -> Option<Quantiles> {
        Quantiles::of([self])
    }
}

/// Several sketches together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The weight of every bin.
    bins: Vec<u64>,
}

impl Tally {
    /// Counts what a sketch counted.
    pub fn add(&mut self, sketch: &Sketch) {
        let most = sketch
            .bins
            .last()
            .map_or(0, |(bin, _)| usize::from(*bin) + 1);
        if self.bins.len() < most {
            self.bins.resize(most, 0);
        }
        for (bin, weight) in &sketch.bins {
            self.bins[usize::from(*bin)] += u64::from(*weight);
        }
    }

    /// What it says; `None` of nothing.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let records: u64 = self.bins.iter().sum();
        if records == 0 {
            return None;
        }
        let at = |percent: u64| {
            let wanted = (u128::from(records) * u128::from(percent)).div_ceil(100);
            let mut seen = 0_u128;
            let found = self.bins.iter().position(|weight| {
                seen += u128::from(*weight);
                seen >= wanted
            });
            let bin = found.and_then(|bin| u16::try_from(bin).ok());
            bin.map_or(0, upper_edge)
        };
        Some(Quantiles {
            records,
            p50: at(50),
            p90: at(90),
            p99: at(99),
        })
    }
}

impl Quantiles {
    /// Of several sketches together; `None` of nothing.
    pub fn of<'s>(sketches: impl IntoIterator<Item = &'s Sketch>) -> Option<Self> {
        let mut tally = Tally::default();
        for sketch in sketches {
            tally.add(sketch);
        }
        tally.quantiles()
    }
}

/// Below `FINE` milliseconds one bin for each, then `FINE` for each doubling.
fn bin_of(millis: u64) -> u16 {
    if millis < FINE {
        return u16::try_from(millis).unwrap_or(0);
    }
    let doubling = millis.ilog2() - FINE_BITS;
    // The highest bits after the first: 0 to `FINE` - 1.
    let within = (millis >> doubling) - FINE;
    let index = u64::from(doubling + 1) * FINE + within;
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The largest delay of a bin.
fn upper_edge(bin: u16) -> u64 {
    let bin = u64::from(bin);
    if bin < FINE {
        return bin;
    }
    let doubling = bin / FINE - 1;
    let next = u128::from(bin % FINE + FINE + 1) << doubling;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_delay_is_at_most_its_bins_edge_and_within_a_sixteenth() {
        let mut millis = 0_u64;
        while millis < 1 << 50 {
            let edge = upper_edge(bin_of(millis));
            assert!(
                millis <= edge && edge <= millis + millis / 16,
                "{millis}: {edge}"
            );
            millis += 1 + millis / 97;
        }
        assert_eq!(upper_edge(bin_of(u64::MAX)), u64::MAX);
    }

    /// The smallest delay that at least `percent` of the records do not exceed.
    fn exact(counted: &[(u64, u64)], percent: u64) -> u64 {
        let mut sorted = counted.to_vec();
        sorted.sort_unstable();
        let all: u64 = sorted.iter().map(|(_, weight)| weight).sum();
        let wanted = (all * percent).div_ceil(100);
        let mut seen = 0;
        for (millis, weight) in sorted {
            seen += weight;
            if seen >= wanted {
                return millis;
            }
        }
        unreachable!("the ranks are of what was counted")
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_sixteenth_of_the_sorted_ones(
            counted in prop::collection::vec((20_u64..200, 1_u64..1_000), 1..200),
            cuts in prop::collection::vec(any::<bool>(), 200),
        ) {
            // In as many sketches as there are cuts: they are asked together.
            let mut sketches = vec![Sketch::default()];
            for ((millis, weight), cut) in counted.iter().zip(cuts) {
                if cut {
                    sketches.push(Sketch::default());
                }
                sketches.last_mut().unwrap().add(*millis, *weight);
            }
            let found = Quantiles::of(&sketches).unwrap();
            prop_assert_eq!(found.records, counted.iter().map(|(_, weight)| weight).sum::<u64>());
            for (percent, found) in [(50, found.p50), (90, found.p90), (99, found.p99)] {
                let exact = exact(&counted, percent);
                prop_assert!(exact <= found && found <= exact + exact / 16, "{}: {} {}", percent, exact, found);
            }
        }

        #[test]
        fn delays_of_any_spread_keep_their_high_quantiles(
            counted in prop::collection::vec((0_u64..1 << 45, 1_u64..1_000), 1..300),
        ) {
            let mut sketch = Sketch::default();
            for (millis, weight) in &counted {
                sketch.add(*millis, *weight);
            }
            prop_assert!(sketch.bins.len() <= BINS_MAX);
            let lowest = upper_edge(sketch.bins[0].0);
            let found = sketch.quantiles().unwrap();
            for (percent, found) in [(50, found.p50), (90, found.p90), (99, found.p99)] {
                let exact = exact(&counted, percent);
                prop_assert!(exact <= found, "never too small");
                prop_assert!(found <= exact + exact / 16 || found == lowest, "{}: {} {}", percent, exact, found);
            }
        }
    }

    #[test]
    fn nothing_has_no_quantiles_and_huge_weights_stay() {
        assert_eq!(Sketch::default().quantiles(), None);
        let mut sketch = Sketch::default();
        sketch.add(5, 0);
        assert!(sketch.is_empty());
        sketch.add(5, u64::MAX);
        sketch.add(5, 7);
        assert_eq!(sketch.quantiles().unwrap().p99, 5);
    }
}
