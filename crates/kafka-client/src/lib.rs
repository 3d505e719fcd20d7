//! A small Kafka producer and consumer for demos, benchmarks and the command line.
