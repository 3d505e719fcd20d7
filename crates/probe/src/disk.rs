//! `/proc/diskstats`, whole disks only.
//!
//! Source: the kernel's `Documentation/admin-guide/iostats.rst` for the columns (sectors are 512
//! bytes whatever the disk says, times are milliseconds).

use std::path::Path;

use crate::source::number;
use crate::{Collector, Error, Sink, Source};

const SECTOR_BYTES: f64 = 512.0;
const MILLI: f64 = 1e-3;

/// Columns after the device name, in order: metric and what one unit is worth.
const COLUMNS: [(&str, f64); 17] = [
    ("node_disk_reads_completed_total", 1.0),
    ("node_disk_reads_merged_total", 1.0),
    ("node_disk_read_bytes_total", SECTOR_BYTES),
    ("node_disk_read_time_seconds_total", MILLI),
    ("node_disk_writes_completed_total", 1.0),
    ("node_disk_writes_merged_total", 1.0),
    ("node_disk_written_bytes_total", SECTOR_BYTES),
    ("node_disk_write_time_seconds_total", MILLI),
    ("node_disk_io_now", 1.0),
    ("node_disk_io_time_seconds_total", MILLI),
    ("node_disk_io_time_weighted_seconds_total", MILLI),
    ("node_disk_discards_completed_total", 1.0),
    ("node_disk_discards_merged_total", 1.0),
    ("node_disk_discarded_sectors_total", 1.0),
    ("node_disk_discard_time_seconds_total", MILLI),
    ("node_disk_flush_requests_total", 1.0),
    ("node_disk_flush_requests_time_seconds_total", MILLI),
];

pub(crate) struct Diskstats {
    source: Source,
}

impl Diskstats {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "diskstats"),
        }
    }
}

impl Collector for Diskstats {
    fn name(&self) -> &'static str {
        "diskstats"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        for line in self.source.text()?.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(major), Some(minor), Some(device)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if is_part_or_memory(device) {
                continue;
            }
            let labels = [("device", device), ("major", major), ("minor", minor)];
            sink.put("node_disk_info", &labels, 1.0);
            for ((name, unit), field) in COLUMNS.iter().zip(fields) {
                sink.put(name, &[("device", device)], number(field) * unit);
            }
        }
        Ok(())
    }
}

/// node_exporter's default exclusion: `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_part_or_memory(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    let lettered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase())
    };
    let nvme_part = || {
        let numbers = stem
            .strip_prefix("nvme")
            .and_then(|rest| rest.strip_suffix('p'));
        numbers
            .and_then(|rest| rest.split_once('n'))
            .is_some_and(|(controller, namespace)| {
                let digits =
                    |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                digits(controller) && digits(namespace)
            })
    };
    matches!(stem, "ram" | "zram" | "loop" | "fd")
        || ["hd", "sd", "vd", "xvd"].into_iter().any(lettered)
        || nvme_part()
}

#[cfg(test)]
mod tests {
    use super::is_part_or_memory;

    #[test]
    fn whole_disks_are_kept_and_parts_are_not() {
        for kept in ["sda", "vda", "nvme0n1", "dm-0", "md127", "mmcblk0", "sr0"] {
            assert!(!is_part_or_memory(kept), "{kept}");
        }
        for left in [
            "sda1",
            "vda15",
            "xvdb2",
            "nvme0n1p1",
            "loop7",
            "ram0",
            "zram0",
            "fd0",
        ] {
            assert!(is_part_or_memory(left), "{left}");
        }
    }
}
