//! Benchmarks that drive the real binary and write their tables into `docs/`.

use anyhow::{Result, bail};

use crate::{run, setup};

pub(crate) fn run(args: &[&str]) -> Result<()> {
    match args {
        ["smoke", rest @ ..] => smoke(rest),
        [] => {
            println!(
                "smoke   the figures of docs/figures.md (--minutes N for the board, default 5)"
            );
            Ok(())
        }
        [other, ..] => bail!("there is no benchmark '{other}': `cargo xtask bench` names them"),
    }
}

fn smoke(args: &[&str]) -> Result<()> {
    setup::node("tests/e2e")?;
    run::check(&mut run::cargo(&[
        "build",
        "--quiet",
        "--release",
        "-p",
        "lantern",
        "-p",
        "bench",
    ]))?;
    let program = run::root().join("target/release/bench");
    run::check(
        run::command(&program.to_string_lossy())
            .arg("smoke")
            .args(args),
    )
}
