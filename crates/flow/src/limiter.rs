//! How much may be in work at once, found by measuring.
//!
//! **Problem.** What is admitted beyond what the log can do at once does not get done sooner: it stands in a line
//! inside, and everybody behind it is late. Too little in work, and the log is idle while it waits for the next
//! request; group commit (many appends, one fsync) even lives from having many. The right amount is the throughput
//! times the time one piece of work takes without a line (Little's law), and both change by the minute: another
//! tenant's disk, larger batches, a cold cache. A figure in a file is wrong most of the time.
//!
//! **Obstacles.** The shortest time ever seen is a poor measure of "without a line", where batching makes one request
//! alone quick and a full round slow but far more productive. An average remembers the overload it should judge. A
//! single slow fsync is no overload. And a limiter that lowers its limit because of something else than its own
//! line (a slow disk) would go on to nothing and never learn.
//!
//! **Answer.** A limit on cost in flight (bytes, say), judged at each tenth of a second by the last three windows
//! of one second:
//!
//! ```text
//!   base      the lowest median of a window; rises slowly while nobody is held back
//!   goal      the larger of `latency` and twice `base`
//!   p95       the median of the three windows' p95: one bad window moves nothing
//!   gradient  goal / p95, from 1/2 to 1
//!   wanted    limit × gradient, and an eighth of the limit more if somebody was held back;
//!             times the share that succeeded, if that is below nine tenths
//!   limit     a part of the way to `wanted`, within `min` and `max`
//! ```
//!
//! - Below `latency` a line hurts nobody, so it is not traded for throughput: this is what lets group commit work.
//! - It grows only while somebody is held back: a limit that nobody touches says nothing about itself.
//! - It rests where the gradient takes away what growth adds: p95 an eighth above the goal, whatever the scale.
//! - A smaller limit that cost throughput and bought no latency showed that the time is no line of ours: then what is
//!   measured is the new base. The same at `min`, since there is nothing left to take away.
//! - A base that was first measured in a line is too high, and the line it allows keeps it so. Where it is the base that
//!   sets the goal, half the limit is tried for a second of every ten: if it was a line, the base falls by half.
//! - Something is always admitted: one piece of work when nothing is in flight, however large it is.
//!
//! Sources: L. Brakmo, L. Peterson, "TCP Vegas: End to End Congestion Avoidance on a Global Internet" (1995): the line is
//! what is in flight beyond throughput × base. N. Cardwell et al., "BBR: Congestion-Based Congestion Control" (2016):
//! base and throughput cannot be measured at once, so both have a memory. K. Nichols, V. Jacobson, "Controlling Queue
//! Delay" (2012): a line that is short enough is good. Netflix, "Performance Under Load" (2018): the gradient, with
//! headroom and smoothing, for requests instead of packets. J. Little, "A Proof for the Queuing Formula L = λW" (1961).

use std::time::Duration;

use crate::window::{Slices, Span, together};

/// Growth while somebody is held back, as a share of the limit.
const HEADROOM: f64 = 0.125;
/// The part of the way that is gone at each judgement, ten times a second.
const STEP: f64 = 0.1;
/// How many times the base is still no line.
const TOLERANCE: f64 = 2.0;
/// The largest fall that is wanted at once.
const GRADIENT_MIN: f64 = 0.5;
/// Success below this lowers the limit.
const SUCCESS_MIN: f64 = 0.9;
/// How fast the base rises to what is measured while nobody is held back, a judgement.
const BASE_RISE: f64 = 0.01;
/// Judgements from one trial of half the limit to the next, and those it takes.
const TRIAL_EVERY: u32 = 100;
const TRIAL: u32 = 10;
/// Fewer calls than this in a window say nothing about its p95.
const SAMPLES_MIN: u32 = 10;

/// Bounds of a limiter, in units of cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterOptions {
    /// The limit is never lower, at least 1.
    pub min: u64,
    /// The limit is never higher.
    pub max: u64,
    /// The limit at first.
    pub initial: u64,
    /// A p95 below this is good, whatever the base.
    pub latency: Duration,
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Failed for reasons of ours: counts against the limit.
    Failed,
    /// Refused for what it was, or given up: says nothing about how busy we are.
    Ignored,
}

/// An adaptive limit on cost in flight.
#[derive(Debug)]
pub struct Limiter {
    options: LimiterOptions,
    limit: f64,
    in_flight: u64,
    base: Option<f64>,
    p95: Option<Duration>,
    slices: Slices,
    /// Judgements while held back by a goal that the base sets; above [`TRIAL_EVERY`] in a trial.
    held: u32,
}

impl Limiter {
    /// A limiter at its initial limit. Bounds that contradict each other give way to `min`.
    pub fn new(options: LimiterOptions) -> Self {
        let min = options.min.max(1);
        let max = options.max.max(min);
        let limit = to_float(options.initial.clamp(min, max));
        Self {
            options: LimiterOptions {
                min,
                max,
                ..options
            },
            limit,
            in_flight: 0,
            base: None,
            p95: None,
            slices: Slices::new(),
            held: 0,
        }
    }

    /// Admits work of this cost if there is room; if not, somebody is held back.
    pub fn try_admit(&mut self, cost: u64, now: Duration) -> bool {
        self.tick(now);
        let room = self.limit().saturating_sub(self.in_flight);
        if self.in_flight > 0 && cost > room {
            self.slices.now().held_back = true;
            return false;
        }
        self.in_flight = self.in_flight.saturating_add(cost);
        true
    }

    /// Work that was admitted is over, after `latency`.
    pub fn done(&mut self, cost: u64, latency: Duration, outcome: Outcome, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(cost);
        self.tick(now);
        let slice = self.slices.now();
        match outcome {
            Outcome::Succeeded => {
                slice.succeeded = slice.succeeded.saturating_add(1);
                slice.done = slice.done.saturating_add(cost);
                slice.latency.add(latency);
            }
            Outcome::Failed => slice.failed = slice.failed.saturating_add(1),
            Outcome::Ignored => (),
        }
    }

    /// Lets time pass; judges at most ten times a second.
    pub fn tick(&mut self, now: Duration) {
        let limit = self.limit();
        let slice = self.slices.now();
        slice.limit = slice.limit.max(limit);
        if self.slices.turn(now) {
            self.judge();
        }
    }

    /// Cost that may be in flight now.
    pub fn limit(&self) -> u64 {
        let part = if self.on_trial() { 0.5 } else { 1.0 };
        to_cost(self.limit * part).max(self.options.min)
    }

    /// Cost in flight now.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The p95 of the last judgement.
    pub const fn p95(&self) -> Option<Duration> {
        self.p95
    }

    /// Cost done in the last second, for who wants to know how long a line takes.
    pub fn throughput(&self) -> u64 {
        self.slices.done()
    }

    fn judge(&mut self) {
        let windows = self.slices.windows();
        let whole = together(&windows);
        let calls = whole.succeeded.saturating_add(whole.failed);
        if calls < SAMPLES_MIN {
            return;
        }
        let [newest, _, oldest] = &windows;
        let success = f64::from(whole.succeeded) / f64::from(calls);
        let mut wanted = self.limit;
        self.p95 = p95(&windows, &whole);
        if let Some(p95) = self.p95 {
            let p95 = p95.as_secs_f64();
            self.learn(newest, oldest, p95);
            let base = self.base.unwrap_or(p95);
            let latency = self.options.latency.as_secs_f64();
            let goal = (TOLERANCE * base).max(latency);
            wanted *= (goal / p95).clamp(GRADIENT_MIN, 1.0);
            self.count_to_trial(newest.held_back && goal > latency);
        }
        if self.on_trial() {
            return;
        }
        if newest.held_back && success >= SUCCESS_MIN {
            wanted += self.limit * HEADROOM;
        }
        if success < SUCCESS_MIN {
            wanted *= success.max(GRADIENT_MIN);
        }
        let (min, max) = (to_float(self.options.min), to_float(self.options.max));
        self.limit = (self.limit + (wanted - self.limit) * STEP).clamp(min, max);
    }

    const fn on_trial(&self) -> bool {
        self.held > TRIAL_EVERY
    }

    fn count_to_trial(&mut self, matters: bool) {
        self.held = if self.on_trial() || matters {
            self.held + 1
        } else {
            0
        };
        if self.held > TRIAL_EVERY + TRIAL {
            self.held = 0;
        }
    }

    /// What the time without a line is.
    fn learn(&mut self, newest: &Span, oldest: &Span, p95: f64) {
        let Some(median) = newest.latency.percentile(50) else {
            return;
        };
        let median = median.as_secs_f64();
        let base = *self.base.get_or_insert(median);
        let at_min = self.limit <= to_float(self.options.min);
        self.base = Some(
            if median <= base || at_min || is_no_line(newest, oldest, p95) {
                median
            } else if newest.held_back {
                base
            } else {
                base + (median - base) * BASE_RISE
            },
        );
    }
}

/// Whether the limit was lowered, throughput fell as much, and latency stayed what it was. (When throughput falls by
/// more, it is the server that became slower, and the line is longer than before.)
fn is_no_line(newest: &Span, oldest: &Span, p95: f64) -> bool {
    let Some(before) = oldest.latency.percentile(95) else {
        return false;
    };
    let held = newest.held_back && oldest.held_back;
    let share = |now: u64, then: u64| to_float(now) / to_float(then.max(1));
    let limit = share(newest.limit, oldest.limit);
    let done = share(newest.done, oldest.done);
    let latency = p95 / before.as_secs_f64();
    // Fewer calls vary more by chance: three standard deviations.
    let chance = 3.0 / f64::from(newest.succeeded.max(1)).sqrt();
    held && limit < 0.8
        && 1.0 - done > chance
        && (0.7..1.3).contains(&((1.0 - done) / (1.0 - limit)))
        && (0.85..1.15).contains(&latency)
}

/// The median of the windows' p95, or that of all together where they have few calls each.
fn p95(windows: &[Span; 3], whole: &Span) -> Option<Duration> {
    let mut each = windows.iter().filter_map(|window| {
        let enough = window.latency.count() >= SAMPLES_MIN;
        window.latency.percentile(95).filter(|_| enough)
    });
    match (each.next(), each.next(), each.next()) {
        (Some(a), Some(b), Some(c)) => Some(a.max(b).min(a.min(b).max(c))),
        _ => whole.latency.percentile(95),
    }
}

const fn to_float(cost: u64) -> f64 {
    cost as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit is within its bounds, which are costs"
)]
const fn to_cost(limit: f64) -> u64 {
    limit as u64
}

#[cfg(test)]
mod tests;
