//! Deadlines on a fixed grid.

use std::time::Duration;

use crate::figures::{Figures, Recorder};

/// Fastest beat, per second: what a fast display can show.
const HERTZ_MAX: u32 = 240;

/// Why a rate cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not between 1 and 240.
    #[error("a beat of {hertz} per second is not between 1 and {HERTZ_MAX}")]
    Rate {
        /// The rate asked for.
        hertz: u32,
    },
}

/// Beats per second, 1 to 240.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    /// `hertz` beats per second.
    ///
    /// # Errors
    /// [`Error::Rate`] outside `1..=240`.
    pub const fn from_hertz(hertz: u32) -> Result<Self, Error> {
        if hertz == 0 || hertz > HERTZ_MAX {
            return Err(Error::Rate { hertz });
        }
        Ok(Self(hertz))
    }

    /// Beats per second.
    pub const fn hertz(self) -> u32 {
        self.0
    }

    /// Time from one beat to the next, cut to whole nanoseconds; deadlines do not add it up.
    pub fn period(self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

/// One beat that is to be played now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Its number on the grid, from 1; numbers of missed beats are left out.
    pub number: u64,
    /// How long after its deadline it came.
    pub late: Duration,
    /// Beats that were due between it and now and will not be played.
    pub missed: u64,
}

/// Says when beats are due. Told the time of a monotonic clock; holds no timer.
#[derive(Debug)]
pub struct FrameClock {
    rate: Rate,
    start: Duration,
    next: u64,
    recorder: Recorder,
}

impl FrameClock {
    /// A grid that starts at `start`; the first beat is one period later.
    pub fn new(rate: Rate, start: Duration) -> Self {
        Self {
            rate,
            start,
            next: 1,
            recorder: Recorder::new(),
        }
    }

    /// The rate of the beats.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next beat is due.
    pub fn deadline(&self) -> Duration {
        self.deadline_of(self.next)
    }

    /// Plays the next beat if it is due at `now`, and steps over those it came too late for.
    pub fn wake(&mut self, now: Duration) -> Option<Beat> {
        let late = now.checked_sub(self.deadline())?;
        let number = self.next;
        let newest = self.newest_due(now).max(number);
        self.next = newest + 1;
        let missed = newest - number;
        self.recorder.beat(now, late, missed);
        Some(Beat {
            number,
            late,
            missed,
        })
    }

    /// Goes on after a pause: the next beat is the first one due after `now`, nothing was missed.
    pub fn resume(&mut self, now: Duration) {
        self.next = self.next.max(self.newest_due(now) + 1);
    }

    /// How the beats came since this was asked last.
    pub fn take_figures(&mut self) -> Figures {
        self.recorder.take()
    }

    /// The largest beat number with a deadline at or before `now`, 0 before the first.
    fn newest_due(&self, now: Duration) -> u64 {
        let since = now.saturating_sub(self.start).as_nanos();
        let number = (since * u128::from(self.rate.0)) / 1_000_000_000;
        let number = u64::try_from(number).unwrap_or(u64::MAX - 1);
        // The deadline of a number is rounded up to whole nanoseconds, so the division may be one ahead.
        if self.deadline_of(number) > now {
            number.saturating_sub(1)
        } else {
            number
        }
    }

    /// `start + number × period`, rounded up to whole nanoseconds, without adding up roundings.
    fn deadline_of(&self, number: u64) -> Duration {
        let nanos = (u128::from(number) * 1_000_000_000).div_ceil(u128::from(self.rate.0));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn clock(hertz: u32) -> FrameClock {
        FrameClock::new(Rate::from_hertz(hertz).unwrap(), Duration::ZERO)
    }

    #[test]
    fn rates_outside_the_limits_are_refused() {
        for hertz in [0, 241, u32::MAX] {
            assert_eq!(Rate::from_hertz(hertz), Err(Error::Rate { hertz }));
        }
        for hertz in [1, 60, 240] {
            assert_eq!(Rate::from_hertz(hertz).unwrap().hertz(), hertz);
        }
    }

    #[test]
    fn deadlines_do_not_drift_at_rates_that_do_not_divide_a_second() {
        for hertz in [7, 60, 144, 240] {
            let mut clock = clock(hertz);
            for _ in 0..u64::from(hertz) * 1_000 {
                let late = clock.wake(clock.deadline()).unwrap().late;
                assert_eq!(late, Duration::ZERO);
            }
            let thousand = Duration::from_secs(1_000);
            assert!(clock.deadline() > thousand && clock.deadline() <= thousand + MS * 143);
            assert_eq!(clock.take_figures().missed, 0);
        }
    }

    #[test]
    fn every_beat_late_by_the_same_time_keeps_the_phase() {
        let mut clock = clock(100);
        for beat in 1..=500_u32 {
            let played = clock.wake(MS * 10 * beat + MS * 3).unwrap();
            assert_eq!((played.number, played.missed), (u64::from(beat), 0));
        }
        let figures = clock.take_figures();
        assert_eq!(figures.beats, 500);
        assert_eq!(figures.phase, MS * 3);
        assert_eq!(figures.jitter, Duration::ZERO);
        assert!(figures.drift_ppm.abs() < 1e-6);
    }

    #[test]
    fn a_long_stop_is_one_late_beat_and_many_missed() {
        let mut clock = clock(100);
        clock.wake(MS * 10).unwrap();
        let beat = clock.wake(MS * 1_005).unwrap();
        assert_eq!((beat.number, beat.missed), (2, 98));
        assert_eq!(beat.late, MS * 985);
        assert_eq!(clock.deadline(), MS * 1_010);
        assert!(clock.wake(MS * 1_009).is_none());
        assert_eq!(clock.take_figures().missed, 98);
    }

    #[test]
    fn a_pause_is_not_a_missed_beat_and_keeps_the_grid() {
        let mut clock = clock(20);
        clock.wake(MS * 50).unwrap();
        clock.resume(MS * 10_012);
        assert_eq!(clock.deadline(), MS * 10_050);
        clock.wake(MS * 10_050).unwrap();
        assert_eq!(clock.take_figures().missed, 0);
        clock.resume(MS * 10_051);
        assert_eq!(clock.deadline(), MS * 10_100);
    }

    #[test]
    fn a_wake_exactly_on_the_deadline_is_that_beat() {
        for hertz in 1..=240 {
            let mut clock = clock(hertz);
            for number in 1..100 {
                let beat = clock.wake(clock.deadline()).unwrap();
                assert_eq!((beat.number, beat.missed), (number, 0), "{hertz} Hz");
            }
        }
    }
}
