//! Functions of a range: a run of samples in, one value out.
//!
//! The samples are those in `(start, end]`, at least one, without staleness markers. The arithmetic is
//! Prometheus' to the last bit where rounding shows: extrapolation in `rate`, kept rounding errors in
//! sums.

use super::numeric::{Mean, Sum, quantile, regression, variance};
use crate::functions::Over;

/// What a range function works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    /// Milliseconds and values, in order, not empty.
    pub(crate) samples: &'a [(i64, f64)],
    /// Start of the range, which is not part of it.
    pub(crate) start: i64,
    /// End of the range, which is.
    pub(crate) end: i64,
    /// The evaluation's own time.
    pub(crate) now: i64,
    /// The scalar arguments.
    pub(crate) params: [f64; 2],
}

impl Window<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|(_, value)| *value)
    }

    fn last(&self) -> (i64, f64) {
        self.samples[self.samples.len() - 1]
    }
}

/// The value of `function`; `None` when there are too few samples for one.
pub(crate) fn over(function: Over, window: Window<'_>) -> Option<f64> {
    let samples = window.samples;
    Some(match function {
        Over::Rate => return extrapolated(window, true, true),
        Over::Increase => return extrapolated(window, true, false),
        Over::Delta => return extrapolated(window, false, false),
        Over::Irate => return last_step(samples, true),
        Over::Idelta => return last_step(samples, false),
        Over::Deriv | Over::PredictLinear if samples.len() < 2 => return None,
        Over::Deriv => regression(samples, samples[0].0).0,
        Over::PredictLinear => {
            let (slope, value) = regression(samples, window.now);
            slope * window.params[0] + value
        }
        Over::Changes => count_pairs(samples, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        Over::Resets => count_pairs(samples, |a, b| b < a),
        Over::Sum => {
            let mut sum = Sum::default();
            window.values().for_each(|value| sum.add(value));
            sum.total()
        }
        Over::Avg => {
            let mut mean = Mean::default();
            window.values().for_each(|value| mean.add(value));
            mean.mean()
        }
        Over::Min => window
            .values()
            .reduce(|a, b| if b < a || a.is_nan() { b } else { a })?,
        Over::Max => window
            .values()
            .reduce(|a, b| if b > a || a.is_nan() { b } else { a })?,
        Over::Count => samples.len() as f64,
        Over::Stdvar => variance(window.values()),
        Over::Stddev => variance(window.values()).sqrt(),
        Over::Quantile => quantile(window.params[0], &mut window.values().collect::<Vec<_>>()),
        Over::Mad => median_deviation(&mut window.values().collect::<Vec<_>>()),
        Over::Last => window.last().1,
        Over::First => samples[0].1,
        Over::Present => 1.0,
        Over::DoubleExponentialSmoothing => return smooth(samples, window.params),
        Over::TimeOfFirst => seconds(samples[0].0),
        Over::TimeOfLast => seconds(window.last().0),
        Over::TimeOfMin => seconds(time_of(samples, |best, v| v <= best)),
        Over::TimeOfMax => seconds(time_of(samples, |best, v| v >= best)),
    })
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

/// How a value changed over the range, stretched to its borders where the samples come close to them
/// (`promql/functions.go: extrapolatedRate` documents why).
fn extrapolated(window: Window<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let [first, .., last] = window.samples else {
        return None;
    };
    let mut change = last.1 - first.1;
    if counter {
        let resets = window.samples.windows(2).filter(|two| two[1].1 < two[0].1);
        change += resets.map(|two| two[0].1).sum::<f64>();
    }
    let mut to_start = seconds(first.0 - window.start);
    let mut to_end = seconds(window.end - last.0);
    let sampled = seconds(last.0 - first.0);
    let step = sampled / (window.samples.len() - 1) as f64;
    let threshold = step * 1.1;
    if to_start >= threshold {
        to_start = step / 2.0;
    }
    if counter {
        // A counter is never negative: do not stretch it to before it was zero.
        let to_zero = if change > 0.0 && first.1 >= 0.0 {
            sampled * (first.1 / change)
        } else {
            to_start
        };
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = step / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= seconds(window.end - window.start);
    }
    Some(change * factor)
}

/// The change between the last two samples, per second if it is a counter's.
fn last_step(samples: &[(i64, f64)], counter: bool) -> Option<f64> {
    let [.., before, last] = samples else {
        return None;
    };
    let reset = counter && last.1 < before.1;
    let change = if reset { last.1 } else { last.1 - before.1 };
    Some(if counter {
        change / seconds(last.0 - before.0)
    } else {
        change
    })
}

fn count_pairs(samples: &[(i64, f64)], counts: impl Fn(f64, f64) -> bool) -> f64 {
    samples
        .windows(2)
        .filter(|two| counts(two[0].1, two[1].1))
        .count() as f64
}

fn median_deviation(values: &mut [f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, values);
    for value in values.iter_mut() {
        *value = (*value - median).abs();
    }
    quantile(0.5, values)
}

/// Double exponential smoothing (Holt), with the smoothing and the trend factor.
fn smooth(samples: &[(i64, f64)], [smoothing, trending]: [f64; 2]) -> Option<f64> {
    let [first, second, ..] = samples else {
        return None;
    };
    let mut before = 0.0;
    let mut smoothed = first.1;
    let mut trend = second.1 - first.1;
    for (index, (_, value)) in samples.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trending * (smoothed - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
        before = smoothed;
        smoothed = next;
    }
    Some(smoothed)
}

fn time_of(samples: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> i64 {
    let mut best = samples[0];
    for sample in &samples[1..] {
        if better(best.1, sample.1) || best.1.is_nan() {
            best = *sample;
        }
    }
    best.0
}
