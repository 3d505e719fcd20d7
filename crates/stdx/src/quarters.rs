//! Sizes in quarter octaves: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 … Rounding up to one adds at most a quarter.

/// The number of the smallest size that is at least `value`.
pub(crate) fn index_of(value: u64) -> usize {
    if value <= 4 {
        return 0;
    }
    let octave = value.ilog2();
    let shift = octave - 2;
    let below = value >> shift;
    let exact = below << shift == value;
    // `below` is 4 to 7.
    let index = u64::from(shift) * 4 + (below - 4) + u64::from(!exact);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The size of that number; the largest number there is beyond 2^64.
pub(crate) fn size_of(index: usize) -> u64 {
    let (octave, quarter) = (index / 4, index % 4);
    let quarter = 4 + quarter as u64;
    if octave > 61 {
        return u64::MAX;
    }
    quarter << octave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_at_least_the_value_and_at_most_a_quarter_more() {
        for value in
            (1..10_000).chain((10..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]))
        {
            let size = size_of(index_of(value));
            assert!(size >= value, "{value} in {size}");
            assert!(size <= 4 || size - value <= value / 4, "{value} in {size}");
            assert_eq!(index_of(size), index_of(value));
        }
        assert_eq!(size_of(index_of(u64::MAX)), u64::MAX);
    }
}
