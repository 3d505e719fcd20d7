//! The size of the binary, and the time a newcomer waits for it.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::size;
use crate::Smoke;
use crate::page::Row;
use crate::spread::short;

/// The binary that was measured.
pub(super) fn measure_binary(_: &Smoke) -> Result<Vec<Row>> {
    let bytes = size(e2e::binary().as_ref())?;
    Ok(vec![Row::new("binary", format!("{} MiB", short(bytes)))])
}

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let folder = e2e::root().join("target/clean-build");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let started = Instant::now();
    let built = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "lantern",
            "--target-dir",
        ])
        .arg(&folder)
        .current_dir(e2e::root())
        .stdin(Stdio::null())
        .status()?;
    let took = started.elapsed();
    ensure!(built.success(), "cargo build failed: {built}");
    std::fs::remove_dir_all(&folder)?;
    Ok(vec![Row::new(
        "clean build (`cargo build --release`), crates downloaded before",
        format!("{} s", short(took.as_secs_f64())),
    )])
}
