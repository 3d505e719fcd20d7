//! The host agent: probes become samples in lantern.metrics.
