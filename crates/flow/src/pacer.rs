//! How long a sender should pause after each request, so that it waits at home and not in our line.
//!
//! A sender that has to wait before the [`Limiter`](crate::Limiter) is served late and told nothing. Told to pause
//! (Kafka's `throttle_time_ms`, KIP-219), it keeps its records where it can join them into larger batches, drop them or
//! slow down who makes them. The right pause is the one with which the wait here nearly goes away: each wait adds half
//! of itself to the pause, each request lets a sixteenth of the pause go. Where both are equal, the pause is eight
//! times the wait, so that eight ninths of a line stand at the senders; without a wait the pause is gone after some
//! forty requests. Every sender does this by itself, and since they stand in one line, they come to the same pause.

use std::time::Duration;

/// The longest pause. A sender that waits even longer in turn waits here.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Waits shorter than this are no line; a pause shorter than this is none.
const GRAIN: Duration = Duration::from_millis(1);

/// One sender's pause.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    pause: Duration,
}

impl Pacer {
    /// Takes note that a request waited so long before it was admitted; answers how long its sender should pause.
    pub fn after(&mut self, waited: Duration) -> Duration {
        let more = if waited < GRAIN {
            Duration::ZERO
        } else {
            waited / 2
        };
        self.pause = (self.pause / 16 * 15).saturating_add(more).min(PAUSE_MAX);
        if self.pause < GRAIN {
            self.pause = Duration::ZERO;
        }
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_pause_settles_at_eight_times_the_wait_and_goes_with_it() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.after(MS / 2), Duration::ZERO);
        for _ in 0..200 {
            pacer.after(MS * 10);
        }
        let settled = pacer.after(MS * 10);
        assert!((MS * 78..=MS * 80).contains(&settled), "{settled:?}");
        let requests = (0..1_000)
            .take_while(|_| !pacer.after(Duration::ZERO).is_zero())
            .count();
        assert!(requests < 80, "{requests}");
        for _ in 0..100 {
            pacer.after(Duration::MAX / 4);
        }
        assert_eq!(pacer.after(Duration::MAX), PAUSE_MAX);
    }
}
