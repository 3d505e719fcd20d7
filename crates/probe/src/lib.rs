//! Reads the kernel: procfs and sysfs as node_exporter names them.
