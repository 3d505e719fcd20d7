//! The Kafka endpoint: TCP connections to broker calls.
