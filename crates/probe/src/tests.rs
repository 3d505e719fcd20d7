//! Readings of a made-up host, of this one, and of one whose files are broken.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::*;

/// All values read from files below `root`, one a line, as Prometheus would print them.
fn read(root: &Path) -> (BTreeMap<String, f64>, Reading) {
    let mut host = Host::open(Options {
        procfs: root.join("proc"),
        sysfs: root.join("sys"),
    });
    let mut values = BTreeMap::new();
    let reading = host.read(&mut |name: &str, labels: &[(&str, &str)], value: f64| {
        let mut key = name.to_owned();
        if !labels.is_empty() {
            let mut inner = String::new();
            for (label, text) in labels {
                write!(
                    inner,
                    "{}{label}=\"{text}\"",
                    if inner.is_empty() { "" } else { "," }
                )
                .unwrap();
            }
            write!(key, "{{{inner}}}").unwrap();
        }
        assert!(
            values.insert(key.clone(), value).is_none(),
            "{key} came twice"
        );
    });
    (values, reading)
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_made_up_host_reads_as_node_exporter_would_read_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(
        root,
        "proc/stat",
        "cpu  10 0 0 0 0 0 0 0 0 0\ncpu0 250 1 2 3 4 5 6 7 8 9\nintr 42 1 2\nctxt 7\nbtime 1700000000\n\
         processes 9\nprocs_running 2\nprocs_blocked 1\nsoftirq 1 2\n",
    );
    write(
        root,
        "proc/meminfo",
        "MemTotal: 1024 kB\nActive(anon): 2 kB\nHugePages_Total: 3\n",
    );
    write(
        root,
        "proc/vmstat",
        "oom_kill 4\npgfault 5\npgmajfault 6\nnr_dirty 7\npswpin 8\n",
    );
    write(
        root,
        "proc/diskstats",
        " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 254 1 vda1 1 2 3 4 5 6 7 8 9 10 11\n",
    );
    write(
        root,
        "proc/net/dev",
        "Inter-| Receive\n face |bytes\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    );
    write(
        root,
        "proc/net/netstat",
        "TcpExt: SyncookiesSent Other\nTcpExt: 3 4\nIpExt: InOctets\nIpExt: 9\n",
    );
    write(root, "proc/net/snmp", "Tcp: ActiveOpens RtoMin\nTcp: 5 6\n");
    write(
        root,
        "proc/net/sockstat",
        "sockets: used 20\nTCP: inuse 4 mem 1\n",
    );
    write(root, "proc/loadavg", "0.50 0.25 0.10 1/100 12345\n");
    write(
        root,
        "proc/pressure/cpu",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n",
    );
    write(
        root,
        "proc/pressure/io",
        "some avg10=0 total=2000000\nfull avg10=0 total=1000000\n",
    );
    write(
        root,
        "proc/pressure/memory",
        "some avg10=0 total=0\nfull avg10=0 total=0\n",
    );
    write(
        root,
        "proc/sys/fs/file-nr",
        "1056\t0\t9223372036854775807\n",
    );
    write(root, "sys/class/net/eth0/operstate", "up\n");
    write(root, "sys/class/net/lo/operstate", "unknown\n");
    let (values, _) = read(root);

    for (key, expected) in [
        ("node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}", 2.5),
        ("node_cpu_seconds_total{cpu=\"0\",mode=\"steal\"}", 0.07),
        (
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"}",
            0.09,
        ),
        ("node_intr_total", 42.0),
        ("node_boot_time_seconds", 1.7e9),
        ("node_memory_MemTotal_bytes", 1_048_576.0),
        ("node_memory_Active_anon_bytes", 2_048.0),
        ("node_memory_HugePages_Total", 3.0),
        ("node_vmstat_pgmajfault", 6.0),
        ("node_disk_read_bytes_total{device=\"vda\"}", 1_536.0),
        ("node_disk_io_time_seconds_total{device=\"vda\"}", 0.01),
        (
            "node_disk_flush_requests_time_seconds_total{device=\"vda\"}",
            0.017,
        ),
        ("node_network_receive_bytes_total{device=\"eth0\"}", 1.0),
        ("node_network_transmit_bytes_total{device=\"eth0\"}", 9.0),
        ("node_network_up{device=\"eth0\"}", 1.0),
        ("node_network_up{device=\"lo\"}", 0.0),
        ("node_netstat_TcpExt_SyncookiesSent", 3.0),
        ("node_netstat_IpExt_InOctets", 9.0),
        ("node_netstat_Tcp_ActiveOpens", 5.0),
        ("node_sockstat_TCP_inuse", 4.0),
        ("node_load15", 0.1),
        ("node_pressure_cpu_waiting_seconds_total", 1.5),
        ("node_pressure_io_stalled_seconds_total", 1.0),
        ("node_filefd_allocated", 1_056.0),
        ("node_scrape_collector_success{collector=\"cpu\"}", 1.0),
        // There is no self/stat in this host.
        ("node_scrape_collector_success{collector=\"process\"}", 0.0),
    ] {
        let found = values.get(key).copied().unwrap_or(f64::NAN);
        assert!(
            (found - expected).abs() < 1e-9,
            "{key}: expected {expected}, found {found}"
        );
    }
    for absent in [
        "node_vmstat_nr_dirty",
        "node_netstat_TcpExt_Other",
        "node_netstat_Tcp_RtoMin",
        "node_disk_read_bytes_total{device=\"vda1\"}",
        "node_cpu_seconds_total{cpu=\"\",mode=\"user\"}",
    ] {
        assert!(!values.contains_key(absent), "{absent}");
    }
}

#[test]
fn a_broken_file_is_reported_and_the_others_are_read() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "proc/stat", "nonsense\n");
    write(root.path(), "proc/loadavg", "1 2 3\n");
    let (values, reading) = read(root.path());
    assert_eq!(values["node_load5"], 2.0);
    let failed: Vec<_> = reading.failures.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, ["cpu"], "missing files are no failures");
}

#[test]
fn this_host_has_what_the_boards_and_rules_ask_for() {
    let (values, reading) = read(Path::new("/"));
    assert!(reading.failures.is_empty(), "{:?}", reading.failures);
    let has = |prefix: &str| values.keys().any(|key| key.starts_with(prefix));
    for prefix in [
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}",
        "node_memory_MemAvailable_bytes",
        "node_network_receive_bytes_total{device=\"lo\"}",
        "node_load1",
        "node_uname_info{",
        "node_time_seconds",
        "node_filesystem_avail_bytes{",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(has(prefix), "{prefix}");
    }
    let rss = values["process_resident_memory_bytes"];
    assert!(rss > 1e5 && rss < 1e11, "{rss}");
}
