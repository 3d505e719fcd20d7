//! A circuit breaker: stops calling who does not answer, and tries a little until they do.
//!
//! ```text
//!             half of the last calls failed                 the rest is over
//!   Closed ───────────────────────────────────> Open ──────────────────────────> HalfOpen
//!     ^                                           ^                                │   │
//!     │                                           └────── a probe failed ──────────┘   │
//!     └─────────────────────────── enough probes succeeded ────────────────────────────┘
//! ```
//!
//! Invariants: judged are the calls of the last 10 s, at most the last 100, and never fewer than a minimum; each time a
//! probe fails the rest doubles, up to its longest; half open, every twentieth call is let through (5 %), and one
//! whenever none was for a while, so that somebody who calls once a minute is not shut out for twenty; a result of a call
//! that began before the breaker opened changes nothing.
//! Source: M. Nygard, "Release It!" (2007), "Circuit Breaker".

use std::collections::VecDeque;
use std::time::Duration;

/// When a breaker opens and closes.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerOptions {
    /// Calls older than this are not judged. Default 10 s.
    pub window: Duration,
    /// Calls that are judged at most. Default 100.
    pub calls_max: usize,
    /// Fewer calls than this are not judged. Default 10.
    pub calls_min: usize,
    /// The share of failures that opens, above 0, at most 1. Default 0.5.
    pub failures: f64,
    /// The first rest. Default 5 s.
    pub rest: Duration,
    /// The longest rest. Default 1 min.
    pub rest_max: Duration,
    /// Half open, one call of so many is a probe. Default 20.
    pub probe_every: u32,
    /// Half open, a call this long after the last probe is one, too. Default 1 s.
    pub probe_pause: Duration,
    /// Probes that must succeed one after another. Default 3.
    pub probes: u32,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            calls_max: 100,
            calls_min: 10,
            failures: 0.5,
            rest: Duration::from_secs(5),
            rest_max: Duration::from_mins(1),
            probe_every: 20,
            probe_pause: Duration::from_secs(1),
            probes: 3,
        }
    }
}

/// What a breaker lets happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// A few probes.
    HalfOpen,
}

/// Leave for one call; goes back to [`Breaker::done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "its result must be told"]
pub struct Call {
    /// How often the breaker had changed its state when the call began.
    era: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        succeeded: u32,
        since_probe: u32,
        probed: Duration,
    },
}

/// A circuit breaker for one endpoint.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    era: u64,
    /// When each call ended, and whether it succeeded.
    calls: VecDeque<(Duration, bool)>,
    failed: usize,
    rest: Duration,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            calls: VecDeque::new(),
            failed: 0,
            state: State::Closed,
            era: 0,
            rest: options.rest,
            options,
        }
    }

    /// Leave for a call now.
    ///
    /// # Errors
    /// How long until it is worth asking again; half open that is only a guess.
    pub fn call(&mut self, now: Duration) -> Result<Call, Duration> {
        self.wake(now);
        let options = &self.options;
        match &mut self.state {
            State::Closed => (),
            State::Open { until } => return Err(until.saturating_sub(now)),
            State::HalfOpen {
                since_probe,
                probed,
                ..
            } => {
                *since_probe += 1;
                let due = probed.saturating_add(options.probe_pause);
                if *since_probe < options.probe_every && now < due {
                    return Err(due.saturating_sub(now));
                }
                *since_probe = 0;
                *probed = now;
            }
        }
        Ok(Call { era: self.era })
    }

    /// The call ended. Answers whether the state changed by it.
    pub fn done(&mut self, call: Call, succeeded: bool, now: Duration) -> bool {
        self.wake(now);
        if call.era != self.era {
            return false;
        }
        let probes = self.options.probes;
        match &mut self.state {
            State::Open { .. } => false,
            State::Closed => {
                self.note(succeeded, now);
                let opens = self.is_failing();
                if opens {
                    self.open(now);
                }
                opens
            }
            State::HalfOpen {
                succeeded: count, ..
            } if succeeded => {
                *count += 1;
                let closes = *count >= probes;
                if closes {
                    self.enter(State::Closed);
                    self.rest = self.options.rest;
                }
                closes
            }
            State::HalfOpen { .. } => {
                self.rest = (self.rest * 2).min(self.options.rest_max);
                self.open(now);
                true
            }
        }
    }

    /// Its state at `now`.
    pub fn state(&mut self, now: Duration) -> BreakerState {
        self.wake(now);
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn wake(&mut self, now: Duration) {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.enter(State::HalfOpen {
                succeeded: 0,
                // The first call is a probe.
                since_probe: self.options.probe_every,
                probed: until,
            });
        }
    }

    fn open(&mut self, now: Duration) {
        self.enter(State::Open {
            until: now.saturating_add(self.rest),
        });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
        self.calls.clear();
        self.failed = 0;
    }

    fn note(&mut self, succeeded: bool, now: Duration) {
        self.calls.push_back((now, succeeded));
        self.failed += usize::from(!succeeded);
        let oldest = now.saturating_sub(self.options.window);
        while let Some((at, ok)) = self.calls.front().copied()
            && (at < oldest || self.calls.len() > self.options.calls_max)
        {
            self.calls.pop_front();
            self.failed -= usize::from(!ok);
        }
    }

    fn is_failing(&self) -> bool {
        let calls = self.calls.len();
        calls >= self.options.calls_min.max(1)
            && self.failed as f64 >= self.options.failures * calls as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Calls every `pause` from `from` on; answers how many were let through and the time of the last.
    fn calls(breaker: &mut Breaker, count: u32, from: Duration, pause: Duration, ok: bool) -> u32 {
        let mut through = 0;
        for number in 0..count {
            let now = from + pause * number;
            if let Ok(call) = breaker.call(now) {
                through += 1;
                breaker.done(call, ok, now + MS / 2);
            }
        }
        through
    }

    #[test]
    fn it_opens_when_half_of_the_last_calls_failed_and_not_for_a_few() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        assert_eq!(calls(&mut breaker, 9, SECOND, MS, false), 9);
        assert_eq!(
            breaker.state(SECOND * 2),
            BreakerState::Closed,
            "nine are too few to judge"
        );
        // Older than the window: forgotten.
        assert_eq!(calls(&mut breaker, 10, SECOND * 20, MS, true), 10);
        assert_eq!(calls(&mut breaker, 9, SECOND * 21, MS, false), 9);
        assert_eq!(breaker.state(SECOND * 22), BreakerState::Closed);
        assert_eq!(calls(&mut breaker, 9, SECOND * 22, MS, false), 1);
        assert_eq!(breaker.state(SECOND * 23), BreakerState::Open);
        assert!(breaker.call(SECOND * 23).unwrap_err() > SECOND * 3);
    }

    #[test]
    fn only_the_last_hundred_calls_are_judged() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        assert_eq!(calls(&mut breaker, 5_000, SECOND, MS, true), 5_000);
        let through = calls(&mut breaker, 1_000, SECOND * 6, MS, false);
        assert_eq!(through, 50, "half of the last hundred, whatever was before");
    }

    #[test]
    fn half_open_one_call_in_twenty_is_a_probe_and_three_close() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        calls(&mut breaker, 10, SECOND, MS, false);
        let open = SECOND * 7;
        assert_eq!(breaker.state(open), BreakerState::HalfOpen);
        // The first at once, then each twentieth.
        assert_eq!(calls(&mut breaker, 40, open, MS / 10, true), 2);
        assert_eq!(breaker.state(open + MS * 5), BreakerState::HalfOpen);
        assert_eq!(calls(&mut breaker, 20, open + MS * 5, MS / 10, true), 20);
        assert_eq!(breaker.state(open + MS * 10), BreakerState::Closed);
    }

    #[test]
    fn a_failed_probe_doubles_the_rest_up_to_its_longest() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        calls(&mut breaker, 10, SECOND, MS, false);
        let mut now = SECOND;
        let mut rests = Vec::new();
        for _ in 0..6 {
            now += breaker.call(now + MS * 10).unwrap_err() + MS * 10;
            let probe = breaker.call(now).unwrap();
            assert!(breaker.done(probe, false, now));
            rests.push(breaker.call(now).unwrap_err().as_secs());
        }
        assert_eq!(rests, [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn who_calls_rarely_is_let_through_by_the_time() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        calls(&mut breaker, 10, SECOND, MS, false);
        assert_eq!(calls(&mut breaker, 3, SECOND * 10, SECOND * 2, true), 3);
        assert_eq!(breaker.state(SECOND * 17), BreakerState::Closed);
    }

    #[test]
    fn results_of_calls_from_before_change_nothing() {
        let mut breaker = Breaker::new(BreakerOptions::default());
        let late = breaker.call(SECOND).unwrap();
        calls(&mut breaker, 10, SECOND, MS, false);
        assert_eq!(breaker.state(SECOND * 7), BreakerState::HalfOpen);
        for _ in 0..10 {
            assert!(!breaker.done(late, false, SECOND * 7));
            assert!(!breaker.done(late, true, SECOND * 7));
        }
        assert_eq!(breaker.state(SECOND * 7), BreakerState::HalfOpen);
    }
}
