//! What this node is configured to do, under the names Kafka's tools know. Read only.

use std::time::Duration;

use broker::{ConfigEntry, CoordinatorOptions, TransactionOptions};
use kafka_wire::ErrorCode;

use super::{Line, SOURCE_DEFAULT, SOURCE_STATIC_BROKER, kind};
use crate::Options;
use crate::api::topics::Refusal;
use crate::context::Call;

const INT: i8 = 3;
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const LIST: i8 = 7;

/// Names of topic keys on a broker, where they are the defaults of new topics.
const TOPIC_DEFAULTS: [(&str, &str); 11] = [
    ("cleanup.policy", "log.cleanup.policy"),
    ("compression.type", "compression.type"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.ms", "log.roll.ms"),
];

/// All of it, by name; the resource is this node's number, or nothing for the cluster's defaults.
pub(super) fn lines(call: &Call, resource: &str) -> Result<Vec<Line>, Refusal> {
    let options = &call.shared.options;
    let node = options.node_id.to_string();
    if resource.is_empty() {
        // Kafka lists here what was set for all brokers while they run: nothing.
        return Ok(Vec::new());
    }
    if resource != node {
        let reason = format!("this is broker {node}, there is no broker '{resource}'");
        return Err(Refusal::new(ErrorCode::InvalidRequest, reason));
    }
    let mut lines = own(options, call);
    lines.extend(groups(&call.shared.groups.options()));
    if let Some(transactions) = call.shared.transactions.get() {
        lines.extend(transactional(transactions.options()));
    }
    let entries = options.topic_defaults.entries();
    lines.extend(entries.into_iter().filter_map(topic_default));
    lines.sort_by_key(|line| line.name);
    Ok(lines)
}

fn line(
    name: &'static str,
    value: String,
    kind: i8,
    default: Option<&'static str>,
    doc: &'static str,
) -> Line {
    Line {
        name,
        source: if default == Some(&*value) {
            SOURCE_DEFAULT
        } else {
            SOURCE_STATIC_BROKER
        },
        value,
        read_only: true,
        kind,
        doc,
        default,
    }
}

/// How groups are coordinated.
fn groups(options: &CoordinatorOptions) -> Vec<Line> {
    let millis = |span: Duration| span.as_millis().to_string();
    vec![
        line(
            "group.consumer.assignors",
            "uniform,range".into(),
            LIST,
            Some("uniform,range"),
            "The assignors of the consumer protocol, the default first.",
        ),
        line(
            "group.consumer.heartbeat.interval.ms",
            millis(options.consumer_heartbeat_interval),
            INT,
            Some("5000"),
            "How often members of the consumer protocol send heartbeats.",
        ),
        line(
            "group.consumer.max.size",
            options.consumer_members_max.to_string(),
            INT,
            Some("1000"),
            "Most members of a group of the consumer protocol.",
        ),
        line(
            "group.consumer.migration.policy",
            "disabled".into(),
            STRING,
            Some("disabled"),
            "A group with members does not change its protocol; an empty one may.",
        ),
        line(
            "group.consumer.session.timeout.ms",
            millis(options.consumer_session_timeout),
            INT,
            Some("45000"),
            "A member of the consumer protocol is out without a heartbeat for this long.",
        ),
        line(
            "group.coordinator.rebalance.protocols",
            "classic,consumer".into(),
            LIST,
            Some("classic,consumer"),
            "The protocols of groups that are served.",
        ),
        line(
            "group.max.session.timeout.ms",
            millis(options.session_timeout_max),
            INT,
            Some("1800000"),
            "Longest session timeout a member of the classic protocol may ask for.",
        ),
        line(
            "group.max.size",
            options.members_max.to_string(),
            INT,
            Some("1000"),
            "Most members of a group of the classic protocol.",
        ),
        line(
            "group.min.session.timeout.ms",
            millis(options.session_timeout_min),
            INT,
            Some("6000"),
            "Shortest session timeout a member of the classic protocol may ask for.",
        ),
        line(
            "offsets.retention.minutes",
            (options.offsets_retention.as_secs() / 60).to_string(),
            INT,
            Some("10080"),
            "Offsets of a group without members and commits go after this long.",
        ),
    ]
}

/// How transactions are coordinated.
fn transactional(options: &TransactionOptions) -> Vec<Line> {
    vec![
        line(
            "transaction.max.timeout.ms",
            options.timeout_max.as_millis().to_string(),
            INT,
            Some("900000"),
            "The longest timeout a transactional producer may ask for.",
        ),
        line(
            "transactional.id.expiration.ms",
            options.id_expiry.as_millis().to_string(),
            INT,
            Some("604800000"),
            "A transactional id without an open transaction is forgotten after this long without a call.",
        ),
    ]
}

fn own(options: &Options, call: &Call) -> Vec<Line> {
    let (host, port) = call.endpoint();
    let listeners = format!("PLAINTEXT://{}", options.listen);
    let advertised = format!("PLAINTEXT://{}:{port}", &*host);
    let idle = options.idle_timeout.as_millis().to_string();
    vec![
        line(
            "advertised.listeners",
            advertised,
            STRING,
            None,
            "What clients are told to connect to.",
        ),
        line(
            "auto.create.topics.enable",
            options.auto_create_topics.to_string(),
            BOOLEAN,
            Some("true"),
            "Whether asking about a topic may create it.",
        ),
        line(
            "broker.id",
            options.node_id.to_string(),
            INT,
            Some("0"),
            "This node's number.",
        ),
        line(
            "connections.max.idle.ms",
            idle,
            5,
            Some("600000"),
            "A connection without requests is closed after this long.",
        ),
        line(
            "default.replication.factor",
            "1".into(),
            INT,
            Some("1"),
            "Replicas of a partition: one node, one replica.",
        ),
        line(
            "delete.topic.enable",
            "true".into(),
            BOOLEAN,
            Some("true"),
            "Whether topics can be deleted.",
        ),
        line(
            "fetch.max.bytes",
            options.fetch_bytes_max.bytes().to_string(),
            INT,
            Some("33554432"),
            "Most bytes of one fetch answer.",
        ),
        line(
            "listeners",
            listeners,
            STRING,
            None,
            "Where this node listens.",
        ),
        line(
            "max.connections",
            options.connections_max.to_string(),
            INT,
            Some("2000"),
            "Most connections.",
        ),
        line(
            "node.id",
            options.node_id.to_string(),
            INT,
            Some("0"),
            "This node's number.",
        ),
        line(
            "num.partitions",
            options.partitions_default.to_string(),
            INT,
            Some("4"),
            "Partitions of a topic whose creator names no number.",
        ),
        line(
            "socket.request.max.bytes",
            options.request_bytes_max.bytes().to_string(),
            INT,
            Some("104857600"),
            "The largest request.",
        ),
    ]
}

fn topic_default(entry: ConfigEntry) -> Option<Line> {
    let (_, name) = TOPIC_DEFAULTS
        .iter()
        .find(|(topic, _)| *topic == entry.key.name)?;
    Some(Line {
        name,
        source: if entry.is_default {
            SOURCE_DEFAULT
        } else {
            SOURCE_STATIC_BROKER
        },
        read_only: true,
        kind: kind(entry.key.kind),
        doc: entry.key.doc,
        default: Some(entry.key.default),
        value: entry.value,
    })
}
