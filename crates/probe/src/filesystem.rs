//! Mounted file systems: `/proc/self/mountinfo` and one `statvfs` each.
//!
//! Network file systems are left out: `statvfs` on one whose server is gone blocks, and with it
//! every other reading.

use std::collections::HashSet;
use std::path::Path;

use crate::{Collector, Error, Sink, Source};

pub(crate) struct Filesystem {
    mounts: Source,
    seen: HashSet<String>,
}

impl Filesystem {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            mounts: Source::new(procfs, "self/mountinfo"),
            seen: HashSet::new(),
        }
    }
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let Self { mounts, seen } = self;
        seen.clear();
        for line in mounts.text()?.lines() {
            let Some(mount) = Mount::parse(line) else {
                continue;
            };
            if !is_kept(mount.fstype, mount.point) {
                continue;
            }
            let point = unescape(mount.point);
            if seen.contains(&point) {
                continue;
            }
            read_one(&mount, &point, sink);
            seen.insert(point);
        }
        Ok(())
    }
}

fn read_one(mount: &Mount<'_>, point: &str, sink: &mut dyn Sink) {
    let labels = [
        ("device", mount.device),
        ("fstype", mount.fstype),
        ("mountpoint", point),
    ];
    let read_only = mount.options.split(',').any(|option| option == "ro");
    sink.put(
        "node_filesystem_readonly",
        &labels,
        f64::from(u8::from(read_only)),
    );
    let Ok(stat) = rustix::fs::statvfs(point) else {
        sink.put("node_filesystem_device_error", &labels, 1.0);
        return;
    };
    let block = stat.f_frsize as f64;
    sink.put("node_filesystem_device_error", &labels, 0.0);
    sink.put(
        "node_filesystem_size_bytes",
        &labels,
        stat.f_blocks as f64 * block,
    );
    sink.put(
        "node_filesystem_free_bytes",
        &labels,
        stat.f_bfree as f64 * block,
    );
    sink.put(
        "node_filesystem_avail_bytes",
        &labels,
        stat.f_bavail as f64 * block,
    );
    sink.put("node_filesystem_files", &labels, stat.f_files as f64);
    sink.put("node_filesystem_files_free", &labels, stat.f_ffree as f64);
}

/// One line of mountinfo, see proc_pid_mountinfo(5).
struct Mount<'a> {
    point: &'a str,
    options: &'a str,
    fstype: &'a str,
    device: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(4);
        let mut after = after.split(' ');
        Some(Self {
            point: before.next()?,
            options: before.next()?,
            fstype: after.next()?,
            device: after.next()?,
        })
    }
}

/// Mount points and types that node_exporter leaves out by default, and network file systems.
fn is_kept(fstype: &str, point: &str) -> bool {
    const POINTS: [&str; 6] = [
        "/dev",
        "/proc",
        "/sys",
        "/run/credentials",
        "/var/lib/docker",
        "/var/lib/containers/storage",
    ];
    const TYPES: [&str; 39] = [
        "9p",
        "afs",
        "autofs",
        "binfmt_misc",
        "bpf",
        "ceph",
        "cgroup",
        "cgroup2",
        "cifs",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fuse.gvfsd-fuse",
        "fuse.sshfs",
        "fusectl",
        "glusterfs",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "ncpfs",
        "nfs",
        "nfs4",
        "nsfs",
        "overlay",
        "proc",
        "procfs",
        "pstore",
        "ramfs",
        "rootfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "smb3",
        "smbfs",
        "squashfs",
        "sysfs",
        "tracefs",
    ];
    let inside = |root: &str| {
        point
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !POINTS.iter().any(|root| inside(root)) && TYPES.binary_search(&fstype).is_err()
}

/// Undoes the octal escapes (`\040` for a space) of mountinfo.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| {
                std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| u8::from_str_radix(d, 8).ok())
            });
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mountinfo_line_is_taken_apart() {
        let line =
            "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(unescape(mount.point), "/mnt 2");
        assert_eq!(
            (mount.fstype, mount.device, mount.options),
            ("ext3", "/dev/root", "rw,noatime")
        );
        assert!(Mount::parse("36 35").is_none());
    }

    #[test]
    fn pseudo_and_network_file_systems_are_left_out() {
        assert!(is_kept("ext4", "/"));
        assert!(is_kept("tmpfs", "/run"));
        assert!(is_kept("xfs", "/devices"));
        assert!(!is_kept("tmpfs", "/dev/shm"));
        assert!(!is_kept("overlay", "/"));
        assert!(!is_kept("nfs4", "/home"));
        assert!(!is_kept("ext4", "/var/lib/docker/volumes/x"));
    }
}
