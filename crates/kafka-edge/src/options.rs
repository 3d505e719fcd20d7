//! How the endpoint behaves, and what is wrong with a configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use broker::TopicConfig;
use stdx::ByteSize;

/// Options of the Kafka endpoint. Names in comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen. Port 0 picks a free one. Default `127.0.0.1:9092`.
    pub listen: SocketAddr,
    /// The host and port clients are told to connect to (`advertised.listeners`). Default: the
    /// address each client reached, which is right unless there is a translation in between.
    pub advertised: Option<Advertised>,
    /// This node's number (`node.id`). Default 0, which is what tools and tests that were written for one
    /// broker name.
    pub node_id: i32,
    /// The cluster's name. Default `lantern`.
    pub cluster_id: String,
    /// Whether asking about a topic may create it, when the client wishes so
    /// (`auto.create.topics.enable`). Default yes.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator names no number (`num.partitions`). Default 4: with one,
    /// a second consumer of a group would idle and the number cannot shrink later.
    pub partitions_default: u32,
    /// Most partitions of all topics together that clients may bring about: each keeps files open.
    /// Default 10,000.
    pub partitions_total_max: usize,
    /// The configuration of topics whose creator names none.
    pub topic_defaults: TopicConfig,
    /// The largest request (`socket.request.max.bytes`). Default 100 MiB.
    pub request_bytes_max: ByteSize,
    /// Bytes of requests in memory over all connections; when full, connections are not read.
    /// Default 256 MiB, at least `request_bytes_max` and what decoding it may take (32 MiB).
    pub request_memory: ByteSize,
    /// Bytes of fetched batches in memory over all connections; when full, fetches wait.
    /// Default 256 MiB, at least the largest batch (64 MiB).
    pub answer_memory: ByteSize,
    /// Most bytes of one fetch answer, whatever the client asks; one batch may exceed it
    /// (`fetch.max.bytes`). Default 32 MiB.
    pub fetch_bytes_max: ByteSize,
    /// The longest a fetch waits for more, whatever the client asks. Default 30 s.
    pub fetch_wait_max: Duration,
    /// Most connections; further ones are closed at once (`max.connections`). Default 12,000:
    /// an idle one costs some ten KiB.
    pub connections_max: usize,
    /// Requests of one connection that were read and not answered; when full, it is not read.
    /// Default 128.
    pub requests_in_flight_max: usize,
    /// A connection without any request for this long is closed (`connections.max.idle.ms`).
    /// Default 10 min.
    pub idle_timeout: Duration,
    /// A request that has begun must be complete, and an answer must be taken, within this and one
    /// second for each [`RATE_MIN`] bytes. Default 30 s.
    pub stall_timeout: Duration,
    /// Time that requests in progress get to finish when the endpoint stops. Default 5 s.
    pub drain: Duration,
}

/// The slowest peer that is waited for, in bytes per second beyond
/// [`Options::stall_timeout`].
pub const RATE_MIN: u64 = 64 << 10;

/// A host and port that clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an address; prefer an IPv4 address, since some clients resolve `localhost` to IPv6.
    pub host: String,
    /// The port; 0 for the one that is listened on.
    pub port: u16,
}

/// `HOST:PORT`, `[V6]:PORT`, or `HOST` for the port that is listened on.
impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST or HOST:PORT");
        // A colon within brackets belongs to the address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains([':', '/']) => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.map_or(Ok(0), |port| port.parse().map_err(|_| wrong()))?,
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            advertised: None,
            node_id: 0,
            cluster_id: "lantern".to_owned(),
            auto_create_topics: true,
            partitions_default: 4,
            partitions_total_max: 10_000,
            topic_defaults: TopicConfig::default(),
            request_bytes_max: ByteSize::from_bytes(kafka_wire::REQUEST_BYTES_MAX_DEFAULT as u64),
            request_memory: ByteSize::from_mib(256),
            answer_memory: ByteSize::from_mib(256),
            fetch_bytes_max: ByteSize::from_mib(32),
            fetch_wait_max: Duration::from_secs(30),
            connections_max: 12_000,
            requests_in_flight_max: 128,
            idle_timeout: Duration::from_mins(10),
            stall_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// All problems with these options, in words; empty when there are none.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let decoding = (kafka_wire::ELEMENTS_MAX * kafka_wire::ELEMENT_BYTES) as u64;
        let (request, memory) = (self.request_bytes_max, self.request_memory);
        check(
            (1 << 10..=1 << 30).contains(&request.bytes()),
            format!("request_bytes_max is {request}, it must be from 1KiB to 1GiB"),
        );
        check(
            memory.bytes() >= request.bytes().saturating_add(decoding),
            format!("request_memory is {memory}, it must be at least request_bytes_max + 32MiB"),
        );
        check(
            self.answer_memory.bytes() >= model::limits::BATCH_BYTES_MAX as u64,
            format!(
                "answer_memory is {}, it must be at least 64MiB",
                self.answer_memory
            ),
        );
        check(
            self.fetch_bytes_max.bytes() >= 1 << 10 && self.fetch_bytes_max <= self.answer_memory,
            format!(
                "fetch_bytes_max is {}, it must be from 1KiB to answer_memory",
                self.fetch_bytes_max
            ),
        );
        check(
            (1..=model::limits::PARTITIONS_MAX).contains(&self.partitions_default),
            format!(
                "partitions_default is {}, it must be from 1 to 10000",
                self.partitions_default
            ),
        );
        check(
            self.node_id >= 0,
            format!("node_id is {}, it must be 0 or more", self.node_id),
        );
        check(
            self.connections_max > 0,
            "connections_max cannot be 0".to_owned(),
        );
        check(
            self.requests_in_flight_max > 0,
            "requests_in_flight_max cannot be 0".to_owned(),
        );
        if let Err(error) = self.topic_defaults.validate() {
            check(false, format!("topic_defaults: {error}"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        assert_eq!(Options::default().validate(), Vec::<String>::new());
        let bad = Options {
            partitions_default: 0,
            connections_max: 0,
            request_memory: ByteSize::from_mib(100),
            fetch_bytes_max: ByteSize::from_gib(1),
            ..Options::default()
        };
        assert_eq!(bad.validate().len(), 4, "{:?}", bad.validate());
    }
}
