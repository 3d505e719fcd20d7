//! What rustc and clippy cannot see: the floors of the house, module docs, the list of unsafe code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;

/// How many of the longest files are reported.
const LONGEST: usize = 10;

/// Words that mark unfinished work or a test that does not run.
const UNFINISHED: [&str; 4] = ["#[ignor\u{65}", "FIX\u{4d}E", "XX\u{58}", "TO\u{44}O"];

pub(crate) fn run() -> Result<()> {
    let mut problems = floors()?;
    let sources = sources()?;
    for (path, text) in &sources {
        let shown = path.strip_prefix(run::root()).unwrap_or(path).display();
        if !text.starts_with("//!") && !is_test(path) {
            problems.push(format!(
                "{shown} does not open with `//!`: say what the file is"
            ));
        }
        for word in UNFINISHED {
            if let Some(line) = text.lines().position(|line| line.contains(word)) {
                problems.push(format!(
                    "{shown}:{}: '{word}': finish it or take it out",
                    line + 1
                ));
            }
        }
    }
    problems.extend(unsafe_code(&sources)?);
    report_longest(&sources);
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    bail!("{} problems", problems.len())
}

/// Upward and level edges between our crates. Development dependencies may go anywhere.
fn floors() -> Result<Vec<String>> {
    let text = run::output(&mut run::cargo(&[
        "metadata",
        "--format-version=1",
        "--no-deps",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let name = |package: &Value| package["name"].as_str().unwrap_or_default().to_owned();
    let mut problems = Vec::new();
    let mut floors = BTreeMap::new();
    for package in packages {
        match package["metadata"]["lantern"]["floor"].as_u64() {
            Some(floor) => {
                floors.insert(name(package), floor);
            }
            None => problems.push(format!(
                "{} has no floor: add [package.metadata.lantern] floor = N to its manifest",
                name(package)
            )),
        }
    }
    for package in packages {
        let upper = name(package);
        let Some(&floor) = floors.get(&upper) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let lower = dependency["name"].as_str().unwrap_or_default();
            let Some(&below) = floors.get(lower) else {
                continue;
            };
            let beside = floor == 9;
            if dependency["kind"].is_null() && below >= floor && !beside {
                problems.push(format!(
                    "{upper} (floor {floor}) depends on {lower} (floor {below}): move the type \
                     down, or pass it in"
                ));
            }
        }
    }
    Ok(problems)
}

/// All Rust files of ours with their text.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let listed = run::output(run::command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        "*.rs",
    ]))?;
    let mut sources = Vec::new();
    for line in listed.lines() {
        let path = run::root().join(line);
        // A file that git still lists may just have been deleted.
        if let Ok(text) = fs::read_to_string(&path) {
            sources.push((path, text));
        }
    }
    Ok(sources)
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches")))
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// Every file with unsafe code stands in UNSAFE.md, and only those.
fn unsafe_code(sources: &[(PathBuf, String)]) -> Result<Vec<String>> {
    let list = fs::read_to_string(run::root().join("UNSAFE.md")).context("UNSAFE.md")?;
    let listed: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split('`').next())
        .collect();
    let has_unsafe = |text: &str| {
        text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|word| code.contains(word))
        })
    };
    let mut problems = Vec::new();
    let mut found = BTreeSet::new();
    for (path, text) in sources {
        let relative = path.strip_prefix(run::root()).unwrap_or(path);
        let shown = relative.to_string_lossy().into_owned();
        if !shown.starts_with("xtask/") && has_unsafe(text) {
            if !listed.contains(shown.as_str()) {
                problems.push(format!(
                    "{shown} has unsafe code that UNSAFE.md does not list"
                ));
            }
            found.insert(shown);
        }
    }
    for stale in listed.iter().filter(|path| !found.contains(**path)) {
        problems.push(format!("UNSAFE.md lists {stale}, which has no unsafe code"));
    }
    Ok(problems)
}

fn report_longest(sources: &[(PathBuf, String)]) {
    let mut lengths: Vec<(usize, &PathBuf)> = sources
        .iter()
        .map(|(path, text)| (text.lines().count(), path))
        .collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    println!("longest files:");
    for (lines, path) in lengths.into_iter().take(LONGEST) {
        println!(
            "{lines:6} {}",
            path.strip_prefix(run::root()).unwrap_or(path).display()
        );
    }
}
