//! Prometheus series: labels, samples, compressed chunks, the in-memory store, remote write.
