//! Benchmarks that drive the real binary and write their tables into `docs/`.

use anyhow::{Result, bail};

use crate::{peers, run, setup};

pub(crate) fn run(args: &[&str]) -> Result<()> {
    match args {
        ["smoke", rest @ ..] => smoke(rest),
        ["bus", rest @ ..] => bus(rest),
        ["layouts", rest @ ..] => layouts(rest),
        [] => {
            println!(
                "smoke   the figures of docs/figures.md (--minutes N for the board, default 5)\n\
                 bus     the bus beside its peers, docs/benchmarks/bus.md (--quick for a look, --help)\n\
                 layouts ways to lay out the log's files, docs/benchmarks/layouts.md (--quick for a look, --help)"
            );
            Ok(())
        }
        [other, ..] => bail!("there is no benchmark '{other}': `cargo xtask bench` names them"),
    }
}

/// Load for a long time: `--duration 1h`.
pub(crate) fn soak(args: &[&str]) -> Result<()> {
    run::build_release(&["lantern", "bench"])?;
    program("soak", args)
}

fn smoke(args: &[&str]) -> Result<()> {
    setup::node("tests/e2e")?;
    run::build_release(&["lantern", "bench"])?;
    program("smoke", args)
}

/// The comparison of the bus; Lantern itself is built unless another is named.
fn bus(args: &[&str]) -> Result<()> {
    let named = |flag: &str| args.iter().any(|arg| arg.split('=').next() == Some(flag));
    if named("--lantern") || named("--help") {
        run::build_release(&["bench"])?;
    } else {
        run::build_release(&["lantern", "bench"])?;
    }
    if !named("--help") {
        peers::install(&asked(args));
    }
    program("bus", args)
}

/// Runs a part of the load generator, which is built.
fn program(part: &str, args: &[&str]) -> Result<()> {
    let program = run::root().join("target/release/bench");
    run::check(
        run::command(&program.to_string_lossy())
            .arg(part)
            .args(args),
    )
}

/// Ways to lay out files: no Lantern is started.
fn layouts(args: &[&str]) -> Result<()> {
    run::check(&mut run::cargo(&[
        "build",
        "--quiet",
        "--release",
        "-p",
        "bench",
    ]))?;
    let program = run::root().join("target/release/bench");
    run::check(
        run::command(&program.to_string_lossy())
            .arg("layouts")
            .args(args),
    )
}

/// The peers in `--against NAME,…`; all without it.
fn asked<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let after = args.iter().position(|arg| *arg == "--against");
    let after = after.and_then(|at| args.get(at + 1).copied());
    let list = after.or_else(|| args.iter().find_map(|arg| arg.strip_prefix("--against=")));
    list.map_or_else(|| peers::ALL.to_vec(), |list| list.split(',').collect())
}

/// The comparison with Lantern alone: that the generator, the reading back, the pipeline and catching up work.
pub(crate) fn bus_smoke() -> Result<()> {
    run::build_release(&["lantern"])?;
    run::check(&mut run::cargo(&[
        "run",
        "--quiet",
        "-p",
        "bench",
        "--",
        "bus",
        "--against",
        "lantern",
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--warm-seconds",
        "0",
        "--batches",
        "1,100",
        "--partitions",
        "3",
        "--classes",
        "d2",
        "--only",
        "acks,pipeline,catch-up",
        "--backlog-mib",
        "8",
        "--no-page",
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_peers_that_are_asked_for_are_installed() {
        assert_eq!(asked(&["--quick"]), peers::ALL);
        assert_eq!(
            asked(&["--against", "redis,crossbeam"]),
            ["redis", "crossbeam"]
        );
        assert_eq!(asked(&["--against=nats", "--quick"]), ["nats"]);
    }
}
