//! Lantern's own process, under the names every Prometheus client library gives it.

use std::path::{Path, PathBuf};

use crate::cpu::TICKS_PER_SECOND;
use crate::source::number;
use crate::{Collector, Error, Sink, Source};

pub(crate) struct Process {
    stat: Source,
    boot: Source,
    limits: Source,
    descriptors: PathBuf,
}

/// Fields of `/proc/self/stat` after the command name, counted from 0 (see proc_pid_stat(5)).
mod field {
    pub(super) const UTIME: usize = 11;
    pub(super) const STIME: usize = 12;
    pub(super) const THREADS: usize = 17;
    pub(super) const STARTTIME: usize = 19;
    pub(super) const VSIZE: usize = 20;
    pub(super) const RSS: usize = 21;
}

impl Process {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            stat: Source::new(procfs, "self/stat"),
            boot: Source::new(procfs, "stat"),
            limits: Source::new(procfs, "self/limits"),
            descriptors: procfs.join("self/fd"),
        }
    }
}

impl Collector for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let boot = self
            .boot
            .text()?
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .map_or(f64::NAN, number);
        let text = self.stat.text()?;
        // The command name is in parentheses and may hold anything, parentheses too.
        let fields = text
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_ascii_whitespace();
        let (mut ticks, mut started) = (0.0, f64::NAN);
        for (index, value) in fields.enumerate() {
            match index {
                field::UTIME | field::STIME => ticks += number(value),
                field::THREADS => sink.put("process_threads", &[], number(value)),
                field::STARTTIME => started = boot + number(value) / TICKS_PER_SECOND,
                field::VSIZE => sink.put("process_virtual_memory_bytes", &[], number(value)),
                field::RSS => {
                    let bytes = number(value) * rustix::param::page_size() as f64;
                    sink.put("process_resident_memory_bytes", &[], bytes);
                }
                _ => {}
            }
        }
        sink.put("process_cpu_seconds_total", &[], ticks / TICKS_PER_SECOND);
        sink.put("process_start_time_seconds", &[], started);
        if let Ok(entries) = std::fs::read_dir(&self.descriptors) {
            // One of them is the directory being listed.
            let open = entries.count().saturating_sub(1);
            sink.put("process_open_fds", &[], open as f64);
        }
        let limit = self
            .limits
            .text()?
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        if let Some(soft) = limit.and_then(|rest| rest.split_ascii_whitespace().next()) {
            sink.put("process_max_fds", &[], number(soft));
        }
        Ok(())
    }
}
