//! Another program as a user would run it: a client, a browser script, a demo.
//!
//! Invariants: what it prints is kept and shown when it fails; one that is dropped is ended by its id;
//! one that cannot start names the command that installs what is missing.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{pause, root};

/// A program that runs beside the test, in the folder `tests/e2e`.
#[derive(Debug)]
pub struct Program {
    child: Child,
    shown: String,
    folder: TempDir,
}

/// The Node.js that runs the scripts, once their packages are there.
pub fn node() -> Result<PathBuf> {
    let packages = root().join("tests/e2e/node_modules");
    ensure!(
        packages.is_dir(),
        "the Node packages are missing: run `cargo xtask setup`"
    );
    Ok("node".into())
}

/// The Python that runs the scripts, with the packages they need.
pub fn python() -> Result<PathBuf> {
    let program = root().join("tests/e2e/.venv/bin/python");
    ensure!(
        program.is_file(),
        "the Python environment is missing: run `cargo xtask setup`"
    );
    // Not canonical: the link in the environment is what makes its packages known.
    Ok(program)
}

impl Program {
    /// Starts it.
    pub fn start<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[A]) -> Result<Self> {
        let mut command = Command::new(&program);
        command
            .args(args)
            .current_dir(root().join("tests/e2e"))
            .stdin(Stdio::piped());
        let words = std::iter::once(program.as_ref()).chain(args.iter().map(AsRef::as_ref));
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        let shown = words.join(" ");
        let folder = tempfile::tempdir()?;
        let file = fs::File::create(folder.path().join("printed.txt"))?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{shown}`: run `cargo xtask setup`"))?;
        Ok(Self {
            child,
            shown,
            folder,
        })
    }

    /// What it printed so far.
    pub fn printed(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("printed.txt"))?)
    }

    /// Waits until it has printed a line that is `line`.
    pub fn said(&mut self, line: &str, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            if self.printed()?.lines().any(|printed| printed == line) {
                return Ok(());
            }
            if ended.is_some() || started.elapsed() > limit {
                bail!(
                    "`{}` did not say '{line}' within {limit:?} ({ended:?}):\n{}",
                    self.shown,
                    self.printed()?
                );
            }
            pause(Duration::from_millis(10));
        }
    }

    /// Gives it a line to read.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut();
        let input = input.context("its input is open while it runs")?;
        writeln!(input, "{line}").with_context(|| format!("`{}` does not listen", self.shown))
    }

    /// Waits for its end and answers what it printed; a failure shows that.
    pub fn finish(self, limit: Duration) -> Result<String> {
        let shown = self.shown.clone();
        let (status, printed) = self.end(limit)?;
        ensure!(status.success(), "`{shown}` failed ({status}):\n{printed}");
        Ok(printed)
    }

    /// Waits for its end and answers how it ended and what it printed.
    pub fn end(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let status = self.wait(limit)?;
        // Foreign programs print what is no UTF-8, too.
        let printed = fs::read(self.folder.path().join("printed.txt"))?;
        Ok((status, String::from_utf8_lossy(&printed).into_owned()))
    }

    /// Ends it with Ctrl-C and answers what it printed.
    pub fn interrupt(self, limit: Duration) -> Result<String> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?).context("an id is above 0")?;
        kill_process(id, Signal::INT)?;
        self.finish(limit)
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!(
                    "`{}` did not end within {limit:?}:\n{}",
                    self.shown,
                    self.printed()?
                );
            }
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
