//! Where a figure was measured.

use std::fs;
use std::process::Command;

/// Processor, cores, memory, kernel, commit and day, in one line.
pub(crate) fn line() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned();
        line.split_once(':')
            .map_or(String::new(), |(_, rest)| rest.trim().to_owned())
    };
    let cpu = after(&read("/proc/cpuinfo"), "model name");
    let memory = after(&read("/proc/meminfo"), "MemTotal");
    let kibibytes: f64 = memory
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude", "*"])
        .output();
    let commit = commit.map_or(String::new(), |out| {
        String::from_utf8_lossy(&out.stdout).into()
    });
    let day = jiff::Timestamp::now().to_string();
    format!(
        "{cpu}, {cores} cores, {:.0} GiB, Linux {}, commit {}, {}",
        kibibytes / 1_048_576.0,
        // The version, not who built it.
        kernel.trim().split('-').next().unwrap_or_default(),
        commit.trim(),
        day.get(..10).unwrap_or_default(),
    )
}
