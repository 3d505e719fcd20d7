//! Randomness that a seed repeats, and the shapes of skew a shop has.
//!
//! SplitMix64 (Steele, Lea and Flood, 2014) is plenty for a demo; log-normal by Box and Muller (1958),
//! Zipf by a table of cumulative weights. Not for secrets.

/// A sequence of random numbers; the same for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Evenly in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        // 53 bits are what an f64 holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly in `[from, to)`.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Around `median`, half of all within a factor of about `e^(0.67 spread)`, with a long tail upwards.
    pub(crate) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (spread * normal).exp()
    }
}

/// Spreads the bits of a number: equal numbers give equal results, near ones far results.
pub(crate) fn mix(number: u64) -> u64 {
    let mut bits = number;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Ranks from 0 with weights that fall as a power: a few are chosen often, many seldom.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    /// Cumulative weights, the last is 1.
    up_to: Vec<f64>,
}

impl Zipf {
    /// `count` ranks (at least 1), the weight of rank `r` is `1 / (r + 1)^exponent`.
    pub(crate) fn new(count: u32, exponent: f64) -> Self {
        let weights = (1..=count.max(1)).map(|rank| f64::from(rank).powf(-exponent));
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        for bound in &mut up_to {
            *bound /= sum;
        }
        Self { up_to }
    }

    /// A rank below the count.
    pub(crate) fn pick(&self, random: &mut Random) -> usize {
        let point = random.unit();
        self.up_to
            .partition_point(|bound| *bound <= point)
            .min(self.up_to.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..5).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_median_of_log_normal_is_its_median() {
        let mut random = Random::new(1);
        let below = (0..10_000)
            .filter(|_| random.log_normal(40.0, 0.5) < 40.0)
            .count();
        assert!((4_800..5_200).contains(&below), "{below}");
    }

    #[test]
    fn zipf_favours_the_first_ranks() {
        let mut random = Random::new(1);
        let zipf = Zipf::new(100, 1.0);
        let mut counts = [0_u32; 100];
        for _ in 0..50_000 {
            counts[zipf.pick(&mut random)] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.0..12.5).contains(&ratio), "rank 1 to rank 10: {ratio}");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
