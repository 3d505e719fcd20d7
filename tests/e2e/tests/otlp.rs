//! OTLP as its own clients speak it: the SDK for Python over gRPC and HTTP, and what a client hears that is refused.

#![expect(
    clippy::print_stdout,
    reason = "with --nocapture a run shows what each client proved"
)]

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Lantern, Place, Program, python};

/// No script takes more than a quarter of this on two slow cores.
const SCRIPT_LIMIT: Duration = Duration::from_mins(2);

/// Runs a script against a server of its own that has a quota for the client `limited`.
fn proves(name: &str, rest: &[&str]) -> Result<()> {
    let place = Place::new()?;
    let file = place.path("lantern.yaml");
    let yaml = "quotas:\n  clients:\n    limited: {producer_byte_rate: 50}\n";
    std::fs::write(&file, yaml)?;
    let file = file.to_str().context("the place has a name in UTF-8")?;
    let lantern = Lantern::start(&place, &["--no-agent", "--config", file])?;
    let script = format!("otlp/{name}");
    let args: Vec<&str> = [&script, lantern.http.as_str()]
        .into_iter()
        .chain(rest.iter().copied())
        .collect();
    let printed = Program::start(python()?, &args)?.finish(SCRIPT_LIMIT)?;
    assert!(printed.contains("VERDICT PASS"), "{printed}");
    println!("{printed}");
    Ok(())
}

#[test]
fn the_sdk_over_grpc() -> Result<()> {
    proves("sdk.py", &["grpc"])
}

#[test]
fn the_sdk_over_http() -> Result<()> {
    proves("sdk.py", &["http"])
}

#[test]
fn what_is_refused_says_whether_to_come_again() -> Result<()> {
    proves("refusals.py", &[])
}
