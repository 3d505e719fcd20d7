//! The limiter before simulated servers: one that serves one after another, one that serves rounds.

use std::collections::VecDeque;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Arrivals and service times that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time until something that happens so often a second, on average.
    fn until(&mut self, per_second: f64) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.next()).ln() / per_second)
    }
}

/// What came of the work that arrived in a span of time.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Done within the patience of who sent it.
    good: u32,
    late: u32,
    refused: u32,
    /// Admitted work and how long it took inside, added up.
    inside: Duration,
    worst: Duration,
    lowest: u64,
    highest: u64,
}

/// One server, first come first served, each piece of work with a time of its own (M/M/1).
struct Mm1 {
    dice: Dice,
    limiter: Option<Limiter>,
    now: Duration,
    arrives: Duration,
    /// When each arrived, waiting before the limit.
    waiting: VecDeque<Duration>,
    /// When each arrived and was admitted; the first is being served.
    inside: VecDeque<(Duration, Duration)>,
    finishes: Option<Duration>,
}

/// How long who sent something waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The line before the limit, in seconds of work: who comes then is refused.
const LINE: f64 = 0.2;

impl Mm1 {
    fn new(limiter: Option<LimiterOptions>, seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            limiter: limiter.map(Limiter::new),
            now: Duration::ZERO,
            arrives: Duration::ZERO,
            waiting: VecDeque::new(),
            inside: VecDeque::new(),
            finishes: None,
        }
    }

    /// Goes on for `seconds` with so many arrivals and at most so many services a second.
    fn run(&mut self, seconds: u64, offered: f64, capacity: f64) -> Tally {
        let until = self.now + Duration::from_secs(seconds);
        let mut tally = Tally {
            lowest: u64::MAX,
            ..Tally::default()
        };
        loop {
            let next = self
                .finishes
                .map_or(self.arrives, |at| at.min(self.arrives));
            if next >= until {
                self.now = until;
                return tally;
            }
            self.now = next;
            if Some(next) == self.finishes {
                self.finish(&mut tally);
            } else {
                self.arrives += self.dice.until(offered);
                if self.limiter.is_none() || (self.waiting.len() as f64) < capacity * LINE {
                    self.waiting.push_back(self.now);
                } else {
                    tally.refused += 1;
                }
            }
            self.admit();
            if self.finishes.is_none() && !self.inside.is_empty() {
                self.finishes = Some(self.now + self.dice.until(capacity));
            }
            let limit = self.limiter.as_ref().map_or(0, Limiter::limit);
            tally.lowest = tally.lowest.min(limit);
            tally.highest = tally.highest.max(limit);
        }
    }

    fn finish(&mut self, tally: &mut Tally) {
        self.finishes = None;
        let (arrived, admitted) = self.inside.pop_front().unwrap();
        let inside = self.now.saturating_sub(admitted);
        if let Some(limiter) = &mut self.limiter {
            limiter.done(1, inside, Outcome::Succeeded, self.now);
        }
        tally.inside += inside;
        tally.worst = tally.worst.max(inside);
        if self.now.saturating_sub(arrived) <= PATIENCE {
            tally.good += 1;
        } else {
            tally.late += 1;
        }
    }

    fn admit(&mut self) {
        while let Some(arrived) = self.waiting.front() {
            if let Some(limiter) = &mut self.limiter
                && !limiter.try_admit(1, self.now)
            {
                break;
            }
            self.inside.push_back((*arrived, self.now));
            self.waiting.pop_front();
        }
    }
}

fn options() -> LimiterOptions {
    LimiterOptions {
        min: 1,
        max: 10_000,
        initial: 500,
        latency: MS * 20,
    }
}

#[test]
fn at_three_times_the_capacity_goodput_stays_while_without_a_limit_it_falls_to_nothing() {
    for seed in 1..6 {
        let mut with = Mm1::new(Some(options()), seed);
        let mut without = Mm1::new(None, seed);
        with.run(60, 3_000.0, 1_000.0);
        without.run(10, 3_000.0, 1_000.0);
        let tally = with.run(20, 3_000.0, 1_000.0);
        assert!(tally.good >= 18_000, "{tally:?}");
        assert_eq!(tally.late, 0, "{tally:?}");
        let mean = tally.inside / (tally.good + tally.late);
        assert!(mean < MS * 40, "{mean:?} inside of {tally:?}");
        assert!(without.run(20, 3_000.0, 1_000.0).good < 1_000);
    }
}

#[test]
fn it_follows_a_capacity_that_changes_and_never_goes_to_nothing() {
    for seed in 1..6 {
        let mut server = Mm1::new(Some(options()), seed);
        for capacity in [1_000.0, 250.0, 2_000.0, 60.0, 1_000.0] {
            server.run(15, 3.0 * capacity, capacity);
            let tally = server.run(20, 3.0 * capacity, capacity);
            let share = f64::from(tally.good) / (20.0 * capacity);
            assert!(
                share >= 0.9,
                "seed {seed}, {capacity} a second: {share}, {tally:?}"
            );
            assert!(tally.lowest >= 1);
            assert!(
                tally.highest < 4 * tally.lowest.max(5),
                "seed {seed}: swings, {tally:?}"
            );
        }
    }
}

#[test]
fn a_load_below_the_capacity_is_not_held_back() {
    let mut server = Mm1::new(Some(options()), 7);
    let tally = server.run(30, 700.0, 1_000.0);
    assert_eq!((tally.refused, tally.late), (0, 0));
    assert_eq!(tally.lowest, 500, "nobody touched the limit, so it stands");
}

/// A server that gathers what waits, and takes a fixed time and a little for each of them: group commit. All who
/// are held back come in as soon as there is room.
fn rounds(latency: Duration, fixed: Duration, each: Duration) -> (f64, u64) {
    let mut limiter = Limiter::new(LimiterOptions {
        min: 2,
        max: 100_000,
        initial: 10,
        latency,
    });
    let mut now = Duration::ZERO;
    let (mut next, mut round) = (Vec::new(), Vec::new());
    let mut done = 0;
    while now < Duration::from_mins(1) {
        while limiter.try_admit(1, now) {
            next.push(now);
        }
        std::mem::swap(&mut next, &mut round);
        now += fixed + each * u32::try_from(round.len()).unwrap();
        if now > Duration::from_secs(40) {
            done += round.len();
        }
        // Half of them come back while the next round gathers.
        for begun in round.drain(..) {
            limiter.done(1, now.saturating_sub(begun), Outcome::Succeeded, now);
        }
    }
    (done as f64 / 20.0, limiter.limit())
}

#[test]
fn group_commit_gets_the_many_it_lives_from() {
    // A flush of 2 ms and 10 µs for each: 100,000 a second at most, 83,000 with rounds of a thousand.
    let (rate, limit) = rounds(MS * 20, MS * 2, MS / 100);
    assert!(rate > 80_000.0, "{rate} a second with {limit}");
    assert!(limit < 10_000, "{limit} is a line");
    // A flush of 50 ms: twice the base is the goal there.
    let (rate, limit) = rounds(MS * 20, MS * 50, MS / 100);
    assert!(rate > 30_000.0, "{rate} a second with {limit}");
}

#[test]
fn failures_lower_the_limit_and_successes_give_it_back() {
    let mut limiter = Limiter::new(LimiterOptions {
        min: 10,
        max: 1_000,
        initial: 1_000,
        latency: MS,
    });
    let mut now = Duration::ZERO;
    let mut run = |outcome: Outcome, seconds: u32| {
        for _ in 0..seconds * 1_000 {
            now += MS;
            while limiter.try_admit(100, now) {}
            limiter.done(100, MS / 2, outcome, now);
        }
        limiter.limit()
    };
    assert_eq!(run(Outcome::Failed, 30), 10);
    assert_eq!(run(Outcome::Ignored, 10), 10);
    assert!(run(Outcome::Succeeded, 60) > 900);
}

#[test]
fn work_larger_than_the_limit_is_admitted_alone() {
    let mut limiter = Limiter::new(LimiterOptions {
        min: 1,
        max: 10,
        initial: 10,
        latency: MS,
    });
    assert!(limiter.try_admit(1_000, MS));
    assert!(!limiter.try_admit(1, MS));
    limiter.done(1_000, MS, Outcome::Succeeded, MS * 2);
    assert!(limiter.try_admit(4, MS * 2) && limiter.try_admit(6, MS * 2));
    assert_eq!(limiter.in_flight(), 10);
    assert!(!limiter.try_admit(1, MS * 2));
}
