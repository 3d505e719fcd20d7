//! Load, open files, the kernel's name, and the time.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::source::number;
use crate::{Collector, Error, Sink, Source};

pub(crate) struct Loadavg {
    source: Source,
}

impl Loadavg {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "loadavg"),
        }
    }
}

impl Collector for Loadavg {
    fn name(&self) -> &'static str {
        "loadavg"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut fields = self.source.text()?.split_ascii_whitespace();
        for name in ["node_load1", "node_load5", "node_load15"] {
            let Some(value) = fields.next() else {
                return Err(self.source.format_error("fewer than three averages"));
            };
            sink.put(name, &[], number(value));
        }
        Ok(())
    }
}

pub(crate) struct Filefd {
    source: Source,
}

impl Filefd {
    pub(crate) fn new(procfs: &Path) -> Self {
        Self {
            source: Source::new(procfs, "sys/fs/file-nr"),
        }
    }
}

impl Collector for Filefd {
    fn name(&self) -> &'static str {
        "filefd"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        // Allocated, free (always zero since Linux 2.6), maximum.
        let fields = self.source.text()?.split_ascii_whitespace();
        let names = ["node_filefd_allocated", "", "node_filefd_maximum"];
        for (name, value) in names
            .into_iter()
            .zip(fields)
            .filter(|(name, _)| !name.is_empty())
        {
            sink.put(name, &[], number(value));
        }
        Ok(())
    }
}

pub(crate) struct Uname;

impl Collector for Uname {
    fn name(&self) -> &'static str {
        "uname"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        sink.put(
            "node_uname_info",
            &[
                ("domainname", &text(uname.domainname())),
                ("machine", &text(uname.machine())),
                ("nodename", &text(uname.nodename())),
                ("release", &text(uname.release())),
                ("sysname", &text(uname.sysname())),
                ("version", &text(uname.version())),
            ],
            1.0,
        );
        Ok(())
    }
}

pub(crate) struct Time;

impl Collector for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        sink.put("node_time_seconds", &[], now.as_secs_f64());
        Ok(())
    }
}
