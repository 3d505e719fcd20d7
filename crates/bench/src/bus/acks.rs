//! Records in, acknowledged: how many a second at most, and how long they wait at shares of that.
//!
//! One round of one peer: a fresh server, a run at the greatest pace, then open loops at shares of what that peer
//! itself reached, then every record read back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::load::{Load, Pace, Shape};
use super::peer::{Class, Found, Peer, Running};
use super::verify::Verifier;
use super::{Pass, settle};

/// Shares of a peer's own most, in percent.
pub(super) const SHARES: [u32; 4] = [25, 50, 75, 90];
/// What an open loop warms up, of its span.
const OPEN_WARM: f64 = 0.2;
/// How long reading back may stand still.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Percentiles of one run, in milliseconds; not numbers where nothing was due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waits {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) worst: f64,
}

impl Waits {
    pub(super) fn of(spread: &crate::spread::Spread) -> Self {
        let at = |q| match spread.count() {
            0 => f64::NAN,
            _ => spread.at(q),
        };
        Self {
            p50: at(50.0),
            p99: at(99.0),
            p999: at(99.9),
            worst: at(100.0),
        }
    }
}

/// One open loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    /// Records a second that were due.
    pub(super) rate: f64,
    pub(super) waits: Waits,
    pub(super) behind: bool,
}

/// One round of one peer.
#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) peer: Peer,
    /// Records acknowledged a second at the greatest pace.
    pub(super) most: f64,
    pub(super) open: Vec<Open>,
    /// Processor seconds of the server for a million records, at the greatest pace.
    pub(super) cpu_per_million: f64,
    /// Processor time of the generator of the wall time, at the greatest pace.
    pub(super) generator: f64,
    /// MiB of the server at the end, at most.
    pub(super) peak_mib: f64,
    pub(super) verified: u64,
}

/// Measures one round.
pub(super) fn round(pass: &Pass, found: &Found, class: Class, shape: Shape) -> Result<Round> {
    settle();
    let running = found.start(class, pass.server_core())?;
    running.protocol.create(shape.partitions)?;
    let mut load = Load::open(running.protocol.as_ref(), shape)?;
    // Processor seconds of server and generator, before and after what is measured.
    let mut marks = Vec::new();
    let most = load.run_marked(Pace::Most, pass.warm, pass.span, &mut || {
        let server = running.server.cpu();
        marks.push(server.and_then(|server| Ok((server, super::server::cpu("self")?))));
    })?;
    let mut marks = marks.into_iter();
    let (Some(before), Some(after)) = (marks.next(), marks.next()) else {
        bail!("the run ended in its warm-up");
    };
    let (before, after) = (before?, after?);
    let (cpu, generator) = (after.0 - before.0, after.1 - before.1);
    ensure!(most.rate > 0.0, "nothing was acknowledged");
    let mut open = Vec::new();
    for share in SHARES {
        let rate = most.rate * f64::from(share) / 100.0;
        let phase = load.run(Pace::Rate(rate), pass.span.mul_f64(OPEN_WARM), pass.span)?;
        let waits = Waits::of(&phase.latency);
        open.push(Open {
            rate,
            waits,
            behind: phase.behind,
        });
        pass.note(&json!({
            "section": "acks", "class": class.name(), "peer": found.peer.flag(), "batch": shape.batch,
            "in_flight": shape.in_flight, "partitions": shape.partitions, "share": share, "rate": rate, "reached": phase.rate,
            "behind": phase.behind, "p50_ms": waits.p50, "p99_ms": waits.p99,
            "p99.9_ms": waits.p999, "worst_ms": waits.worst,
        }))?;
    }
    let peak_mib = running.server.peak_mib()?;
    let verified = read_back(&running, &load, shape)?;
    running.stop()?;
    let span = most.span.as_secs_f64();
    let round = Round {
        peer: found.peer,
        most: most.rate,
        open,
        cpu_per_million: cpu / (most.rate * span) * 1e6,
        generator: generator / span,
        peak_mib,
        verified,
    };
    pass.note(&json!({
        "section": "acks", "class": class.name(), "peer": found.peer.flag(), "batch": shape.batch,
        "in_flight": shape.in_flight, "partitions": shape.partitions, "most": round.most, "most_p99_ms": most.latency.at(99.0),
        "cpu_s_per_million": round.cpu_per_million, "generator_cores": round.generator,
        "peak_mib": peak_mib, "verified": verified,
    }))?;
    Ok(round)
}

/// Reads all partitions and holds every record against what was sent; how many there were.
pub(super) fn read_back(running: &Running, load: &Load, shape: Shape) -> Result<u64> {
    let sent = load.sent();
    let mut all = 0;
    for partition in 0..shape.partitions {
        let sent = &sent[usize::from(partition)];
        let expected: u64 = sent.values().sum();
        let mut reader = running.protocol.reader(partition, false)?;
        let mut verifier = Verifier::new(partition);
        let mut moved = Instant::now();
        while verifier.seen() < expected && moved.elapsed() < READ_PATIENCE {
            let wait = Duration::from_millis(200);
            if reader.read(wait, &mut |value| Ok(verifier.see(value).map(drop)?))? > 0 {
                moved = Instant::now();
            }
        }
        // Nothing may come after the last.
        let rest = Duration::from_millis(20);
        reader.read(rest, &mut |value| Ok(verifier.see(value).map(drop)?))?;
        verifier
            .end(sent)
            .context("what was acknowledged is not what is stored")?;
        all += verifier.seen();
    }
    Ok(all)
}
