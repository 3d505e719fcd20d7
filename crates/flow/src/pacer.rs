//! How long a sender should pause after each request, so that it waits at home and not in our line.
//!
//! A sender that has to wait before the [`Limiter`](crate::Limiter) is served late and told nothing. Told to pause
//! (Kafka's `throttle_time_ms`, KIP-219), it keeps its records where it can join them into larger batches, drop them or
//! slow down who makes them.
//!
//! The pause before a request and its wait here add up to the time by which it came too early. Of that the next one is
//! to wait three fifths at its sender and the rest here. It is not all of it, since a line that runs empty wastes the log: what a
//! sender is told counts only when it comes again, and many who were told much at once stay away together. Nothing is added up
//! over time either, so nothing overshoots: several requests in flight behind one pause all say the same. With three
//! fifths, a hundred or a thousand senders keep the log busy all the time (see the tests); with nine tenths a quarter of it is lost. Without
//! a wait the pause falls to nothing within a few requests.

use std::time::Duration;

/// The longest pause. A sender that would have to wait longer waits here.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A wait shorter than this is none, and so is a pause.
const GRAIN: Duration = Duration::from_millis(1);

/// One sender's pause.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    pause: Duration,
}

impl Pacer {
    /// What the sender was told last: the pause that precedes a request which comes now.
    pub const fn pause(&self) -> Duration {
        self.pause
    }

    /// Takes note that a request was preceded by this pause and waited so long before it was admitted; answers how
    /// long its sender should pause now.
    pub fn after(&mut self, preceded: Duration, waited: Duration) -> Duration {
        let waited = if waited < GRAIN {
            Duration::ZERO
        } else {
            waited
        };
        let early = preceded.saturating_add(waited).min(PAUSE_MAX * 2);
        let pause = (early * 3 / 5).min(PAUSE_MAX);
        self.pause = if pause < GRAIN { Duration::ZERO } else { pause };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_pause_settles_at_its_part_and_goes_with_the_wait() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.after(Duration::ZERO, MS / 2), Duration::ZERO);
        // Whoever comes a second too early: the rest of it is waited here.
        for _ in 0..50 {
            let paused = pacer.pause();
            pacer.after(paused, (MS * 1_000).saturating_sub(paused));
        }
        assert_eq!(pacer.pause(), MS * 600);
        // Requests that were on their way together say the same, however many there are.
        let paused = pacer.pause();
        for _ in 0..10 {
            assert_eq!(pacer.after(paused, MS * 400), MS * 600);
        }
        let requests = (0..100).take_while(|_| {
            let paused = pacer.pause();
            !pacer.after(paused, Duration::ZERO).is_zero()
        });
        assert!(requests.count() < 15);
        assert_eq!(pacer.after(Duration::MAX, Duration::MAX), PAUSE_MAX);
    }

    /// Senders with three times the work that one server does in a millisecond each, who give up what they cannot
    /// send within a tenth of a second. Answers the share of the server's time that was used, and the median time
    /// from a send to its end, of the second half of twelve seconds.
    fn overload(senders: usize, in_flight: usize, paced: bool) -> (f64, Duration) {
        const LIMIT: usize = 50;
        let gap = MS * u32::try_from(senders).unwrap() / 3;
        let mut due: Vec<_> = (0..senders)
            .map(|n| MS * u32::try_from(n).unwrap() / 3)
            .collect();
        let mut flying = vec![0; senders];
        let mut quiet = vec![Duration::ZERO; senders];
        let mut pacers = vec![Pacer::default(); senders];
        let (mut line, mut inside) = (VecDeque::new(), VecDeque::new());
        let mut took = Vec::new();
        for tick in 0..12_000_u32 {
            let now = MS * tick;
            for n in 0..senders {
                while due[n] <= now {
                    let late = now.saturating_sub(due[n]) > MS * 100;
                    if !late && (flying[n] >= in_flight || now < quiet[n]) {
                        break;
                    }
                    due[n] += gap;
                    if !late {
                        line.push_back((n, now, pacers[n].pause()));
                        flying[n] += 1;
                    }
                }
            }
            while inside.len() < LIMIT
                && let Some((n, sent, paused)) = line.pop_front()
            {
                inside.push_back((n, sent, paused, now.saturating_sub(sent)));
            }
            if let Some((n, sent, paused, waited)) = inside.pop_front() {
                flying[n] -= 1;
                if paced {
                    quiet[n] = quiet[n].max(now + pacers[n].after(paused, waited));
                }
                if tick >= 6_000 {
                    took.push(now.saturating_sub(sent));
                }
            }
        }
        took.sort_unstable();
        (took.len() as f64 / 6_000.0, took[took.len() / 2])
    }

    #[test]
    fn the_line_moves_to_the_senders_and_the_server_is_never_idle() {
        for (senders, in_flight) in [(50, 5), (400, 1), (400, 5)] {
            let (goodput, median) = overload(senders, in_flight, true);
            let (_, without) = overload(senders, in_flight, false);
            assert!(goodput > 0.95, "{senders} × {in_flight}: {goodput}");
            assert!(
                median * 3 < without * 2,
                "{senders} × {in_flight}: {median:?} of {without:?}"
            );
        }
    }
}
