//! A server process: started with fresh data, measured from `/proc`, ended by its id.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::pause;

/// How long a start may take; Kafka's takes the longest.
const START: Duration = Duration::from_mins(1);
/// How long an end may take before it is forced.
const END: Duration = Duration::from_secs(30);

/// A running server; it is killed when this goes.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output in `log`; with `core` it runs on that core alone.
    pub(super) fn start(command: &Command, log: &Path, core: Option<usize>) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        // A server must not outlive a benchmark that is killed.
        let mut command = through(&["setpriv", "--pdeathsig", "KILL"], command);
        if let Some(core) = core {
            command = through(&["taskset", "-c", &core.to_string()], &command);
        }
        let out = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` is, and fails with the log when the process ends before or takes too long.
    pub(super) fn until<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(ready) = ready() {
                return Ok(ready);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > START {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                let why = ended.map_or(format!("was not ready within {START:?}"), |status| {
                    format!("ended while starting ({status})")
                });
                bail!("the server {why}:\n{}", tail.join("\n"));
            }
            pause(Duration::from_millis(10));
        }
    }

    /// Waits until `address` takes connections.
    pub(super) fn until_it_listens(&mut self, address: &str) -> Result<()> {
        self.until(|| TcpStream::connect(address).ok()).map(drop)
    }

    /// Processor seconds so far, of all its threads.
    pub(super) fn cpu(&self) -> Result<f64> {
        cpu(&self.id().to_string())
    }

    /// Bytes so far that the disk was read for.
    pub(super) fn read(&self) -> Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.id()))?;
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("read_bytes: "));
        line.and_then(|bytes| bytes.parse().ok())
            .context("no read_bytes in the io of the server")
    }

    /// The most memory it has held, in MiB.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let kibibytes: f64 = line
            .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .context("no VmHWM in the status of the server")?;
        Ok(kibibytes / 1_024.0)
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(mut self) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("an id is above 0")?;
        kill_process(id, Signal::TERM)?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > END {
                // Dropping it kills it: what was measured and verified stands.
                break;
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command through another, which becomes it: the process id stays the same.
fn through(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]);
    wrapped.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// Processor seconds of a process, by its id or `self`.
pub(super) fn cpu(id: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may hold anything, so fields count from the bracket after it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/…/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> Option<f64> { fields.get(at)?.parse().ok() };
    let (user, system) = ticks(11).zip(ticks(12)).context("/proc/…/stat")?;
    Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

/// A free port of loopback.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
