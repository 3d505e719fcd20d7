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

/// Ticks the host took from this machine, and all ticks, of all cores since its start.
pub(crate) fn stolen() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let all = ticks.iter().take(8).sum();
    (ticks.get(7).copied().unwrap_or(0), all)
}

/// Of one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}
