//! Catching up: one consumer reads a backlog from its first record to its last, first from the disk, then from the page cache.
//!
//! One round of one peer: the backlog is written (in the class that is faster to write: reading knows no classes), the
//! server ends in order, a new one starts on the same data, the pages of all its files are dropped, and everything is read
//! twice, each time by a new connection. That the first reading came from the disk, and the second not, is not assumed:
//! `/proc` says how much the server had read from it.
//!
//! Files are dropped one by one (`posix_fadvise`, `POSIX_FADV_DONTNEED`, after a sync), not with `drop_caches`, which would take
//! the pages of everybody else on the machine, too. It is done once the server serves, so that what its start read is dropped as
//! well; what a peer keeps in its own memory stays there, as it would.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use serde_json::json;

use super::load::{Load, Shape};
use super::peer::{Class, Found, Peer, Running};
use super::server;
use super::verify::Verifier;
use super::wire::{PATIENCE, RECORD_BYTES};
use super::{Pass, settle};

const SHAPE: Shape = Shape {
    batch: 100,
    partitions: 1,
    producers: 4,
    in_flight: 16,
};
const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

/// One reading of all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Records a second.
    pub(super) rate: f64,
    /// Processor seconds of the server for a GiB of values.
    pub(super) cpu_per_gib: f64,
    /// Processor time of the reader of the wall time.
    pub(super) reader: f64,
    /// What the server had read from the disk for it.
    pub(super) disk_mib: f64,
}

/// One round of one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct CaughtUp {
    pub(super) peer: Peer,
    /// Seconds from the start of the second server until it served what the first one stored.
    pub(super) ready: f64,
    pub(super) cold: Reading,
    pub(super) warm: Reading,
    /// MiB of the second server, at most.
    pub(super) peak_mib: f64,
}

/// Megabytes of values a second.
pub(super) fn megabytes(rate: f64) -> f64 {
    rate * RECORD_BYTES as f64 / 1e6
}

/// Measures one round with so many bytes of values.
pub(super) fn round(pass: &Pass, found: &Found, bytes: u64) -> Result<CaughtUp> {
    settle();
    let core = pass.server_core();
    let running = found.start(Class::Written, core)?;
    running.protocol.create(SHAPE.partitions)?;
    let mut load = Load::open(running.protocol.as_ref(), SHAPE)?;
    load.fill(bytes.div_ceil(RECORD_BYTES as u64))?;
    let sent = load.sent().pop().context("one partition")?;
    let count: u64 = sent.values().sum();
    // Its connections would be closed in the midst of nothing.
    drop(load);
    let folder = running.leave()?;
    let started = Instant::now();
    let running = found.start_in(folder, Class::Written, core)?;
    running.protocol.recovered(SHAPE.partitions)?;
    let ready = started.elapsed().as_secs_f64();
    settle();
    drop_pages(running.folder())?;
    let mut readings = Vec::new();
    for cache in ["cold", "warm"] {
        let mut verifier = Verifier::new(0);
        let reading = read(&running, count, &mut verifier)?;
        verifier
            .end(&sent)
            .context("what was acknowledged is not what is stored")?;
        pass.note(&json!({
            "section": "catch-up", "peer": found.peer.flag(), "cache": cache, "records": count,
            "records_per_s": reading.rate, "cpu_s_per_gib": reading.cpu_per_gib,
            "reader_cores": reading.reader, "disk_mib": reading.disk_mib, "ready_s": ready,
            "peak_mib": running.server.peak_mib()?,
        }))?;
        readings.push(reading);
    }
    let peak_mib = running.server.peak_mib()?;
    running.stop()?;
    Ok(CaughtUp {
        peer: found.peer,
        ready,
        cold: readings[0],
        warm: readings[1],
        peak_mib,
    })
}

/// Reads `count` records over one connection as fast as it can.
fn read(running: &Running, count: u64, verifier: &mut Verifier) -> Result<Reading> {
    let mut reader = running.protocol.reader(0, false)?;
    let server = || -> Result<(f64, u64)> { Ok((running.server.cpu()?, running.server.read()?)) };
    let (before, client) = (server()?, server::cpu("self")?);
    let started = Instant::now();
    let mut moved = started;
    while verifier.seen() < count {
        let wait = Duration::from_millis(200);
        if reader.read(wait, &mut |value| Ok(verifier.see(value).map(drop)?))? > 0 {
            moved = Instant::now();
        }
        ensure!(
            moved.elapsed() < PATIENCE,
            "{} of {count} records were read, then nothing for {PATIENCE:?}",
            verifier.seen()
        );
    }
    let span = started.elapsed().as_secs_f64();
    let (after, client) = (server()?, server::cpu("self")? - client);
    let gibibytes = count as f64 * RECORD_BYTES as f64 / GIB;
    Ok(Reading {
        rate: count as f64 / span,
        cpu_per_gib: (after.0 - before.0) / gibibytes,
        reader: client / span,
        disk_mib: (after.1 - before.1) as f64 / MIB,
    })
}

/// Drops every page of every file below a folder; they are clean.
fn drop_pages(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            drop_pages(&entry.path())?;
        } else if kind.is_file() {
            let file = File::open(entry.path())?;
            fadvise(&file, 0, None, Advice::DontNeed)
                .with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_is_ten_thousand_values() {
        assert!((megabytes(10_000.0) - 1.0).abs() < 1e-9);
    }
}
