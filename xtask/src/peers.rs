//! Installs the peers of `cargo xtask bench bus`, from package registries and by their own clients: mirrors and proxies
//! that are configured for `apt-get`, `go` and `mvn` are used as they are. Versions are pinned here and in
//! `crates/bench/peers`; Debian's are Debian's.
//!
//! A peer that cannot be had is no error here: the benchmark goes on without it and says so.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{maven, run};

/// Peers that are programs.
pub(crate) const ALL: [&str; 3] = ["redis", "nats", "kafka"];

const NATS: &str = "github.com/nats-io/nats-server/v2@v2.15.2";

/// Installs those of `wanted` that are not there.
pub(crate) fn install(wanted: &[&str]) {
    // Flushes are counted with it.
    let mut results = vec![("strace", debian("strace", "strace"))];
    for name in ALL.into_iter().filter(|name| wanted.contains(name)) {
        let result = match name {
            "redis" => debian("redis-server", "redis-server"),
            "nats" => nats(),
            _ => kafka(),
        };
        results.push((name, result));
    }
    for (name, result) in results {
        if let Err(error) = result {
            eprintln!("{name} could not be installed: {error:#}");
        }
    }
}

/// A Debian package, unless its program is there.
fn debian(program: &str, package: &str) -> Result<()> {
    if run::has(program) {
        return Ok(());
    }
    ensure!(
        run::has("apt-get"),
        "install {package} with this system's package manager"
    );
    println!("installing {package}");
    run::check(run::command("apt-get").args(["update", "-qq"]))?;
    run::check(
        run::command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Servers are started by the benchmark, not by the system.
            .env("RUNLEVEL", "1")
            .args(["install", "-y", "-qq", "--no-install-recommends", package]),
    )
    .context("run as root, or install the package by hand")
}

/// The pinned server into `target/tools/bin`; without Go, Debian's.
fn nats() -> Result<()> {
    let folder = run::root().join("target/tools/bin");
    if folder.join("nats-server").is_file() {
        return Ok(());
    }
    if !run::has("go") {
        println!("there is no Go: Debian's nats-server, which cannot flush before it answers");
        return debian("nats-server", "nats-server");
    }
    println!("installing {NATS} into target/tools (once, some minutes)");
    fs::create_dir_all(&folder)?;
    // Go asks for an absolute path.
    let folder = fs::canonicalize(folder)?;
    run::check(
        run::command("go")
            .env("GOBIN", folder)
            .args(["install", NATS]),
    )
}

/// A Java runtime, and Kafka's jars into `target/tools/kafka`.
fn kafka() -> Result<()> {
    debian("java", "openjdk-17-jre-headless")?;
    debian("mvn", "maven")?;
    maven::fetch("crates/bench/peers/kafka", "kafka")
}
