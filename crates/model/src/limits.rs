//! Limits that more than one crate must agree on, each with its reason.

/// Longest topic name in bytes. Kafka's own limit: a partition directory is `name-number`, and file
/// names end at 255 bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Longest group id in bytes. It is part of a record key on disk.
pub const GROUP_ID_BYTES_MAX: usize = 255;

/// Most partitions of one topic. Each keeps a segment open, and 1,000 are what one disk writes well.
pub const PARTITIONS_MAX: u32 = 10_000;

/// Largest batch a topic may allow (`max.message.bytes`); the default is [`BATCH_BYTES_DEFAULT`].
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Largest batch a topic allows unless told otherwise: Kafka's default, 1 MiB and the batch header.
pub const BATCH_BYTES_DEFAULT: usize = (1 << 20) + 12;

/// Most bytes a compressed batch may inflate to, whatever it claims: bounds what one hostile
/// producer can make a reader allocate.
pub const INFLATED_BYTES_MAX: usize = 128 << 20;

/// The topic that carries metric samples; its values are Prometheus remote-write 2.0 requests.
pub const METRICS_TOPIC: &str = "lantern.metrics";

/// The topic that carries alert transitions.
pub const ALERTS_TOPIC: &str = "lantern.alerts";

/// The topic that carries committed offsets and group metadata.
pub const GROUPS_TOPIC: &str = "lantern.groups";

/// The topic that carries board state which must survive a restart (where each lane is).
pub const BOARDS_TOPIC: &str = "lantern.boards";

const _: () = assert!(
    BATCH_BYTES_DEFAULT <= BATCH_BYTES_MAX,
    "the default must be allowed"
);
const _: () = assert!(
    BATCH_BYTES_MAX <= INFLATED_BYTES_MAX,
    "an uncompressed batch must fit too"
);
