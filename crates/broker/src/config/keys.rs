//! The table of keys.

use super::{ConfigKey, ConfigKind, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

const fn number(min: i64) -> ConfigKind {
    ConfigKind::Number { min, max: i64::MAX }
}

const fn key(
    name: &'static str,
    kind: ConfigKind,
    default: &'static str,
    active: bool,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        active,
        doc,
    }
}

/// [`model::limits::BATCH_BYTES_MAX`] as keys count.
const BATCH_BYTES_MAX: i64 = model::limits::BATCH_BYTES_MAX.cast_signed() as i64;

const LONG_MAX: &str = "9223372036854775807";

/// Every key, in alphabetical order. Defaults of active keys are those of [`crate::TopicConfig::default`];
/// a test keeps them equal.
pub const KEYS: &[ConfigKey] = &[
    key(
        "cleanup.policy",
        ConfigKind::Words(&["delete", "compact"]),
        "delete",
        true,
        "Whether old segments are deleted, old values of keys are removed (compacted), both, or (empty) neither.",
    ),
    key(
        "compression.type",
        ConfigKind::Word(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
        false,
        "Compression of stored batches; Lantern keeps the producer's.",
    ),
    key(
        "delete.retention.ms",
        number(0),
        "86400000",
        true,
        "How long compaction keeps a tombstone after it was first compacted, in milliseconds.",
    ),
    key(
        "file.delete.delay.ms",
        number(0),
        "60000",
        false,
        "How long a removed file stays on disk.",
    ),
    key(
        "flush.messages",
        number(1),
        LONG_MAX,
        false,
        "Records between flushes; see lantern.durability.",
    ),
    key(
        "flush.ms",
        number(0),
        LONG_MAX,
        false,
        "Time between flushes; see lantern.durability.",
    ),
    key(
        "follower.replication.throttled.replicas",
        ConfigKind::Text,
        "",
        false,
        "Throttled follower replicas; one machine has none.",
    ),
    key(
        "index.interval.bytes",
        number(0),
        "4096",
        false,
        "Bytes of log between index entries.",
    ),
    key(
        "lantern.durability",
        ConfigKind::Word(&["flushed", "written"]),
        "flushed",
        true,
        "What acks=all waits for, and what readers see: flushed to the disk, or written to the page cache.",
    ),
    key(
        "leader.replication.throttled.replicas",
        ConfigKind::Text,
        "",
        false,
        "Throttled leader replicas; one machine has none.",
    ),
    key(
        "local.retention.bytes",
        number(-2),
        "-2",
        false,
        "Local share of tiered storage.",
    ),
    key(
        "local.retention.ms",
        number(-2),
        "-2",
        false,
        "Local share of tiered storage.",
    ),
    key(
        "max.compaction.lag.ms",
        number(1),
        LONG_MAX,
        true,
        "Longest time a record stays uncompacted, in milliseconds; also bounds segment.ms.",
    ),
    key(
        "max.message.bytes",
        ConfigKind::Number {
            min: 0,
            max: BATCH_BYTES_MAX,
        },
        "1048588",
        true,
        "The largest batch taken, in bytes.",
    ),
    key(
        "message.timestamp.after.max.ms",
        number(0),
        "3600000",
        false,
        "How far in the future a producer's timestamp may be.",
    ),
    key(
        "message.timestamp.before.max.ms",
        number(0),
        LONG_MAX,
        false,
        "How far in the past a producer's timestamp may be.",
    ),
    key(
        "message.timestamp.type",
        ConfigKind::Word(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        true,
        "Whose clock stamps records: the producer's or the broker's.",
    ),
    key(
        "min.cleanable.dirty.ratio",
        ConfigKind::Fraction,
        "0.5",
        true,
        "Compaction begins when more than this share of the log is uncompacted.",
    ),
    key(
        "min.compaction.lag.ms",
        number(0),
        "0",
        true,
        "Shortest time a record stays uncompacted, in milliseconds.",
    ),
    key(
        "min.insync.replicas",
        ConfigKind::Number {
            min: 1,
            max: i32::MAX as i64,
        },
        "1",
        false,
        "Replicas that must have a record; one machine is one replica.",
    ),
    key(
        "preallocate",
        ConfigKind::Bool,
        "false",
        false,
        "Whether segment files are allocated when created.",
    ),
    key(
        "remote.storage.enable",
        ConfigKind::Bool,
        "false",
        false,
        "Tiered storage.",
    ),
    key(
        "retention.bytes",
        number(-1),
        "-1",
        true,
        "Bytes kept per partition; -1 is no limit.",
    ),
    key(
        "retention.ms",
        number(-1),
        "604800000",
        true,
        "How long records are kept, in milliseconds; -1 is for ever.",
    ),
    key(
        "segment.bytes",
        ConfigKind::Number {
            min: SEGMENT_BYTES_MIN.cast_signed(),
            max: SEGMENT_BYTES_MAX.cast_signed(),
        },
        "268435456",
        true,
        "Bytes of one segment file.",
    ),
    key(
        "segment.index.bytes",
        ConfigKind::Number {
            min: 4,
            max: i32::MAX as i64,
        },
        "10485760",
        false,
        "Bytes of one index file.",
    ),
    key(
        "segment.jitter.ms",
        number(0),
        "0",
        false,
        "Random time taken off segment.ms.",
    ),
    key(
        "segment.ms",
        number(1),
        "604800000",
        true,
        "A segment is closed after this long, in milliseconds.",
    ),
    key(
        "unclean.leader.election.enable",
        ConfigKind::Bool,
        "false",
        false,
        "Whether a stale replica may lead; one machine has none.",
    ),
];
