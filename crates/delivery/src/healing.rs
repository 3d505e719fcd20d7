//! When listeners that matter less step back, so that those that matter keep their latency.
//!
//! A listener that is not core and stays over its lag threshold for long is a sign that this machine has more work
//! than it can do. Then all listeners that are not core pause. They resume together when they rested for a while and no
//! core listener is under pressure: half of the threshold counts there, so that the two do not alternate. If a listener is
//! still behind after that, its patience begins anew. Nothing is lost meanwhile: the log is the queue.
//!
//! What is held up by itself (its endpoint is down, its rate is used up) lags without any load, and is not counted. Beyond
//! that a pause does not wait until core listeners suffer: it is meant to come before. But it is judged by them: when no core
//! listener was under pressure in the time before a pause nor in it, the pause helped nobody, and the patience for the next
//! one is twice as long, up to [`FRUITLESS_MAX`] times the first; a pause that helped sets it back.
//!
//! Invariants: core listeners are never paused; a pause lasts at least [`HealingOptions::rest`]; between two pauses lies at
//! least [`HealingOptions::patience`].

use std::collections::BTreeMap;
use std::time::Duration;

/// When listeners pause and resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealingOptions {
    /// Records behind that are too many. Default 10,000.
    pub lag: u64,
    /// How long a listener may stay over it. Default 5 min.
    pub patience: Duration,
    /// Shortest pause. Default 1 min.
    pub rest: Duration,
    /// A core listener whose records wait this long for their calls is under pressure. Default 1 s.
    pub delay: Duration,
}

/// Patience grows to so many times what it is at first.
pub const FRUITLESS_MAX: u32 = 12;

impl Default for HealingOptions {
    fn default() -> Self {
        Self {
            lag: 10_000,
            patience: Duration::from_mins(5),
            rest: Duration::from_mins(1),
            delay: Duration::from_secs(1),
        }
    }
}

/// What is known of one listener now.
#[derive(Debug, Clone, Copy)]
pub struct Load<'l> {
    /// Its name.
    pub listener: &'l str,
    /// It is never paused.
    pub core: bool,
    /// Records behind.
    pub lag: u64,
    /// Its endpoint is down, or its rate used up: it lags by itself.
    pub held_up: bool,
    /// How long its records waited lately for their calls.
    pub delay: Duration,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As before.
    Stay,
    /// Listeners that are not core pause, because of this one.
    Pause(String),
    /// They go on.
    Resume,
}

/// Decides for the listeners of one machine.
#[derive(Debug)]
pub struct Healing {
    options: HealingOptions,
    /// Since when listeners that are not core are over the threshold.
    over: BTreeMap<String, Duration>,
    paused: Option<Duration>,
    /// When a core listener was under pressure last.
    pressed: Option<Duration>,
    /// How many times the patience is as long as at first.
    patience: u32,
}

impl Healing {
    /// Nobody is paused.
    pub fn new(options: HealingOptions) -> Self {
        Self {
            options,
            over: BTreeMap::new(),
            paused: None,
            pressed: None,
            patience: 1,
        }
    }

    /// Whether listeners that are not core are to pause.
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Looks at all listeners; to be called every second or so.
    pub fn look(&mut self, now: Duration, loads: &[Load<'_>]) -> Verdict {
        let HealingOptions {
            lag,
            patience,
            rest,
            delay,
        } = self.options;
        let is_pressed = |load: &Load<'_>| {
            load.core && !load.held_up && (load.lag > lag / 2 || load.delay >= delay)
        };
        let pressed = loads.iter().any(is_pressed);
        if pressed {
            self.pressed = Some(now);
        }
        if let Some(since) = self.paused {
            if now.saturating_sub(since) < rest || pressed {
                return Verdict::Stay;
            }
            let before = since.saturating_sub(patience);
            let helped = self.pressed.is_some_and(|pressed| pressed >= before);
            self.patience = if helped {
                1
            } else {
                (self.patience * 2).min(FRUITLESS_MAX)
            };
            self.paused = None;
            self.over.clear();
            return Verdict::Resume;
        }
        let over = |load: &&Load<'_>| !load.core && !load.held_up && load.lag > lag;
        self.over
            .retain(|name, _| loads.iter().filter(over).any(|load| load.listener == name));
        for load in loads.iter().filter(over) {
            let since = *self.over.entry(load.listener.to_owned()).or_insert(now);
            if now.saturating_sub(since) >= patience * self.patience {
                self.paused = Some(now);
                return Verdict::Pause(load.listener.to_owned());
            }
        }
        Verdict::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(listener: &'static str, core: bool, lag: u64) -> Load<'static> {
        Load {
            listener,
            core,
            lag,
            held_up: false,
            delay: Duration::ZERO,
        }
    }

    /// Looks every second at what `loads` gives, and tells when something happened.
    fn run(seconds: u64, loads: impl Fn(u64, bool) -> Vec<Load<'static>>) -> Vec<(u64, Verdict)> {
        let mut healing = Healing::new(HealingOptions::default());
        let mut verdicts = Vec::new();
        for second in 0..seconds {
            let loads = loads(second, healing.is_paused());
            let verdict = healing.look(Duration::from_secs(second), &loads);
            if verdict != Verdict::Stay {
                verdicts.push((second, verdict));
            }
        }
        verdicts
    }

    #[test]
    fn a_listener_that_stays_behind_pauses_those_that_are_not_core() {
        let verdicts = run(1_000, |_, _| {
            vec![load("core", true, 90_000), load("slow", false, 10_001)]
        });
        // The core one lags, too, so there is no end.
        assert_eq!(verdicts, [(300, Verdict::Pause("slow".into()))]);
    }

    #[test]
    fn a_lag_that_comes_and_goes_is_borne() {
        let verdicts = run(2_000, |second, _| {
            let lag = if second % 299 == 298 { 9_000 } else { 50_000 };
            vec![load("slow", false, lag)]
        });
        assert_eq!(verdicts, []);
        let core = run(2_000, |_, _| vec![load("core", true, u64::MAX)]);
        assert_eq!(core, [], "core listeners are not its business");
    }

    #[test]
    fn they_resume_when_core_listeners_are_well_and_do_not_flap() {
        // The core listener recovers slowly while the others pause, and lags again as soon as they go on.
        let verdicts = run(1_200, |second, paused| {
            let recovered = if paused { (second - 300) * 100 } else { 0 };
            let lag = 20_000_u64.saturating_sub(recovered);
            vec![load("core", true, lag), load("slow", false, 50_000)]
        });
        let pause = || Verdict::Pause("slow".into());
        // 20,000 shrink to 5,000 in 150 s. Then there are at least five minutes before the next pause.
        assert_eq!(
            verdicts[..3],
            [(300, pause()), (450, Verdict::Resume), (751, pause())]
        );
        let short = run(500, |_, _| vec![load("slow", false, 50_000)]);
        assert_eq!(
            short,
            [(300, pause()), (360, Verdict::Resume)],
            "a rest of a minute"
        );
    }

    #[test]
    fn a_listener_that_is_removed_has_no_say() {
        let verdicts = run(400, |second, _| {
            if second < 299 {
                vec![load("slow", false, 50_000)]
            } else {
                Vec::new()
            }
        });
        assert_eq!(verdicts, []);
    }

    #[test]
    fn who_is_held_up_by_itself_is_no_load() {
        let verdicts = run(2_000, |_, _| {
            let dead = Load {
                held_up: true,
                ..load("dead", false, u64::MAX)
            };
            vec![dead, load("core", true, 0)]
        });
        assert_eq!(verdicts, []);
    }

    #[test]
    fn pauses_that_help_nobody_get_rarer_and_one_that_helps_sets_that_back() {
        let verdicts = run(20_000, |second, _| {
            // From then on the core listener's records wait.
            let waits = second > 12_000;
            let core = Load {
                delay: Duration::from_secs(u64::from(waits)),
                ..load("core", true, 0)
            };
            let core = if second % 400 < 100 {
                core
            } else {
                load("core", true, 0)
            };
            vec![core, load("slow", false, 50_000)]
        });
        let pauses: Vec<u64> = verdicts
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Pause(_)))
            .map(|(second, _)| *second)
            .collect();
        let between: Vec<u64> = pauses.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(between[..5], [661, 1_261, 2_461, 3_661, 3_661]);
        assert!(
            between[6..].iter().all(|between| *between < 500),
            "{between:?}"
        );
    }
}
