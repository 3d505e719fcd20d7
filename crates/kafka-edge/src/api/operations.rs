//! What a client may do with what it asks about, as a number whose bits are operations (KIP-430).
//!
//! There are no access lists here: everything that Kafka knows for this kind of thing is allowed, except
//! that the topics of Lantern itself can only be read. Without a question the answer is [`UNKNOWN`].

/// "Not asked", which is no set of operations.
pub(super) const UNKNOWN: i32 = i32::MIN;

/// Kafka's numbers of operations (`AclOperation`).
const READ: u8 = 3;
const WRITE: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ALTER: u8 = 7;
const DESCRIBE: u8 = 8;
const CLUSTER_ACTION: u8 = 9;
const DESCRIBE_CONFIGS: u8 = 10;
const ALTER_CONFIGS: u8 = 11;
const IDEMPOTENT_WRITE: u8 = 12;

const TOPIC: i32 = set(&[
    READ,
    WRITE,
    CREATE,
    DELETE,
    ALTER,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    ALTER_CONFIGS,
]);
const OWN_TOPIC: i32 = set(&[READ, DESCRIBE, DESCRIBE_CONFIGS]);
const GROUP: i32 = set(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);
const OWN_GROUP: i32 = set(&[DELETE, DESCRIBE, DESCRIBE_CONFIGS]);
const CLUSTER: i32 = set(&[
    CREATE,
    ALTER,
    DESCRIBE,
    CLUSTER_ACTION,
    DESCRIBE_CONFIGS,
    ALTER_CONFIGS,
    IDEMPOTENT_WRITE,
]);

const fn set(operations: &[u8]) -> i32 {
    let mut bits = 0;
    let mut index = 0;
    while index < operations.len() {
        bits |= 1 << operations[index];
        index += 1;
    }
    bits
}

/// On a topic; on one of Lantern's own if it `is_internal`.
pub(super) const fn on_topic(asked: bool, is_internal: bool) -> i32 {
    match (asked, is_internal) {
        (false, _) => UNKNOWN,
        (true, true) => OWN_TOPIC,
        (true, false) => TOPIC,
    }
}

/// On a group; on one of Lantern's own if it `is_internal`.
pub(super) const fn on_group(asked: bool, is_internal: bool) -> i32 {
    match (asked, is_internal) {
        (false, _) => UNKNOWN,
        (true, true) => OWN_GROUP,
        (true, false) => GROUP,
    }
}

/// On the cluster.
pub(super) const fn on_cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { UNKNOWN }
}
