//! The order pipeline: records in, read in order, committed; how long from when a record was due until it was read, and
//! until its commit was acknowledged.
//!
//! A thread for each partition reads what is there, commits it, waits for the acknowledgement and reads on. A rate
//! is kept when the producers kept the schedule and commits came within a second of it; a peer that does not keep the
//! first rate is tried at the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::acks::Waits;
use super::load::{Load, Pace, Phase, Shape};
use super::peer::{Class, Found, Peer};
use super::schedule::Schedule;
use super::verify::Verifier;
use super::wire::Reader;
use super::{Pass, settle};
use crate::spread::Spread;

/// Records a second, tried from the first on.
pub(super) const RATES: [u32; 8] = [
    500_000, 250_000, 100_000, 50_000, 25_000, 10_000, 5_000, 2_000,
];
const SHAPE: Shape = Shape {
    batch: 100,
    partitions: 4,
    producers: 4,
    in_flight: 16,
};
/// A commit later than this at the 99th percentile is a queue that grows.
const KEPT_MS: f64 = 1_000.0;
/// How long readers may take for the rest when the producers have ended; longer, and the rate was not kept.
const REST: Duration = Duration::from_secs(10);
/// How long nothing may come while records are still to be read; longer, and they are lost.
const STILL: Duration = Duration::from_secs(5);

/// One round of one peer, at the greatest rate it kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) peer: Peer,
    pub(super) rate: u32,
    pub(super) read: Waits,
    pub(super) committed: Waits,
    /// Of the server, for a million records.
    pub(super) cpu_per_million: f64,
    pub(super) peak_mib: f64,
}

/// What a reader took at once: records `from` to `to` of its producer, when they were read, when their commit was
/// acknowledged.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: u64,
    to: u64,
    read: u64,
    committed: u64,
}

/// The greatest rate of [`RATES`], from `first` on, that is kept.
pub(super) fn round(
    pass: &Pass,
    found: &Found,
    class: Class,
    first: usize,
) -> Result<(usize, Flow)> {
    for (place, rate) in RATES.into_iter().enumerate().skip(first) {
        if let Some(flow) = try_rate(pass, found, class, rate)? {
            return Ok((place, flow));
        }
        println!("      {} does not keep {rate} records/s", found.peer.name());
    }
    bail!(
        "not even {} records a second were kept",
        RATES[RATES.len() - 1]
    )
}

/// `None` when the rate was not kept.
fn try_rate(pass: &Pass, found: &Found, class: Class, rate: u32) -> Result<Option<Flow>> {
    settle();
    let running = found.start(class, pass.server_core())?;
    running.protocol.create(SHAPE.partitions)?;
    let mut load = Load::open(running.protocol.as_ref(), SHAPE)?;
    let shared = Arc::new(Shared {
        epoch: load.epoch(),
        sent: (0..SHAPE.partitions)
            .map(|_| AtomicU64::new(u64::MAX))
            .collect(),
        given_up: AtomicBool::new(false),
    });
    let mut readers = Vec::new();
    for partition in 0..SHAPE.partitions {
        let reader = running.protocol.reader(partition, true)?;
        let shared = Arc::clone(&shared);
        readers.push(thread::spawn(move || follow(reader, partition, &shared)));
    }
    let before = running.server.cpu()?;
    let warm = pass.warm.max(pass.span.mul_f64(0.2));
    let phase = load.run(Pace::Try(f64::from(rate)), warm, pass.span);
    if !phase.as_ref().is_ok_and(|phase| !phase.behind) {
        shared.given_up.store(true, Ordering::Relaxed);
    }
    let sent = load.sent();
    for (total, sent) in shared.sent.iter().zip(&sent) {
        total.store(sent.values().sum(), Ordering::Release);
    }
    let mut read = Spread::new();
    let mut committed = Spread::new();
    let mut all: u64 = 0;
    let mut results = Vec::new();
    for reader in readers {
        results.push(reader.join().ok().context("a reader has panicked")?);
    }
    let phase = phase?;
    let cpu = running.server.cpu()? - before;
    if shared.given_up.load(Ordering::Relaxed) {
        // Not kept: what readers found wrong still counts.
        pass.note(&json!({
            "section": "pipeline", "class": class.name(), "peer": found.peer.flag(), "rate": rate,
            "kept": false, "given_up": phase.given_up, "reached": phase.rate,
        }))?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop))?;
        running.stop()?;
        return Ok(None);
    }
    for (partition, result) in results.into_iter().enumerate() {
        let (verifier, steps) = result?;
        verifier
            .end(&sent[partition])
            .context("what was committed is not what was sent")?;
        all += verifier.seen();
        let window = (warm, pass.span);
        count(
            &phase,
            partition as u64,
            window,
            &steps,
            &mut read,
            &mut committed,
        )?;
    }
    let peak_mib = running.server.peak_mib()?;
    running.stop()?;
    let flow = Flow {
        peer: found.peer,
        rate,
        read: Waits::of(&read),
        committed: Waits::of(&committed),
        cpu_per_million: cpu / all as f64 * 1e6,
        peak_mib,
    };
    let kept = !phase.behind && flow.committed.p99 < KEPT_MS;
    pass.note(&json!({
        "section": "pipeline", "class": class.name(), "peer": found.peer.flag(), "rate": rate, "kept": kept,
        "read_p50_ms": flow.read.p50, "read_p99_ms": flow.read.p99, "read_p99.9_ms": flow.read.p999,
        "committed_p50_ms": flow.committed.p50, "committed_p99_ms": flow.committed.p99,
        "committed_p99.9_ms": flow.committed.p999, "cpu_s_per_million": flow.cpu_per_million,
        "peak_mib": peak_mib, "verified": all,
    }))?;
    Ok(kept.then_some(flow))
}

struct Shared {
    epoch: Instant,
    /// Records of each partition, known when the producers have ended.
    sent: Vec<AtomicU64>,
    given_up: AtomicBool,
}

/// Reads and commits until all was read.
fn follow(
    mut reader: Box<dyn Reader>,
    partition: u16,
    shared: &Shared,
) -> Result<(Verifier, Vec<Step>)> {
    let mut verifier = Verifier::new(partition);
    let mut steps = Vec::new();
    let mut ended: Option<Instant> = None;
    let mut moved = Instant::now();
    let now = || shared.epoch.elapsed().as_nanos() as u64;
    loop {
        let sent = shared.sent[usize::from(partition)].load(Ordering::Acquire);
        if verifier.seen() >= sent || shared.given_up.load(Ordering::Relaxed) {
            return Ok((verifier, steps));
        }
        if sent != u64::MAX {
            let since = ended.get_or_insert_with(Instant::now).elapsed();
            ensure!(
                since < STILL || moved.elapsed() < STILL,
                "partition {partition}: {} of {sent} records were read, then nothing for {STILL:?}",
                verifier.seen()
            );
            if since > REST {
                shared.given_up.store(true, Ordering::Relaxed);
            }
        }
        let from = verifier.seen();
        reader.read(Duration::from_millis(100), &mut |value| {
            Ok(verifier.see(value).map(drop)?)
        })?;
        if verifier.seen() > from {
            moved = Instant::now();
            let read = now();
            reader.commit()?;
            steps.push(Step {
                from,
                to: verifier.seen(),
                read,
                committed: now(),
            });
        }
    }
}

/// Adds the waits of records that were due within the window (a warm-up and a span).
fn count(
    phase: &Phase,
    producer: u64,
    window: (Duration, Duration),
    steps: &[Step],
    read: &mut Spread,
    committed: &mut Spread,
) -> Result<()> {
    let schedule: Schedule = phase.schedule.context("an open loop has a schedule")?;
    let batch = u64::from(SHAPE.batch);
    let from = schedule.due(0) + window.0.as_nanos() as u64;
    let to = from + window.1.as_nanos() as u64;
    for step in steps {
        let mut number = step.from;
        while number < step.to {
            let request = number / batch;
            let next = ((request + 1) * batch).min(step.to);
            // Requests are dealt to the producers in turn.
            let due = schedule.due(request * u64::from(SHAPE.producers) + producer);
            if (from..to).contains(&due) {
                let wait = |until: u64| Duration::from_nanos(until.saturating_sub(due));
                read.add_many(wait(step.read), next - number);
                committed.add_many(wait(step.committed), next - number);
            }
            number = next;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_waits_from_when_its_request_was_due() {
        // 100,000 records a second in requests of 100: one due each millisecond, dealt to four producers.
        let phase = Phase {
            rate: 0.0,
            span: Duration::ZERO,
            latency: Spread::new(),
            behind: false,
            given_up: false,
            schedule: Some(Schedule::new(0, 1_000.0)),
        };
        let millis = |count: u64| count * 1_000_000;
        // Producer 1's requests are due at 1, 5, 9 … ms. Its first 250 records come at once.
        let step = Step {
            from: 0,
            to: 250,
            read: millis(21),
            committed: millis(25),
        };
        let (mut read, mut committed) = (Spread::new(), Spread::new());
        let window = (Duration::ZERO, Duration::from_secs(1));
        count(&phase, 1, window, &[step], &mut read, &mut committed).unwrap();
        assert_eq!(read.count(), 250);
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 0.05;
        assert!(near(read.at(100.0), 20.0) && near(read.at(1.0), 12.0));
        assert!(near(committed.at(100.0), 24.0) && near(committed.at(50.0), 20.0));
        // What was due in the warm-up does not count.
        let mut late = Spread::new();
        let window = (Duration::from_millis(4), Duration::from_secs(1));
        count(&phase, 1, window, &[step], &mut late, &mut Spread::new()).unwrap();
        assert_eq!(late.count(), 150);
    }
}
