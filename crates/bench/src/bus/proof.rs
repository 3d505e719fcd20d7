//! That a class is what it says: the flushes of the server are counted by `strace` while one producer has one request in
//! flight, so that no two acknowledgements can share a flush.
//!
//! A flush is a call of fsync or fdatasync, or a write to a file that was opened with `O_SYNC` or `O_DSYNC`. This run is
//! apart from all others: tracing slows the server.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::load::{Load, Pace, Shape};
use super::peer::{Class, Found, Peer};
use super::{Pass, acks, pause};

const CALLS: &str = "trace=fsync,fdatasync,openat,write,writev,pwrite64,pwritev,pwritev2";
const SPAN: Duration = Duration::from_secs(1);
const SHAPE: Shape = Shape {
    batch: 1,
    partitions: 1,
    producers: 1,
    in_flight: 1,
};

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    pub(super) peer: Peer,
    pub(super) class: Class,
    pub(super) acknowledged: u64,
    pub(super) flushes: u64,
}

impl Proof {
    /// Whether the peer is what the class says.
    pub(super) fn holds(&self) -> bool {
        self.class == Class::Written || self.flushes >= self.acknowledged
    }
}

pub(super) fn count(pass: &Pass, found: &Found, class: Class) -> Result<Proof> {
    let running = found.start(class, None)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("trace.txt");
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-y", "-s", "0", "-e", CALLS, "-o"])
        .arg(&file)
        .args(["-p", &running.server.id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("no strace (Debian: strace)")?;
    let measured = attached(running.server.id(), &mut strace).and_then(|()| {
        // Files may be opened here, so the tracer is there first.
        running.protocol.create(SHAPE.partitions)?;
        let mut load = Load::open(running.protocol.as_ref(), SHAPE)?;
        // What was traced up to here are flushes of the start.
        let before = flushes(&fs::read_to_string(&file).unwrap_or_default());
        load.run(Pace::Most, Duration::ZERO, SPAN)?;
        Ok((load, before))
    });
    let id = Pid::from_raw(i32::try_from(strace.id())?).context("an id is above 0")?;
    kill_process(id, Signal::INT)?;
    strace.wait()?;
    let (load, before) = measured?;
    let acknowledged = acks::read_back(&running, &load, SHAPE)?;
    let trace = fs::read_to_string(&file)?;
    running.stop()?;
    let proof = Proof {
        peer: found.peer,
        class,
        acknowledged,
        flushes: flushes(&trace).saturating_sub(before),
    };
    pass.note(&json!({
        "section": "proof", "class": class.name(), "peer": found.peer.flag(),
        "acknowledged": acknowledged, "flushes": proof.flushes,
    }))?;
    Ok(proof)
}

/// Waits until the tracer has every thread of the server.
fn attached(server: u32, strace: &mut Child) -> Result<()> {
    let started = Instant::now();
    loop {
        let tasks = fs::read_dir(format!("/proc/{server}/task"))?;
        let all = tasks.flatten().all(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.lines().any(|line| line == "TracerPid:\t0")
        });
        if all {
            return Ok(());
        }
        if strace.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(10) {
            bail!("strace could not attach to the server: tracing is not allowed here");
        }
        pause(Duration::from_millis(5));
    }
}

/// Flushes in what strace wrote. A call that was interrupted by another thread's stands on two lines; its first counts.
fn flushes(trace: &str) -> u64 {
    let mut synced = BTreeSet::new();
    let mut count = 0;
    for line in trace.lines() {
        let Some((call, arguments)) = line.split_once('(') else {
            continue;
        };
        let call = call.rsplit(' ').next().unwrap_or_default();
        match call {
            "fsync" | "fdatasync" => count += 1,
            "openat" if arguments.contains("O_SYNC") || arguments.contains("O_DSYNC") => {
                synced.extend(arguments.split('"').nth(1));
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
                let path = arguments
                    .split_once('<')
                    .and_then(|(_, rest)| rest.split_once('>'));
                count += u64::from(path.is_some_and(|(path, _)| synced.contains(path)));
            }
            _ => (),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_calls_and_writes_that_flush() {
        let trace = "\
10 fdatasync(8</d/a.log>) = 0
11 fsync(9</d/b> <unfinished ...>
10 write(8</d/a.log>, \"\"..., 100) = 100
11 <... fsync resumed>) = 0
12 openat(AT_FDCWD</d>, \"/d/c.blk\", O_RDWR|O_CREAT|O_SYNC|O_CLOEXEC, 0640) = 7</d/c.blk>
12 write(7</d/c.blk>, \"\"..., 130) = 130
12 pwrite64(7</d/c.blk>, \"\"..., 130, 0) = 130
12 write(5<socket:[3]>, \"\"..., 30) = 30
";
        assert_eq!(flushes(trace), 4);
        assert_eq!(flushes(""), 0);
    }

    #[test]
    fn a_class_that_flushes_has_a_flush_for_each_acknowledgement() {
        let proof = |class, flushes| Proof {
            peer: Peer::Redis,
            class,
            acknowledged: 100,
            flushes,
        };
        assert!(proof(Class::Flushed, 100).holds() && proof(Class::Written, 0).holds());
        assert!(!proof(Class::Flushed, 99).holds());
    }
}
