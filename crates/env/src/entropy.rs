//! Random bytes: the kernel's, or a sequence that a seed repeats.
//!
//! The seeded sequence is SplitMix64 (Steele, Lea and Flood, 2014): for tests, not for secrets.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;

/// A source of randomness as services hold it.
pub type DynEntropy = Arc<dyn Entropy>;

/// A source of random bytes.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number, all 64 bits.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The kernel's random bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealEntropy;

impl Entropy for RealEntropy {
    /// # Panics
    /// If the kernel has none to give, which Linux only does to processes started before its pool
    /// was seeded; nothing that needs an identity may go on then.
    #[expect(
        clippy::expect_used,
        reason = "ids made without randomness could collide"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

/// A sequence that its seed repeats.
#[derive(Debug)]
pub struct SeededEntropy {
    state: Mutex<SplitMix>,
}

impl SeededEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(SplitMix::new(seed)),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock();
        for chunk in bytes.chunks_mut(8) {
            let random = state.next().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, bound)`; 0 when `bound` is 0. The bias of the remainder is of no matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// As [`SplitMix::below`], for lengths and indexes.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_sequence_and_no_other() {
        let numbers = |seed| {
            let source = SeededEntropy::new(seed);
            [source.next_u64(), source.next_u64()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        // First output of the reference implementation for seed 0.
        assert_eq!(numbers(0)[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_kernels_bytes_differ() {
        assert_ne!(RealEntropy.next_u64(), RealEntropy.next_u64());
    }
}
