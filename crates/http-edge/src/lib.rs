//! The HTTP endpoint: query API, remote write, boards, resources, metrics, health.
