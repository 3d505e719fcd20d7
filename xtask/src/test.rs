//! The whole check, step by step. Every step runs even when an earlier one failed, so that one run
//! shows all there is to mend; what a failed step produces is not used.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{bench, fuzz, run, setup, tidy, web};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 12] = [
    Step {
        name: "setup",
        what: "install what the tests need",
        run: setup::all,
    },
    Step {
        name: "fmt",
        what: "formatting",
        run: fmt,
    },
    Step {
        name: "tidy",
        what: "floors, module docs, unsafe code",
        run: tidy::run,
    },
    Step {
        name: "clippy",
        what: "lints, warnings as errors",
        run: clippy,
    },
    Step {
        name: "unit",
        what: "unit, property, crate and doc tests",
        run: unit,
    },
    Step {
        name: "models",
        what: "the broadcast ring under every order of its threads",
        run: models,
    },
    Step {
        name: "doc",
        what: "documentation builds, links hold",
        run: doc,
    },
    Step {
        name: "deny",
        what: "licences, sources, duplicate dependencies",
        run: deny,
    },
    Step {
        name: "web",
        what: "types, tests, dist equals a fresh build",
        run: web::check,
    },
    Step {
        name: "e2e",
        what: "the release binary with real clients and a browser",
        run: e2e,
    },
    Step {
        name: "bus",
        what: "the load generator of the comparison, with Lantern alone",
        run: bench::bus_smoke,
    },
    Step {
        name: "fuzz",
        what: "every decoder, half a minute each",
        run: fuzz::smoke,
    },
];

pub(crate) fn run(names: &[&str]) -> Result<()> {
    if names == ["--list"] {
        for step in &STEPS {
            println!("{:8} {}", step.name, step.what);
        }
        return Ok(());
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        bail!("there is no step '{unknown}': `cargo xtask test --list` names them");
    }
    let mut results: Vec<(&str, Duration, Result<()>)> = Vec::new();
    for step in STEPS
        .iter()
        .filter(|step| names.is_empty() || names.contains(&step.name))
    {
        println!("\n==> {}: {}", step.name, step.what);
        let started = Instant::now();
        let result = (step.run)();
        if let Err(error) = &result {
            eprintln!("{}: {error:#}", step.name);
        }
        results.push((step.name, started.elapsed(), result));
    }
    report(&results)
}

fn report(results: &[(&str, Duration, Result<()>)]) -> Result<()> {
    println!();
    for (name, took, result) in results {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{name:8} {verdict:7} {:>6.1} s", took.as_secs_f64());
    }
    let failed: Vec<_> = results
        .iter()
        .filter(|(.., result)| result.is_err())
        .map(|(name, ..)| *name)
        .collect();
    println!(
        "\n{} passed, {} failed",
        results.len() - failed.len(),
        failed.len()
    );
    if !failed.is_empty() {
        bail!(
            "failed: {} (again with `cargo xtask test {}`)",
            failed.join(", "),
            failed.join(" ")
        );
    }
    Ok(())
}

fn fmt() -> Result<()> {
    run::check(&mut run::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    run::check(&mut run::cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Property tests draw the same cases each time, so that a check fails for what was changed; `cargo xtask nightly`
/// draws others.
fn unit() -> Result<()> {
    run::check(
        run::cargo(&["test", "--quiet", "--workspace", "--exclude", "e2e"])
            .env("PROPTEST_RNG_SEED", "20260101"),
    )
}

/// Model checks with loom. Another `cfg` compiles everything anew, so in a target directory of their own.
fn models() -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| run::root().join("target"), PathBuf::from);
    let test = [
        "test",
        "--quiet",
        "--release",
        "-p",
        "stdx",
        "--lib",
        "loom_",
    ];
    run::check(
        run::cargo(&test)
            .env("CARGO_TARGET_DIR", target.join("models"))
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("RUSTFLAGS", "--cfg loom"),
    )
}

fn doc() -> Result<()> {
    run::check(
        run::cargo(&["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn deny() -> Result<()> {
    // The advisory database lives outside the package registries; a machine that reaches it runs
    // `cargo deny check advisories` as well.
    let program = setup::cargo_deny()?;
    run::check(run::command(&program.to_string_lossy()).args([
        "--log-level",
        "warn",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn e2e() -> Result<()> {
    run::build_release(&["lantern"])?;
    run::check(&mut run::cargo(&[
        "test",
        "--quiet",
        "-p",
        "e2e",
        "--",
        "--test-threads",
        "1",
    ]))
}
