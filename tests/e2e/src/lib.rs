//! Starts the release binary the way a user would, and talks to it from outside.
//!
//! Invariants: every process started here is ended by its id when its handle goes; every wait has a
//! deadline and says what it waited for; nothing reaches beyond loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use model::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use series::{Labels, write};
use tempfile::TempDir;

pub use program::{Program, node, python};

mod program;
pub mod suites;

/// How long a start may take before a test gives up (the target is 1 s; this is for slow machines).
pub const START_DEADLINE: Duration = Duration::from_secs(20);

/// The root of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The binary under test.
///
/// # Panics
/// When it has not been built, naming the command that builds it.
pub fn binary() -> PathBuf {
    let path = root().join("target/release/lantern");
    assert!(
        path.is_file(),
        "no release binary: run `cargo build --release` first"
    );
    path
}

/// A folder for one test: data, rules, resources; kept when the test panics, for a look.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// A new empty folder with `rules` and a copy of the project's `conf.d`.
    pub fn new() -> Result<Self> {
        // On the disk the project is on: the system's temporary folder may be memory, where nothing is ever
        // made durable and a kill tests nothing.
        let parent = root().join("target/places");
        fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new()
            .prefix("place-")
            .tempdir_in(parent)?;
        fs::create_dir(folder.path().join("rules"))?;
        copy_folder(&root().join("conf.d"), &folder.path().join("conf.d"))?;
        Ok(Self { folder })
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A running `lantern up`.
#[derive(Debug)]
pub struct Lantern {
    child: Child,
    /// Where HTTP answers, `127.0.0.1:port`.
    pub http: String,
    /// Where Kafka answers, `127.0.0.1:port`.
    pub kafka: String,
    /// From the start of the process until the ready file was there.
    pub ready_after: Duration,
}

impl Lantern {
    /// Starts on free ports with its data in `place` and waits until it is ready.
    pub fn start(place: &Place, args: &[&str]) -> Result<Self> {
        Self::start_at(place, "127.0.0.1:0", "127.0.0.1:0", args)
    }

    /// Ends it with [`Lantern::kill9`] and starts it again on the same ports, for clients that stay.
    pub fn kill9_and_start_again(self, place: &Place, args: &[&str]) -> Result<Self> {
        let (http, kafka) = (self.http.clone(), self.kafka.clone());
        self.kill9()?;
        Self::start_at(place, &http, &kafka, args)
    }

    /// Starts it and kills it so long after, ready or not.
    pub fn start_and_kill9(place: &Place, args: &[&str], after: Duration) -> Result<()> {
        let (mut child, _) = spawn(place, "127.0.0.1:0", "127.0.0.1:0", args)?;
        pause(after);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// As [`Lantern::start`], with its endpoints at these addresses.
    ///
    /// # Errors
    /// As [`Lantern::start`].
    pub fn start_at(place: &Place, http: &str, kafka: &str, args: &[&str]) -> Result<Self> {
        let started = Instant::now();
        let (mut child, ready) = spawn(place, http, kafka, args)?;
        let addresses = loop {
            if let Some(json) = fs::read(&ready).ok().filter(|bytes| !bytes.is_empty()) {
                break serde_json::from_slice::<Value>(&json)?;
            }
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(place.path("log.txt")).unwrap_or_default();
                bail!("lantern ended while starting ({status}):\n{log}");
            }
            if started.elapsed() > START_DEADLINE {
                let _ = child.kill();
                bail!("lantern was not ready within {START_DEADLINE:?}");
            }
            pause(Duration::from_millis(5));
        };
        let ready_after = started.elapsed();
        let address = |name: &str| -> Result<String> {
            let text = addresses[name].as_str();
            Ok(text
                .with_context(|| format!("the ready file has no {name}: {addresses}"))?
                .to_owned())
        };
        Ok(Self {
            http: address("http")?,
            kafka: address("kafka")?,
            child,
            ready_after,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A URL of this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id =
            Pid::from_raw(i32::try_from(self.child.id())?).context("a process id is above 0")?;
        Ok(kill_process(id, signal)?)
    }

    /// Ends it as a power cut of the process would, and waits for it.
    pub fn kill9(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("lantern did not end within {limit:?}");
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Asks it to stop with Ctrl-C and waits for its end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::INT)?;
        self.wait(Duration::from_secs(30))
    }
}

/// Starts the process; answers it and the path of its ready file.
fn spawn(place: &Place, http: &str, kafka: &str, args: &[&str]) -> Result<(Child, PathBuf)> {
    let ready = place.path("ready.json");
    let _ = fs::remove_file(&ready);
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(place.path("log.txt"))?;
    let child = Command::new(binary())
        .arg("up")
        .args(["--http", http, "--kafka", kafka])
        .args(["--data-dir".as_ref(), place.path("data").as_os_str()])
        .args(["--conf-dir".as_ref(), place.path("conf.d").as_os_str()])
        .args(["--rules-dir".as_ref(), place.path("rules").as_os_str()])
        .args(["--ready-file".as_ref(), ready.as_os_str()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start lantern")?;
    Ok((child, ready))
}

impl Drop for Lantern {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until `ask` has an answer; `what` is named when the deadline passes.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends samples by Prometheus remote write 2.0; an error unless all of them are taken.
pub async fn remote_write(
    client: &reqwest::Client,
    lantern: &Lantern,
    series: &[(Labels, Vec<(Timestamp, f64)>)],
) -> Result<()> {
    let answer = client
        .post(lantern.url("/api/v1/write"))
        .header("content-encoding", "snappy")
        .header(
            "content-type",
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        )
        .header("x-prometheus-remote-write-version", "2.0.0")
        .body(write::compress(&write::encode_v2(series))?)
        .send()
        .await?;
    let samples: usize = series.iter().map(|(_, samples)| samples.len()).sum();
    let taken = answer
        .headers()
        .get("x-prometheus-remote-write-samples-written");
    let all = taken.is_some_and(|taken| taken.as_bytes() == samples.to_string().as_bytes());
    if answer.status() != 204 || !all {
        bail!(
            "remote write: {}: {}",
            answer.status(),
            answer.text().await?
        );
    }
    Ok(())
}

/// The value of an instant query that answers exactly one series, `None` while it has none.
pub async fn query(lantern: &Lantern, expression: &str) -> Result<Option<f64>> {
    let answer: Value = reqwest::Client::new()
        .get(lantern.url("/api/v1/query"))
        .query(&[("query", expression)])
        .send()
        .await?
        .json()
        .await?;
    if answer["status"] != "success" {
        bail!("{expression}: {answer}");
    }
    let Some(value) = answer["data"]["result"][0]["value"][1].as_str() else {
        return Ok(None);
    };
    Ok(Some(value.parse()?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "polls another process, which has nothing to await"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
