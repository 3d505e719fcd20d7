//! Coverage-guided fuzzing with libFuzzer on the stable toolchain: the coverage instrumentation of
//! LLVM is switched on by flags that stable rustc takes, so neither nightly nor cargo-fuzz is needed.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::run;

/// Instruments every branch for libFuzzer, and keeps overflow and debug checks on.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions \
    -Ccodegen-units=1";

const TARGET: &str = "x86_64-unknown-linux-gnu";
const SECONDS_DEFAULT: u32 = 30;
/// More than this resident memory is a finding: every decoder bounds what it allocates.
const RSS_LIMIT_MIB: u32 = 1_024;

/// The targets, by the files in `fuzz/targets`.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(run::root().join("fuzz/targets")).context("fuzz/targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Folders with inputs that a target begins with.
fn seeds(target: &str) -> Vec<String> {
    let mut folders = vec![format!("fuzz/seeds/{target}")];
    if target == "resources" {
        // What comes with the binary, as it is today.
        folders.extend(["fuzz/seeds/listener", "conf.d", "rules"].map(str::to_owned));
    }
    folders
}

/// Every target for half a minute.
pub(crate) fn smoke() -> Result<()> {
    run_targets(SECONDS_DEFAULT, &targets()?)
}

/// `[SECONDS] [TARGET …]`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let (seconds, names) = match args {
        [first, rest @ ..] if first.parse::<u32>().is_ok() => (first.parse()?, rest),
        rest => (SECONDS_DEFAULT, rest),
    };
    let all = targets()?;
    if let Some(unknown) = names
        .iter()
        .find(|name| !all.iter().any(|target| target == *name))
    {
        bail!(
            "there is no fuzz target '{unknown}': there are {}",
            all.join(", ")
        );
    }
    let chosen: Vec<String> = all
        .into_iter()
        .filter(|name| names.is_empty() || names.contains(&name.as_str()))
        .collect();
    run_targets(seconds, &chosen)
}

fn run_targets(seconds: u32, names: &[String]) -> Result<()> {
    run::check(
        run::cargo(&[
            "build",
            "--quiet",
            "--release",
            "--manifest-path",
            "fuzz/Cargo.toml",
        ])
        .args(["--target", TARGET])
        .env("RUSTFLAGS", RUSTFLAGS),
    )?;
    let root = run::root();
    // Two at a time: the machines have two cores.
    for pair in names.chunks(2) {
        let mut children = Vec::new();
        for name in pair {
            let corpus = root.join("fuzz/corpus").join(name);
            let artifacts = root.join("fuzz/artifacts").join(name);
            fs::create_dir_all(&corpus)?;
            fs::create_dir_all(&artifacts)?;
            println!("fuzzing {name} for {seconds} s");
            let program = root
                .join("fuzz/target")
                .join(TARGET)
                .join("release")
                .join(name);
            let log = fs::File::create(artifacts.join("log.txt"))?;
            // What people would write, to begin with; what is found goes into the corpus.
            let seeds = seeds(name).into_iter().map(|folder| root.join(folder));
            let child = run::command(&program.to_string_lossy())
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-rss_limit_mb={RSS_LIMIT_MIB}"))
                .arg("-timeout=10")
                .arg("-max_len=65536")
                .arg("-print_final_stats=1")
                .arg(format!("-artifact_prefix={}/", artifacts.display()))
                .arg(&corpus)
                .args(seeds.filter(|folder| folder.is_dir()))
                .stderr(log)
                .spawn()
                .with_context(|| format!("fuzz target {name}"))?;
            children.push((name, artifacts, child));
        }
        for (name, artifacts, mut child) in children {
            let status = child.wait()?;
            let log = fs::read_to_string(artifacts.join("log.txt"))?;
            let runs = log
                .lines()
                .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            println!("{name}: {} runs", runs.map_or("?", str::trim));
            if !status.success() {
                let tail: Vec<&str> = log.lines().rev().take(30).collect();
                for line in tail.into_iter().rev() {
                    eprintln!("{line}");
                }
                bail!(
                    "{name} found an input that breaks it: see {}",
                    artifacts.display()
                );
            }
        }
    }
    Ok(())
}
