//! What Lantern costs when nobody looks: the agent reads this host, rules are evaluated, boards rest.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::Lantern;

use super::{furnished, runtime};
use crate::Smoke;
use crate::page::Row;
use crate::spread::short;

const SETTLE: Duration = Duration::from_mins(1);
const WATCH: Duration = Duration::from_mins(1);
const RSS_MIB: f64 = 40.0;
const CPU_PERCENT: f64 = 1.0;

pub(super) fn measure(_: &Smoke) -> Result<Vec<Row>> {
    let place = furnished()?;
    let lantern = Lantern::start(&place, &[])?;
    let id = lantern.id();
    let spent = runtime()?.block_on(async {
        tokio::time::sleep(SETTLE).await;
        let before = cpu_seconds(id)?;
        tokio::time::sleep(WATCH).await;
        anyhow::Ok(cpu_seconds(id)? - before)
    })?;
    let percent = 100.0 * spent / WATCH.as_secs_f64();
    let rss = resident_mib(id)?;
    Ok(vec![
        Row::new(
            "memory (RSS) two minutes after the start",
            format!("{} MiB", short(rss)),
        )
        .target("< 40 MiB", rss < RSS_MIB),
        Row::new(
            "CPU over one minute, no viewer",
            format!("{} % of a core", short(percent)),
        )
        .target("< 1 % of a core", percent < CPU_PERCENT),
    ])
}

/// User and system time of all threads so far.
pub(super) fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in brackets may hold spaces: fields are counted behind it.
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field")?.parse()?) };
    // USER_HZ is 100 on every Linux that users meet.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

pub(crate) fn resident_mib(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line
        .and_then(|text| text.split_whitespace().next())
        .context("VmRSS")?;
    Ok(kibibytes.parse::<f64>()? / 1_024.0)
}
