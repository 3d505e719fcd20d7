//! Reads the kernel: procfs and sysfs, under the names and labels node_exporter gives them, so that
//! rule files and dashboards written for it work unchanged.
//!
//! Read first: [`Host`] (all collectors, read together) and [`Sink`] (where the values go).
//!
//! Invariants: files of procfs are opened once and read again from the start, so that a reading
//! costs one `pread` a file; no reading allocates once the buffers have grown; a collector that
//! fails is reported (`node_scrape_collector_success`) and leaves the others alone. Values are as the kernel
//! counts them, in base units (seconds, bytes).
//!
//! Not here: when to read and where samples go (`agent`). Not read: network file systems, because a
//! dead server would block the reading.
//!
//! ```
//! use probe::{Host, Options};
//! let mut host = Host::open(Options::default());
//! let mut names = Vec::new();
//! host.read(&mut |name: &str, _labels: &[(&str, &str)], _value: f64| names.push(name.to_owned()));
//! assert!(names.iter().any(|name| name == "node_load1"));
//! ```

mod cpu;
mod disk;
mod filesystem;
mod memory;
mod network;
mod process;
mod source;
mod system;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

pub use source::Error;
use source::Source;

/// Where readings go: metric name, labels without the name, value in base units.
pub trait Sink {
    /// Takes one value. Labels come in a fixed order for one metric name.
    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64);
}

impl<F: FnMut(&str, &[(&str, &str)], f64)> Sink for F {
    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self(name, labels, value);
    }
}

/// Where the kernel's files are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Mount point of procfs. Default `/proc`.
    pub procfs: PathBuf,
    /// Mount point of sysfs. Default `/sys`.
    pub sysfs: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
        }
    }
}

/// A group of values read from a few files.
trait Collector: Send {
    /// The collector's name in `node_scrape_collector_*`, as node_exporter calls it.
    fn name(&self) -> &'static str;
    /// Reads and hands over every value.
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error>;
}

/// All collectors of this host.
pub struct Host {
    collectors: Vec<Box<dyn Collector>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.collectors.iter().map(|c| c.name()))
            .finish()
    }
}

/// What one reading found.
#[derive(Debug, Default)]
pub struct Reading {
    /// Collectors that failed, with the reason. A file this kernel does not have is not a failure.
    pub failures: Vec<(&'static str, Error)>,
}

impl Host {
    /// Prepares all collectors. Files are opened at the first reading; one that is missing is tried
    /// again at every reading.
    pub fn open(options: Options) -> Self {
        let Options { procfs, sysfs } = options;
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(cpu::Cpu::new(&procfs)),
            Box::new(cpu::Pressure::new(&procfs)),
            Box::new(memory::Meminfo::new(&procfs)),
            Box::new(memory::Vmstat::new(&procfs)),
            Box::new(disk::Diskstats::new(&procfs)),
            Box::new(filesystem::Filesystem::new(&procfs)),
            Box::new(network::Netdev::new(&procfs)),
            Box::new(network::Netclass::new(&sysfs)),
            Box::new(network::Netstat::new(&procfs)),
            Box::new(network::Sockstat::new(&procfs)),
            Box::new(system::Loadavg::new(&procfs)),
            Box::new(system::Filefd::new(&procfs)),
            Box::new(system::Uname),
            Box::new(system::Time),
            Box::new(process::Process::new(&procfs)),
        ];
        Self { collectors }
    }

    /// Reads everything once, in a fixed order.
    pub fn read(&mut self, sink: &mut dyn Sink) -> Reading {
        let mut reading = Reading::default();
        for collector in &mut self.collectors {
            let name = collector.name();
            let started = Instant::now();
            let result = collector.read(sink);
            let seconds = started.elapsed().as_secs_f64();
            let success = match result {
                Ok(()) => 1.0,
                // Not every kernel has every file (pressure, IPv6); that is how node_exporter says so.
                Err(Error::Missing { .. }) => 0.0,
                Err(error) => {
                    reading.failures.push((name, error));
                    0.0
                }
            };
            let labels = [("collector", name)];
            sink.put("node_scrape_collector_duration_seconds", &labels, seconds);
            sink.put("node_scrape_collector_success", &labels, success);
        }
        reading
    }
}

/// This host's name, as `uname -n` prints it.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
