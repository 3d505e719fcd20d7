//! The servers that are compared: where each is found, how it is started in each durability class, what it speaks.
//!
//! Every start has a fresh data folder on the same disk, unless it goes on with that of a server before, and a free port of loopback. A peer has its own defaults but for
//! durability, and for what would do work during the run that the others do not (`docs/benchmarks/bus.md` lists it).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::server::{Server, free_port};
use super::wire::{Protocol, kafka::Kafka, nats::Nats, redis::Redis};

/// What an acknowledgement means. Classes are never compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// The record is in the page cache: it outlives the process, not the power.
    Written,
    /// The record is on the disk: fsync came before the acknowledgement.
    Flushed,
}

impl Class {
    pub(super) const ALL: [Self; 2] = [Self::Flushed, Self::Written];

    /// The short name, as in the names of files and flags.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Written => "d1",
            Self::Flushed => "d2",
        }
    }
}

/// A server that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Lantern,
    Redis,
    Nats,
    Kafka,
}

impl Peer {
    pub(super) const ALL: [Self; 4] = [Self::Lantern, Self::Redis, Self::Nats, Self::Kafka];

    /// As `--against` has it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Lantern => "lantern",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Kafka => "kafka",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lantern => "Lantern",
            Self::Redis => "Redis",
            Self::Nats => "NATS JetStream",
            Self::Kafka => "Kafka",
        }
    }

    /// What makes it what it is in this class.
    pub(super) fn setting(self, class: Class) -> &'static str {
        match (self, class) {
            (Self::Lantern, Class::Written) => "lantern.durability=written",
            (Self::Redis, Class::Written) => "appendonly, appendfsync everysec",
            (Self::Redis, Class::Flushed) => "appendonly, appendfsync always",
            (Self::Nats, Class::Written) => "file storage, default sync",
            (Self::Nats, Class::Flushed) => "file storage, sync_interval: always",
            (Self::Lantern, Class::Flushed) | (Self::Kafka, Class::Written) => "default",
            (Self::Kafka, Class::Flushed) => "log.flush.interval.messages=1",
        }
    }
}

/// A peer that is there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) peer: Peer,
    pub(super) version: String,
    program: PathBuf,
    /// Whether it can keep the class [`Class::Flushed`].
    flushes: bool,
}

/// Looks for a peer; an error says how to get it.
pub(super) fn find(peer: Peer, lantern: &Path, tools: &Path) -> Result<Found> {
    let how = |what: &str| format!("{what}: `cargo xtask bench bus` installs it, or by hand");
    let (program, version) = match peer {
        Peer::Lantern => {
            if !lantern.is_file() {
                bail!(
                    "there is no {}: `cargo build --release` makes it, or name another with --lantern",
                    lantern.display()
                );
            }
            let version = said(Command::new(lantern).arg("--version"))?;
            (lantern.to_owned(), last_word(&version))
        }
        Peer::Redis => {
            let version = said(Command::new("redis-server").arg("--version"))
                .with_context(|| how("no redis-server (Debian: redis-server)"))?;
            let number = version
                .split_whitespace()
                .find_map(|word| word.strip_prefix("v="));
            (
                PathBuf::from("redis-server"),
                number.unwrap_or("unknown").to_owned(),
            )
        }
        Peer::Nats => {
            let ours = tools.join("bin/nats-server");
            let program = if ours.is_file() {
                ours
            } else {
                PathBuf::from("nats-server")
            };
            let version = said(Command::new(&program).arg("--version")).with_context(|| {
                how("no nats-server (Go: go install github.com/nats-io/nats-server/v2@…)")
            })?;
            (
                program,
                last_word(&version).trim_start_matches('v').to_owned(),
            )
        }
        Peer::Kafka => {
            said(Command::new("java").arg("-version"))
                .with_context(|| how("no java (Debian: openjdk-17-jre-headless)"))?;
            let jars = tools.join("kafka");
            let version = fs::read_dir(&jars).ok().and_then(|entries| {
                entries.flatten().find_map(|entry| {
                    let name = entry.file_name().into_string().ok()?;
                    let version = name.strip_prefix("kafka_2.13-")?;
                    Some(version.strip_suffix(".jar")?.to_owned())
                })
            });
            let missing = || how(&format!("no Kafka in {}", jars.display()));
            (jars.clone(), version.with_context(missing)?)
        }
    };
    // NATS can flush before it answers since 2.10.
    let flushes = peer != Peer::Nats || at_least(&version, (2, 10));
    Ok(Found {
        peer,
        version,
        program,
        flushes,
    })
}

/// Where data folders are made: on the disk the project is on, as the system's temporary folder may be memory.
fn places() -> Result<PathBuf> {
    let places = e2e::root().join("target/places");
    fs::create_dir_all(&places)?;
    Ok(places)
}

/// Removes what a benchmark left that was killed; data folders hold gigabytes.
pub(super) fn sweep() -> Result<()> {
    for entry in fs::read_dir(places()?)? {
        let entry = entry?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            let (id, _) = name.strip_prefix("bus-")?.split_once('-')?;
            id.parse::<u32>().ok()
        });
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let program = command.get_program().to_string_lossy();
        bail!("{program} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn last_word(text: &str) -> String {
    text.split_whitespace()
        .last()
        .unwrap_or("unknown")
        .to_owned()
}

/// A peer at work. Its data goes with it.
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) protocol: Box<dyn Protocol>,
    // After the server, so that the folder goes last.
    folder: TempDir,
}

impl Running {
    /// Ends it and removes its data.
    pub(super) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// Ends it and keeps its data.
    pub(super) fn leave(self) -> Result<TempDir> {
        self.server.stop()?;
        Ok(self.folder)
    }

    /// Where its data is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Found {
    /// Why it has no place in this class, if it has none.
    pub(super) fn unfit(&self, class: Class) -> Option<String> {
        (class == Class::Flushed && !self.flushes).then(|| {
            format!(
                "{} {} cannot flush before it answers (sync_interval: always came with 2.10)",
                self.peer.name(),
                self.version
            )
        })
    }

    /// Starts it with fresh data; with `core` on that core alone.
    pub(super) fn start(&self, class: Class, core: Option<usize>) -> Result<Running> {
        let prefix = format!("bus-{}-", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(places()?)?;
        self.start_in(folder, class, core)
    }

    /// Starts it with the data that is there.
    pub(super) fn start_in(
        &self,
        folder: TempDir,
        class: Class,
        core: Option<usize>,
    ) -> Result<Running> {
        let place = folder.path();
        let (server, protocol): (Server, Box<dyn Protocol>) = match self.peer {
            Peer::Lantern => {
                let (server, kafka) = self.lantern(class, place, core)?;
                (server, Box::new(kafka))
            }
            Peer::Redis => {
                let (server, redis) = self.redis(class, place, core)?;
                (server, Box::new(redis))
            }
            Peer::Nats => {
                let (server, nats) = self.nats(class, place, core)?;
                (server, Box::new(nats))
            }
            Peer::Kafka => {
                let (server, kafka) = self.kafka(class, place, core)?;
                (server, Box::new(kafka))
            }
        };
        Ok(Running {
            server,
            protocol,
            folder,
        })
    }

    fn lantern(&self, class: Class, place: &Path, core: Option<usize>) -> Result<(Server, Kafka)> {
        let ready = place.join("ready.json");
        for folder in ["conf.d", "rules"] {
            fs::create_dir_all(place.join(folder))?;
        }
        // It would tell of the server before.
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(fs::canonicalize(&self.program)?);
        command
            .current_dir(place)
            .args(["up", "--http", "127.0.0.1:0", "--kafka", "127.0.0.1:0"])
            .args(["--no-agent", "--data-dir", "data", "--conf-dir", "conf.d"])
            .args(["--rules-dir", "rules", "--ready-file", "ready.json"]);
        let mut server = Server::start(&command, &place.join("log.txt"), core)?;
        let address = server.until(|| {
            let addresses: Value = serde_json::from_slice(&fs::read(&ready).ok()?).ok()?;
            Some(addresses["kafka"].as_str()?.to_owned())
        })?;
        let topic_config = match class {
            Class::Written => vec![("lantern.durability", "written")],
            Class::Flushed => Vec::new(),
        };
        let kafka = Kafka {
            address,
            topic_config,
        };
        Ok((server, kafka))
    }

    fn redis(&self, class: Class, place: &Path, core: Option<usize>) -> Result<(Server, Redis)> {
        let port = free_port()?;
        let fsync = match class {
            Class::Written => "everysec",
            Class::Flushed => "always",
        };
        let mut command = Command::new(&self.program);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--dir", &place.to_string_lossy(), "--appendonly", "yes"])
            .args(["--appendfsync", fsync, "--save", ""])
            .args(["--auto-aof-rewrite-percentage", "0"]);
        let mut server = Server::start(&command, &place.join("log.txt"), core)?;
        let address = format!("127.0.0.1:{port}");
        server.until_it_listens(&address)?;
        Ok((server, Redis { address }))
    }

    fn nats(&self, class: Class, place: &Path, core: Option<usize>) -> Result<(Server, Nats)> {
        let port = free_port()?;
        let sync = match class {
            Class::Written => "",
            Class::Flushed => "sync_interval: always\n  ",
        };
        let store = place.join("store");
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: {:?}\n  {sync}max_file_store: 100GB\n}}\n",
            store.to_string_lossy()
        );
        let file = place.join("nats.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&file);
        let mut server = Server::start(&command, &place.join("log.txt"), core)?;
        let address = format!("127.0.0.1:{port}");
        server.until_it_listens(&address)?;
        let nats = Nats {
            address,
            readers: AtomicU32::new(0),
        };
        Ok((server, nats))
    }

    fn kafka(&self, class: Class, place: &Path, core: Option<usize>) -> Result<(Server, Kafka)> {
        let (port, controller) = (free_port()?, free_port()?);
        let flush = match class {
            Class::Written => "",
            // For every topic, also the one that keeps committed offsets.
            Class::Flushed => "log.flush.interval.messages=1\n",
        };
        let config = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n{flush}",
            place.join("data").display()
        );
        let file = place.join("server.properties");
        fs::write(&file, config)?;
        let classpath = format!("{}/*", self.program.display());
        let formatted = Command::new("java")
            .args(["-cp", &classpath, "kafka.tools.StorageTool", "format"])
            .args(["-t", "AAAAAAAAQACAAAAAAAAAAQ", "--ignore-formatted", "-c"])
            .arg(&file)
            .output()?;
        if !formatted.status.success() {
            bail!(
                "Kafka could not format its storage: {}",
                String::from_utf8_lossy(&formatted.stderr).trim()
            );
        }
        // The heap and the collector of Kafka's own start script.
        let mut command = Command::new("java");
        command
            .args(["-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC"])
            .args([
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ])
            .args([
                "-XX:+ExplicitGCInvokesConcurrent",
                "-Djava.awt.headless=true",
            ])
            .args(["-cp", &classpath, "kafka.Kafka"])
            .arg(&file);
        let mut server = Server::start(&command, &place.join("log.txt"), core)?;
        let address = format!("127.0.0.1:{port}");
        server.until_it_listens(&address)?;
        let kafka = Kafka {
            address,
            topic_config: Vec::new(),
        };
        Ok((server, kafka))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(at_least("2.10.0", (2, 10)) && at_least("3.0", (2, 10)));
        assert!(!at_least("2.9.10", (2, 10)) && !at_least("unknown", (2, 10)));
    }
}
