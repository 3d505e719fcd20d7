//! Fetches Java libraries from the package registry into a folder of `target/tools`, each held against its checksum.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Copies what `project/pom.xml` depends on into `target/tools/NAME`, unless it is there; `project/SHA256SUMS` names every
/// file. Needs `mvn`.
pub(crate) fn fetch(project: &str, name: &str) -> Result<()> {
    let sums = run::root().join(project).join("SHA256SUMS");
    let folder = run::root().join("target/tools").join(name);
    if intact(&folder, &sums).is_ok() {
        return Ok(());
    }
    println!("installing {name}'s Java libraries into target/tools (once)");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    run::check(
        run::command("mvn")
            .args(["-q", "-B", "-Dstyle.color=never", "-f"])
            .arg(run::root().join(project).join("pom.xml"))
            .args([COPY, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", folder.display())),
    )
    .context("it needs Maven (Debian: apt-get install maven)")?;
    intact(&folder, &sums)
}

/// Whether the folder holds just the files of the list, with their checksums.
fn intact(folder: &Path, sums: &Path) -> Result<()> {
    let list = fs::read_to_string(sums).with_context(|| sums.display().to_string())?;
    let wanted = list.lines().count();
    let found = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .count();
    if wanted != found {
        bail!("{} holds {found} files, not {wanted}", folder.display());
    }
    run::check(
        run::command("sha256sum")
            .current_dir(folder)
            .args(["--check", "--quiet", "--strict"])
            .arg(sums),
    )
}
