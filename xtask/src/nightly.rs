//! What takes hours: many seeds, many kills, long fuzzing. Every part runs even when one before it failed.

use anyhow::{Result, bail};

use crate::{fuzz, run, setup, suites};

/// Cases of a property test.
const PROPERTY_CASES: &str = "5000";
/// Seeds of the simulation.
const SEEDS: &str = "0..10000";
/// Kills under load.
const KILLS: &str = "1000";
/// Seconds of fuzzing for each decoder.
const FUZZ_SECONDS: &str = "900";

/// A name, and what is done.
type Part = (&'static str, fn() -> Result<()>);

const PARTS: [Part; 5] = [
    ("properties", properties),
    ("simulation", simulate),
    ("kills", kill),
    ("suites", foreign),
    ("fuzz", || fuzz::run(&[FUZZ_SECONDS])),
];

/// All parts, or those of these names.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| PARTS.iter().all(|(part, _)| part != *name))
    {
        let all = PARTS.map(|(part, _)| part).join(", ");
        bail!("there is no part '{unknown}': there are {all}");
    }
    let mut failed = Vec::new();
    for (name, part) in PARTS
        .iter()
        .filter(|(part, _)| names.is_empty() || names.contains(part))
    {
        println!("\n==> {name}");
        if let Err(error) = part() {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Property tests with cases drawn anew, many more of them where a test does not say how many.
fn properties() -> Result<()> {
    let test = [
        "test",
        "--quiet",
        "--workspace",
        "--exclude",
        "e2e",
        "--no-fail-fast",
    ];
    run::check(run::cargo(&test).env("PROPTEST_CASES", PROPERTY_CASES))
}

fn simulate() -> Result<()> {
    run::check(&mut run::cargo(&[
        "run",
        "--quiet",
        "--release",
        "-p",
        "sim",
        "--",
        "--seeds",
        SEEDS,
    ]))
}

fn kill() -> Result<()> {
    run::build_release(&["lantern"])?;
    run::check(
        run::cargo(&["test", "--quiet", "-p", "e2e", "--test", "crash"]).env("E2E_KILLS", KILLS),
    )
}

/// The test suites of librdkafka, franz-go and kafka-go.
fn foreign() -> Result<()> {
    setup::debian()?;
    suites::nightly()?;
    run::check(&mut run::cargo(&[
        "test",
        "--quiet",
        "-p",
        "e2e",
        "--test",
        "suites_nightly",
        "--",
        "--nocapture",
        "--test-threads",
        "1",
    ]))
}
