//! `/proc/meminfo` and the part of `/proc/vmstat` that node_exporter keeps by default.

use std::path::Path;

use crate::source::number;
use crate::{Collector, Error, Sink, Source};

pub(crate) struct Meminfo {
    source: Source,
    name: String,
}

impl Meminfo {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "meminfo"),
            name: String::new(),
        }
    }
}

impl Collector for Meminfo {
    fn name(&self) -> &'static str {
        "meminfo"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let Self { source, name } = self;
        for line in source.text()?.lines() {
            let Some((key, rest)) = line.split_once(':') else {
                continue;
            };
            let mut fields = rest.split_ascii_whitespace();
            let Some(value) = fields.next() else { continue };
            name.clear();
            name.push_str("node_memory_");
            // `Active(anon)` becomes `Active_anon`.
            name.extend(key.chars().filter_map(|c| match c {
                '(' => Some('_'),
                ')' => None,
                other => Some(other),
            }));
            let mut value = number(value);
            if fields.next() == Some("kB") {
                name.push_str("_bytes");
                value *= 1_024.0;
            }
            sink.put(name, &[], value);
        }
        Ok(())
    }
}

pub(crate) struct Vmstat {
    source: Source,
    name: String,
}

impl Vmstat {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "vmstat"),
            name: String::new(),
        }
    }
}

/// node_exporter's default: `^(oom_kill|pgpg|pswp|pg.*fault).*`.
fn is_kept(key: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
        || (key.starts_with("pg") && key.contains("fault"))
}

impl Collector for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let Self { source, name } = self;
        for line in source.text()?.lines() {
            let Some((key, value)) = line.split_once(' ') else {
                continue;
            };
            if is_kept(key) {
                name.clear();
                name.push_str("node_vmstat_");
                name.push_str(key);
                sink.put(name, &[], number(value));
            }
        }
        Ok(())
    }
}
