//! Kafka record batches (format v2): zero-copy view, builder, checksum, compression.

/// One whole batch whose length, magic, checksum and counts were checked.
#[derive(Debug, Clone)]
pub struct CheckedBatch;
