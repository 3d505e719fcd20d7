//! What a demo says while it plays, and at its end: for people (`Display`) and programs (`Serialize`).
//!
//! Latencies count from the moment an event was meant to happen, not from when it was sent: a server
//! that stalls is late for every event it holds up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::event::Status;

/// How things stand, once a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Seconds since the start.
    pub seconds: f64,
    /// Events sent so far.
    pub sent: u64,
    /// Events acknowledged so far.
    pub acked: u64,
    /// Events acknowledged per second since the last report.
    pub rate: f64,
    /// Acknowledgement latency since the last report, milliseconds.
    pub ack_ms: Latency,
    /// The connection is lost and being made again.
    pub reconnecting: bool,
}

/// The end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Seconds from the start to the last acknowledgement.
    pub seconds: f64,
    /// Events sent.
    pub sent: u64,
    /// Events acknowledged.
    pub acked: u64,
    /// Events acknowledged per second.
    pub rate: f64,
    /// Acknowledgement latency, milliseconds.
    pub ack_ms: Latency,
    /// Events sent by status.
    pub events: BTreeMap<&'static str, u64>,
    /// Times the connection was lost and made again.
    pub reconnects: u64,
    /// The seed that repeats this run.
    pub seed: u64,
}

/// Quantiles in milliseconds; all 0 when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            sent,
            acked,
            rate,
            ack_ms,
            ..
        } = self;
        write!(
            f,
            "{seconds:>6.0} s  {sent:>9} sent  {acked:>9} acked  {rate:>7.0}/s  "
        )?;
        if self.reconnecting {
            return f.write_str("connection lost, trying again");
        }
        write!(f, "ack p50 {:.1} ms  p99 {:.1} ms", ack_ms.p50, ack_ms.p99)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            sent,
            acked,
            rate,
            ack_ms,
            seed,
            ..
        } = self;
        writeln!(
            f,
            "{sent} events sent in {seconds:.1} s, {acked} acknowledged, {rate:.0}/s"
        )?;
        writeln!(
            f,
            "ack latency from the intended time: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
            ack_ms.p50, ack_ms.p99, ack_ms.p999, ack_ms.max
        )?;
        for (place, status) in Status::ALL.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let count = self.events.get(status.word()).copied().unwrap_or_default();
            write!(f, "{comma}{count} {status}")?;
        }
        if self.reconnects > 0 {
            write!(
                f,
                "\nthe connection was lost and made again {} times",
                self.reconnects
            )?;
        }
        write!(f, "\nseed {seed} repeats this run")
    }
}

/// Counts what is sent and acknowledged.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) reconnects: u64,
    events: [u64; Status::ALL.len()],
    whole: Histogram<u64>,
    since_report: Histogram<u64>,
    reported: (Duration, u64),
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            acked: 0,
            reconnects: 0,
            events: [0; Status::ALL.len()],
            whole: histogram(),
            since_report: histogram(),
            reported: (Duration::ZERO, 0),
        }
    }

    pub(crate) fn happened(&mut self, status: Status) {
        let place = Status::ALL.iter().position(|one| *one == status);
        if let Some(count) = place.and_then(|place| self.events.get_mut(place)) {
            *count += 1;
        }
    }

    pub(crate) fn acknowledged(&mut self, latency: Duration) {
        self.acked += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.whole.saturating_record(micros);
        self.since_report.saturating_record(micros);
    }

    /// How things stand at `now` since the start; the next report begins here.
    pub(crate) fn report(&mut self, now: Duration, reconnecting: bool) -> Progress {
        let (then, acked_then) = std::mem::replace(&mut self.reported, (now, self.acked));
        let progress = Progress {
            seconds: now.as_secs_f64(),
            sent: self.sent,
            acked: self.acked,
            rate: per_second(self.acked - acked_then, now.saturating_sub(then)),
            ack_ms: latency(&self.since_report),
            reconnecting,
        };
        self.since_report.reset();
        progress
    }

    pub(crate) fn summary(&self, now: Duration, seed: u64) -> Summary {
        let events = Status::ALL.iter().zip(self.events);
        Summary {
            seconds: now.as_secs_f64(),
            sent: self.sent,
            acked: self.acked,
            rate: per_second(self.acked, now),
            ack_ms: latency(&self.whole),
            events: events
                .map(|(status, count)| (status.word(), count))
                .collect(),
            reconnects: self.reconnects,
            seed,
        }
    }
}

/// Microseconds up to ten minutes in three digits.
#[expect(
    clippy::expect_used,
    reason = "the bounds are constants that hdrhistogram allows"
)]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("1 < 600,000,000 and 3 digits are allowed")
}

fn latency(of: &Histogram<u64>) -> Latency {
    let millis = |micros: u64| micros as f64 / 1_000.0;
    let quantile = |q| {
        if of.is_empty() {
            0.0
        } else {
            millis(of.value_at_quantile(q))
        }
    };
    Latency {
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: millis(of.max()),
    }
}

fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() {
        0.0
    } else {
        count as f64 / span.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn reports_are_for_people_and_programs() {
        let mut tally = Tally::new();
        for millis in 1..=200 {
            tally.sent += 1;
            tally.happened(if millis % 2 == 0 {
                Status::Created
            } else {
                Status::Paid
            });
            tally.acknowledged(Duration::from_millis(millis));
        }
        let second = Duration::from_secs(2);
        let progress = tally.report(second, false);
        assert_snapshot!(progress.to_string().trim_start(), @r"
    2 s        200 sent        200 acked      100/s  ack p50 100.0 ms  p99 198.0 ms
    ");
        assert_snapshot!(serde_json::to_string(&progress).unwrap(), @r#"
    {"seconds":2.0,"sent":200,"acked":200,"rate":100.0,"ack_ms":{"p50":100.031,"p99":198.015,"p999":200.063,"max":200.063},"reconnecting":false}
    "#);
        assert_snapshot!(tally.report(second * 2, true).to_string().trim_start(), @r"
    4 s        200 sent        200 acked        0/s  connection lost, trying again
    ");
        assert_snapshot!(tally.summary(second * 2, 7), @r"
    200 events sent in 4.0 s, 200 acknowledged, 50/s
    ack latency from the intended time: p50 100.0 ms, p99 198.0 ms, p99.9 200.1 ms, max 200.1 ms
    100 created, 100 paid, 0 shipped, 0 cancelled, 0 refunded, 0 stalled
    seed 7 repeats this run
    ");
    }
}
