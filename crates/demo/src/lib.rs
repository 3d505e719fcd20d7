//! Demos that play a business over the Kafka port.
