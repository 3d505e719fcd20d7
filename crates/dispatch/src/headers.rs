//! Names of headers that dispatch reads and writes. Those of CloudEvents and of W3C trace context are theirs;
//! `x-` ones are Lantern's.

/// Absolute deadline, Unix milliseconds.
pub const DEADLINE: &str = "x-deadline-ms";
/// How long the sender waits, milliseconds; counts from [`ARRIVAL`].
pub const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";
/// When the sender's request arrived, Unix milliseconds.
pub const ARRIVAL: &str = "x-arrival-timestamp";
/// Urgency, 0 (most) to 9.
pub const PRIORITY: &str = "x-priority";
/// Listeners do not get the record before this time, Unix milliseconds.
pub const DELIVER_AT: &str = "x-deliver-at-ms";
/// The record is for the listener of this name only: what a replay of dead letters writes.
pub const LISTENER: &str = "x-listener";

/// Where a dead letter was: its topic.
pub const DLQ_TOPIC: &str = "x-dlq-topic";
/// Its partition.
pub const DLQ_PARTITION: &str = "x-dlq-partition";
/// Its offset.
pub const DLQ_OFFSET: &str = "x-dlq-offset";
/// Its timestamp, Unix milliseconds.
pub const DLQ_TIMESTAMP: &str = "x-dlq-timestamp";
/// The listener it was meant for.
pub const DLQ_LISTENER: &str = "x-dlq-listener";
/// Why it was given up: `exhausted`, `refused` or `expired`.
pub const DLQ_REASON: &str = "x-dlq-reason";
/// Its attempts, a JSON list of `{"at": "RFC 3339 time", "error": "…"}`.
pub const DLQ_ATTEMPTS: &str = "x-dlq-attempts";
/// Bytes of a value that was left out, as the topic of dead letters takes none as large.
pub const DLQ_VALUE_BYTES: &str = "x-dlq-value-bytes";

/// What every header of a dead letter's own begins with.
pub const DLQ_PREFIX: &str = "x-dlq-";

/// Where a record was that waits for its time in a topic of its listener: its topic.
pub const DELAYED_TOPIC: &str = "x-delayed-topic";
/// Its partition.
pub const DELAYED_PARTITION: &str = "x-delayed-partition";
/// Its offset.
pub const DELAYED_OFFSET: &str = "x-delayed-offset";

/// What every header of a record that waits begins with.
pub const DELAYED_PREFIX: &str = "x-delayed-";
