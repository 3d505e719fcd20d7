//! `/proc/stat` (time by CPU and mode, interrupts, context switches, processes) and
//! `/proc/pressure/*` (pressure stall information).

use std::path::Path;

use crate::source::number;
use crate::{Collector, Error, Sink, Source};

/// Clock ticks a second in `/proc/stat`: `USER_HZ`, 100 on every Linux that node_exporter knows.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a `cpu` line in order; guest time follows them.
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];
const GUEST_MODES: [&str; 2] = ["user", "nice"];

pub(crate) struct Cpu {
    stat: Source,
}

impl Cpu {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            stat: Source::new(procfs, "stat"),
        }
    }
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut cpus = 0;
        for line in self.stat.text()?.lines() {
            let mut fields = line.split_ascii_whitespace();
            let Some(key) = fields.next() else { continue };
            if let Some(cpu) = key.strip_prefix("cpu") {
                if !cpu.is_empty() {
                    cpus += 1;
                    read_cpu(cpu, fields, sink);
                }
                continue;
            }
            let name = match key {
                "intr" => "node_intr_total",
                "ctxt" => "node_context_switches_total",
                "processes" => "node_forks_total",
                "btime" => "node_boot_time_seconds",
                "procs_running" => "node_procs_running",
                "procs_blocked" => "node_procs_blocked",
                _ => continue,
            };
            if let Some(value) = fields.next() {
                sink.put(name, &[], number(value));
            }
        }
        if cpus == 0 {
            return Err(self.stat.format_error("no cpu lines"));
        }
        Ok(())
    }
}

fn read_cpu<'a>(cpu: &str, mut fields: impl Iterator<Item = &'a str>, sink: &mut dyn Sink) {
    for mode in MODES {
        let Some(ticks) = fields.next() else { return };
        let labels = [("cpu", cpu), ("mode", mode)];
        sink.put(
            "node_cpu_seconds_total",
            &labels,
            number(ticks) / TICKS_PER_SECOND,
        );
    }
    for mode in GUEST_MODES {
        let Some(ticks) = fields.next() else { return };
        let labels = [("cpu", cpu), ("mode", mode)];
        sink.put(
            "node_cpu_guest_seconds_total",
            &labels,
            number(ticks) / TICKS_PER_SECOND,
        );
    }
}

pub(crate) struct Pressure {
    /// File, name for its `some` line, name for its `full` line.
    resources: [(Source, &'static str, Option<&'static str>); 3],
}

impl Pressure {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            resources: [
                // `full` of cpu is defined as zero at system level, so node_exporter leaves it out.
                (
                    Source::new(procfs, "pressure/cpu"),
                    "node_pressure_cpu_waiting_seconds_total",
                    None,
                ),
                (
                    Source::new(procfs, "pressure/io"),
                    "node_pressure_io_waiting_seconds_total",
                    Some("node_pressure_io_stalled_seconds_total"),
                ),
                (
                    Source::new(procfs, "pressure/memory"),
                    "node_pressure_memory_waiting_seconds_total",
                    Some("node_pressure_memory_stalled_seconds_total"),
                ),
            ],
        }
    }
}

impl Collector for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        for (source, waiting, stalled) in &mut self.resources {
            for line in source.text()?.lines() {
                let Some((kind, rest)) = line.split_once(' ') else {
                    continue;
                };
                let Some((_, micros)) = rest.rsplit_once("total=") else {
                    continue;
                };
                let name = match (kind, *stalled) {
                    ("some", _) => *waiting,
                    ("full", Some(stalled)) => stalled,
                    _ => continue,
                };
                sink.put(name, &[], number(micros) / 1e6);
            }
        }
        Ok(())
    }
}
