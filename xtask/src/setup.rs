//! Installs what the tests need and is not there yet: Debian packages, the Python environment and
//! the Node packages and Java libraries of `tests/e2e`, foreign test suites, cargo-deny.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{maven, run, suites};

/// Programs the tests start, with the Debian package each comes from.
const PROGRAMS: [(&str, &str); 8] = [
    ("kcat", "kcat"),
    ("chromium", "chromium"),
    ("cc", "gcc"),
    ("c++", "g++"),
    ("make", "make"),
    ("python3", "python3"),
    // Its compiler runs the programs of tests/e2e/java.
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
];

/// Fonts for the screenshots: without them Chinese text shows as boxes.
const FONT_FOLDER: &str = "/usr/share/fonts/opentype/noto";
const FONT_PACKAGE: &str = "fonts-noto-cjk";

/// The one version of cargo-deny the checks are written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

pub(crate) fn all() -> Result<()> {
    debian()?;
    python()?;
    node("tests/e2e")?;
    node("web")?;
    maven::fetch("tests/e2e/java", "java")?;
    maven::fetch("tests/e2e/java/oldest", "java-oldest")?;
    suites::usual()
}

/// Debian packages; asks the package manager only when something is missing.
pub(crate) fn debian() -> Result<()> {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !run::has(program))
        .map(|(_, package)| *package)
        .collect();
    if !PathBuf::from(FONT_FOLDER).is_dir() {
        packages.push(FONT_PACKAGE);
    }
    // Debian's python3 comes without what makes environments.
    let probe = ["-c", "import ensurepip, venv"];
    if !run::has("python3") || run::output(run::command("python3").args(probe)).is_err() {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return Ok(());
    }
    if !run::has("apt-get") {
        bail!("the tests need {packages:?}: install them with this system's package manager");
    }
    println!("installing {}", packages.join(" "));
    run::check(run::command("apt-get").args(["update", "-qq"]))?;
    run::check(
        run::command("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&packages),
    )
    .context("run as root, or install the packages by hand")
}

/// The Python environment of the end-to-end tests, made anew when its list of packages changes.
pub(crate) fn python() -> Result<()> {
    let folder = run::root().join("tests/e2e");
    let wanted = fs::read_to_string(folder.join("requirements.txt"))
        .context("tests/e2e/requirements.txt")?;
    let stamp = folder.join(".venv/installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run::check(run::command("python3").args(["-m", "venv", "--clear", "tests/e2e/.venv"]))?;
    run::check(run::command("tests/e2e/.venv/bin/pip").args([
        "install",
        "-q",
        "--disable-pip-version-check",
        "-r",
        "tests/e2e/requirements.txt",
    ]))?;
    fs::write(stamp, wanted).context("tests/e2e/.venv")
}

/// The locked Node packages of one folder, installed anew when the lock file changes.
pub(crate) fn node(folder: &str) -> Result<()> {
    let path = run::root().join(folder);
    let lock = fs::read_to_string(path.join("package-lock.json"))
        .with_context(|| format!("{folder}/package-lock.json"))?;
    let stamp = path.join("node_modules/.installed-lock");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    if !run::has("npm") {
        bail!("{folder} needs Node.js 20 or later with npm: install it and try again");
    }
    run::check(run::command("npm").current_dir(&path).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--silent",
    ]))?;
    fs::write(stamp, lock).with_context(|| format!("{folder}/node_modules"))
}

/// Where cargo-deny is, installed into `target/tools` when it is not there.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let folder = run::root().join("target/tools");
    let program = folder.join("bin/cargo-deny");
    let wanted = format!("cargo-deny {CARGO_DENY_VERSION}");
    let installed = program.is_file()
        && run::output(run::command(&program.to_string_lossy()).arg("--version"))?
            .trim()
            .starts_with(&wanted);
    if !installed {
        println!("installing {wanted} into target/tools (once, some minutes)");
        let root = folder.to_string_lossy().into_owned();
        run::check(&mut run::cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--root",
            &root,
            "--version",
            CARGO_DENY_VERSION,
            "cargo-deny",
        ]))?;
    }
    Ok(program)
}
