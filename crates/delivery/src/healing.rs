//! When listeners that matter less step back, so that those that matter keep their latency.
//!
//! A listener that is not core and stays over its lag threshold for long is a sign that this machine has more work
//! than it can do. Then all listeners that are not core pause. They resume together when they rested for a while and no
//! core listener lags: half of the threshold counts there, so that the two do not alternate. If a listener is still behind
//! after that, its patience begins anew. Nothing is lost meanwhile: the log is the queue.
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
}

impl Default for HealingOptions {
    fn default() -> Self {
        Self {
            lag: 10_000,
            patience: Duration::from_mins(5),
            rest: Duration::from_mins(1),
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
}

impl Healing {
    /// Nobody is paused.
    pub fn new(options: HealingOptions) -> Self {
        Self {
            options,
            over: BTreeMap::new(),
            paused: None,
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
        } = self.options;
        if let Some(since) = self.paused {
            let core_lags = loads.iter().any(|load| load.core && load.lag > lag / 2);
            if now.saturating_sub(since) < rest || core_lags {
                return Verdict::Stay;
            }
            self.paused = None;
            self.over.clear();
            return Verdict::Resume;
        }
        let over = |load: &&Load<'_>| !load.core && load.lag > lag;
        self.over
            .retain(|name, _| loads.iter().filter(over).any(|load| load.listener == name));
        for load in loads.iter().filter(over) {
            let since = *self.over.entry(load.listener.to_owned()).or_insert(now);
            if now.saturating_sub(since) >= patience {
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
}
