//! `/proc/net/dev`, `/sys/class/net`, `/proc/net/{netstat,snmp,snmp6}`, `/proc/net/sockstat`.

use std::path::{Path, PathBuf};

use crate::source::number;
use crate::{Collector, Error, Sink, Source};

/// Columns of `/proc/net/dev` in order.
const DEV_COLUMNS: [&str; 16] = [
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_receive_errs_total",
    "node_network_receive_drop_total",
    "node_network_receive_fifo_total",
    "node_network_receive_frame_total",
    "node_network_receive_compressed_total",
    "node_network_receive_multicast_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_drop_total",
    "node_network_transmit_fifo_total",
    "node_network_transmit_colls_total",
    "node_network_transmit_carrier_total",
    "node_network_transmit_compressed_total",
];

pub(crate) struct Netdev {
    source: Source,
}

impl Netdev {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "net/dev"),
        }
    }
}

impl Collector for Netdev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        for line in self.source.text()?.lines() {
            // The two heading lines have no colon.
            let Some((device, values)) = line.split_once(':') else {
                continue;
            };
            let labels = [("device", device.trim())];
            for (name, value) in DEV_COLUMNS.iter().zip(values.split_ascii_whitespace()) {
                sink.put(name, &labels, number(value));
            }
        }
        Ok(())
    }
}

pub(crate) struct Netclass {
    root: PathBuf,
    /// One per interface, found again when the set of interfaces changes.
    states: Vec<(String, Source)>,
    readings: u32,
}

/// Interfaces come and go seldom; the directory is listed again after this many readings.
const LIST_EVERY: u32 = 10;

impl Netclass {
    pub(crate) fn new(sysfs: &Path) -> Self {
        Self {
            root: sysfs.join("class/net"),
            states: Vec::new(),
            readings: 0,
        }
    }

    fn list(&mut self) -> Result<(), Error> {
        let path = self.root.clone();
        let entries = std::fs::read_dir(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { path: path.clone() },
            _ => Error::Io {
                path: path.clone(),
                source,
            },
        })?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        let same = names.iter().eq(self.states.iter().map(|(name, _)| name));
        if !same {
            self.states = names
                .into_iter()
                .map(|name| {
                    let source = Source::new(&self.root.join(&name), "operstate");
                    (name, source)
                })
                .collect();
        }
        Ok(())
    }
}

impl Collector for Netclass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        if self.readings.is_multiple_of(LIST_EVERY) {
            self.list()?;
        }
        self.readings = self.readings.wrapping_add(1);
        for (device, source) in &mut self.states {
            // An interface that has just gone, or a file like `bonding_masters`, has no state.
            let Ok(state) = source.text() else { continue };
            let up = f64::from(u8::from(state.trim() == "up"));
            sink.put("node_network_up", &[("device", device)], up);
        }
        Ok(())
    }
}

pub(crate) struct Netstat {
    paired: [Source; 2],
    six: Source,
    name: String,
}

impl Netstat {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            paired: [
                Source::new(procfs, "net/netstat"),
                Source::new(procfs, "net/snmp"),
            ],
            six: Source::new(procfs, "net/snmp6"),
            name: String::new(),
        }
    }
}

impl Collector for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let Self { paired, six, name } = self;
        for source in paired {
            let mut lines = source.text()?.lines();
            // A line of names, then a line of values, both led by the protocol.
            while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
                let Some((protocol, names)) = names.split_once(':') else {
                    continue;
                };
                let Some((_, values)) = values.split_once(':') else {
                    continue;
                };
                let fields = names
                    .split_ascii_whitespace()
                    .zip(values.split_ascii_whitespace());
                for (field, value) in fields {
                    put_kept(name, protocol, field, value, sink);
                }
            }
        }
        // Without IPv6 there is no such file.
        if let Ok(text) = six.text() {
            for line in text.lines() {
                let mut fields = line.split_ascii_whitespace();
                let (Some(key), Some(value)) = (fields.next(), fields.next()) else {
                    continue;
                };
                let Some(at) = key.find('6') else { continue };
                put_kept(name, &key[..=at], &key[at + 1..], value, sink);
            }
        }
        Ok(())
    }
}

fn put_kept(name: &mut String, protocol: &str, field: &str, value: &str, sink: &mut dyn Sink) {
    if is_kept(protocol, field) {
        name.clear();
        name.push_str("node_netstat_");
        name.push_str(protocol);
        name.push('_');
        name.push_str(field);
        sink.put(name, &[], number(value));
    }
}

/// The fields node_exporter keeps by default.
fn is_kept(protocol: &str, field: &str) -> bool {
    if matches!(field, "InErrors" | "InErrs") {
        return true;
    }
    match protocol {
        "Ip" => field == "Forwarding",
        "Ip6" | "IpExt" => matches!(field, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(field, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            field.starts_with("Listen")
                || field.starts_with("Syncookies")
                || matches!(
                    field,
                    "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop"
                )
        }
        "Tcp" => matches!(
            field,
            "ActiveOpens"
                | "InSegs"
                | "OutSegs"
                | "OutRsts"
                | "PassiveOpens"
                | "RetransSegs"
                | "CurrEstab"
        ),
        "Udp" | "Udp6" => matches!(
            field,
            "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors"
        ),
        _ => false,
    }
}

pub(crate) struct Sockstat {
    source: Source,
    name: String,
}

impl Sockstat {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "net/sockstat"),
            name: String::new(),
        }
    }
}

impl Collector for Sockstat {
    fn name(&self) -> &'static str {
        "sockstat"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let page = rustix::param::page_size() as f64;
        let Self { source, name } = self;
        for line in source.text()?.lines() {
            let Some((protocol, rest)) = line.split_once(':') else {
                continue;
            };
            let mut fields = rest.split_ascii_whitespace();
            while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
                name.clear();
                name.push_str("node_sockstat_");
                name.push_str(protocol);
                name.push('_');
                name.push_str(field);
                sink.put(name, &[], number(value));
                if field == "mem" {
                    name.push_str("_bytes");
                    sink.put(name, &[], number(value) * page);
                }
            }
        }
        Ok(())
    }
}
