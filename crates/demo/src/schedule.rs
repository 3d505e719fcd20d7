//! When each event is meant to happen: fixed before the first is sent, whatever the server does.
//!
//! An open loop: a slow server makes events late, never fewer, and lateness is counted from the
//! intended time. The pace has a rush of 0.4 seconds in every ten, 1.9 times as fast, at a moment of
//! its own in each; the rest is slower by as much (4 %), so each ten seconds hold exactly
//! ten times the rate.
//!
//! Invariants: times never go back; event `n * 10 * rate` is meant for second `10 n`.

use std::time::Duration;

use crate::random::mix;

/// Seconds after which the pace repeats its shape.
const PERIOD: f64 = 10.0;
/// Seconds of a rush in each period.
const RUSH: f64 = 0.4;
/// How much faster a rush is than the rate.
const RUSH_PACE: f64 = 1.9;
/// The pace outside of it, so that the mean is the rate.
const CALM_PACE: f64 = (PERIOD - RUSH * RUSH_PACE) / (PERIOD - RUSH);

/// The intended times of events.
#[derive(Debug, Clone)]
pub struct Schedule {
    rate: f64,
    seed: u64,
    steady: bool,
    next: u64,
}

/// One event's place in the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// When it is meant to happen, since the start.
    pub at: Duration,
    /// Whether that is in a rush.
    pub rush: bool,
}

impl Schedule {
    /// `rate` events a second (above 0) on average; `steady` has no rushes.
    pub fn new(rate: f64, seed: u64, steady: bool) -> Self {
        Self {
            rate,
            seed,
            steady,
            next: 0,
        }
    }

    /// The next event's place, without taking it.
    pub fn peek(&self) -> Slot {
        let even = self.next as f64 / self.rate;
        if self.steady {
            return Slot {
                at: Duration::from_secs_f64(even),
                rush: false,
            };
        }
        let period = (even / PERIOD).floor();
        let (within, rush) = warp(even - period * PERIOD, self.rush_start(period));
        Slot {
            at: Duration::from_secs_f64(period * PERIOD + within),
            rush,
        }
    }

    /// Takes the next event's place.
    pub fn take(&mut self) -> Slot {
        let slot = self.peek();
        self.next += 1;
        slot
    }

    /// The second of a period at which its rush begins.
    fn rush_start(&self, period: f64) -> f64 {
        let random = mix(self.seed ^ period.to_bits()) >> 11;
        (PERIOD - RUSH) * (random as f64 / (1_u64 << 53) as f64)
    }
}

/// Moves a time of an even pace within a period to where the uneven pace has it.
fn warp(even: f64, rush_start: f64) -> (f64, bool) {
    let rush_from = rush_start * CALM_PACE;
    let rush_to = rush_from + RUSH * RUSH_PACE;
    if even < rush_from {
        (even / CALM_PACE, false)
    } else if even < rush_to {
        (rush_start + (even - rush_from) / RUSH_PACE, true)
    } else {
        (rush_start + RUSH + (even - rush_to) / CALM_PACE, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_never_go_back_and_the_mean_is_the_rate() {
        let mut schedule = Schedule::new(2_246.0, 5, false);
        let mut last = Duration::ZERO;
        let mut per_second = [0_u32; 30];
        let mut rushed = 0;
        for _ in 0..2_246 * 30 {
            let slot = schedule.take();
            assert!(slot.at >= last);
            last = slot.at;
            rushed += u32::from(slot.rush);
            per_second[usize::try_from(slot.at.as_secs()).unwrap().min(29)] += 1;
        }
        assert!((29.99..30.0).contains(&last.as_secs_f64()), "{last:?}");
        assert!(
            (5_118..5_124).contains(&rushed),
            "3 times 0.4 s at 1.9: {rushed}"
        );
        let most = *per_second.iter().max().unwrap();
        let least = *per_second.iter().min().unwrap();
        assert!(most > 2_500 && least > 2_100, "{per_second:?}");
    }

    #[test]
    fn a_steady_schedule_is_even() {
        let mut schedule = Schedule::new(4.0, 5, true);
        let times: Vec<_> = (0..4).map(|_| schedule.take().at.as_millis()).collect();
        assert_eq!(times, [0, 250, 500, 750]);
    }
}
