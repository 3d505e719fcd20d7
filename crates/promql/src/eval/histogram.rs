//! Classic histograms: buckets of `le` labels, counting everything up to their bound.

/// Counts nearer than this share are equal: sums of rates differ in their last bits.
const TOLERANCE: f64 = 1e-12;

/// Up to `bound`, `count` observations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) bound: f64,
    pub(crate) count: f64,
}

/// Sorts, and adds up buckets of the same bound. `None` without a `+Inf` bucket.
fn prepare(buckets: &mut Vec<Bucket>) -> Option<()> {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    buckets.dedup_by(|later, kept| {
        let same = later.bound == kept.bound;
        if same {
            kept.count += later.count;
        }
        same
    });
    (buckets.last()?.bound == f64::INFINITY).then_some(())
}

/// Makes counts grow: a bucket that is behind the one before it, or ahead only by rounding, takes its
/// count.
fn make_monotonic(buckets: &mut [Bucket]) {
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count < before || nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (size, apart) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return apart < TOLERANCE * f64::MIN_POSITIVE;
    }
    apart / size.min(f64::MAX) < TOLERANCE
}

/// The `q`-quantile, as if observations were spread evenly within each bucket.
pub(crate) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if prepare(buckets).is_none() || buckets.len() < 2 {
        return f64::NAN;
    }
    make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let at = buckets[..last]
        .iter()
        .position(|bucket| bucket.count >= rank)
        .unwrap_or(last);
    if at == last {
        return buckets[last - 1].bound;
    }
    if at == 0 && buckets[0].bound <= 0.0 {
        return buckets[0].bound;
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    start + (buckets[at].bound - start) * (rank / count)
}

/// The share of observations between `lower` and `upper`.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if prepare(buckets).is_none() {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets).min(count) - rank_of(lower, buckets).min(count)) / count
}

/// Observations up to `value`, interpolated within its bucket.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut rank = 0.0;
    let mut bottom = if buckets[0].bound <= 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    for bucket in buckets {
        if bottom >= value {
            return rank;
        }
        if bucket.bound > value {
            // Nothing can be said of the inside of a bucket without end.
            return if bottom == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - bottom) / (bucket.bound - bottom)
            };
        }
        rank = bucket.count;
        bottom = bucket.bound;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(bound, count)| Bucket {
                bound: *bound,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn quantiles_are_interpolated_inside_their_bucket() {
        let of = |q: f64| {
            quantile(
                q,
                &mut buckets(&[(f64::INFINITY, 10.0), (1.0, 5.0), (2.0, 10.0)]),
            )
        };
        assert_eq!(of(0.25), 0.5);
        assert_eq!(of(0.75), 1.5);
        assert_eq!(of(1.0), 2.0);
        assert_eq!(of(-1.0), f64::NEG_INFINITY);
    }

    #[test]
    fn what_is_no_histogram_has_no_quantile() {
        assert!(quantile(0.5, &mut buckets(&[(1.0, 5.0), (2.0, 10.0)])).is_nan());
        assert!(quantile(0.5, &mut buckets(&[(f64::INFINITY, 10.0)])).is_nan());
        assert!(quantile(0.5, &mut buckets(&[(1.0, 0.0), (f64::INFINITY, 0.0)])).is_nan());
    }

    #[test]
    fn fractions_count_up_to_a_value() {
        let of = |lower: f64, upper: f64| {
            fraction(
                lower,
                upper,
                &mut buckets(&[(1.0, 5.0), (2.0, 10.0), (f64::INFINITY, 20.0)]),
            )
        };
        assert_eq!(of(0.0, 1.0), 0.25);
        assert_eq!(of(0.5, 1.5), 0.25);
        assert_eq!(of(0.0, f64::INFINITY), 1.0);
        assert_eq!(of(1.0, 1.0), 0.0);
    }
}
